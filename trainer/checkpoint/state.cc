#include "trainer/checkpoint/state.h"

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"

namespace grpo {
namespace {

using nlohmann::json;

// What is written; kOldestFormat and all that follow are read.
constexpr int kFormat = 2, kOldestFormat = 1;

void AddDifference(std::vector<std::string>& differences, absl::string_view what, const std::string& saved,
                   const std::string& now) {
  if (saved != now) differences.push_back(absl::StrCat(what, " ", saved, ", now ", now));
}

Environment EnvironmentFrom(const json& state) {
  const json environment = state.value("environment", json::object());
  return {.build = environment.value("build", ""),
          .world_size = environment.value("world_size", int64_t{0}),
          .threads = environment.value("threads", int64_t{0}),
          .cpu_capability = environment.value("cpu_capability", ""),
          .device = environment.value("device", ""),
          .device_model = environment.value("device_model", ""),
          .deterministic = environment.value("deterministic", true)};
}

json ToJson(const Environment& environment) {
  json text = {{"build", environment.build},
               {"world_size", environment.world_size},
               {"threads", environment.threads},
               {"cpu_capability", environment.cpu_capability}};
  // A run on the CPU is written as it was before there were devices.
  if (DeviceOf(environment) == "cpu") return text;
  text["device"] = environment.device;
  text["device_model"] = environment.device_model;
  text["deterministic"] = environment.deterministic;
  return text;
}

}  // namespace

std::string DeviceOf(const Environment& environment) {
  return environment.device.empty() ? "cpu" : environment.device;
}

std::string Differences(const Environment& saved, const Environment& now) {
  std::vector<std::string> differences;
  if (!saved.build.empty()) AddDifference(differences, "build", saved.build, now.build);
  if (saved.world_size > 0)
    AddDifference(differences, "world size", absl::StrCat(saved.world_size), absl::StrCat(now.world_size));
  if (saved.threads > 0) AddDifference(differences, "threads", absl::StrCat(saved.threads), absl::StrCat(now.threads));
  if (!saved.cpu_capability.empty())
    AddDifference(differences, "CPU capability", saved.cpu_capability, now.cpu_capability);
  AddDifference(differences, "device", DeviceOf(saved), DeviceOf(now));
  if (!saved.device_model.empty()) AddDifference(differences, "device model", saved.device_model, now.device_model);
  if (DeviceOf(saved) != "cpu" && DeviceOf(now) != "cpu" && !(saved.deterministic && now.deterministic))
    differences.emplace_back("trainer.deterministic false");
  return absl::StrJoin(differences, "; ");
}

std::string StateToJson(const CheckpointState& state) {
  json frozen = json::array();
  for (const UntrainedPolicy& policy : state.frozen_policies)
    frozen.push_back({{"policy", policy.id}, {"digest", policy.digest}, {"source", policy.source}});
  json text = {{"format", kFormat},
               {"run_id", state.run_id},
               {"epoch", state.epoch},
               {"sequence", state.sequence},
               {"stage_index", state.stage_index},
               {"stage", state.stage},
               {"step", state.progress.step},
               {"data_position", state.progress.data_position},
               {"stage_seconds", state.progress.seconds},
               {"optimizer_steps", state.progress.optimizer_steps},
               {"policies", state.policy_ids},
               {"frozen_policies", frozen},
               {"stage_reports", state.stage_reports},
               {"config_sha256", state.config_sha256},
               {"data_sha256", state.data_sha256},
               {"environment", ToJson(state.environment)}};
  if (!state.progress.largest.empty()) text["largest"] = state.progress.largest;
  return text.dump(1, ' ', false, json::error_handler_t::replace) + "\n";
}

// nlohmann's at(), get() and value() throw on a missing key or another type; this is where that ends.
absl::StatusOr<CheckpointState> StateFromJson(absl::string_view text) {
  try {
    const json state = json::parse(text.begin(), text.end());
    const json& format = state.at("format");
    if (!format.is_number_integer() || format < kOldestFormat || format > kFormat) {
      return absl::DataLossError(absl::StrCat(kStateFile, " has format ", format.dump(), "; this build reads formats ",
                                              kOldestFormat, " to ", kFormat));
    }
    CheckpointState read;
    read.run_id = state.at("run_id").get<std::string>();
    read.epoch = state.at("epoch").get<int64_t>();
    read.sequence = state.at("sequence").get<int64_t>();
    read.stage_index = state.at("stage_index").get<int64_t>();
    read.stage = state.value("stage", "");
    read.progress = {.step = state.at("step").get<int64_t>(),
                     .data_position = state.at("data_position").get<int64_t>(),
                     .seconds = state.at("stage_seconds").get<double>(),
                     .optimizer_steps = state.at("optimizer_steps").get<int64_t>(),
                     .largest = state.value("largest", std::map<std::string, double>())};
    read.policy_ids = state.at("policies").get<std::vector<std::string>>();
    for (const json& frozen : state.value("frozen_policies", json::array())) {
      read.frozen_policies.push_back({.id = frozen.at("policy").get<std::string>(),
                                      .digest = frozen.at("digest").get<std::string>(),
                                      .source = frozen.at("source").get<std::string>()});
    }
    read.stage_reports = state.at("stage_reports");
    read.config_sha256 = state.value("config_sha256", "");
    read.data_sha256 = state.value("data_sha256", std::map<std::string, std::string>());
    read.environment = EnvironmentFrom(state);
    return read;
  } catch (const json::exception& error) {
    return absl::DataLossError(absl::StrCat(kStateFile, ": ", error.what()));
  }
}

}  // namespace grpo
