#include "tools/grpoctl_model/bench/local_service.h"

#include <stdlib.h>

#include <algorithm>
#include <cerrno>
#include <filesystem>
#include <map>
#include <thread>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "common/files.h"
#include "common/rpc/server.h"
#include "common/seeds.h"
#include "common/status_macros.h"
#include "common/thread.h"
#include "common/version.h"
#include "coordinator/coordinator.h"
#include "coordinator/local_weights.h"
#include "coordinator/service.h"
#include "coordinator/weight_channels.h"
#include "model/threads.h"
#include "reward/profile.h"
#include "reward/service.h"
#include "rollout/weight_channel.h"
#include "rollout/worker.h"
#include "tools/grpoctl_model/bench/fixed_generator.h"

namespace grpo {
namespace {

constexpr char kName[] = "bench";
constexpr absl::Duration kPatience = absl::Minutes(10);

class Service final : public LocalService {
 public:
  Service(const BenchOptions& options, Coordinator::Identity identity)
      : options_(options), coordinator_({}, std::move(identity)), coordinator_service_(&coordinator_) {}

  ~Service() override {
    coordinator_.End();
    if (thread_.joinable()) {
      worker_->Stop();
      thread_.join();
    }
    local_weights_.reset();
    if (!folder_.empty()) RemoveAll(folder_).IgnoreError();
  }

  // Lends weights to the worker, as a run does. Before Start.
  absl::Status ShareMemory() {
    std::string folder = absl::StrCat(std::filesystem::temp_directory_path().string(), "/bench.XXXXXX");
    if (::mkdtemp(folder.data()) == nullptr) return absl::ErrnoToStatus(errno, absl::StrCat("cannot make ", folder));
    folder_ = folder;
    ASSIGN_OR_RETURN(local_weights_,
                     LocalWeights::Serve(&coordinator_, {.socket = folder_ + "/weights.sock",
                                                         .buffers = {.num_threads = options_.threads}}));
    return absl::OkStatus();
  }

  std::string channel() const override {
    return local_weights_ != nullptr && local_weights_->buffers().num_buffers() > 0 ? kMemfdChannel : kGrpcChannel;
  }

  absl::Status Start() {
    ASSIGN_OR_RETURN(coordinator_server_, rpc::Server::Start({}, {&coordinator_service_}));
    ASSIGN_OR_RETURN(reward_service_, RewardServiceImpl::Make({{kName, DefaultRewardProfile()}},
                                                              {.threads = options_.threads, .max_waiting = 1 << 20}));
    ASSIGN_OR_RETURN(reward_server_, rpc::Server::Start({}, {reward_service_.get()}));
    v1::RegisterRewardServerRequest reward;
    reward.set_protocol_version(kProtocolVersion);
    reward.set_build(kBuild);
    reward.set_name("reward-0");
    reward.set_address(reward_server_->address());
    for (const v1::RewardProfileRef& profile : reward_service_->Profiles()) *reward.add_profiles() = profile;
    RETURN_IF_ERROR(coordinator_.RegisterRewardServer(reward).status());
    WorkerOptions worker{.coordinator = coordinator_server_->address(),
                         .identity = {.run_id = kName, .worker_name = "rollout-0"},
                         .make_generator = [this](const GeneratorContext& context) {
                           return MakeFixedGenerator(options_, context, &times_);
                         }};
    worker.rollout.slots = options_.num_slots();
    worker.device = options_.device;
    ASSIGN_OR_RETURN(worker_, Worker::Create(worker));
    thread_ = StartThread("the worker", [this] {
      // The number of threads is each calling thread's own.
      status_ = UseThreads(options_.threads);
      if (status_.ok()) status_ = worker_->Run();
    });
    return absl::OkStatus();
  }

  absl::StatusOr<Sampled> Sample(const Policy& policy) override {
    const absl::Duration begin = clock_.Now();
    times_.Clear();
    ASSIGN_OR_RETURN(const auto weights, policy.Weights(WeightsForm::kSampled));
    const absl::Duration packed = clock_.Now();
    Sampled sampled;
    sampled.payload_bytes = weights->manifest().payload_bytes();
    coordinator_.Publish(weights);
    RETURN_IF_ERROR(coordinator_.Offer(Leases(policy.ref())));
    ASSIGN_OR_RETURN(sampled.groups, coordinator_.Collect(kName, next_group_, options_.prompts, kPatience));
    next_group_ += options_.prompts;
    const absl::Duration end = clock_.Now();
    const GeneratorTimes::Times times = times_.Get();
    sampled.ready_seconds = absl::ToDoubleSeconds(times.first_step_begin - begin);
    sampled.first_step_seconds = absl::ToDoubleSeconds(times.first_step_end - begin);
    PhaseSeconds& phases = sampled.phases;
    phases["publish/pack"] = absl::ToDoubleSeconds(packed - begin);
    phases["publish/transfer"] = absl::ToDoubleSeconds(times.offered - packed);
    phases["publish/start"] = absl::ToDoubleSeconds(times.first_step_begin - times.offered);
    double other = absl::ToDoubleSeconds(times.last_step_end - times.first_step_begin);
    for (const auto& [name, seconds] : times.engine) {
      phases[absl::StrCat("sample/", name)] = seconds;
      other -= seconds;
    }
    phases["sample/other"] = std::max(0.0, other);
    phases["score"] = absl::ToDoubleSeconds(end - times.last_step_end);
    return sampled;
  }

 private:
  std::vector<v1::Lease> Leases(const v1::PolicyRef& policy) const {
    std::vector<v1::Lease> leases;
    for (int64_t i = 0; i < options_.prompts; ++i) {
      v1::Lease& lease = leases.emplace_back();
      lease.mutable_key()->set_stage(kName);
      lease.mutable_key()->set_group_index(next_group_ + i);
      lease.set_kind(v1::LEASE_KIND_TRAIN);
      lease.set_seed(GroupSeed(options_.seed, kName, next_group_ + i));
      *lease.mutable_policy() = policy;
      lease.mutable_sampling()->set_num_completions(static_cast<int32_t>(options_.group));
      lease.mutable_sampling()->set_max_new_tokens(static_cast<int32_t>(options_.new_tokens));
      lease.mutable_sampling()->set_temperature(1);
      lease.mutable_prompt()->set_id(absl::StrCat("bench/", i));
      lease.mutable_prompt()->set_text(absl::StrCat(i));
      lease.mutable_prompt()->set_answer("42");
      *lease.mutable_reward() = reward_service_->Profiles().front();
    }
    return leases;
  }

  const BenchOptions options_;
  const Clock& clock_ = Clock::Real();
  Coordinator coordinator_;
  CoordinatorService coordinator_service_;
  std::unique_ptr<RewardServiceImpl> reward_service_;
  std::unique_ptr<rpc::Server> coordinator_server_, reward_server_;
  // Where the socket of local_weights_ is; empty without.
  std::string folder_;
  std::unique_ptr<LocalWeights> local_weights_;
  GeneratorTimes times_;
  std::unique_ptr<Worker> worker_;
  absl::Status status_;
  int64_t next_group_ = 0;
  // Runs worker_.
  std::thread thread_;
};

}  // namespace

absl::StatusOr<std::unique_ptr<LocalService>> LocalService::Start(const BenchOptions& options,
                                                                  const std::string& channel) {
  const std::vector<std::string> known = WeightChannelNames();
  if (!channel.empty() && std::find(known.begin(), known.end(), channel) == known.end()) {
    return absl::InvalidArgumentError(
        absl::StrCat("there is no weight channel \"", channel, "\" here, known are ", absl::StrJoin(known, ", ")));
  }
  auto service =
      std::make_unique<Service>(options, Coordinator::Identity{.run_id = kName, .config_sha256 = "", .epoch = 1});
  if (channel.empty() || channel == kMemfdChannel) {
    const absl::Status shared = service->ShareMemory();
    // A run goes on without.
    if (!shared.ok() && !channel.empty()) return shared;
  }
  RETURN_IF_ERROR(service->Start());
  return service;
}

}  // namespace grpo
