#include "trainer/resume.h"

#include <ATen/Parallel.h>
#include <ATen/Version.h>
#include <torch/headeronly/version.h>

#include <memory>
#include <utility>

#include "absl/strings/str_cat.h"
#include "common/log.h"
#include "common/sha256.h"
#include "common/status_macros.h"
#include "common/version.h"
#include "configs/load.h"
#include "model/device.h"
#include "trainer/checkpoint/store.h"
#include "trainer/preflight.h"

namespace grpo {
namespace {

// Of all that decides what is learned: `launch` says where, and may change before a run goes on.
std::string RunHash(RunConfig config) {
  config.launch = {};
  return Sha256Hex(ResolvedYaml(config));
}

// A build with more keys than the one that saved resolves the same configuration to another text, so the saved one is
// resolved again before the two are said to differ.
absl::Status CheckConfig(const std::string& folder, const Snapshot& snapshot, const LoadedConfig& config) {
  if (snapshot.resolved_yaml == config.resolved_yaml) return absl::OkStatus();
  const absl::StatusOr<LoadedConfig> saved = LoadRunConfig(absl::StrCat(folder, "/", kConfigFile));
  const std::string saved_hash = saved.ok() ? RunHash(saved->config) : "unknown", hash = RunHash(config.config);
  if (saved_hash == hash) return absl::OkStatus();
  return absl::InvalidArgumentError(
      absl::StrCat("the checkpoint ", folder, " was saved under another configuration than the one given (SHA-256 ",
                   saved_hash, ", now ", hash, "); resume with the run folder's own config.yaml"));
}

// Kinds of devices differ by more than last bits: other kernels, other sums, so soon other samples.
absl::Status CheckDevice(const std::string& name, const Environment& saved, const Environment& now) {
  const std::string was = DeviceOf(saved), is = DeviceOf(now);
  if (was == is) return absl::OkStatus();
  return absl::FailedPreconditionError(
      absl::StrCat("the checkpoint ", name, " was saved on ", was, ", and the trainer now computes on ", is,
                   ", which rounds otherwise: go on where there is ", was,
                   ", or take this device from here on with `grpoctl run --resume --allow-other-device`"));
}

// Key -> the first stage that has read the entry, of the stages up to the one that goes on.
std::map<std::string, std::string> ReadUpTo(const CheckpointState& state, const RunConfig& config) {
  std::map<std::string, std::string> read_by;
  for (int64_t i = 0; i <= state.stage_index && i < static_cast<int64_t>(config.stages.size()); ++i) {
    for (const std::string& data : DataReadBy(config, config.stages[i])) read_by.emplace(data, config.stages[i].name);
  }
  return read_by;
}

absl::Status Refused(const DataChange& change, const LoadedConfig& config) {
  const auto data = config.config.data.find(change.data);
  const std::string path =
      data == config.config.data.end() ? "" : SectionText(data->second.options, "path").value_or("");
  // What matters first: grpoctl cuts long lines, and a path may be long.
  return absl::DataLossError(absl::StrCat("data.", change.data, " has changed since stage ", change.read_by,
                                          " read it: SHA-256 ", change.old_sha256, ", now ",
                                          change.new_sha256.empty() ? "unknown" : change.new_sha256,
                                          "; put the old content back, or take another --run-dir DIR (", path, ")"));
}

}  // namespace

Environment CurrentEnvironment(int64_t world_size, c10::Device device, bool deterministic) {
  return {.build = absl::StrCat(kBuild, " with LibTorch ", TORCH_VERSION),
          .world_size = world_size,
          .threads = at::get_num_threads(),
          .cpu_capability = at::get_cpu_capability(),
          .device = DeviceName(device),
          .device_model = DeviceModel(device),
          .deterministic = deterministic};
}

absl::StatusOr<std::optional<Snapshot>> LoadCheckpoint(const std::string& run_dir, const LoadedConfig& config,
                                                       const Environment& now, bool allow_other_device) {
  const std::string folder = absl::StrCat(run_dir, "/checkpoints");
  const CheckpointStore store(folder, config.config.checkpoint.keep);
  ASSIGN_OR_RETURN(std::optional<CheckpointStore::Loaded> newest, store.LoadNewest());
  if (!newest) return std::nullopt;
  const auto loaded = std::make_shared<const CheckpointStore::Loaded>(*std::move(newest));
  absl::StatusOr<Snapshot> snapshot = SnapshotFromFiles(loaded);
  if (!snapshot.ok()) return Annotate(snapshot.status(), absl::StrCat(folder, "/", loaded->name));
  RETURN_IF_ERROR(CheckConfig(absl::StrCat(folder, "/", loaded->name), *snapshot, config));
  if (snapshot->state.stage_index > static_cast<int64_t>(config.config.stages.size())) {
    return absl::DataLossError(absl::StrCat("the checkpoint ", loaded->name, " goes on at stage ",
                                            snapshot->state.stage_index, ", which does not exist"));
  }
  if (!allow_other_device) RETURN_IF_ERROR(CheckDevice(loaded->name, snapshot->state.environment, now));
  if (const std::string differences = Differences(snapshot->state.environment, now); !differences.empty()) {
    spdlog::error(
        "NOT BITWISE: from here on results may differ in their last bits from those of a run that was never "
        "interrupted, since {} was saved under other circumstances: {}",
        loaded->name, differences);
  }
  spdlog::info("resuming from {}", loaded->name);
  return std::optional<Snapshot>(*std::move(snapshot));
}

absl::StatusOr<DataRecord> OpenDataRecord(const std::string& run_dir, const LoadedConfig& config, bool resume,
                                          const CheckpointState* state) {
  const std::string path = absl::StrCat(run_dir, "/data.json");
  DataRecord record(path, config.data_sha256);
  if (resume) {
    ASSIGN_OR_RETURN(std::optional<DataRecord> known, DataRecord::Read(path));
    if (known.has_value()) {
      record = *std::move(known);
    } else if (state != nullptr) {
      record = DataRecord(path, state->data_sha256, ReadUpTo(*state, config.config));
    }
  }
  const std::vector<DataChange> changes = record.Changes(config.data_sha256);
  std::vector<absl::Status> errors;
  for (const DataChange& change : changes) {
    if (!change.read_by.empty()) errors.push_back(Refused(change, config));
  }
  RETURN_IF_ERROR(JoinErrors(errors));
  for (const DataChange& change : changes) {
    spdlog::warn("data.{} HAS CHANGED and is taken, since no stage has read it: its SHA-256 was {}, now it is {}",
                 change.data, change.old_sha256, change.new_sha256);
  }
  record.Take(changes);
  RETURN_IF_ERROR(record.Write());
  return record;
}

}  // namespace grpo
