#include "tools/grpoctl/local/local_run.h"

#include <signal.h>

#include <filesystem>

#include "absl/cleanup/cleanup.h"
#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "common/exit_codes.h"
#include "common/free_port.h"
#include "common/status_macros.h"
#include "common/stop_signal.h"
#include "trainer/status/run_state.h"

namespace grpo {
namespace {

namespace fs = std::filesystem;

constexpr absl::Duration kPollInterval = absl::Milliseconds(50);
// How long the others get to end by themselves after the trainer has exited.
constexpr absl::Duration kStopGrace = absl::Seconds(5);
constexpr char kTrainerName[] = "trainer";

std::string RewardName(int64_t index) {
  return absl::StrCat("reward-", index);
}

// The port of "127.0.0.1:41327".
std::string PortOf(const std::string& address) {
  return address.substr(address.rfind(':') + 1);
}

absl::StatusOr<std::string> FindProgram(const fs::path& own_folder, const std::string& package,
                                        const std::string& name) {
  for (const fs::path& candidate : {own_folder / name, own_folder.parent_path() / package / name}) {
    std::error_code error;
    if (fs::is_regular_file(candidate, error)) return candidate.string();
  }
  return absl::NotFoundError(absl::StrCat(name, " is neither beside grpoctl nor in ../", package,
                                          ": build it with `bazel build //", package, ":", name, "`"));
}

}  // namespace

absl::StatusOr<Programs> Programs::Find() {
  std::error_code error;
  const fs::path own = fs::read_symlink("/proc/self/exe", error);
  if (error) return absl::InternalError(absl::StrCat("cannot read /proc/self/exe: ", error.message()));
  Programs programs;
  ASSIGN_OR_RETURN(programs.reward_server, FindProgram(own.parent_path(), "reward", "reward_server"));
  ASSIGN_OR_RETURN(programs.trainer, FindProgram(own.parent_path(), "trainer", "trainer"));
  ASSIGN_OR_RETURN(programs.rollout_worker, FindProgram(own.parent_path(), "rollout", "rollout_worker"));
  return programs;
}

LocalRun::LocalRun(const RunFolder& folder, const RunConfig& config, const Programs& programs,
                   const std::string& run_id, const Options& options, ProgressPrinter* printer)
    : folder_(folder),
      config_(config),
      programs_(programs),
      run_id_(run_id),
      options_(options),
      printer_(printer),
      supervisor_({.max_restarts_per_role = options.max_restarts_per_role}, Clock::Real(),
                  [printer](const std::string& message) { printer->Note(message); }) {}

ChildSpec LocalRun::Spec(const std::string& name, const std::string& role, bool serves) const {
  ChildSpec spec;
  spec.name = name;
  spec.role = role;
  spec.log_path = absl::StrCat(folder_.path(), "/logs/", name, ".log");
  if (serves) spec.endpoint_file = absl::StrCat(folder_.path(), "/endpoints/", name, ".json");
  return spec;
}

absl::Status LocalRun::StartServers() {
  for (int64_t i = 0; i < config_.reward_server.servers; ++i) {
    ChildSpec spec = Spec(RewardName(i), "reward_server", /*serves=*/true);
    const int64_t port = config_.reward_server.port > 0 ? config_.reward_server.port + i : 0;
    spec.argv = [this, port, endpoint_file = spec.endpoint_file](int, const std::string& address) {
      // A restarted server comes back where the workers look for it.
      return std::vector<std::string>{programs_.reward_server,
                                      "--config",
                                      folder_.config_path(),
                                      "--port",
                                      address.empty() ? absl::StrCat(port) : PortOf(address),
                                      "--endpoint-file",
                                      endpoint_file,
                                      "--with-parent"};
    };
    RETURN_IF_ERROR(supervisor_.Start(std::move(spec)));
  }
  for (int64_t rank = 0; rank < config_.trainer.ranks; ++rank) RETURN_IF_ERROR(StartRank(rank));
  return absl::OkStatus();
}

absl::Status LocalRun::StartRank(int64_t rank) {
  const bool leads = rank == 0;
  ChildSpec spec = Spec(leads ? kTrainerName : absl::StrCat(kTrainerName, "-", rank), "trainer", /*serves=*/leads);
  spec.is_trainer = leads;
  spec.group = kTrainerName;
  spec.argv = [this, endpoint_file = spec.endpoint_file](int attempt, const std::string& address) {
    std::vector<std::string> argv = {programs_.trainer, "--config", folder_.config_path(), "--run-dir", folder_.path(),
                                     "--run-id",        run_id_,    "--with-parent"};
    if (!endpoint_file.empty()) argv.insert(argv.end(), {"--endpoint-file", endpoint_file});
    // One that died goes on from the last commit, where the workers look for it.
    if (options_.resume || attempt > 1) argv.push_back("--resume");
    if (!address.empty()) argv.insert(argv.end(), {"--port", PortOf(address)});
    return argv;
  };
  spec.environment = [this, rank](int attempt) {
    // Also with one rank: what this process was given by a launcher of its own is not meant for the trainer.
    const int64_t ranks = config_.trainer.ranks;
    std::vector<std::string> environment = {absl::StrCat("RANK=", rank),        absl::StrCat("LOCAL_RANK=", rank),
                                            absl::StrCat("WORLD_SIZE=", ranks), "TORCHELASTIC_RESTART_COUNT=0",
                                            "TORCHELASTIC_USE_AGENT_STORE=",    "MASTER_ADDR=127.0.0.1"};
    if (ranks > 1) environment.push_back(absl::StrCat("MASTER_PORT=", MasterPort(attempt)));
    return environment;
  };
  return supervisor_.Start(std::move(spec));
}

int LocalRun::MasterPort(int attempt) {
  // All ranks of one start meet at one port. Should somebody else take it in between, rank 0 says so, and the next
  // start finds another.
  if (attempt != master_port_attempt_) master_port_ = FreePort().value_or(0);
  master_port_attempt_ = attempt;
  return master_port_;
}

absl::Status LocalRun::StartWorkers() {
  std::vector<std::string> reward_flags;
  for (int64_t i = 0; i < config_.reward_server.servers; ++i) {
    reward_flags.insert(reward_flags.end(), {"--reward", *supervisor_.Address(RewardName(i))});
  }
  const std::string coordinator = *supervisor_.Address(kTrainerName);
  for (int64_t i = 0; i < config_.rollout_worker.workers; ++i) {
    ChildSpec spec = Spec(absl::StrCat("rollout-", i), "rollout_worker", /*serves=*/false);
    spec.argv = [this, reward_flags, coordinator, name = spec.name](int attempt, const std::string&) {
      std::vector<std::string> argv = {programs_.rollout_worker,
                                       "--config",
                                       folder_.config_path(),
                                       "--coordinator",
                                       coordinator,
                                       "--run-id",
                                       run_id_,
                                       "--name",
                                       name,
                                       "--attempt",
                                       absl::StrCat(attempt),
                                       "--with-parent"};
      argv.insert(argv.end(), reward_flags.begin(), reward_flags.end());
      return argv;
    };
    RETURN_IF_ERROR(supervisor_.Start(std::move(spec)));
  }
  return absl::OkStatus();
}

absl::Status LocalRun::GoOn() {
  workers_started_ = true;
  Endpoint endpoint{
      .trainer = *supervisor_.Address(kTrainerName), .reward_servers = {}, .client = config_.network.ClientOptions()};
  for (int64_t i = 0; i < config_.reward_server.servers; ++i) {
    endpoint.reward_servers.push_back(*supervisor_.Address(RewardName(i)));
  }
  RETURN_IF_ERROR(WriteEndpoint(folder_.path(), endpoint));
  RETURN_IF_ERROR(StartWorkers());
  ConnectionFlags flags;
  flags.address = endpoint.trainer;
  flags.client = endpoint.client;
  ASSIGN_OR_RETURN(TrainerConnection connection, TrainerConnection::Open(flags));
  status_ = std::make_unique<BackgroundStatus>(std::move(connection));
  return absl::OkStatus();
}

void LocalRun::ShowStatus() {
  const std::optional<v1::RunStatus> status = status_ != nullptr ? status_->Take() : std::nullopt;
  if (!status.has_value()) return;
  printer_->Show(*status);
  if (!IsTerminal(status->state())) return;
  supervisor_.StopRestarting();
  // Nothing more comes, and the trainer's server waits for open connections before it ends.
  status_.reset();
}

RunEnd LocalRun::Watch() {
  bool stopping = false;
  while (true) {
    if (stopping) {
      absl::SleepFor(kPollInterval);
    } else if (WaitForStop(kPollInterval)) {
      stopping = true;
      printer_->Note("stopping after the current step, with a checkpoint; once more ends everything at once");
      supervisor_.StopRestarting();
      supervisor_.SignalTrainer(SIGTERM);
    }
    ShowStatus();
    const std::optional<RunEnd> end = supervisor_.Poll();
    if (end.has_value()) return *end;
    if (workers_started_ || !supervisor_.AllServe()) continue;
    const absl::Status gone_on = GoOn();
    if (!gone_on.ok()) return {ExitCodeFor(gone_on), std::string(gone_on.message())};
  }
}

int LocalRun::Run() {
  const absl::Cleanup withdraw = [this] { RemoveEndpoint(folder_.path()); };
  // Left by a run that was killed: its addresses are dead.
  RemoveEndpoint(folder_.path());
  const absl::Status started = StartServers();
  RunEnd end = started.ok() ? Watch() : RunEnd{ExitCodeFor(started), std::string(started.message())};
  supervisor_.StopAll(kStopGrace);
  ShowStatus();
  status_.reset();
  if (!end.message.empty() && end.exit_code != kExitRetry) printer_->Note(end.message);
  return end.exit_code;
}

}  // namespace grpo
