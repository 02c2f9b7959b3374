// A stage in a test, without torch: models that pretend to learn, a worker that pretends to sample, and a run around
// them that can be killed between any two polls and started again from what it had saved.
#ifndef GRPO_TRAINER_STAGE_TESTING_H_
#define GRPO_TRAINER_STAGE_TESTING_H_

#include <cstdint>
#include <functional>
#include <limits>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <thread>
#include <vector>

#include "absl/status/statusor.h"
#include "common/clock.h"
#include "coordinator/coordinator.h"
#include "trainer/records/spending.h"
#include "trainer/run_config.h"
#include "trainer/stage/context.h"
#include "trainer/stage/models.h"

namespace grpo {

// The name of the policy that FakeModels train, and of one that only writes.
inline constexpr char kTestPolicy[] = "model", kOtherTestPolicy[] = "frozen";

// A tiny model's configuration: policies model and frozen, data problems, corpus and traces, rewards rules (math_answer
// and format_tags), artifacts out and other, and `stages` as YAML, one "  - {name: s, ...}" a line. Written to
// `folder`, which holds what it refers to.
absl::StatusOr<LoadedConfig> LoadTestConfig(const std::string& folder, const std::string& stages,
                                            const std::vector<std::string>& overrides = {});

// What a policy and its optimizer come to: a number that depends on every batch so far and on their order.
struct FakeWeights {
  int64_t number = 0;
  uint64_t hash = 1;
};

// A policy, kTestPolicy, whose "weights" are FakeWeights: a step folds the batch's token ids, in order, into them. So
// two runs end with the same weights only if they saw the same batches, and a learner that was not restored shows.
// kOtherTestPolicy stays as it is; policies that are only addresses are there too; other names are NotFound; every
// loss is taken. The likeliest token at each place follows from the weights and from what stands before it, has
// probability 1/2, the next one, whose id is one more, 1/4, and so on.
class FakeModels : public Models {
 public:
  FakeModels(const RunConfig& config, Coordinator* coordinator, FakeWeights weights);
  ~FakeModels() override;

  absl::StatusOr<StagePolicy*> Get(const std::string& policy) override;
  absl::Status CheckLosses(const std::vector<LossTerm>& losses) const override { return absl::OkStatus(); }
  absl::StatusOr<std::unique_ptr<StepLearner>> BeginTraining(const LearnerSpec& spec,
                                                             const StageCursor& start) override;
  const FakeWeights& weights() const { return weights_; }
  // From this step of a stage on every update is skipped.
  void SkipUpdatesFrom(int64_t step) { skip_updates_from_ = step; }

 private:
  class Handle;
  FakeWeights weights_;
  const FakeWeights other_weights_ = {.hash = 7};
  int64_t skip_updates_from_ = std::numeric_limits<int64_t>::max();
  std::unique_ptr<Handle> handle_, other_handle_;
  std::map<std::string, std::unique_ptr<StagePolicy>> endpoints_;
};

// Judges completion `index` of the lease's group; what it fills in first is right or wrong by the group's seed.
using FakeJudge = std::function<void(const v1::Lease& lease, v1::ScoredCompletion* completion)>;

// Takes groups and hands them in until the run ends, in a thread of its own. Its samples depend on the group's seed
// alone, the prompt's ids are those of the test configuration's tokenizer; what it samples is scored by the rules
// math_answer and format_tags. A group of an endpoint policy is text, and cost 2 answers, 10 input and 20 output
// tokens, and 0.25 USD.
class FakeWorker {
 public:
  FakeWorker(Coordinator* coordinator, FakeJudge judge);
  // Ends the coordinator, without which the thread would not return.
  ~FakeWorker();

 private:
  void Work();
  // What an endpoint would have handed in.
  static void LeaveTextAlone(v1::SubmitHeader* header, std::vector<v1::ScoredCompletion>* completions);

  Coordinator& coordinator_;
  const FakeJudge judge_;
  std::thread thread_;
};

// What a checkpoint would hold of a stage.
struct FakeCheckpoint {
  StageCursor cursor;
  FakeWeights weights;
};

// A run of one configuration's first stage.
class StageRun {
 public:
  StageRun(const LoadedConfig& loaded, std::string run_dir) : loaded_(loaded), run_dir_(std::move(run_dir)) {}

  // Adds to what the worker says of a completion.
  void SetJudge(FakeJudge judge) { judge_ = std::move(judge); }

  // From the next Start on, FakeModels' SkipUpdatesFrom.
  void SkipUpdatesFrom(int64_t step) { skip_updates_from_ = step; }

  // From the next Start on, the group has killed its workers.
  void Quarantine(int64_t group_index) { quarantined_.push_back(group_index); }

  // Starts from the newest checkpoint and runs to the end, or, where `kill_at_poll` is given, until that poll (from 0),
  // which is Aborted and saves nothing.
  absl::StatusOr<StageReport> Start(std::optional<int64_t> kill_at_poll = {});
  // In the newest Start.
  int64_t num_polls() const { return num_polls_; }
  // As it was when the newest Start ended.
  const v1::StageStatus& status() const { return status_; }
  // Why it was paused then, if it was; nobody resumes it, and it goes on at the next poll all the same.
  const std::string& pause_reason() const { return pause_reason_; }
  const FakeWeights& weights() const { return weights_; }
  // What the stage took, over all starts; the clock stands still.
  const Spent& spent() const { return spent_; }

 private:
  const LoadedConfig& loaded_;
  const std::string run_dir_;
  FakeJudge judge_;
  std::vector<int64_t> quarantined_;
  std::optional<FakeCheckpoint> checkpoint_;
  int64_t epoch_ = 0, num_polls_ = 0;
  v1::StageStatus status_;
  std::string pause_reason_;
  int64_t skip_updates_from_ = std::numeric_limits<int64_t>::max();
  FakeWeights weights_;
  Spent spent_;
};

}  // namespace grpo

#endif  // GRPO_TRAINER_STAGE_TESTING_H_
