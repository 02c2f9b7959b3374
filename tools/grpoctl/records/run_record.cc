#include "tools/grpoctl/records/run_record.h"

#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <set>
#include <system_error>
#include <vector>

#include "absl/strings/ascii.h"
#include "absl/strings/str_cat.h"
#include "common/rpc/endpoint.h"
#include "common/run_lock.h"
#include "nlohmann/json.hpp"
#include "tools/grpoctl/client/process_state.h"
#include "tools/grpoctl/records/log_tail.h"
#include "tools/grpoctl/records/summary.h"
#include "tools/launch/job_file.h"
#include "trainer/records/run_end.h"
#include "trainer/run_config.h"
#include "trainer/stage/stage.h"

namespace grpo {
namespace {

namespace fs = std::filesystem;
using nlohmann::json;

// A line is a kilobyte or two.
constexpr int kNumLinesRead = 40;

std::optional<fs::file_time_type> WrittenAt(const std::string& path) {
  std::error_code error;
  const fs::file_time_type time = fs::last_write_time(path, error);
  return error ? std::nullopt : std::optional<fs::file_time_type>(time);
}

// Also of "runs/a/" and ".".
std::string NameOf(const std::string& folder) {
  std::error_code error;
  const fs::path path = fs::absolute(folder, error).lexically_normal();
  return (path.has_filename() ? path : path.parent_path()).filename().string();
}

// The newest step and the newest reward.
void ReadMetrics(RunRecord* record) {
  const std::vector<std::string> lines = LastLines(record->folder + "/metrics.jsonl", kNumLinesRead);
  for (auto line = lines.rbegin(); line != lines.rend() && !record->reward.has_value(); ++line) {
    const json step = json::parse(*line, nullptr, /*allow_exceptions=*/false);
    if (!step.is_object()) continue;
    const auto number = step.find("step"), reward = step.find("reward"), stage = step.find("stage");
    if (record->step < 0 && number != step.end() && number->is_number_integer()) {
      if (stage != step.end() && stage->is_string()) record->stage = stage->get<std::string>();
      record->step = number->get<int64_t>();
    }
    if (reward != step.end() && reward->is_number()) record->reward = reward->get<double>();
  }
}

void TakeJob(RunRecord* record) {
  const std::optional<LaunchedJob> job = ReadJob(record->folder);
  if (!job.has_value()) return;
  record->job = absl::StrCat(job->target, " ", job->job);
  if (record->run_id.empty()) record->run_id = job->run_id;
}

// Of a run that wrote no end: whether every stage has its report, and how far the one of the newest line goes.
void ReadPlan(RunRecord* record) {
  const RunConfig config = ReadRunConfig(record->folder + "/config.yaml");
  for (const ConfiguredStage& stage : config.stages) {
    if (stage.name == record->stage && stage.stage != nullptr)
      record->num_steps = stage.stage->cost().steps.value_or(0);
  }
  const absl::StatusOr<RunSummary> summary = ReadSummary(record->folder);
  if (!summary.ok() || config.stages.empty()) return;
  std::set<std::string> done;
  for (const StageReport& stage : summary->stages) done.insert(stage.name);
  const bool all = std::all_of(config.stages.begin(), config.stages.end(),
                               [&](const ConfiguredStage& stage) { return done.count(stage.name) > 0; });
  if (all) record->state = "finished";
}

bool IsOnThisMachine(const std::string& host) {
  char name[256] = {};
  return ::gethostname(name, sizeof(name) - 1) == 0 && host == name;
}

// Nothing serves the run, and it did not say how it ended.
void GuessState(RunRecord* record) {
  record->state = "lost";
  record->note = "it said no word of an end: `grpoctl run --resume` goes on from its last checkpoint";
  ReadPlan(record);
  if (record->state == "finished") record->note.clear();
  if (record->state == "finished" || record->serves) return;
  if (record->pid == 0) return;
  if (!IsOnThisMachine(record->host)) {
    record->state = "unknown";
    record->note = "it was started on another machine, and nothing serves it: starting, or ended without a word";
  } else if (DescribeProcess(record->pid, "grpoctl").has_value() ||
             DescribeProcess(record->pid, "trainer").has_value()) {
    record->state = "starting";
    record->note = "see `grpoctl logs`";
  }
}

// By the files alone. `submitted` is when its job was, if it has one.
void ReadState(std::optional<fs::file_time_type> locked, std::optional<fs::file_time_type> submitted,
               RunRecord* record) {
  const std::optional<fs::file_time_type> ended = WrittenAt(RunEndPath(record->folder));
  const absl::StatusOr<RunEnd> end = ReadRunEnd(record->folder);
  // Of an empty one any time is later.
  if (submitted > std::max(locked, ended) && !record->serves) {
    record->state = "submitted";
  } else if (end.ok()) {
    record->state = absl::AsciiStrToLower(end->state);
    record->note = end->reason;
    if (end->stage.empty()) return;
    record->stage = end->stage;
    record->step = end->step;
    record->num_steps = end->num_steps;
  } else {
    GuessState(record);
  }
}

}  // namespace

bool IsRunFolder(const std::string& folder) {
  for (const std::string& path : {RunLock::PathIn(folder), JobPath(folder)}) {
    std::error_code error;
    if (fs::exists(path, error) || error == std::errc::permission_denied) return true;
  }
  return false;
}

RunRecord ReadRunRecord(const std::string& folder) {
  RunRecord record{.name = NameOf(folder), .folder = folder};
  std::error_code error;
  const fs::directory_iterator readable(folder, error);
  if (error) {
    record.state = "unreadable";
    record.note = error.message();
    return record;
  }
  const RunHolder holder = RunLock::HolderOf(folder);
  record.host = holder.host;
  record.pid = holder.pid;
  record.run_id = holder.run_id;
  record.serves = fs::exists(RunEndpointPath(folder), error);
  const std::optional<fs::file_time_type> locked = WrittenAt(RunLock::PathIn(folder));
  const std::optional<fs::file_time_type> submitted = WrittenAt(JobPath(folder));
  if (submitted.has_value()) TakeJob(&record);
  if (const std::optional<fs::file_time_type> started = std::max(locked, submitted); started.has_value()) {
    record.started = *started;
    // Another machine's clock may be ahead.
    record.age_seconds =
        std::max(0.0, std::chrono::duration<double>(fs::file_time_type::clock::now() - *started).count());
  }
  ReadMetrics(&record);
  ReadState(locked, submitted, &record);
  return record;
}

}  // namespace grpo
