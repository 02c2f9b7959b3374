#include "tools/launch/run_plan.h"

#include <algorithm>
#include <set>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "common/files.h"
#include "common/rpc/credentials.h"
#include "common/rpc/endpoint.h"
#include "common/status_macros.h"
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

// What is wrong with the configuration for machines that must know each other's ports beforehand.
absl::Status CheckHosts(const RunConfig& config, const std::vector<std::string>& hosts) {
  if (hosts.empty()) return absl::OkStatus();
  const NetworkOptions& network = config.network;
  std::vector<std::string> errors;
  if (std::set<std::string>(hosts.begin(), hosts.end()).size() < hosts.size())
    errors.push_back(absl::StrCat("the hosts ", absl::StrJoin(hosts, ", "), " are not all different"));
  if (network.trainer_port == 0)
    errors.push_back("network.trainer_port is 0, but every machine must know it: choose one, such as 7000");
  if (config.trainer.ranks > 1 && network.rendezvous_port == 0)
    errors.push_back("network.rendezvous_port is 0, but every rank must know it: choose one, such as 7001");
  if (hosts.size() > 1 && rpc::IsLoopback(network.host))
    errors.push_back(
        absl::StrCat("network.host is ", network.host,
                     ", which other machines do not reach: set 0.0.0.0; the run then makes certificates for itself"));
  if (hosts.size() > 1 && config.trainer.ranks > 1 && network.private_interface.empty())
    errors.push_back(
        "network.private_interface is not set, but the trainer's ranks are on several machines: name a network that "
        "is theirs alone");
  if (errors.empty()) return absl::OkStatus();
  return absl::InvalidArgumentError(absl::StrJoin(errors, "\n"));
}

void AddOnce(const std::string& path, std::vector<std::string>* paths) {
  if (!path.empty() && std::find(paths->begin(), paths->end(), path) == paths->end()) paths->push_back(path);
}

class Planner {
 public:
  Planner(const RunConfig& config, const PlanRequest& request)
      : config_(config), request_(request), local_(request.hosts.empty()) {
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
  int64_t RanksPerHost() const { return (config_.trainer.ranks + NumHosts() - 1) / NumHosts(); }

  PlannedProcess Begin(const std::string& name, Role role, int64_t host, const std::string& program) const {
    PlannedProcess process;
    process.name = name;
    process.role = role;
    process.host = plan_.hosts[host];
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
    if (!local_) AddFlag(process, "--advertise-host", {process.host});
  }

  Word TrainerAddress() const {
    if (local_) return {"", Late::kTrainerAddress};
    return {absl::StrCat(plan_.hosts[0], ":", config_.network.trainer_port)};
  }

  // Also with one rank: what this process was given by a launcher of its own is not meant for the trainer. A rank that
  // was started before goes on from the last commit (trainer/dist/rank_environment.h).
  std::vector<Word> RankEnvironment(int64_t rank) const {
    std::vector<Word> environment = {{absl::StrCat("RANK=", rank)},
                                     {absl::StrCat("LOCAL_RANK=", rank % RanksPerHost())},
                                     {absl::StrCat("WORLD_SIZE=", config_.trainer.ranks)},
                                     {"TORCHELASTIC_RESTART_COUNT=", Late::kRestarts},
                                     {"TORCHELASTIC_USE_AGENT_STORE="},
                                     {absl::StrCat("MASTER_ADDR=", local_ ? "127.0.0.1" : plan_.hosts[0])}};
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
              rank / RanksPerHost(), request_.programs.trainer);
    AddFlag(process, "--run-dir", {request_.run_dir});
    if (request_.resume) process.argv.push_back({"--resume"});
    if (leads) Lead(process);
    process.environment = RankEnvironment(rank);
    plan_.processes.push_back(std::move(process));
  }

  // What reward servers and workers have in common.
  PlannedProcess BeginMember(const std::string& name, Role role, int64_t index, const std::string& program) const {
    PlannedProcess process = Begin(name, role, index % NumHosts(), program);
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
  // Executed here, rather than rendered for other machines.
  const bool local_;
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
  RETURN_IF_ERROR(CheckHosts(config, request.hosts));
  RETURN_IF_ERROR(CheckUtf8Path("--run-dir", request.run_dir));
  return Planner(config, request).Make();
}

}  // namespace grpo
