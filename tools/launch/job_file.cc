#include "tools/launch/job_file.h"

#include <cstdint>
#include <utility>

#include "absl/status/statusor.h"
#include "common/files.h"
#include "nlohmann/json.hpp"

namespace grpo {
namespace {

using json = nlohmann::ordered_json;

constexpr int64_t kMaxJobBytes = 1 << 16;

}  // namespace

std::string LaunchFolder(const std::string& run_dir) {
  return run_dir + "/launch";
}

absl::Status WriteJob(const std::string& run_dir, const LaunchedJob& job) {
  const json document = {
      {"target", job.target}, {"job", job.job}, {"submitted_at", job.submitted_at}, {"run_id", job.run_id}};
  return WriteFileAtomically(LaunchFolder(run_dir) + "/job.json",
                             document.dump(-1, ' ', false, json::error_handler_t::replace) + "\n");
}

std::optional<LaunchedJob> ReadJob(const std::string& run_dir) {
  const absl::StatusOr<std::string> text = ReadFile(LaunchFolder(run_dir) + "/job.json", kMaxJobBytes);
  if (!text.ok()) return std::nullopt;
  const json document = json::parse(*text, nullptr, /*allow_exceptions=*/false);
  if (!document.is_object()) return std::nullopt;
  LaunchedJob job;
  const std::pair<const char*, std::string*> fields[] = {
      {"target", &job.target}, {"job", &job.job}, {"submitted_at", &job.submitted_at}, {"run_id", &job.run_id}};
  for (const auto& [key, field] : fields) {
    if (!document.contains(key) || !document[key].is_string()) return std::nullopt;
    *field = document[key].get<std::string>();
  }
  return job;
}

}  // namespace grpo
