#include "tools/launch/run_plan.h"

#include <algorithm>
#include <set>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "absl/strings/str_replace.h"
#include "common/files.h"
#include "common/rpc/credentials.h"
#include "common/rpc/endpoint.h"
#include "common/status_macros.h"

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

// What is wrong with the configuration for these machines.
absl::Status CheckHosts(const RunConfig& config, const PlanRequest& request) {
  if (request.hosts.empty()) return absl::OkStatus();
  const NetworkOptions& network = config.network;
  std::vector<std::string> errors;
  CheckNames(request, &errors);
  if (request.starters.empty()) CheckPorts(config, &errors);
  const std::set<std::string> addresses(AddressesOf(request).begin(), AddressesOf(request).end());
  if (addresses.size() > 1 && rpc::IsLoopback(network.host))
    errors.push_back(
        absl::StrCat("network.host is ", network.host, ", which other machines do not reach: set 0.0.0.0, with TLS"));
  if (addresses.size() > 1 && config.trainer.ranks > 1 && network.private_interface.empty())
    errors.push_back(
        "network.private_interface is not set, but the trainer's ranks are on several machines: name a network that "
        "is theirs alone");
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
    for (const std::string& file : {network.token_file, network.tls_cert, network.tls_key, network.tls_ca}) {
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
  int64_t RanksPerHost() const {
    const int64_t per_host = Place(Role::kTrainer).per_host;
    return per_host > 0 ? per_host : (config_.trainer.ranks + NumHosts() - 1) / NumHosts();
  }

  RoleHosts Place(Role role) const {
    const auto found = request_.places.find(std::string(RoleName(role)));
    return local_ || found == request_.places.end() ? RoleHosts() : found->second;
  }

  // The host of a role's process number `index`.
  int64_t HostOf(Role role, int64_t index) const {
    const RoleHosts place = Place(role);
    if (place.per_host > 0) return (place.first + index / place.per_host) % NumHosts();
    return role == Role::kTrainer ? index / RanksPerHost() : index % NumHosts();
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

  void AddRank(int64_t rank) {
    const bool leads = rank == 0;
    const int64_t host = HostOf(Role::kTrainer, rank);
    PlannedProcess process = Begin(leads ? kTrainerName : absl::StrCat(kTrainerName, "-", rank),
                                   leads ? Role::kTrainer : Role::kTrainerRank, host, request_.programs.trainer);
    AddFlag(process, "--run-dir", {request_.run_dir});
    if (request_.resume) process.argv.push_back({"--resume"});
    // Whoever executes the plan here holds the run folder; elsewhere rank 0 takes its lock itself.
    if (leads && local_) AddFlag(process, "--lock-fd", {"", Late::kLockFd});
    if (leads) {
      Serve(process, config_.network.trainer_port);
      process.endpoint_path = RunEndpointPath(request_.run_dir);
      process.keeps = {request_.run_dir};
      for (const auto& [name, policy] : config_.policies) {
        for (const std::string& path : {policy.path, policy.random_init.tokenizer}) AddOnce(path, &process.reads);
      }
    }
    // Also with one rank: what this process was given by a launcher of its own is not meant for the trainer. A rank that
    // was started before goes on from the last commit (trainer/dist/rank_environment.h).
    process.environment = {{absl::StrCat("RANK=", rank)},
                           {absl::StrCat("LOCAL_RANK=", rank % RanksPerHost())},
                           {absl::StrCat("WORLD_SIZE=", config_.trainer.ranks)},
                           {"TORCHELASTIC_RESTART_COUNT=", Late::kRestarts},
                           {"TORCHELASTIC_USE_AGENT_STORE="},
                           {absl::StrCat("MASTER_ADDR=", local_ ? "127.0.0.1" : addresses_[0])}};
    const int64_t rendezvous_port = config_.network.rendezvous_port;
    if (config_.trainer.ranks > 1 && rendezvous_port > 0)
      process.environment.push_back({absl::StrCat("MASTER_PORT=", rendezvous_port)});
    if (config_.trainer.ranks > 1 && rendezvous_port == 0)
      process.environment.push_back({"MASTER_PORT=", Late::kRendezvousPort});
    plan_.processes.push_back(std::move(process));
  }

  // What reward servers and workers have in common.
  PlannedProcess BeginMember(const std::string& name, Role role, int64_t index, const std::string& program) const {
    PlannedProcess process = Begin(name, role, HostOf(role, index), program);
    AddFlag(process, "--name", {name});
    AddFlag(process, "--coordinator", TrainerAddress());
    process.after = {kTrainerName};
    return process;
  }

  void AddRewardServer(int64_t index) {
    const RewardServerOptions& options = config_.reward_server;
    PlannedProcess process =
        BeginMember(absl::StrCat("reward-", index), Role::kRewardServer, index, request_.programs.reward_server);
    Serve(process, options.port > 0 ? options.port + index : 0);
    if (options.metrics_port > 0) AddFlag(process, "--metrics-port", {absl::StrCat(options.metrics_port + index)});
    // For whoever watches it here; of others the coordinator knows where they are, and they may see no run folder.
    if (local_) {
      process.endpoint_path = absl::StrCat(request_.run_dir, "/endpoints/", process.name, ".json");
      AddFlag(process, "--endpoint-file", {process.endpoint_path});
    }
    plan_.processes.push_back(std::move(process));
  }

  void AddWorker(int64_t index) {
    PlannedProcess process =
        BeginMember(absl::StrCat("rollout-", index), Role::kRolloutWorker, index, request_.programs.rollout_worker);
    AddFlag(process, "--attempt", {"", Late::kAttempt});
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
