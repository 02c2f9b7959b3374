#include "tools/launch/kubernetes/pods.h"

#include <cmath>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_replace.h"
#include "absl/strings/str_split.h"
#include "common/exit_codes.h"
#include "tools/launch/restart_rules.h"
#include "tools/launch/run_certificates.h"

namespace grpo {
namespace {

using Json = nlohmann::ordered_json;

// What a pod is told as it starts, as a variable. An annotation that is not there is empty: an older JobSet counts no
// restarts of single Jobs.
struct ToldVariable {
  const char* name;
  const char* annotation;
};
constexpr ToldVariable kPodIndex = {"POD_INDEX", "batch.kubernetes.io/job-completion-index"},
                       kJobIndex = {"JOB_INDEX", "jobset.sigs.k8s.io/job-index"},
                       kRestarts = {"RESTARTS", "jobset.sigs.k8s.io/restart-attempt"},
                       kJobRestarts = {"JOB_RESTARTS", "jobset.sigs.k8s.io/job-restart-attempt"};

// Beyond trainer.stop_within_s; alone for what serves or samples, which ends within seconds.
constexpr int64_t kGraceSeconds = 30;

// Starts the ranks of this machine, and ends with what the first of them said that failed, or with success when all have.
// A failure ends the others at once, as on one machine; but a stop is theirs to come to an end with. Bash is in every
// Debian.
constexpr char kRanksScript[] = R"(pids=() stopping='' code=0
trap 'stopping=1; kill -TERM "${pids[@]}" 2>/dev/null' TERM
for ((local = 0; local < RANKS_PER_POD; local++)); do
  rank=$((POD_INDEX * RANKS_PER_POD + local))
  if ((rank < WORLD_SIZE)); then
    RANK=$rank LOCAL_RANK=$local "$@" &
    pids+=($!)
  fi
done
while ((${#pids[@]} > 0)); do
  ended=''
  wait -n -p ended "${pids[@]}"
  status=$?
  # A signal alone ends the wait, too.
  if [[ -z $ended ]]; then continue; fi
  for i in "${!pids[@]}"; do
    if [[ ${pids[i]} == "$ended" ]]; then unset "pids[i]"; fi
  done
  if ((status != 0 && code == 0)); then
    code=$status
    if [[ -z $stopping ]]; then kill -KILL "${pids[@]}" 2>/dev/null; fi
  fi
done
exit "$code"
)";

Json Told(const ToldVariable& variable, const std::string& name) {
  const std::string path = absl::StrCat("metadata.annotations['", variable.annotation, "']");
  return {{"name", name}, {"valueFrom", {{"fieldRef", {{"fieldPath", path}}}}}};
}

Json Given(const std::string& name, const std::string& value) {
  return {{"name", name}, {"value", value}};
}

// Kubernetes reads this as `text`, whatever variables there are.
std::string Literal(const std::string& text) {
  return absl::StrReplaceAll(text, {{"$$", "$$$$"}, {"$(", "$$("}});
}

std::string Variable(const ToldVariable& variable) {
  return absl::StrCat("$(", variable.name, ")");
}

bool IsTrainer(const PodRole& role) {
  return role.role == Role::kTrainer;
}

int64_t ProcessesPerPod(const PodRole& role) {
  return IsTrainer(role) ? role.need.processes_per_node : 1;
}

// One word of the first process's command, as it is in the template of all pods of the role.
std::string Templated(const PodSurroundings& around, const PodRole& role, const PlannedProcess& first,
                      const Word& word) {
  switch (word.late) {
    case Late::kPort:
      return absl::StrCat(word.text, first.port);
    case Late::kAttempt:
      // Only has to grow while the coordinator lives, which starts again when the whole set does.
      return absl::StrCat(word.text, "1", Variable(kRestarts), Variable(kJobRestarts));
    default:
      break;
  }
  if (word.text == around.run_dir + "/config.yaml") return absl::StrCat(kConfigFolder, "/config.yaml");
  if (!IsTrainer(role) && word.text == first.name) return absl::StrCat(role.name, "-", Variable(kJobIndex));
  if (!IsTrainer(role) && word.text == first.host) return PodHost(around.set, role.name, Variable(kJobIndex), "0");
  return Literal(word.text);
}

Json Command(const PodSurroundings& around, const PodRole& role, const PlannedProcess& first) {
  Json command = Json::array();
  if (ProcessesPerPod(role) > 1) command = Json::array({"/bin/bash", "-c", Literal(kRanksScript), "ranks"});
  for (const Word& word : first.argv) command.push_back(Templated(around, role, first, word));
  return command;
}

Json Environment(const PodRole& role, const PlannedProcess& first) {
  Json variables = Json::array();
  for (const ToldVariable& variable : {kJobIndex, kRestarts, kJobRestarts}) {
    if (!IsTrainer(role)) variables.push_back(Told(variable, variable.name));
  }
  const bool one_rank = ProcessesPerPod(role) == 1;
  if (!one_rank) {
    variables.push_back(Told(kPodIndex, kPodIndex.name));
    variables.push_back(Given("RANKS_PER_POD", absl::StrCat(role.need.processes_per_node)));
  }
  for (const Word& word : first.environment) {
    const std::pair<std::string, std::string> parts = absl::StrSplit(word.text, absl::MaxSplits('=', 1));
    const auto& [name, value] = parts;
    if (word.late == Late::kRestarts) {
      variables.push_back(Told(kRestarts, name));
    } else if (name == "RANK") {
      if (one_rank) variables.push_back(Told(kPodIndex, name));
    } else if (name != "LOCAL_RANK" || one_rank) {
      variables.push_back(Given(name, Literal(value)));
    }
  }
  return variables;
}

// Of one pod, asked for and not exceeded.
Json Resources(const PodRole& role) {
  const RoleNeed& need = role.need;
  const int64_t processes = ProcessesPerPod(role);
  Json amounts = {{"cpu", absl::StrCat(need.cpus * processes)}};
  if (need.memory_gib > 0) {
    const double mebibytes = std::ceil(need.memory_gib * 1024 * static_cast<double>(processes));
    amounts["memory"] = absl::StrCat(static_cast<int64_t>(mebibytes), "Mi");
  }
  if (need.gpus > 0) amounts["nvidia.com/gpu"] = absl::StrCat(need.gpus * processes);
  return {{"requests", amounts}, {"limits", amounts}};
}

// Whether a server of the run serves; it asks the pod's own, but for other ranks than the first, of which rank 0 is asked.
Json Health(const PodSurroundings& around, const PodRole& role, const PlannedProcess& first) {
  const std::string host = IsTrainer(role) ? first.host : "127.0.0.1";
  Json command = Json::array(
      {absl::StrCat(kImageHome, "/bin/grpoctl"), "health", "--address", absl::StrCat(host, ":", first.port)});
  NetworkOptions network = around.config.network;
  if (NeedsRunCertificates(network)) network.UseRunCertificates(kTlsFolder, role.tls);
  const rpc::ClientOptions client = network.ClientOptions();
  const std::pair<const char*, std::string> flags[] = {{"--token-file", client.token_file},
                                                       {"--tls-ca", client.tls_ca},
                                                       {"--tls-cert", client.tls_cert},
                                                       {"--tls-key", client.tls_key}};
  for (const auto& [flag, file] : flags) {
    if (file.empty()) continue;
    command.push_back(flag);
    command.push_back(file);
  }
  return {{"exec", {{"command", command}}}, {"periodSeconds", 10}, {"timeoutSeconds", 10}, {"failureThreshold", 6}};
}

// One folder of a pod.
void AddVolume(const std::string& name, const std::string& path, bool read_only, const Json& source, Json* volumes,
               Json* mounts) {
  Json volume = {{"name", name}};
  volume.update(source);
  volumes->push_back(volume);
  Json mount = {{"name", name}, {"mountPath", path}};
  if (read_only) mount["readOnly"] = true;
  mounts->push_back(mount);
}

// Of the run's Secret each role sees what proves it, and whom it believes.
Json TlsItems(const PodSurroundings& around, const PodRole& role) {
  Json items = Json::array();
  for (const std::string& file : around.tls_files) {
    const std::string owner = file.substr(0, file.rfind('.'));
    const bool others = owner != role.tls && (owner == "trainer" || owner == "worker" || owner == "reward_server");
    const Json item = {{"key", file}, {"path", file}};
    if (!others) items.push_back(item);
  }
  return items;
}

// The pod's folders, and where its container sees them.
void AddVolumes(const PodSurroundings& around, const PodRole& role, Json* volumes, Json* mounts) {
  const Json empty = {{"emptyDir", Json::object()}};
  AddVolume("config", kConfigFolder, true, {{"configMap", {{"name", around.set}}}}, volumes, mounts);
  if (!around.tls_files.empty()) {
    // Read by the group, which is the pod's.
    const Json secret = {{"secretName", around.set}, {"defaultMode", 0440}, {"items", TlsItems(around, role)}};
    AddVolume("tls", kTlsFolder, true, {{"secret", secret}}, volumes, mounts);
  }
  AddVolume("tmp", "/tmp", false, empty, volumes, mounts);
  if (!IsTrainer(role)) return;
  AddVolume("runs", kRunsFolder, false, {{"persistentVolumeClaim", {{"claimName", around.claim}}}}, volumes, mounts);
  // NCCL's, between the GPUs of a machine; otherwise it is 64 MiB.
  if (role.need.gpus > 0 || ProcessesPerPod(role) > 1)
    AddVolume("shm", "/dev/shm", false, {{"emptyDir", {{"medium", "Memory"}}}}, volumes, mounts);
}

// A container without any right that it can do without.
Json Container(const PodSurroundings& around, const PodRole& role, const std::string& name, Json command,
               const Json& mounts) {
  return {{"name", name},
          {"image", around.config.launch.kubernetes.image},
          {"command", std::move(command)},
          {"resources", Resources(role)},
          {"securityContext",
           {{"allowPrivilegeEscalation", false},
            {"readOnlyRootFilesystem", true},
            {"capabilities", {{"drop", Json::array({"ALL"})}}}}},
          {"volumeMounts", mounts}};
}

Json Tolerations(const KubernetesOptions& options) {
  Json tolerations = Json::array();
  for (const TolerationOptions& option : options.tolerations) {
    Json toleration = {{"key", option.key}, {"operator", option.op}};
    if (option.op == "Equal") toleration["value"] = option.value;
    if (!option.effect.empty()) toleration["effect"] = option.effect;
    tolerations.push_back(toleration);
  }
  return tolerations;
}

Json PodSpec(const PodSurroundings& around, const PodRole& role, const PlannedProcess& first) {
  const KubernetesOptions& options = around.config.launch.kubernetes;
  Json volumes = Json::array(), mounts = Json::array();
  AddVolumes(around, role, &volumes, &mounts);
  Json container = Container(around, role, role.name, Command(around, role, first), mounts);
  container["env"] = Environment(role, first);
  if (role.role != Role::kRolloutWorker) container["readinessProbe"] = Health(around, role, first);
  // A trainer that does not answer is no reason to lose the steps since its last checkpoint: status says STALLED.
  if (role.role == Role::kRewardServer) container["livenessProbe"] = Health(around, role, first);
  const int64_t stop_s = IsTrainer(role) ? static_cast<int64_t>(std::ceil(around.config.trainer.stop_within_s)) : 0;
  Json spec = {{"restartPolicy", "Never"},
               {"terminationGracePeriodSeconds", stop_s + kGraceSeconds},
               {"automountServiceAccountToken", false},
               {"enableServiceLinks", false},
               {"securityContext",
                {{"runAsNonRoot", true},
                 {"runAsUser", kImageUser},
                 {"runAsGroup", kImageUser},
                 {"fsGroup", kImageUser},
                 {"fsGroupChangePolicy", "OnRootMismatch"},
                 {"seccompProfile", {{"type", "RuntimeDefault"}}}}}};
  if (!options.node_selector.empty()) spec["nodeSelector"] = Json(options.node_selector);
  if (!options.tolerations.empty()) spec["tolerations"] = Tolerations(options);
  if (IsTrainer(role)) {
    // The run folder says what was run, for whoever reads it later.
    Json copy = Json::array(
        {"install", "-D", "-m", "644", absl::StrCat(kConfigFolder, "/config.yaml"), around.run_dir + "/config.yaml"});
    spec["initContainers"] = Json::array({Container(around, role, "run-folder", std::move(copy), mounts)});
  }
  spec["containers"] = Json::array({std::move(container)});
  spec["volumes"] = std::move(volumes);
  return spec;
}

// The codes of common/exit_codes.h after which this role ends the run wherever it runs. Sorted.
Json LastWords(const PodRole& role, bool has_peers) {
  Json codes = Json::array();
  for (const int code : {kExitRunFailed, kExitUsage, kExitData, kExitNoInput, kExitUnavailable, kExitInternal,
                         kExitCannotCreate, kExitIo, kExitNotAllowed, kExitConfig}) {
    const Reaction reaction = ReactionTo(Phase::kRunning, ClassifyExit(code, has_peers), role.role);
    if (reaction == Reaction::kEndRun) codes.push_back(code);
  }
  return codes;
}

}  // namespace

std::string PodHost(const std::string& set, const std::string& role, const std::string& job, const std::string& pod) {
  return absl::StrCat(set, "-", role, "-", job, "-", pod, ".", set);
}

nlohmann::ordered_json ReplicatedJob(const PodSurroundings& around, const PodRole& role, const PlannedProcess& first,
                                     int64_t replicas, int64_t pods) {
  // A pod that was moved away is no failure; it goes on elsewhere.
  const Json disrupted = {{"type", "DisruptionTarget"}, {"status", "True"}};
  const Json moved = {{"action", "Ignore"}, {"onPodConditions", Json::array({disrupted})}};
  const Json codes = LastWords(role, around.config.trainer.ranks > 1);
  const Json over = {{"action", "FailJob"}, {"onExitCodes", {{"operator", "In"}, {"values", codes}}}};
  const Json spec = {{"backoffLimit", 0},
                     {"completionMode", "Indexed"},
                     {"completions", pods},
                     {"parallelism", pods},
                     {"podFailurePolicy", {{"rules", Json::array({moved, over})}}},
                     {"template", {{"spec", PodSpec(around, role, first)}}}};
  return {{"name", role.name}, {"replicas", replicas}, {"template", {{"spec", spec}}}};
}

}  // namespace grpo
