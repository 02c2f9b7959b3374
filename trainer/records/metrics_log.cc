#include "trainer/records/metrics_log.h"

#include <algorithm>
#include <cerrno>
#include <cmath>
#include <cstring>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "common/files.h"
#include "common/log.h"
#include "common/status_macros.h"
#include "nlohmann/json.hpp"
#include "trainer/records/metrics.h"

namespace grpo {
namespace {

using nlohmann::ordered_json;

// The lines that a run which goes on at `step` of `stage` will not write again.
std::string KeptLines(const std::string& text, const std::vector<std::string>& stages_done, const std::string& stage,
                      int64_t step) {
  std::string kept;
  for (const absl::string_view line : absl::StrSplit(text, '\n', absl::SkipEmpty())) {
    const auto record = ordered_json::parse(line.begin(), line.end(), nullptr, /*allow_exceptions=*/false);
    if (!record.is_object() || !record.contains("stage") || !record.contains("step") || !record["stage"].is_string() ||
        !record["step"].is_number_integer())
      continue;
    const std::string name = record["stage"].get<std::string>();
    const bool done = std::find(stages_done.begin(), stages_done.end(), name) != stages_done.end();
    if (done || (name == stage && record["step"].get<int64_t>() <= step)) absl::StrAppend(&kept, line, "\n");
  }
  return kept;
}

}  // namespace

absl::StatusOr<std::unique_ptr<MetricsLog>> MetricsLog::Open(const std::string& path,
                                                             const std::vector<std::string>& stages_done,
                                                             const std::string& stage, int64_t step, RunGuard* guard) {
  const absl::StatusOr<std::string> before = ReadFile(path);
  if (before.ok()) {
    const std::string kept = KeptLines(*before, stages_done, stage, step);
    if (kept != *before) RETURN_IF_ERROR(WriteFileAtomically(path, kept));
  } else if (!absl::IsNotFound(before.status())) {
    return before.status();
  }
  std::FILE* file = std::fopen(path.c_str(), "ae");
  if (file == nullptr) return ErrnoStatus(errno, "open", path);
  std::unique_ptr<MetricsLog> log(new MetricsLog(path, file, guard));
  if (!before.ok() && (!stages_done.empty() || step > 0)) log->Lost("was missing when the run went on");
  return log;
}

MetricsLog::~MetricsLog() {
  std::fclose(file_);
}

void MetricsLog::Lost(const std::string& how) {
  note_ = absl::StrCat("the file ", how, ": what came before this line is lost");
  RaiseAlarm(guard_, absl::StrCat(path_, " ", how, "; it is begun anew, and the steps before are lost"));
}

int MetricsLog::BeginAnewIfGone() {
  if (WhereIs(::fileno(file_), path_) == PlaceOfFile::kSame) return 0;
  std::FILE* const file = std::fopen(path_.c_str(), "ae");
  if (file == nullptr) return errno;
  std::fclose(std::exchange(file_, file));
  Lost("was deleted or replaced while the run was going on");
  return 0;
}

int MetricsLog::Write(const std::string& line) {
  const bool written = std::fwrite(line.data(), 1, line.size(), file_) == line.size() && std::fflush(file_) == 0;
  return written ? 0 : errno;
}

void MetricsLog::Append(const std::string& stage, int64_t step, const std::map<std::string, double>& metrics,
                        const std::map<std::string, std::string>& hashes) {
  // The run hears of it with its next poll, and ends.
  if (!MayWrite(guard_).ok()) return;
  int error = BeginAnewIfGone();
  ordered_json record = {{"stage", stage}, {"step", step}};
  for (const auto& [name, value] : metrics) {
    if (FindMetric(name) != nullptr) {
      record[name] = std::isfinite(value) ? ordered_json(value) : ordered_json(nullptr);
    } else if (refused_.insert(name).second) {
      spdlog::error("metric {} is not declared and is left out: give it a row in trainer/records/metrics.inc", name);
    }
  }
  for (const auto& [name, hash] : hashes) record[name] = hash;
  if (!note_.empty()) record["note"] = note_;
  if (error == 0) error = Write(record.dump() + "\n");
  // Metrics are not worth a run: a full disk is said once, and training goes on.
  if (error != 0 && !failed_)
    spdlog::error("metrics.jsonl cannot be written ({}); the run goes on without it", std::strerror(error));
  failed_ = error != 0;
  if (!failed_) note_.clear();
}

}  // namespace grpo
