#include "tools/grpoctl/client/run_list.h"

#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cmath>
#include <filesystem>
#include <system_error>

#include "absl/strings/ascii.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "common/files.h"
#include "common/parallel.h"
#include "common/rpc/endpoint.h"
#include "common/status_macros.h"
#include "nlohmann/json.hpp"
#include "tools/grpoctl/client/connection.h"
#include "tools/grpoctl/client/process_state.h"
#include "tools/grpoctl/text.h"
#include "trainer/status/run_state.h"

namespace grpo {
namespace {

namespace fs = std::filesystem;
using nlohmann::ordered_json;

// All trainers together get so many deadlines.
constexpr int kDeadlinesInAll = 10;
// Of what is noted beside a run in the table; JSON has all of it.
constexpr int kMaxNoteBytes = 100;

// Whoever wrote the file says where this user's token goes, and to whom.
bool IsTrusted(const std::string& endpoint_path) {
  struct stat info = {};
  if (::lstat(endpoint_path.c_str(), &info) != 0) return false;
  return info.st_uid == ::geteuid() || info.st_uid == 0;
}

// One that does not answer: gone for certain only where its process would be seen.
void NoAnswer(const TrainerConnection& connection, RunRecord* record) {
  char host[256] = {};
  const bool here = ::gethostname(host, sizeof(host) - 1) == 0 && record->host == host;
  const std::optional<std::string> state = DescribeProcess(connection.pid, "trainer");
  // GuessState has said what follows from that, or the run's end was written down.
  if (here && !state.has_value()) return;
  record->state = "no answer";
  record->note = here ? absl::StrCat("its process ", connection.pid, " ", *state)
                      : absl::StrCat("its trainer at ", connection.client->address(), " does not answer");
}

void AskTrainer(absl::Duration deadline, RunRecord* record) {
  ConnectionFlags flags;
  flags.run_dir = record->folder;
  flags.deadline_s = absl::ToDoubleSeconds(deadline);
  const absl::StatusOr<TrainerConnection> connection = TrainerConnection::Open(flags);
  if (absl::IsUnavailable(connection.status())) {
    // It has ended meanwhile.
    *record = ReadRunRecord(record->folder);
    return;
  }
  if (!connection.ok()) {
    record->state = "no answer";
    record->note = std::string(connection.status().message());
    return;
  }
  const auto status = connection->Call(&v1::TrainerService::Stub::GetStatus, v1::GetStatusRequest());
  if (status.ok()) {
    TakeStatus(*status, record);
  } else if (absl::IsUnavailable(status.status())) {
    NoAnswer(*connection, record);
  } else {
    const bool refused = absl::IsUnauthenticated(status.status()) || absl::IsPermissionDenied(status.status());
    record->state = refused ? "no access" : "no answer";
    record->note = std::string(status.status().message());
  }
}

// Reads the run's files, and asks its trainer where there may be one.
RunRecord Look(const std::string& folder, const RunListOptions& options, bool may_ask) {
  RunRecord record = ReadRunRecord(folder);
  if (!record.serves) return record;
  if (may_ask && IsTrusted(RunEndpointPath(folder))) {
    AskTrainer(options.deadline, &record);
    return record;
  }
  record.state = "not asked";
  record.note = may_ask ? "its endpoint.json is another user's: `grpoctl status --run-dir` asks"
                        : "too many others do not answer: `grpoctl status --run-dir` asks";
  return record;
}

// Folders of runs; `others` gets the names of those that are none.
absl::StatusOr<std::vector<std::string>> FindRuns(const std::string& folder, std::vector<std::string>* others) {
  std::vector<std::string> folders;
  if (IsRunFolder(folder)) return std::vector<std::string>{folder};
  std::error_code error;
  fs::directory_iterator entry(folder, error);
  if (error == std::errc::no_such_file_or_directory)
    return absl::NotFoundError(absl::StrCat("there is no folder ", folder, ": name one, as in `grpoctl runs DIR`"));
  for (const fs::directory_iterator end; !error && entry != end; entry.increment(error)) {
    std::error_code unknown;
    if (IsRunFolder(entry->path().string())) {
      folders.push_back(entry->path().string());
    } else if (entry->is_directory(unknown)) {
      others->push_back(entry->path().filename().string());
    }
  }
  if (error) return ErrnoStatus(error.value(), "list the runs in", folder);
  return folders;
}

std::string Step(const RunRecord& run) {
  if (run.step < 0) return "-";
  return run.num_steps > 0 ? absl::StrFormat("%d/%d", run.step, run.num_steps) : absl::StrCat(run.step);
}

// "12 s", "5 min", "3 h", "2 d".
std::string Age(const std::optional<double>& seconds) {
  if (!seconds.has_value()) return "-";
  const auto whole = static_cast<int64_t>(std::min(*seconds, 1e12));
  if (whole < 60) return absl::StrCat(whole, " s");
  if (whole < 3600) return absl::StrCat(whole / 60, " min");
  if (whole < 48 * 3600) return absl::StrCat(whole / 3600, " h");
  return absl::StrCat(whole / (24 * 3600), " d");
}

std::string StateText(const RunRecord& run) {
  return run.state == "submitted" && !run.job.empty() ? absl::StrCat("submitted (", run.job, ")") : run.state;
}

std::string OrDash(const std::string& text) {
  return text.empty() ? "-" : Printable(text);
}

// Null for an empty text.
ordered_json TextOrNull(const std::string& text) {
  return text.empty() ? ordered_json(nullptr) : ordered_json(text);
}

ordered_json NumberOrNull(const std::optional<double>& number) {
  return number.has_value() && std::isfinite(*number) ? ordered_json(*number) : ordered_json(nullptr);
}

}  // namespace

void TakeStatus(const v1::RunStatus& status, RunRecord* record) {
  record->state = absl::AsciiStrToLower(StateName(status.state()));
  record->note = status.state_reason();
  if (!status.run_id().empty()) record->run_id = status.run_id();
  if (status.stage_index() < 0 || status.stage_index() >= status.stages_size()) return;
  const v1::StageStatus& stage = status.stages(status.stage_index());
  record->stage = stage.name();
  record->step = stage.step();
  record->num_steps = stage.num_steps();
  const auto reward = stage.metrics().find("reward");
  if (reward != stage.metrics().end()) record->reward = reward->second;
}

absl::StatusOr<RunList> ListRuns(const std::string& folder, const RunListOptions& options, const Clock& clock) {
  RunList list;
  ASSIGN_OR_RETURN(const std::vector<std::string> folders, FindRuns(folder, &list.others));
  list.runs.resize(folders.size());
  const absl::Duration ask_until = clock.Now() + kDeadlinesInAll * options.deadline;
  RETURN_IF_ERROR(RunParallel(options.num_threads, static_cast<int64_t>(folders.size()), [&](int64_t i) {
    list.runs[i] = Look(folders[i], options, clock.Now() < ask_until);
    return absl::OkStatus();
  }));
  std::sort(list.runs.begin(), list.runs.end(), [](const RunRecord& a, const RunRecord& b) {
    return a.started != b.started ? a.started > b.started : a.name < b.name;
  });
  std::sort(list.others.begin(), list.others.end());
  return list;
}

std::string RunsTable(const std::vector<RunRecord>& runs) {
  std::vector<std::vector<std::string>> rows = {{"run", "state", "stage", "step", "reward", "age", "host", ""}};
  for (const RunRecord& run : runs) {
    rows.push_back({Printable(run.name), Printable(StateText(run)), OrDash(run.stage), Step(run),
                    run.reward.has_value() ? FormatNumber(*run.reward) : "-", Age(run.age_seconds), OrDash(run.host),
                    Truncated(Printable(run.note), kMaxNoteBytes)});
  }
  return FormatTable(rows);
}

std::string RunsJson(const std::vector<RunRecord>& runs) {
  ordered_json list = ordered_json::array();
  for (const RunRecord& run : runs) {
    list.push_back({{"run", run.name},
                    {"folder", run.folder},
                    {"run_id", TextOrNull(run.run_id)},
                    {"state", run.state},
                    {"note", TextOrNull(run.note)},
                    {"stage", TextOrNull(run.stage)},
                    {"step", run.step < 0 ? ordered_json(nullptr) : ordered_json(run.step)},
                    {"num_steps", run.num_steps > 0 ? ordered_json(run.num_steps) : ordered_json(nullptr)},
                    {"reward", NumberOrNull(run.reward)},
                    {"age_seconds", NumberOrNull(run.age_seconds)},
                    {"host", TextOrNull(run.host)},
                    {"pid", run.pid > 0 ? ordered_json(run.pid) : ordered_json(nullptr)},
                    {"job", TextOrNull(run.job)}});
  }
  return list.dump(2, ' ', /*ensure_ascii=*/true, ordered_json::error_handler_t::replace) + "\n";
}

}  // namespace grpo
