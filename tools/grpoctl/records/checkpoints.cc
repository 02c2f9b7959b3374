#include "tools/grpoctl/records/checkpoints.h"

#include <algorithm>
#include <chrono>
#include <filesystem>

#include "absl/strings/str_cat.h"
#include "common/files.h"
#include "common/status_macros.h"
#include "nlohmann/json.hpp"
#include "tools/grpoctl/text.h"
#include "trainer/checkpoint/state.h"
#include "trainer/checkpoint/store.h"

namespace grpo {
namespace {

namespace fs = std::filesystem;
using nlohmann::json;

constexpr int64_t kMaxStateBytes = 1 << 28;

std::string FolderOf(const std::string& run_dir) {
  return absl::StrCat(run_dir, "/checkpoints");
}

// Nothing is deleted here.
CheckpointStore StoreOf(const std::string& run_dir) {
  return CheckpointStore(FolderOf(run_dir), /*keep=*/2);
}

absl::Status NoneIn(const std::string& run_dir) {
  std::error_code error;
  if (!fs::exists(run_dir, error)) return absl::NotFoundError(absl::StrCat("there is no run folder ", run_dir));
  return absl::NotFoundError(absl::StrCat("there is no checkpoint in ", FolderOf(run_dir),
                                          ": a run saves at the end of each stage, every checkpoint.every_steps steps, "
                                          "and when `grpoctl checkpoint` asks"));
}

CheckpointInfo Describe(const std::string& folder, const std::string& name) {
  CheckpointInfo info{.name = name, .stage = "?"};
  const std::string path = absl::StrCat(folder, "/", name);
  std::error_code error;
  for (const fs::directory_entry& entry : fs::directory_iterator(path, error)) {
    const uintmax_t size = entry.file_size(error);
    if (!error) info.size_bytes += static_cast<int64_t>(size);
  }
  const fs::file_time_type committed = fs::last_write_time(path, error);
  if (!error) info.age_seconds = std::chrono::duration<double>(fs::file_time_type::clock::now() - committed).count();
  const absl::StatusOr<std::string> text = ReadFile(absl::StrCat(path, "/", kStateFile), kMaxStateBytes);
  const absl::StatusOr<CheckpointState> state = text.ok() ? StateFromJson(*text) : text.status();
  if (!state.ok()) return info;
  info.stage = state->stage.empty() ? absl::StrCat("#", state->stage_index + 1) : state->stage;
  info.step = state->progress.step;
  return info;
}

}  // namespace

absl::StatusOr<std::vector<CheckpointInfo>> ListCheckpoints(const std::string& run_dir) {
  const CheckpointStore store = StoreOf(run_dir);
  const absl::StatusOr<std::string> latest = store.Latest();
  std::vector<CheckpointInfo> checkpoints;
  for (const std::string& name : store.List()) {
    checkpoints.push_back(Describe(FolderOf(run_dir), name));
    checkpoints.back().latest = latest.ok() && *latest == name;
  }
  if (checkpoints.empty()) return NoneIn(run_dir);
  return checkpoints;
}

std::string CheckpointsTable(const std::vector<CheckpointInfo>& checkpoints) {
  std::vector<std::vector<std::string>> rows = {{"checkpoint", "stage", "step", "size", "age", ""}};
  for (const CheckpointInfo& info : checkpoints) {
    rows.push_back({info.name, Printable(info.stage), info.step < 0 ? "?" : absl::StrCat(info.step),
                    FormatBytes(static_cast<double>(info.size_bytes)), FormatClock(std::max(0.0, info.age_seconds)),
                    info.latest ? "LATEST" : ""});
  }
  return FormatTable(rows);
}

std::string CheckpointsJson(const std::vector<CheckpointInfo>& checkpoints) {
  json list = json::array();
  for (const CheckpointInfo& info : checkpoints) {
    list.push_back({{"name", info.name},
                    {"stage", Printable(info.stage)},
                    {"step", info.step < 0 ? json(nullptr) : json(info.step)},
                    {"size_bytes", info.size_bytes},
                    {"age_seconds", info.age_seconds},
                    {"latest", info.latest}});
  }
  return list.dump(2) + "\n";
}

absl::StatusOr<std::vector<VerifiedCheckpoint>> VerifyCheckpoints(const std::string& run_dir, const std::string& name) {
  const CheckpointStore store = StoreOf(run_dir);
  const std::vector<std::string> names = store.List();
  const auto is_listed = [](const std::vector<std::string>& list, const std::string& one) {
    return std::find(list.begin(), list.end(), one) != list.end();
  };
  if (names.empty()) return NoneIn(run_dir);
  if (!name.empty() && !is_listed(names, name)) {
    return absl::NotFoundError(
        absl::StrCat("there is no checkpoint ", name, " in ", FolderOf(run_dir), "; `grpoctl ckpt ls` lists them"));
  }
  std::vector<VerifiedCheckpoint> verified;
  for (const std::string& one : names) {
    if (!name.empty() && one != name) continue;
    std::vector<std::string> problems = store.Problems(one);
    // A run that goes on deletes its old checkpoints.
    if (!problems.empty() && !is_listed(store.List(), one)) continue;
    verified.push_back({one, std::move(problems)});
  }
  // Without LATEST the first save was interrupted just before it.
  const absl::Status latest = store.Latest().status();
  if (name.empty() && absl::IsDataLoss(latest)) verified.push_back({"LATEST", {std::string(latest.message())}});
  return verified;
}

bool AllWhole(const std::vector<VerifiedCheckpoint>& verified) {
  return std::all_of(verified.begin(), verified.end(), [](const auto& one) { return one.problems.empty(); });
}

std::string VerifiedTable(const std::vector<VerifiedCheckpoint>& verified) {
  std::vector<std::vector<std::string>> rows = {{"checkpoint", "result"}};
  for (const VerifiedCheckpoint& one : verified) {
    if (one.problems.empty()) rows.push_back({one.name, "whole"});
    for (const std::string& problem : one.problems) rows.push_back({one.name, "BROKEN: " + Printable(problem)});
  }
  return FormatTable(rows);
}

std::string VerifiedJson(const std::vector<VerifiedCheckpoint>& verified) {
  json list = json::array();
  for (const VerifiedCheckpoint& one : verified) {
    json problems = json::array();
    for (const std::string& problem : one.problems) problems.push_back(Printable(problem));
    list.push_back({{"name", one.name}, {"whole", one.problems.empty()}, {"problems", problems}});
  }
  return list.dump(2) + "\n";
}

}  // namespace grpo
