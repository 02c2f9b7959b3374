#include "trainer/records/spending.h"

#include <utility>

#include "absl/status/status.h"
#include "common/files.h"
#include "common/log.h"
#include "common/status_macros.h"
#include "nlohmann/json.hpp"

namespace grpo {
namespace {

using nlohmann::json;

constexpr int64_t kMaxBytes = int64_t{64} << 20;

// As WriteFileAtomically, without waiting for the disk: a process that dies loses nothing by that, and what a machine
// loses that dies is not worth a wait every other second.
absl::Status Replace(const std::string& path, const std::string& content) {
  const std::string temporary = path + ".tmp";
  {
    ASSIGN_OR_RETURN(SyncedFileWriter writer, SyncedFileWriter::Create(temporary));
    RETURN_IF_ERROR(writer.Append(content));
  }
  return Rename(temporary, path);
}

}  // namespace

SpendingLog::SpendingLog(std::string path, bool resume, const Clock& clock, RunGuard* guard)
    : path_(std::move(path)), clock_(clock), guard_(guard) {
  if (resume) Read();
}

// nlohmann's at(), get() and value() throw on a missing key or another type; this is where that ends.
void SpendingLog::Read() {
  const absl::StatusOr<std::string> content = ReadFile(path_, kMaxBytes);
  if (absl::IsNotFound(content.status())) return;
  std::string problem;
  if (content.ok()) {
    try {
      const json document = json::parse(*content);
      for (const auto& [stage, entry] : document.at("stages").items()) {
        spent_[stage] = {.starts = entry.at("starts").get<int64_t>(),
                         .seconds = entry.at("seconds").get<double>(),
                         .tokens = entry.at("tokens").get<double>(),
                         .usd = entry.value("usd", 0.0)};
      }
    } catch (const json::exception& error) {
      problem = error.what();
    }
  } else {
    problem = std::string(content.status().message());
  }
  if (problem.empty()) return;
  spent_.clear();
  spdlog::warn("{} cannot be read ({}): what earlier starts of the run took is missing from its report", path_,
               problem);
}

void SpendingLog::Begin(const std::string& stage, double seconds_before) {
  const auto [entry, is_new] = spent_.emplace(stage, Spent());
  if (is_new && seconds_before > 0) entry->second = {.starts = 1, .seconds = seconds_before};
  ++entry->second.starts;
  running_ = stage;
  begun_ = clock_.Now();
  Save();
}

void SpendingLog::AddTokens(int64_t num_tokens) {
  spent_[running_].tokens += static_cast<double>(num_tokens);
  Tick();
}

void SpendingLog::AddUsd(double usd) {
  spent_[running_].usd += usd;
  Tick();
}

void SpendingLog::Tick() {
  if (clock_.Now() - written_ >= kInterval) Save();
}

Spent SpendingLog::Current() const {
  Spent now = spent_.at(running_);
  now.seconds += absl::ToDoubleSeconds(clock_.Now() - begun_);
  return now;
}

Spent SpendingLog::End() {
  const Spent all = Current();
  spent_[running_] = all;
  running_.clear();
  Save();
  return all;
}

void SpendingLog::Save() {
  written_ = clock_.Now();
  // The run hears of it with its next poll, and ends.
  if (!MayWrite(guard_).ok()) return;
  json stages = json::object();
  for (const auto& [stage, before] : spent_) {
    const Spent spent = stage == running_ ? Current() : before;
    stages[stage] = {
        {"starts", spent.starts}, {"seconds", spent.seconds}, {"tokens", spent.tokens}, {"usd", spent.usd}};
  }
  const json document = {{"stages", std::move(stages)}};
  const absl::Status status = Replace(path_, document.dump(1, ' ', false, json::error_handler_t::replace) + "\n");
  if (!status.ok() && !failed_) {
    spdlog::error("what the run takes cannot be kept ({}); it goes on, and after a kill its report is short of that",
                  std::string(status.message()));
  }
  failed_ = !status.ok();
}

}  // namespace grpo
