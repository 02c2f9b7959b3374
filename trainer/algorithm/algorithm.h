// One way to learn: what a step needs, and how it becomes token streams and losses. A .cc and an options header beside
// this file and a line in trainer/algorithms.inc. tests/contract/algorithms_test.cc covers each.
#ifndef GRPO_TRAINER_ALGORITHM_ALGORITHM_H_
#define GRPO_TRAINER_ALGORITHM_ALGORITHM_H_

#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "configs/visit.h"
#include "coordinator/coordinator.h"
#include "trainer/batch/streams.h"
#include "trainer/loss/loss.h"
#include "trainer/options.h"

namespace grpo {

// Groups sampled from the policy that is being trained.
struct RolloutPlan {
  std::string rewards;
  int64_t prompts_per_step = 0;
  int64_t group_size = 0;
  SamplingOptions sampling;
};

// Rows of documents.
struct CorpusPlan {
  int64_t rows_per_step = 0;
  // Targets in a row; the row has one token more.
  int64_t row_tokens = 0;
};

// Completions that others wrote.
struct TracesPlan {
  int64_t traces_per_step = 0;
};

// A prompt as the policy reads it and a completion to learn from, the end-of-sequence token included.
struct TokenizedTrace {
  std::vector<uint32_t> prompt_ids, completion_ids;
};

// What a step was given: one of these is filled, as the algorithm's plan says.
struct StepInput {
  std::vector<ScoredGroup> groups;
  std::vector<std::vector<uint32_t>> rows;
  std::vector<TokenizedTrace> traces;
};

// Pure: the same input gives the same batch. Any thread.
class Algorithm {
 public:
  virtual ~Algorithm() = default;
  // Exactly one of these holds a value.
  virtual std::optional<RolloutPlan> rollouts() const { return std::nullopt; }
  virtual std::optional<CorpusPlan> corpus() const { return std::nullopt; }
  virtual std::optional<TracesPlan> traces() const { return std::nullopt; }

  // The terms whose sum is minimised (names in trainer/losses.inc), and what they depend on.
  virtual std::vector<std::string> losses() const = 0;
  virtual LossOptions loss_options() const { return {}; }
  // Temperature of the distribution whose log-probabilities the losses read.
  virtual double temperature() const { return 1.0; }
  // Policy whose log-probabilities the losses read beside the trained one's; empty for none.
  virtual std::string reference_policy() const { return ""; }

  virtual absl::StatusOr<StepBatch> Prepare(const StepInput& input) const = 0;
};

// InvalidArgument for an unknown algorithm and for options that do not fit.
absl::StatusOr<std::unique_ptr<Algorithm>> MakeAlgorithm(const std::string& name, const Section& options);

}  // namespace grpo

#endif  // GRPO_TRAINER_ALGORITHM_ALGORITHM_H_
