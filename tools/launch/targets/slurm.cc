// Slurm: one batch script. Its batch step, on the allocation's first node, is `grpoctl run`, which starts every process
// of the plan as a step of the allocation by srun and watches over them as on one machine: ports are found there,
// deaths are answered there (restart_rules.h), a stop is a checkpoint and exit code 75, at which the script puts its job
// back into the queue, to go on from there. Seen with Slurm 22.05:
//
//   srun and signals   SIGINT is passed on at once with --disable-status; SIGTERM, SIGHUP and SIGQUIT kill the step, and
//                      srun ends when it is gone; killing srun's process group leaves the step alive
//   srun's exit code   the process's, 128+n after signal n; SLURM_EXIT_ERROR when there is no step; an error number of
//                      Slurm's, above any signal's, when the node does not answer
//   scontrol requeue   of a job that was cancelled would bring it back: only a running one asks for it
#include <algorithm>
#include <cmath>
#include <map>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/ascii.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "absl/strings/str_replace.h"
#include "absl/strings/str_split.h"
#include "common/status_macros.h"
#include "tools/launch/places.h"
#include "tools/launch/run_client.h"
#include "tools/launch/starters.h"
#include "tools/launch/target.h"

namespace grpo {
namespace {

constexpr char kScript[] = "launch.sbatch", kStarters[] = "starters.json";
constexpr absl::Duration kPatience = absl::Seconds(30);
// For `grpoctl run` and the sruns.
constexpr int64_t kSupervisorMib = 512;
constexpr int64_t kSupervisorCpus = 1;

// The batch script after its options, with words between @ for what is known when it is written.
constexpr char kBody[] = R"sh(set -euo pipefail

# A code that no process has: srun itself could not start one.
export SLURM_EXIT_ERROR=222 SLURM_EXIT_IMMEDIATE=222

# SIGTERM, @NOTICE@ s before the time limit or by `scancel --signal=TERM --batch`: save, and go on once queued again.
# SIGUSR1, by `grpoctl stop`: save, and end for good.
asked='' signalled='' run=''
stop() {
  asked=$1 signalled=1
  if [[ -n ${run} ]]; then kill -TERM "${run}" 2>/dev/null || true; fi
}
trap 'stop requeue' TERM
trap 'stop end' USR1

# Where Slurm itself reaches a machine: its name need not resolve.
address_of() { scontrol show node --oneliner "$1" | sed -n 's/.* NodeAddr=\([^ ]*\) .*/\1/p'; }

hosts=() addresses=()
for ((group = 0; group < ${SLURM_HET_SIZE:-1}; ++group)); do
  list=SLURM_JOB_NODELIST_HET_GROUP_${group}
  while read -r host; do
    hosts+=("${host}")
    addresses+=("$(address_of "${host}")")
  done < <(scontrol show hostnames "${!list:-${SLURM_JOB_NODELIST}}")
done
if [[ ${#hosts[@]} -eq 0 ]]; then
  echo "scontrol does not say which machines job ${SLURM_JOB_ID} has" >&2
  exit 1
fi

run_here() {
  code=75
  [[ -z ${asked} ]] || return 0
  (
    IFS=,
    exec @GRPOCTL@ run --resume@OTHER_DEVICE@ --run-dir @RUN_DIR@ \
      --hosts "${hosts[*]}" --addresses "${addresses[*]}" --start-with @STARTERS@
  ) &
  run=$!
  # A signal ends `wait` early, too.
  while true; do
    signalled=''
    code=0
    wait "${run}" || code=$?
    [[ -n ${signalled} ]] || break
  done
  run=''
}

echo "job ${SLURM_JOB_ID}, start $((${SLURM_RESTART_COUNT:-0} + 1)), on ${hosts[*]}"
run_here
# What was lost with a machine may hold the run folder's lock a while longer.
while [[ ${code} -eq 73 && ${SLURM_RESTART_COUNT:-0} -gt 0 && ${SECONDS} -lt 300 && -z ${asked} ]]; do
  sleep 5
  run_here
done

if [[ ${code} -eq 75 && ${asked} != end ]]; then
  # One that was cancelled would come back.
  if scontrol show job --oneliner "${SLURM_JOB_ID}" | grep -q ' JobState=RUNNING '; then
    trap - TERM
    # Slurm ends this script then.
    scontrol requeue "${SLURM_JOB_ID}" && sleep 600
  fi
fi
if [[ ${code} -eq 75 && ${asked} == end ]]; then code=0; fi
exit "${code}"
)sh";

// As sbatch reads the value of an option in a script.
std::string SbatchQuoted(const std::string& value) {
  return absl::StrCat("\"", absl::StrReplaceAll(value, {{"\\", "\\\\"}, {"\"", "\\\""}}), "\"");
}

int64_t MemoryMib(const RoleNeed& need) {
  return static_cast<int64_t>(std::ceil(need.memory_gib * 1024));
}

const RoleNeed& NeedOf(const LaunchRequest& request, Role role) {
  switch (role) {
    case Role::kRolloutWorker:
      return request.rollout_worker;
    case Role::kRewardServer:
      return request.reward_server;
    case Role::kTrainer:
    case Role::kTrainerRank:
      break;
  }
  return request.trainer;
}

// What is asked for of each machine.
struct Share {
  int64_t cpus = 0, gpus = 0, memory_mib = 0;

  void Add(int64_t processes, const RoleNeed& need) {
    cpus += processes * need.cpus;
    gpus += processes * need.gpus;
    memory_mib += processes * MemoryMib(need);
  }
  void Raise(const Share& other) {
    cpus = std::max(cpus, other.cpus);
    gpus = std::max(gpus, other.gpus);
    memory_mib = std::max(memory_mib, other.memory_mib);
  }
};

// Machines of one kind: the whole job, or the component of a heterogeneous one that a role has.
struct Component {
  int64_t nodes = 0;
  Share share;
  std::vector<Role> roles;
};

// Processes of a role on one of so many machines that roles share.
int64_t CountOn(const RoleCount& role, const RoleHosts& place, int64_t host, int64_t num_hosts) {
  const int64_t block = (host - place.first + num_hosts) % num_hosts;
  return std::clamp<int64_t>(role.count - block * place.per_host, 0, place.per_host);
}

absl::StatusOr<std::vector<Component>> ComponentsOf(const LaunchRequest& request) {
  ASSIGN_OR_RETURN(const Places places, PlacesOf(request.config));
  const bool apart = request.config.launch.slurm.heterogeneous;
  std::vector<Component> components;
  if (!apart) components.push_back({.nodes = places.num_hosts, .share = {}, .roles = {}});
  for (const RoleCount& role : RolesOf(request.config)) {
    const RoleHosts& place = places.roles.at(std::string(RoleName(role.role)));
    if (place.per_host == 0) continue;
    if (apart) {
      components.push_back({.nodes = role.Nodes(), .share = {}, .roles = {}});
      components.back().share.Add(place.per_host, NeedOf(request, role.role));
    }
    components.back().roles.push_back(role.role);
  }
  for (int64_t host = 0; !apart && host < places.num_hosts; ++host) {
    Share share;
    for (const RoleCount& role : RolesOf(request.config)) {
      const RoleHosts& place = places.roles.at(std::string(RoleName(role.role)));
      if (place.per_host > 0) share.Add(CountOn(role, place, host, places.num_hosts), NeedOf(request, role.role));
    }
    components[0].share.Raise(share);
  }
  components[0].share.cpus += kSupervisorCpus;
  components[0].share.memory_mib += kSupervisorMib;
  return components;
}

// How srun starts the processes of a role. Steps share their machine's processors and GPUs, as processes of `grpoctl
// run` do: a rank takes GPU number LOCAL_RANK, and ranks of one machine reach each other's memory. Memory is a bound of
// each step.
Starter StarterFor(const LaunchRequest& request, Role role, const Share& share, int64_t group, bool apart) {
  const RoleNeed& need = NeedOf(request, role);
  Starter starter{.argv = {"srun", "--quiet", "--input=none", "--export=ALL", "--disable-status",
                           "--kill-on-bad-exit=0", "--wait=0", "--mpi=none", "--overlap", "--cpu-bind=none"},
                  .stop_signal = SIGINT,
                  .kill_signal = SIGTERM};
  if (apart) starter.argv.push_back(absl::StrCat("--het-group=", group));
  for (const std::string& word : {std::string("--nodes=1"), std::string("--ntasks=1"), std::string("--nodelist={host}"),
                                  std::string("--job-name={name}"), absl::StrCat("--mem=", MemoryMib(need), "M"),
                                  need.gpus > 0 ? absl::StrCat("--gres=gpu:", share.gpus) : std::string("--gres=none")})
    starter.argv.push_back(word);
  const std::string& container = request.config.launch.slurm.container;
  if (!container.empty()) starter.argv.push_back(absl::StrCat("--container=", container));
  return starter;
}

// Options that each component has.
void AddComponentOptions(const SlurmOptions& options, const Component& component, std::vector<std::string>* lines) {
  const auto add = [&](absl::string_view option) { lines->push_back(absl::StrCat("#SBATCH ", option)); };
  add(absl::StrCat("--nodes=", component.nodes));
  add("--ntasks-per-node=1");
  add(absl::StrCat("--cpus-per-task=", component.share.cpus));
  add(absl::StrCat("--mem=", component.share.memory_mib, "M"));
  if (component.share.gpus > 0) add(absl::StrCat("--gres=gpu:", component.share.gpus));
  const std::pair<const char*, const std::string&> given[] = {{"partition", options.partition},
                                                              {"account", options.account},
                                                              {"qos", options.qos},
                                                              {"time", options.time_limit},
                                                              {"constraint", options.constraint}};
  for (const auto& [name, value] : given) {
    if (!value.empty()) add(absl::StrCat("--", name, "=", SbatchQuoted(value)));
  }
}

std::vector<std::string> Header(const LaunchRequest& request, const std::vector<Component>& components) {
  const SlurmOptions& options = request.config.launch.slurm;
  std::vector<std::string> lines = {
      "#!/bin/bash",
      absl::StrCat("# Run ", request.run_id, ". Written by `grpoctl launch`, which submits it with sbatch.")};
  const auto add = [&](absl::string_view option) { lines.push_back(absl::StrCat("#SBATCH ", option)); };
  add(absl::StrCat("--job-name=", request.config.run.name));
  // Where Slurm says that the run is (State).
  add(absl::StrCat("--chdir=", SbatchQuoted(request.run_dir)));
  // %j is Slurm's; a percent sign of the path's own is doubled.
  add(absl::StrCat("--output=", SbatchQuoted(absl::StrCat(absl::StrReplaceAll(request.run_dir, {{"%", "%%"}}),
                                                          "/logs/slurm-%j.log"))));
  add("--open-mode=append");
  add("--requeue");
  // A lost worker costs its leases; what else a lost machine means is for `grpoctl run` to say.
  add("--no-kill");
  add(absl::StrCat("--signal=B:TERM@", options.stop_notice_s));
  for (const std::string& option : options.sbatch) add(option);
  for (size_t i = 0; i < components.size(); ++i) {
    if (i > 0) add("hetjob");
    AddComponentOptions(options, components[i], &lines);
  }
  return lines;
}

// What would be something else in the script than it is meant to be.
std::vector<std::string> WrongTexts(const LaunchRequest& request) {
  const SlurmOptions& options = request.config.launch.slurm;
  std::vector<std::pair<std::string, std::string>> texts = {
      {"--run-dir", request.run_dir},
      {"launch.slurm.partition", options.partition},
      {"launch.slurm.account", options.account},
      {"launch.slurm.qos", options.qos},
      {"launch.slurm.time_limit", options.time_limit},
      {"launch.slurm.constraint", options.constraint},
      {"launch.slurm.container", options.container},
  };
  for (size_t i = 0; i < options.sbatch.size(); ++i)
    texts.emplace_back(absl::StrCat("launch.slurm.sbatch.", i), options.sbatch[i]);
  std::vector<std::string> errors;
  for (const auto& [key, text] : texts) {
    if (std::any_of(text.begin(), text.end(), [](unsigned char c) { return absl::ascii_iscntrl(c); }))
      errors.push_back(absl::StrCat(key, " holds a line break or another control character"));
  }
  for (size_t i = 0; i < options.sbatch.size(); ++i) {
    if (!absl::StartsWith(options.sbatch[i], "-"))
      errors.push_back(absl::StrCat("launch.slurm.sbatch.", i, " (", options.sbatch[i], ") does not begin with -"));
  }
  return errors;
}

// Before the job waits in a queue, only to end at once: what the configuration lacks for machines as it is given.
absl::Status CheckRequest(const LaunchRequest& request) {
  std::vector<std::string> errors = WrongTexts(request);
  const absl::StatusOr<Places> places = PlacesOf(request.config);
  if (!places.ok()) errors.emplace_back(places.status().message());
  if (places.ok() && places->num_hosts > 1) {
    const int64_t ranks_per_host = places->roles.at(std::string(RoleName(Role::kTrainer))).per_host;
    for (std::string& error :
         ShortOfMachines(request.config.network, /*ranks_apart=*/request.config.trainer.ranks > ranks_per_host))
      errors.push_back(std::move(error));
  }
  return errors.empty() ? absl::OkStatus() : absl::InvalidArgumentError(absl::StrJoin(errors, "\n"));
}

// The value of "  Key=value" on a line of `scontrol show job`; `to_line_end`: blanks are the value's own.
std::string FieldOf(absl::string_view shown, absl::string_view key, bool to_line_end = false) {
  for (const absl::string_view line : absl::StrSplit(shown, '\n')) {
    const std::string text = absl::StrCat(" ", absl::StripAsciiWhitespace(line));
    const size_t found = text.find(absl::StrCat(" ", key, "="));
    if (found == std::string::npos) continue;
    const std::string value = text.substr(found + key.size() + 2);
    return to_line_end ? value : value.substr(0, value.find(' '));
  }
  return "";
}

absl::Status CheckJob(const std::string& job) {
  if (!job.empty() && std::all_of(job.begin(), job.end(), [](unsigned char c) { return absl::ascii_isdigit(c); }))
    return absl::OkStatus();
  return absl::InvalidArgumentError(absl::StrCat("--job ", job, " is no number, as squeue shows them"));
}

// RunClient, with what to do where there is no Slurm.
absl::StatusOr<std::string> Ask(const std::vector<std::string>& argv) {
  absl::StatusOr<std::string> said = RunClient(argv, kPatience);
  if (absl::IsNotFound(said.status())) {
    return absl::NotFoundError(absl::StrCat(said.status().message(),
                                            ": call this on a machine that submits to the cluster (Debian's package of "
                                            "Slurm's clients is slurm-client)"));
  }
  return said;
}

class Slurm : public LaunchTarget {
 public:
  absl::StatusOr<std::vector<LaunchFile>> Render(const LaunchRequest& request) const override {
    RETURN_IF_ERROR(CheckRequest(request));
    ASSIGN_OR_RETURN(const std::vector<Component> components, ComponentsOf(request));
    std::map<std::string, Starter> starters;
    for (size_t group = 0; group < components.size(); ++group) {
      for (const Role role : components[group].roles)
        starters[std::string(RoleName(role))] =
            StarterFor(request, role, components[group].share, group, request.config.launch.slurm.heterogeneous);
    }
    const std::string body =
        absl::StrReplaceAll(kBody, {{"@NOTICE@", absl::StrCat(request.config.launch.slurm.stop_notice_s)},
                                    {"@OTHER_DEVICE@", request.allow_other_device ? " --allow-other-device" : ""},
                                    {"@GRPOCTL@", ShellQuoted(request.grpoctl)},
                                    {"@RUN_DIR@", ShellQuoted(request.run_dir)},
                                    {"@STARTERS@", ShellQuoted(absl::StrCat(request.run_dir, "/launch/", kStarters))}});
    return std::vector<LaunchFile>{
        {kScript, absl::StrCat(absl::StrJoin(Header(request, components), "\n"), "\n", body)},
        {kStarters, StartersJson(starters)}};
  }

  absl::StatusOr<std::string> Submit(const std::string& folder) const override {
    ASSIGN_OR_RETURN(const std::string said, Ask({"sbatch", "--parsable", absl::StrCat(folder, "/", kScript)}));
    // "42" or "42;cluster".
    std::string job(absl::StripAsciiWhitespace(said.substr(0, said.find(';'))));
    RETURN_IF_ERROR(CheckJob(job));
    return job;
  }

  absl::StatusOr<JobState> State(const std::string& job) const override {
    RETURN_IF_ERROR(CheckJob(job));
    const absl::StatusOr<std::string> shown = Ask({"scontrol", "show", "job", job});
    if (!shown.ok() && absl::StrContains(shown.status().message(), "Invalid job id")) {
      return absl::NotFoundError(
          absl::StrCat("Slurm does not know job ", job,
                       ", or no more (it forgets jobs some minutes after their end): name the run "
                       "with --run-dir DIR"));
    }
    RETURN_IF_ERROR(shown.status());
    JobState state{.word = FieldOf(*shown, "JobState"), .reason = FieldOf(*shown, "Reason")};
    for (const char* word : {"BOOT_FAIL", "CANCELLED", "COMPLETED", "DEADLINE", "FAILED", "NODE_FAIL", "OUT_OF_MEMORY",
                             "PREEMPTED", "REVOKED", "TIMEOUT"})
      state.ended = state.ended || state.word == word;
    if (state.reason == "None") state.reason.clear();
    state.run_dir = FieldOf(*shown, "WorkDir", /*to_line_end=*/true);
    return state;
  }

  absl::Status Stop(const std::string& job) const override {
    ASSIGN_OR_RETURN(const JobState state, State(job));
    if (state.ended) return absl::OkStatus();
    // The script's own signal, where there is a script.
    if (state.word == "RUNNING") return Ask({"scancel", "--signal=USR1", "--batch", job}).status();
    return Ask({"scancel", job}).status();
  }

  std::vector<std::string> Hints(const std::string& job) const override {
    return {absl::StrCat("squeue --job ", job, "   # where it stands in the queue"),
            absl::StrCat("scontrol show job ", job, "   # all that Slurm knows of it"),
            absl::StrCat("scancel --signal=TERM --batch ", job, "   # save, and go on once it is queued again"),
            absl::StrCat("scancel ", job, "   # end it at once")};
  }
};

}  // namespace

std::unique_ptr<LaunchTarget> MakeSlurm() {
  return std::make_unique<Slurm>();
}

}  // namespace grpo
