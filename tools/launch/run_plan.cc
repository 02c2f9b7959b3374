#include "tools/launch/run_plan.h"

#include <algorithm>
#include <set>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "absl/strings/str_replace.h"
#include "common/files.h"
#include "common/rpc/endpoint.h"
#include "common/status_macros.h"
#include "tools/launch/gpus.h"
#include "tools/launch/run_certificates.h"

namespace grpo {
namespace {

constexpr char kTrainerName[] = "trainer";

std::string Value(Late late, const LateValues& values) {
  switch (late) {
    case Late::kNone:
      return "";
    case Late::kAttempt:
      return absl::StrCat(values.attempt);
    case Late::kRestarts:
      return absl::StrCat(values.attempt - 1);
    case Late::kPort:
      return absl::StrCat(values.port);
    case Late::kTrainerAddress:
      return values.trainer_address;
    case Late::kRendezvousPort:
      return absl::StrCat(values.rendezvous_port);
    case Late::kLockFd:
      return absl::StrCat(values.lock_fd);
  }
  return "";
}

// Where the others reach each of the hosts.
const std::vector<std::string>& AddressesOf(const PlanRequest& request) {
  return request.addresses.empty() ? request.hosts : request.addresses;
}

// What is wrong with the hosts themselves.
void CheckNames(const PlanRequest& request, std::vector<std::string>* errors) {
  const std::vector<std::string>& hosts = request.hosts;
  if (std::set<std::string>(hosts.begin(), hosts.end()).size() < hosts.size())
    errors->push_back(absl::StrCat("the hosts ", absl::StrJoin(hosts, ", "), " are not all different"));
  if (AddressesOf(request).size() != hosts.size())
    errors->push_back(absl::StrCat("there are ", hosts.size(), " hosts and ", request.addresses.size(), " addresses"));
}

// What is wrong with the configuration for machines of which none can ask another for its ports.
void CheckPorts(const RunConfig& config, std::vector<std::string>* errors) {
  const NetworkOptions& network = config.network;
  if (network.trainer_port == 0)
    errors->push_back("network.trainer_port is 0, but every machine must know it: choose one, such as 7000");
  if (config.trainer.ranks > 1 && network.rendezvous_port == 0)
    errors->push_back("network.rendezvous_port is 0, but every rank must know it: choose one, such as 7001");
}

// Ranks on each host that has any, but perhaps the last.
int64_t RanksPerHost(const RunConfig& config, const PlanRequest& request) {
  if (request.hosts.empty()) return config.trainer.ranks;
  const auto place = request.places.find(std::string(RoleName(Role::kTrainer)));
  if (place != request.places.end() && place->second.per_host > 0) return place->second.per_host;
  return NumHostsFor(config.trainer.ranks, static_cast<int64_t>(request.hosts.size()));
}

bool RanksShareAHost(const RunConfig& config, const PlanRequest& request) {
  return config.trainer.ranks <= RanksPerHost(config, request);
}

// What is wrong with the configuration for these machines.
absl::Status CheckHosts(const RunConfig& config, const PlanRequest& request) {
  if (request.hosts.empty()) return absl::OkStatus();
  std::vector<std::string> errors;
  CheckNames(request, &errors);
  if (request.starters.empty()) CheckPorts(config, &errors);
  const std::set<std::string> addresses(AddressesOf(request).begin(), AddressesOf(request).end());
  if (addresses.size() > 1) {
    for (std::string& error : ShortOfMachines(config.network, !RanksShareAHost(config, request)))
      errors.push_back(std::move(error));
  }
  if (errors.empty()) return absl::OkStatus();
  return absl::InvalidArgumentError(absl::StrJoin(errors, "\n"));
}

// That there are as many hosts as each role's processes take.
absl::Status CheckPlaces(const RunConfig& config, const PlanRequest& request) {
  for (const RoleCount& role : RolesOf(config)) {
    const auto place = request.places.find(std::string(RoleName(role.role)));
    if (place == request.places.end()) continue;
    const int64_t needed = NumHostsFor(role.count, place->second.per_host);
    if (needed <= static_cast<int64_t>(request.hosts.size())) continue;
    return absl::InvalidArgumentError(absl::StrCat("by launch.", place->first, " its ", role.count, " processes take ",
                                                   needed, " hosts, but there are ", request.hosts.size()));
  }
  return absl::OkStatus();
}

void AddOnce(const std::string& path, std::vector<std::string>* paths) {
  if (!path.empty() && std::find(paths->begin(), paths->end(), path) == paths->end()) paths->push_back(path);
}

class Planner {
 public:
  Planner(const RunConfig& config, const PlanRequest& request)
      : config_(config),
        request_(request),
        local_(request.hosts.empty()),
        late_(local_ || !request.starters.empty()),
        addresses_(AddressesOf(request)) {
    plan_.run_id = request.run_id;
    plan_.run_dir = request.run_dir;
    plan_.hosts = request.hosts;
    if (NeedsRunCertificates(config.network))
      tls_dir_ = request.tls_dir.empty() ? RunCertificateFolder(request.run_dir) : request.tls_dir;
    if (local_)
      plan_.hosts = {config.network.advertise_host.empty() ? config.network.host : config.network.advertise_host};
  }

  RunPlan Make() && {
    for (int64_t rank = 0; rank < config_.trainer.ranks; ++rank) AddRank(rank);
    for (int64_t i = 0; i < config_.NumRewardServers(); ++i) AddRewardServer(i);
    for (int64_t i = 0; i < config_.NumWorkers(); ++i) AddWorker(i);
    const NetworkOptions& network = config_.network;
    plan_.shared = {ConfigPath(), request_.programs.trainer, request_.programs.reward_server,
                    request_.programs.rollout_worker};
    for (const std::string& file : {network.token_file, network.tls_cert, network.tls_key, network.tls_ca, tls_dir_}) {
      if (!file.empty()) plan_.shared.push_back(file);
    }
    // Ranks check what workers use.
    for (const auto& [name, policy] : config_.policies) {
      for (const std::string& file : {policy.endpoint.api_key_file, policy.endpoint.ca_file})
        AddOnce(file, &plan_.shared);
    }
    return std::move(plan_);
  }

 private:
  std::string ConfigPath() const { return absl::StrCat(request_.run_dir, "/config.yaml"); }
  int64_t NumHosts() const { return static_cast<int64_t>(plan_.hosts.size()); }

  RoleHosts Place(Role role) const {
    const auto found = request_.places.find(std::string(RoleName(role)));
    return local_ || found == request_.places.end() ? RoleHosts() : found->second;
  }

  // The host of a role's process number `index`.
  int64_t HostOf(Role role, int64_t index) const {
    const RoleHosts place = Place(role);
    if (place.per_host > 0) return (place.first + index / place.per_host) % NumHosts();
    return role == Role::kTrainer ? index / RanksPerHost(config_, request_) : index % NumHosts();
  }

  Starter StarterOn(Role role, const std::string& name, const std::string& host) const {
    const auto found = request_.starters.find(std::string(RoleName(role)));
    if (local_ || found == request_.starters.end()) return {};
    Starter starter = found->second;
    for (std::string& word : starter.argv) word = absl::StrReplaceAll(word, {{"{host}", host}, {"{name}", name}});
    return starter;
  }

  PlannedProcess Begin(const std::string& name, Role role, int64_t host, const std::string& program) const {
    PlannedProcess process;
    process.name = name;
    process.role = role;
    process.host = plan_.hosts[host];
    process.starter = StarterOn(role, name, process.host);
    process.log_path = absl::StrCat(request_.run_dir, "/logs/", name, ".log");
    process.argv = {{program}, {"--config"}, {ConfigPath()}, {"--run-id"}, {request_.run_id}};
    // Elsewhere a launcher ends what it started.
    if (local_) process.argv.push_back({"--with-parent"});
    return process;
  }

  static void AddFlag(PlannedProcess& process, const std::string& flag, Word value) {
    process.argv.push_back({flag});
    process.argv.push_back(std::move(value));
  }

  // What it takes to prove itself to the others.
  void Identify(PlannedProcess& process) const {
    if (!tls_dir_.empty()) AddFlag(process, "--tls-dir", {tls_dir_});
  }

  void Serve(PlannedProcess& process, int64_t port) const {
    process.port = port;
    AddFlag(process, "--port", {"", Late::kPort});
    if (!local_) AddFlag(process, "--advertise-host", {AddressOf(process.host)});
  }

  std::string AddressOf(const std::string& host) const {
    const auto found = std::find(plan_.hosts.begin(), plan_.hosts.end(), host);
    return addresses_[found - plan_.hosts.begin()];
  }

  Word TrainerAddress() const {
    if (late_) return {"", Late::kTrainerAddress};
    return {absl::StrCat(addresses_[0], ":", config_.network.trainer_port)};
  }

  // Where the ranks meet; those of one host need no network for it.
  std::string Meeting() const { return RanksShareAHost(config_, request_) ? "127.0.0.1" : addresses_[0]; }

  // Also with one rank: what this process was given by a launcher of its own is not meant for the trainer. A rank that
  // was started before goes on from the last commit (trainer/dist/rank_environment.h).
  std::vector<Word> RankEnvironment(int64_t rank) const {
    std::vector<Word> environment = {{absl::StrCat("RANK=", rank)},
                                     {absl::StrCat("LOCAL_RANK=", rank % RanksPerHost(config_, request_))},
                                     {absl::StrCat("WORLD_SIZE=", config_.trainer.ranks)},
                                     {"TORCHELASTIC_RESTART_COUNT=", Late::kRestarts},
                                     {"TORCHELASTIC_USE_AGENT_STORE="},
                                     {absl::StrCat("MASTER_ADDR=", Meeting())}};
    if (config_.trainer.ranks == 1) return environment;
    const int64_t rendezvous_port = config_.network.rendezvous_port;
    environment.push_back(rendezvous_port > 0 ? Word{absl::StrCat("MASTER_PORT=", rendezvous_port)}
                                              : Word{"MASTER_PORT=", Late::kRendezvousPort});
    return environment;
  }

  // What rank 0 has beside the others, who talk to it alone, over c10d.
  void Lead(PlannedProcess& process) const {
    // Whoever executes the plan here holds the run folder; elsewhere rank 0 takes its lock itself.
    if (local_) AddFlag(process, "--lock-fd", {"", Late::kLockFd});
    Identify(process);
    Serve(process, config_.network.trainer_port);
    process.endpoint_path = RunEndpointPath(request_.run_dir);
    process.keeps = {request_.run_dir};
    for (const auto& [name, policy] : config_.policies) {
      for (const std::string& path : {policy.path, policy.random_init.tokenizer}) AddOnce(path, &process.reads);
    }
  }

  void AddRank(int64_t rank) {
    const bool leads = rank == 0;
    PlannedProcess process =
        Begin(leads ? kTrainerName : absl::StrCat(kTrainerName, "-", rank), leads ? Role::kTrainer : Role::kTrainerRank,
              HostOf(Role::kTrainer, rank), request_.programs.trainer);
    AddFlag(process, "--run-dir", {request_.run_dir});
    if (request_.resume) process.argv.push_back({"--resume"});
    if (request_.allow_other_device) process.argv.push_back({"--allow-other-device"});
    if (leads) Lead(process);
    process.environment = RankEnvironment(rank);
    plan_.processes.push_back(std::move(process));
  }

  // What reward servers and workers have in common.
  PlannedProcess BeginMember(const std::string& name, Role role, int64_t index, const std::string& program) const {
    PlannedProcess process = Begin(name, role, HostOf(role, index), program);
    AddFlag(process, "--name", {name});
    AddFlag(process, "--coordinator", TrainerAddress());
    Identify(process);
    process.after = {kTrainerName};
    return process;
  }

  void AddRewardServer(int64_t index) {
    const RewardServerOptions& options = config_.reward_server;
    PlannedProcess process =
        BeginMember(absl::StrCat("reward-", index), Role::kRewardServer, index, request_.programs.reward_server);
    Serve(process, options.port > 0 ? options.port + index : 0);
    if (options.metrics_port > 0) AddFlag(process, "--metrics-port", {absl::StrCat(options.metrics_port + index)});
    // For whoever executes the plan; of others the coordinator knows where they are, and they may see no run folder.
    if (late_) {
      process.endpoint_path = absl::StrCat(request_.run_dir, "/endpoints/", process.name, ".json");
      AddFlag(process, "--endpoint-file", {process.endpoint_path});
    }
    plan_.processes.push_back(std::move(process));
  }

  // Processes of a role with a number below `count` on this host.
  int64_t CountOn(int64_t host, Role role, int64_t count) const {
    int64_t on_host = 0;
    for (int64_t i = 0; i < count; ++i) on_host += HostOf(role, i) == host;
    return on_host;
  }

  // Tells worker number `index` its GPU, where it sees others' too. A starter such as srun says by CUDA_VISIBLE_DEVICES
  // itself which GPUs there are, those of all roles on the machine; others show each process its own alone.
  std::vector<Word> GpuOf(int64_t index, const PlannedProcess& process) const {
    if (config_.rollout_worker.device == "cpu") return {};
    if (local_ && !request_.gpus.empty()) {
      const int64_t num_ranks = config_.trainer.device == "cpu" ? 0 : config_.trainer.ranks;
      const int64_t gpu = GpuOfWorker(index, num_ranks, static_cast<int64_t>(request_.gpus.size()));
      return {{absl::StrCat("CUDA_VISIBLE_DEVICES=", request_.gpus[gpu])}, {"LOCAL_RANK=0"}};
    }
    const int64_t gpus_each = config_.launch.rollout_worker.gpus_per_process;
    if (process.starter.argv.empty() || gpus_each == 0) return {};
    const int64_t host = HostOf(Role::kRolloutWorker, index);
    const int64_t of_ranks =
        CountOn(host, Role::kTrainer, config_.trainer.ranks) * config_.launch.trainer.gpus_per_process;
    return {{absl::StrCat("LOCAL_RANK=", of_ranks + CountOn(host, Role::kRolloutWorker, index) * gpus_each)}};
  }

  void AddWorker(int64_t index) {
    PlannedProcess process =
        BeginMember(absl::StrCat("rollout-", index), Role::kRolloutWorker, index, request_.programs.rollout_worker);
    AddFlag(process, "--attempt", {"", Late::kAttempt});
    process.environment = GpuOf(index, process);
    const auto is_endpoint = [](const auto& named) { return named.second.endpoint.given(); };
    // What an endpoint has answered is paid for; whichever worker asks next finds it there.
    if (std::any_of(config_.policies.begin(), config_.policies.end(), is_endpoint))
      process.keeps = {absl::StrCat(request_.run_dir, "/answers")};
    plan_.processes.push_back(std::move(process));
  }

  const RunConfig& config_;
  const PlanRequest& request_;
  // All of it on this machine.
  const bool local_;
  // Executed here, rather than rendered for other machines: ports are found late.
  const bool late_;
  // Of the hosts that were given.
  const std::vector<std::string>& addresses_;
  // Empty where the run has no certificates of its own.
  std::string tls_dir_;
  RunPlan plan_;
};

}  // namespace

std::vector<std::string> Fill(const std::vector<Word>& words, const LateValues& values) {
  std::vector<std::string> filled;
  for (const Word& word : words) filled.push_back(absl::StrCat(word.text, Value(word.late, values)));
  return filled;
}

absl::StatusOr<RunPlan> MakeRunPlan(const RunConfig& config, const PlanRequest& request) {
  RETURN_IF_ERROR(CheckHosts(config, request));
  if (!request.hosts.empty()) RETURN_IF_ERROR(CheckPlaces(config, request));
  RETURN_IF_ERROR(CheckUtf8Path("--run-dir", request.run_dir));
  return Planner(config, request).Make();
}

}  // namespace grpo
