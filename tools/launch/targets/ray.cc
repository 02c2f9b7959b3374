// Ray: a job whose driver (ray_driver.py, beside it) makes a placement group and one actor for each process. Which
// machine has what Ray decides, so the plan names each by a stand-in ("<host trainer.0>": the trainer's first), which
// the driver replaces; ports and the trainer's address it finds as processes start, by plan.json and by
//
//   ray.json   {"address", "working_dir", "strategy", "stop_within_s", "run_id",
//               "bundles": [{"host", "cpus", "gpus", "memory_bytes"}],     one for each machine's share of a role
//               "processes": {"trainer": {"cpus", "gpus", "memory_bytes"}},
//               "exits": {"alone": {"permanent": "64-66,77-78"}, "with_peers": {...}}}     ClassifyExit
//
// A job's name is that of Ray's submission, with @ADDRESS behind it unless that is "auto".
#include <algorithm>
#include <cmath>
#include <cstdint>
#include <map>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "absl/time/time.h"
#include "common/files.h"
#include "common/rpc/credentials.h"
#include "common/status_macros.h"
#include "nlohmann/json.hpp"
#include "tools/launch/places.h"
#include "tools/launch/restart_rules.h"
#include "tools/launch/run_client.h"
#include "tools/launch/run_plan.h"
#include "tools/launch/target.h"

namespace grpo {
namespace {

using json = nlohmann::ordered_json;

constexpr absl::Duration kClientTimeout = absl::Seconds(30);
// What the driver needs beyond trainer.stop_within_s: its slack for the trainer's own word, and the others' grace.
constexpr int64_t kStopSlackS = 30;
constexpr int64_t kMaxLaunchFileBytes = 1 << 20;
constexpr char kDriver[] = "ray_driver.py", kLaunchFile[] = "ray.json", kAuto[] = "auto";

struct Script {
  const char* name;
  const char* text;
};
// The files *.py beside this one.
constexpr Script kScripts[] = {
#include "tools/launch/ray_scripts.inc"
};

const RoleNeed& NeedOf(const LaunchRequest& request, Role role) {
  if (role == Role::kRewardServer) return request.reward_server;
  return role == Role::kRolloutWorker ? request.rollout_worker : request.trainer;
}

json Resources(const RoleNeed& need, int64_t processes) {
  return {{"cpus", need.cpus * processes},
          {"gpus", need.gpus * processes},
          {"memory_bytes", static_cast<int64_t>(std::ceil(need.memory_gib * (1 << 30))) * processes}};
}

// Everything is on one machine, by addresses that no other reaches.
bool OnLoopback(const RunConfig& config) {
  return rpc::IsLoopback(config.network.host);
}

// Where the processes are: machines of its own for each role, as far as Ray finds them.
struct Placement {
  // Stand-ins, in the order of the bundles; the first is rank 0's.
  std::vector<std::string> hosts;
  std::map<std::string, RoleHosts> places;
  json bundles = json::array();
};

absl::StatusOr<Placement> Place(const LaunchRequest& request) {
  Placement placement;
  for (const RoleCount& role : RolesOf(request.config)) {
    ASSIGN_OR_RETURN(const int64_t per_host, ProcessesPerHost(role));
    const std::string name(RoleName(role.role));
    placement.places[name] = {.first = static_cast<int64_t>(placement.hosts.size()), .per_host = per_host};
    for (int64_t placed = 0; placed < role.count; placed += per_host) {
      placement.hosts.push_back(absl::StrCat("<host ", name, ".", placed / per_host, ">"));
      json bundle = {{"host", placement.hosts.back()}};
      bundle.update(Resources(NeedOf(request, role.role), std::min(per_host, role.count - placed)));
      placement.bundles.push_back(std::move(bundle));
    }
  }
  return placement;
}

// What cannot be, however Ray places it.
absl::Status Check(const RunConfig& config) {
  std::vector<std::string> errors;
  const LaunchOptions& launch = config.launch;
  const auto several = [&](const std::string& key, const std::string& value) {
    errors.push_back(absl::StrCat("network.host is ", config.network.host, ", which other machines do not reach, but ",
                                  key, " is ", value, ": set network.host to 0.0.0.0"));
  };
  if (OnLoopback(config)) {
    for (const RoleCount& role : RolesOf(config)) {
      if (role.options->nodes > 1)
        several(absl::StrCat("launch.", RoleName(role.role), ".nodes"), absl::StrCat(role.options->nodes));
    }
    if (absl::StrContains(launch.ray.strategy, "SPREAD")) several("launch.ray.strategy", launch.ray.strategy);
  } else {
    errors = ShortOfMachines(config.network, /*ranks_apart=*/launch.trainer.nodes > 1 && config.trainer.ranks > 1);
  }
  if (errors.empty()) return absl::OkStatus();
  return absl::InvalidArgumentError(absl::StrJoin(errors, "\n"));
}

absl::StatusOr<RunPlan> MakePlan(const LaunchRequest& request, const Placement& placement) {
  PlanRequest wanted{.run_dir = request.run_dir,
                     .run_id = request.run_id,
                     .programs = request.programs,
                     .hosts = placement.hosts,
                     .resume = request.resume};
  wanted.places = placement.places;
  wanted.allow_other_device = request.allow_other_device;
  // The driver is the parent of all, and finds late what is known late.
  wanted.starters[std::string(RoleName(Role::kTrainer))] = {};
  if (OnLoopback(request.config))
    wanted.addresses = std::vector<std::string>(placement.hosts.size(), request.config.network.host);
  ASSIGN_OR_RETURN(RunPlan plan, MakeRunPlan(request.config, wanted));
  for (PlannedProcess& process : plan.processes) {
    for (Word& variable : process.environment) {
      // Ray shows each actor its own GPUs alone.
      if (request.trainer.gpus > 0 && absl::StartsWith(variable.text, "LOCAL_RANK=")) variable.text = "LOCAL_RANK=0";
    }
  }
  return plan;
}

// "64-66,77-78" by Name(Exit).
std::map<std::string, std::string> ExitRanges(bool has_peers) {
  constexpr int kLastCode = 255;
  std::map<std::string, std::string> ranges;
  for (int first = 0, last = 0; first <= kLastCode; first = last + 1) {
    const Exit exit = ClassifyExit(first, has_peers);
    last = first;
    while (last < kLastCode && ClassifyExit(last + 1, has_peers) == exit) ++last;
    std::string& range = ranges[std::string(Name(exit))];
    absl::StrAppend(&range, range.empty() ? "" : ",", first);
    if (last > first) absl::StrAppend(&range, "-", last);
  }
  return ranges;
}

std::string LaunchJson(const LaunchRequest& request, Placement placement) {
  const RunConfig& config = request.config;
  const RayOptions& options = config.launch.ray;
  json document = {{"run_id", request.run_id},
                   {"run_dir", request.run_dir},
                   {"address", options.address},
                   {"working_dir", options.working_dir},
                   {"strategy", OnLoopback(config) ? "STRICT_PACK" : options.strategy},
                   {"stop_within_s", config.trainer.stop_within_s}};
  document["bundles"] = std::move(placement.bundles);
  for (const RoleCount& role : RolesOf(config)) {
    document["processes"][std::string(RoleName(role.role))] = Resources(NeedOf(request, role.role), 1);
  }
  document["exits"] = {{"alone", ExitRanges(/*has_peers=*/false)}, {"with_peers", ExitRanges(/*has_peers=*/true)}};
  return document.dump(2, ' ', false, json::error_handler_t::replace) + "\n";
}

// What Submit needs of ray.json.
struct Submission {
  std::string address, working_dir, run_id, run_dir;
  double stop_within_s = 0;
};

absl::StatusOr<Submission> ReadSubmission(const std::string& folder) {
  const std::string path = absl::StrCat(folder, "/", kLaunchFile);
  ASSIGN_OR_RETURN(const std::string text, ReadFile(path, kMaxLaunchFileBytes));
  const json document = json::parse(text, nullptr, /*allow_exceptions=*/false);
  const auto has = [&](const char* key, bool number) {
    return document.contains(key) && (number ? document[key].is_number() : document[key].is_string());
  };
  if (!document.is_object() || !has("address", false) || !has("working_dir", false) || !has("run_id", false) ||
      !has("run_dir", false) || !has("stop_within_s", true)) {
    return absl::DataLossError(absl::StrCat(path, " is not what `grpoctl launch` wrote: launch anew"));
  }
  return Submission{.address = document["address"].get<std::string>(),
                    .working_dir = document["working_dir"].get<std::string>(),
                    .run_id = document["run_id"].get<std::string>(),
                    .run_dir = document["run_dir"].get<std::string>(),
                    .stop_within_s = document["stop_within_s"].get<double>()};
}

// A job's name, taken apart.
struct JobName {
  std::string id, address;
};

JobName ParseJob(const std::string& job) {
  const size_t at = job.find('@');
  if (at == std::string::npos) return {job, kAuto};
  return {job.substr(0, at), job.substr(at + 1)};
}

absl::StatusOr<std::string> RunRay(std::vector<std::string> argv) {
  argv.insert(argv.begin(), "ray");
  absl::StatusOr<std::string> output = RunClient(argv, kClientTimeout);
  if (absl::IsNotFound(output.status())) {
    return absl::NotFoundError(absl::StrCat("Ray's client is not on this machine (", output.status().message(),
                                            "): pip install 'ray[default]>=2.52', and have its bin/ in PATH"));
  }
  if (!output.ok() && !absl::IsUnavailable(output.status())) {
    return absl::UnavailableError(
        absl::StrCat("Ray does not take it: ", output.status().message(),
                     "; does it run (`ray status`), and is RAY_AUTH_MODE=token set with its RAY_AUTH_TOKEN_PATH?"));
  }
  return output;
}

// "raysubmit_x" in "Job 'raysubmit_x' submitted successfully".
absl::StatusOr<std::string> SubmittedId(const std::string& output) {
  const std::string kBefore = "Job '", kAfter = "' submitted";
  const size_t end = output.find(kAfter);
  const size_t begin = end == std::string::npos ? end : output.rfind(kBefore, end);
  if (begin == std::string::npos) return absl::UnavailableError(absl::StrCat("Ray names no job: ", output));
  return output.substr(begin + kBefore.size(), end - begin - kBefore.size());
}

class Ray : public LaunchTarget {
 public:
  absl::StatusOr<std::vector<LaunchFile>> Render(const LaunchRequest& request) const override {
    RETURN_IF_ERROR(Check(request.config));
    ASSIGN_OR_RETURN(Placement placement, Place(request));
    ASSIGN_OR_RETURN(const RunPlan plan, MakePlan(request, placement));
    std::vector<LaunchFile> files = {{.name = kLaunchFile, .content = LaunchJson(request, std::move(placement))},
                                     {.name = "plan.json", .content = PlanJson(plan)}};
    for (const Script& script : kScripts) files.push_back({.name = script.name, .content = script.text});
    return files;
  }

  absl::StatusOr<std::string> Submit(const std::string& folder) const override {
    ASSIGN_OR_RETURN(const Submission submission, ReadSubmission(folder));
    // Ray's own patience with a job that is told to stop is 3 s.
    const int64_t stop_wait_s = static_cast<int64_t>(std::ceil(submission.stop_within_s)) + kStopSlackS;
    const json runtime = {{"env_vars", {{"RAY_JOB_STOP_WAIT_TIME_S", absl::StrCat(stop_wait_s)}}}};
    const json metadata = {{"grpo_run_id", submission.run_id}, {"grpo_run_dir", submission.run_dir}};
    std::vector<std::string> argv = {
        "job",          "submit",          "--address",    submission.address, "--no-wait", "--runtime-env-json",
        runtime.dump(), "--metadata-json", metadata.dump()};
    if (!submission.working_dir.empty()) {
      argv.push_back("--working-dir");
      argv.push_back(submission.working_dir);
    }
    for (const std::string& word :
         {std::string("--"), std::string("exec"), std::string("python3"), absl::StrCat(folder, "/", kDriver)})
      argv.push_back(word);
    ASSIGN_OR_RETURN(const std::string output, RunRay(std::move(argv)));
    ASSIGN_OR_RETURN(const std::string id, SubmittedId(output));
    return submission.address == kAuto ? id : absl::StrCat(id, "@", submission.address);
  }

  absl::StatusOr<JobState> State(const std::string& job) const override {
    const JobName name = ParseJob(job);
    ASSIGN_OR_RETURN(const std::string output,
                     RunRay({"list", "jobs", "--address", name.address, "--filter",
                             absl::StrCat("submission_id=", name.id), "--format", "json", "--detail"}));
    // Its words for an empty list, whatever the format.
    if (absl::StrContains(output, "No resource in the cluster")) return Unknown(job);
    const json jobs = json::parse(output, nullptr, /*allow_exceptions=*/false);
    if (!jobs.is_array()) return absl::UnavailableError(absl::StrCat("Ray lists no jobs: ", output));
    if (jobs.empty() || !jobs.front().is_object()) return Unknown(job);
    const json& found = jobs.front();
    const auto text = [](const json& object, const char* key) -> std::string {
      return object.contains(key) && object[key].is_string() ? object[key].get<std::string>() : "";
    };
    JobState state{.word = text(found, "status"), .reason = text(found, "message")};
    state.ended = state.word == "SUCCEEDED" || state.word == "FAILED" || state.word == "STOPPED";
    // The rest of it are the driver's last lines.
    state.reason = state.reason.substr(0, state.reason.find('\n'));
    if (found.contains("metadata") && found["metadata"].is_object())
      state.run_dir = text(found["metadata"], "grpo_run_dir");
    return state;
  }

  absl::Status Stop(const std::string& job) const override {
    ASSIGN_OR_RETURN(const JobState state, State(job));
    if (state.ended) return absl::OkStatus();
    const JobName name = ParseJob(job);
    return RunRay({"job", "stop", "--address", name.address, "--no-wait", name.id}).status();
  }

  std::vector<std::string> Hints(const std::string& job) const override {
    const JobName name = ParseJob(job);
    const std::string there = name.address == kAuto ? "" : absl::StrCat(" --address ", name.address);
    return {absl::StrCat("ray job logs --follow", there, " ", name.id, "  # what the driver says"),
            absl::StrCat("ray job status", there, " ", name.id, "  # whether it runs, or how it ended"),
            absl::StrCat("ray job stop", there, " ", name.id, "  # saves and ends with 75"),
            "ray list placement-groups --detail  # which machine has what, or what it waits for"};
  }

 private:
  static absl::Status Unknown(const std::string& job) {
    return absl::NotFoundError(absl::StrCat("Ray knows no job ", job, ": `ray list jobs` shows those that it knows"));
  }
};

}  // namespace

std::unique_ptr<LaunchTarget> MakeRay() {
  return std::make_unique<Ray>();
}

}  // namespace grpo
