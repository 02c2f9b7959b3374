#include "tools/launch/kubernetes/manifest.h"

#include <algorithm>
#include <cmath>
#include <filesystem>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/ascii.h"
#include "absl/strings/escaping.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "absl/strings/str_replace.h"
#include "common/files.h"
#include "common/status_macros.h"
#include "tools/launch/kubernetes/pods.h"
#include "tools/launch/places.h"

namespace grpo {
namespace {

using Json = nlohmann::ordered_json;

// A name of 63 letters at most is left for pods: NAME-rollout-9999-9999-abcde.
constexpr size_t kMaxNameBytes = 38;
// Of a run id, "-01234567", which tells runs of one name apart.
constexpr size_t kTailBytes = 9;

// A pod has a network of its own, so all runs may have the same; below those that systems give out by themselves.
constexpr int64_t kTrainerPort = 7000, kRendezvousPort = 7001, kRewardPort = 7100;

// All that a ConfigMap holds is 1 MiB at most.
constexpr int64_t kMaxCarriedBytes = 512 << 10;

// As `grpoctl run` has it for a role.
constexpr int kMaxRestarts = 10;

// The configuration as the processes in the containers read it.
RunConfig InContainers(const RunConfig& configured) {
  RunConfig config = configured;
  NetworkOptions& network = config.network;
  if (network.trainer_port == 0) network.trainer_port = kTrainerPort;
  if (network.rendezvous_port == 0) network.rendezvous_port = kRendezvousPort;
  if (config.reward_server.port == 0) config.reward_server.port = kRewardPort;
  // A pod has this one beside loopback.
  if (config.trainer.ranks > 1 && config.launch.trainer.nodes > 1 && network.private_interface.empty())
    network.private_interface = "eth0";
  for (std::string* file : {&network.token_file, &network.tls_cert, &network.tls_key, &network.tls_ca}) {
    if (!file->empty()) *file = absl::StrCat(kTlsFolder, "/", std::filesystem::path(*file).filename().string());
  }
  return config;
}

// The run's kinds of pods, in the order in which they start. Without a reward profile the last two are not there.
absl::StatusOr<std::vector<PodRole>> Roles(const LaunchRequest& request, const RunConfig& config) {
  const RoleCount trainer = RolesOf(config).front();
  PodRole ranks = {.name = "trainer", .role = Role::kTrainer, .tls = "trainer", .need = request.trainer};
  ASSIGN_OR_RETURN(ranks.need.processes_per_node, ProcessesPerHost(trainer));
  ranks.need.nodes = NumHostsFor(trainer.count, ranks.need.processes_per_node);
  return std::vector<PodRole>{
      ranks,
      {.name = "reward", .role = Role::kRewardServer, .tls = "reward_server", .need = request.reward_server},
      {.name = "rollout", .role = Role::kRolloutWorker, .tls = "worker", .need = request.rollout_worker}};
}

// Processes of a role, in as many Jobs.
int64_t NumJobs(const RunConfig& config, Role role) {
  if (role == Role::kTrainer) return 1;
  return role == Role::kRewardServer ? config.NumRewardServers() : config.NumWorkers();
}

int64_t NumPods(const PodRole& role) {
  return role.role == Role::kTrainer ? role.need.nodes : 1;
}

// The plan in which every pod is a machine.
absl::StatusOr<RunPlan> PlanOf(const LaunchRequest& request, const PodSurroundings& around,
                               const std::vector<PodRole>& roles) {
  const std::string bin = absl::StrCat(kImageHome, "/bin/");
  PlanRequest plan = {.run_dir = around.run_dir,
                      .run_id = request.run_id,
                      .programs = {.reward_server = bin + "reward_server",
                                   .trainer = bin + "trainer",
                                   .rollout_worker = bin + "rollout_worker"},
                      .tls_dir = kTlsFolder,
                      .resume = true};
  plan.allow_other_device = request.allow_other_device;
  for (const PodRole& role : roles) {
    plan.places[std::string(RoleName(role.role))] = {
        .first = static_cast<int64_t>(plan.hosts.size()),
        .per_host = role.role == Role::kTrainer ? role.need.processes_per_node : 1};
    for (int64_t job = 0; job < NumJobs(around.config, role.role); ++job) {
      for (int64_t pod = 0; pod < NumPods(role); ++pod)
        plan.hosts.push_back(PodHost(around.set, role.name, absl::StrCat(job), absl::StrCat(pod)));
    }
  }
  return MakeRunPlan(around.config, plan);
}

// A file of this machine that travels along in the ConfigMap.
struct CarriedFile {
  // Here.
  std::string path;
  // In the ConfigMap, and so in the containers' folder of the configuration.
  std::string key;
  std::string content;
};

// As a ConfigMap's keys are; its end is the file's, which says what it holds.
std::string CarriedKey(size_t index, const std::string& path) {
  constexpr size_t kMaxNameBytes = 100;
  std::string name = std::filesystem::path(path).filename().string();
  if (name.size() > kMaxNameBytes) name.erase(0, name.size() - kMaxNameBytes);
  for (char& c : name) c = absl::ascii_isalnum(c) || c == '.' || c == '_' ? c : '-';
  return absl::StrCat("file-", index, "-", name);
}

// Small files that only the trainer reads: tokenizers of models that are made at random, and the like. What lies in the
// image or on the claim is there. (Where the file lies here is no place for it there: a container's user may not pass
// through /root.)
std::vector<CarriedFile> CarriedFiles(const RunPlan& plan) {
  std::vector<CarriedFile> files;
  int64_t room = kMaxCarriedBytes;
  for (const std::string& path : plan.processes.front().reads) {
    if (absl::StartsWith(path, absl::StrCat(kImageHome, "/")) || absl::StartsWith(path, absl::StrCat(kRunsFolder, "/")))
      continue;
    // One that stands in the configuration as it is, between quotes.
    const bool plain = std::none_of(path.begin(), path.end(),
                                    [](unsigned char c) { return c == '"' || c == '\\' || c < 0x20 || c == 0x7f; });
    std::error_code error;
    if (!plain || !std::filesystem::is_regular_file(path, error)) continue;
    absl::StatusOr<std::string> content = ReadFile(path, room);
    if (!content.ok()) continue;
    room -= static_cast<int64_t>(content->size());
    files.push_back({.path = path, .key = CarriedKey(files.size(), path), .content = *std::move(content)});
  }
  return files;
}

Json Metadata(const PodSurroundings& around) {
  return {{"name", around.set},
          {"namespace", around.config.launch.kubernetes.namespace_name},
          {"labels", {{"app.kubernetes.io/name", "grpo"}, {"app.kubernetes.io/instance", around.set}}}};
}

Json Document(const PodSurroundings& around, const std::string& version, const std::string& kind) {
  return {{"apiVersion", version}, {"kind", kind}, {"metadata", Metadata(around)}};
}

// What JobSet labels the pods of the set with.
Json PodsOfTheRun(const PodSurroundings& around) {
  return {{"matchLabels", {{"jobset.sigs.k8s.io/jobset-name", around.set}}}};
}

Json Claim(const PodSurroundings& around, const LaunchRequest& request, int64_t num_pods) {
  const KubernetesOptions& options = around.config.launch.kubernetes;
  Json document = Document(around, "v1", "PersistentVolumeClaim");
  const double gib = options.claim_gib > 0 ? options.claim_gib : 2 * request.disk_gib;
  const int64_t mebibytes = std::max<int64_t>(1024, static_cast<int64_t>(std::ceil(gib * 1024)));
  document["spec"] = {// All pods of the trainer mount it.
                      {"accessModes", Json::array({num_pods > 1 ? "ReadWriteMany" : "ReadWriteOnce"})},
                      {"resources", {{"requests", {{"storage", absl::StrCat(mebibytes, "Mi")}}}}}};
  if (!options.storage_class.empty()) document["spec"]["storageClassName"] = options.storage_class;
  return document;
}

// What pods need. Whoever has the authority's key can be anybody, and what controls the run stays with its owner.
std::vector<LaunchFile> ForPods(const std::vector<LaunchFile>& files) {
  std::vector<LaunchFile> chosen;
  for (const LaunchFile& file : files) {
    const std::string owner = file.name.substr(0, file.name.rfind('.'));
    if (file.name != "ca.key" && owner != "operator" && owner != "viewer") chosen.push_back(file);
  }
  return chosen;
}

Json SecretOf(const PodSurroundings& around, const std::vector<LaunchFile>& files) {
  Json document = Document(around, "v1", "Secret");
  document["type"] = "Opaque";
  for (const LaunchFile& file : files) document["stringData"][file.name] = file.content;
  return document;
}

// The configuration as the containers read it, with the files where they find them.
Json ConfigMapOf(const PodSurroundings& around, const std::vector<CarriedFile>& files) {
  Json document = Document(around, "v1", "ConfigMap");
  std::string config = ResolvedYaml(around.config);
  for (const CarriedFile& file : files) {
    const std::string there = absl::StrCat("\"", kConfigFolder, "/", file.key, "\"");
    absl::StrReplaceAll({{absl::StrCat("\"", file.path, "\""), there}}, &config);
    document["binaryData"][file.key] = absl::Base64Escape(file.content);
  }
  document["data"]["config.yaml"] = config;
  return document;
}

Json ServiceOf(const PodSurroundings& around) {
  const int64_t port = around.config.network.trainer_port;
  const Json entry = {{"name", "grpc"}, {"port", port}, {"targetPort", port}};
  Json document = Document(around, "v1", "Service");
  // The set's own name is that of the network, for which JobSet makes a service.
  document["metadata"]["name"] = around.set + "-trainer";
  document["spec"] = {{"selector",
                       {{"jobset.sigs.k8s.io/jobset-name", around.set},
                        {"jobset.sigs.k8s.io/replicatedjob-name", "trainer"},
                        {"batch.kubernetes.io/job-completion-index", "0"}}},
                      {"ports", Json::array({entry})}};
  return document;
}

// Whether something in the run calls a server that is not the run's.
bool CallsOthers(const RunConfig& config) {
  for (const auto& [name, policy] : config.policies) {
    if (policy.endpoint.given()) return true;
  }
  for (const auto& [profile, options] : config.rewards) {
    for (const auto& [name, rule] : options.rules) {
      if ((rule.type.empty() ? name : rule.type) == "remote") return true;
    }
  }
  return false;
}

Json NetworkPolicyOf(const PodSurroundings& around) {
  const Json pods = {{"podSelector", PodsOfTheRun(around)}};
  Json egress = Json::array();
  if (CallsOthers(around.config)) {
    egress.push_back(Json::object());
  } else {
    const Json udp = {{"protocol", "UDP"}, {"port", 53}}, tcp = {{"protocol", "TCP"}, {"port", 53}};
    const Json names = {{"ports", Json::array({udp, tcp})}}, run = {{"to", Json::array({pods})}};
    egress = Json::array({run, names});
  }
  const Json from_run = {{"from", Json::array({pods})}};
  Json document = Document(around, "networking.k8s.io/v1", "NetworkPolicy");
  document["spec"] = {{"podSelector", PodsOfTheRun(around)},
                      {"policyTypes", Json::array({"Ingress", "Egress"})},
                      {"ingress", Json::array({from_run})},
                      {"egress", egress}};
  return document;
}

// What follows when a Job of the set has failed, by role; the first that fits counts.
Json FailureRules(const std::vector<PodRole>& roles) {
  Json members = Json::array();
  for (const PodRole& role : roles) {
    if (role.role != Role::kTrainer) members.push_back(role.name);
  }
  const Json over = {
      {"name", "over"}, {"action", "FailJobSet"}, {"onJobFailureReasons", Json::array({"PodFailurePolicy"})}};
  const Json trainer = {
      {"name", "trainer"}, {"action", "RestartJobSet"}, {"targetReplicatedJobs", Json::array({"trainer"})}};
  if (members.empty()) return Json::array({over, trainer});
  const Json member = {{"name", "member"}, {"action", "RestartJob"}, {"targetReplicatedJobs", members}};
  return Json::array({over, member, trainer});
}

Json JobSetOf(const PodSurroundings& around, const std::vector<PodRole>& roles, const RunPlan& plan) {
  Json jobs = Json::array();
  for (const PodRole& role : roles) {
    const auto first = std::find_if(plan.processes.begin(), plan.processes.end(),
                                    [&](const PlannedProcess& process) { return process.role == role.role; });
    jobs.push_back(ReplicatedJob(around, role, *first, NumJobs(around.config, role.role), NumPods(role)));
  }
  Json document = Document(around, "jobset.x-k8s.io/v1alpha2", "JobSet");
  if (const std::string& queue = around.config.launch.kubernetes.queue; !queue.empty())
    document["metadata"]["labels"]["kueue.x-k8s.io/queue-name"] = queue;
  document["metadata"]["annotations"] = {{"run-dir", around.run_dir}};
  document["spec"] = {
      // Names of pods are known before they are ready: the trainer's ranks look for each other before.
      {"network", {{"enableDNSHostnames", true}, {"subdomain", around.set}, {"publishNotReadyAddresses", true}}},
      {"startupPolicy", {{"startupPolicyOrder", "InOrder"}}},
      {"successPolicy", {{"operator", "All"}, {"targetReplicatedJobs", Json::array({"trainer"})}}},
      {"failurePolicy", {{"maxRestarts", kMaxRestarts}, {"rules", FailureRules(roles)}}},
      {"replicatedJobs", jobs}};
  return document;
}

absl::Status CheckRequest(const RunConfig& config) {
  // The ranks' network is known: InContainers.
  std::vector<std::string> errors = ShortOfMachines(config.network, /*ranks_apart=*/false);
  if (config.launch.kubernetes.image.empty()) {
    errors.emplace_back(
        "launch.kubernetes.image is not set: make an image with deploy/image/build, push it to where the cluster pulls "
        "from, and name it");
  }
  if (errors.empty()) return absl::OkStatus();
  return absl::InvalidArgumentError(absl::StrJoin(errors, "\n"));
}

}  // namespace

std::string KubernetesName(absl::string_view run_id) {
  std::string name;
  for (const char c : run_id) name += absl::ascii_isalnum(c) ? absl::ascii_tolower(c) : '-';
  name.erase(0, name.find_first_not_of('-'));
  if (name.empty() || !absl::ascii_isalpha(name[0])) name = absl::StrCat("run-", name);
  if (name.size() > kMaxNameBytes)
    name = absl::StrCat(name.substr(0, kMaxNameBytes - kTailBytes), name.substr(name.size() - kTailBytes));
  name.erase(name.find_last_not_of('-') + 1);
  return name;
}

absl::StatusOr<std::vector<nlohmann::ordered_json>> KubernetesDocuments(const LaunchRequest& request) {
  RETURN_IF_ERROR(CheckRequest(request.config));
  const RunConfig config = InContainers(request.config);
  PodSurroundings around = {.set = KubernetesName(request.run_id),
                            .config = config,
                            .run_dir = absl::StrCat(kRunsFolder, "/", request.run_id),
                            .claim = config.launch.kubernetes.claim};
  const bool makes_claim = around.claim.empty();
  if (makes_claim) around.claim = around.set;
  const std::vector<LaunchFile> tls = ForPods(request.tls);
  for (const LaunchFile& file : tls) around.tls_files.push_back(file.name);
  ASSIGN_OR_RETURN(std::vector<PodRole> roles, Roles(request, config));
  roles.erase(
      std::remove_if(roles.begin(), roles.end(), [&](const PodRole& role) { return NumJobs(config, role.role) == 0; }),
      roles.end());
  ASSIGN_OR_RETURN(const RunPlan plan, PlanOf(request, around, roles));
  std::vector<Json> documents;
  if (makes_claim) documents.push_back(Claim(around, request, NumPods(roles.front())));
  if (!tls.empty()) documents.push_back(SecretOf(around, tls));
  documents.push_back(ConfigMapOf(around, CarriedFiles(plan)));
  documents.push_back(ServiceOf(around));
  documents.push_back(NetworkPolicyOf(around));
  documents.push_back(JobSetOf(around, roles, plan));
  return documents;
}

}  // namespace grpo
