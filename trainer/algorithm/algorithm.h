// One way to learn: what a step needs, and how it becomes token streams and losses. A .cc beside this file and a line
// in trainer/algorithms.inc (algorithm_plugin.h says what is in it). tests/contract/algorithms_test.cc covers each.
//
// Links no torch: what an algorithm refers to and what a step of it costs is known to grpoctl too.
//
//   plan        what a step needs                              trainer/stage/step_source.h gets it
//   Prepare     that input as token streams                    trainer/loop.h learns from them
//   frozen      policies that are read to fill more streams    trainer/loop.h computes them
//   losses      the terms whose sum is minimised               trainer/loss/ has them
#ifndef GRPO_TRAINER_ALGORITHM_ALGORITHM_H_
#define GRPO_TRAINER_ALGORITHM_ALGORITHM_H_

#include <map>
#include <memory>
#include <string>
#include <variant>
#include <vector>

#include "absl/status/statusor.h"
#include "configs/registry.h"
#include "coordinator/scored_group.h"
#include "model/config.h"
#include "trainer/batch/streams.h"
#include "trainer/loss/term.h"
#include "trainer/options.h"
#include "trainer/plugin.h"

namespace grpo {

// --- What a step is made of: a plan of each kind, and the input that answers it ---

// Completions that others wrote.
struct TracesPlan {
  // Traces of one step.
  int64_t traces_per_step = 0;
  // Entries of a teacher's stored top-k a token that they must bring along; 0: none.
  int64_t stored_top_k = 0;
};
// A prompt as the policy reads it and a completion to learn from, the end-of-sequence token included.
struct TokenizedTrace {
  // Both by the tokenizer of the policy that is trained.
  std::vector<uint32_t> prompt_ids, completion_ids;
  // [completion tokens * stored_top_k] each: for every token of the completion the teacher's most likely ones, the most
  // likely first, and their log-probabilities at temperature 1.
  std::vector<uint32_t> top_ids = {};
  std::vector<float> top_logprobs = {};
};
struct TracesInput {
  // traces_per_step of them, in the order in which the data are read.
  std::vector<TokenizedTrace> traces;
};

// Groups sampled from the policy that is being trained.
struct RolloutPlan {
  // Key under `rewards`: the profile that scores them.
  std::string rewards;
  // Groups of one step.
  int64_t prompts_per_step = 0;
  // Completions of one group, G.
  int64_t group_size = 0;
  // The loss is of the whole distribution: an algorithm refuses what cuts it (OwnConflicts).
  SamplingOptions sampling;
  // Optimizer updates that a full batch makes.
  int64_t updates_per_step = 1;
  // Traces beside the groups, of the entry `traces_data` of `data`; none where that is empty.
  TracesPlan traces = {};
  std::string traces_data = {};
};
struct RolloutInput {
  // In the order of their group_index; fewer than planned when some were quarantined.
  std::vector<ScoredGroup> groups;
  std::vector<TokenizedTrace> traces = {};
};

// Rows of documents.
struct CorpusPlan {
  // Rows of one step.
  int64_t rows_per_step = 0;
  // Targets in a row; the row has one token more.
  int64_t row_tokens = 0;
};
struct CorpusInput {
  // Token ids, [row_tokens + 1] each. rows_per_step of them, each filled with documents and the end-of-sequence token
  // behind each.
  std::vector<std::vector<uint32_t>> rows;
};

using StepPlan = std::variant<RolloutPlan, CorpusPlan, TracesPlan>;
using StepInput = std::variant<RolloutInput, CorpusInput, TracesInput>;

// A policy that is only read (a reference, a teacher), and the stream that the log-probabilities which it gives to the
// targets fill. The loop computes them, at the algorithm's temperature.
struct FrozenPolicy {
  // Key under `policies`. Never the one that is trained (Conflicts).
  std::string policy;
  // Name of a stream of trainer/batch/streams.h, or of the algorithm's own; [M] float32. Empty for a policy whose
  // distributions or hidden states losses read (Loss::outputs).
  std::string stream;
};

// What the losses hold in each rank beside the models.
struct LossNeed {
  // Numbers in their own parameters (Loss::parameters), each of which has a gradient and two moments.
  int64_t num_parameters = 0;
  // Layers whose outputs they read, by frozen policy.
  std::map<std::string, int64_t> num_layers_read = {};
};

// Pure: the same input gives the same batch. Any thread.
class Algorithm {
 public:
  virtual ~Algorithm() = default;

  // What each step needs; the same at every call.
  virtual StepPlan plan() const = 0;
  // The terms whose sum is minimised. At least one. The streams that they read are those of Prepare and of frozen().
  virtual std::vector<LossTerm> losses() const = 0;
  // Temperature of the distribution whose log-probabilities the losses read. Above 0.
  virtual double temperature() const { return 1.0; }
  // Policies that are only read; none for most.
  virtual std::vector<FrozenPolicy> frozen() const { return {}; }

  // Every key whose value names something elsewhere in the configuration, frozen policies included.
  virtual std::vector<Reference> references() const { return {}; }
  // What is wrong about the keys together, for a stage that trains this policy: OwnConflicts, and frozen policies that
  // are the trained one. Empty when all fits. Keys are the algorithm's own.
  std::vector<Conflict> Conflicts(const std::string& trained_policy) const;
  // The same for what only the models' shapes show: of the trained policy, and of the frozen ones by name.
  virtual std::vector<Conflict> ShapeConflicts(const ModelConfig& trained,
                                               const std::map<std::string, const ModelConfig*>& frozen) const {
    return {};
  }
  // For models of these shapes, of which ShapeConflicts has nothing to say.
  virtual LossNeed loss_need(const ModelConfig& trained,
                             const std::map<std::string, const ModelConfig*>& frozen) const {
    return {};
  }

  // What the losses read of the input, which is of the plan's kind (Internal otherwise). Every sequence says its group.
  // The weights of all minibatches' targets hold the loss's denominators. An input of which every sample is excluded
  // gives a batch without targets, which is no error.
  virtual absl::StatusOr<StepBatch> Prepare(const StepInput& input) const = 0;

 protected:
  // What is wrong about keys that are each in range.
  virtual std::vector<Conflict> OwnConflicts() const { return {}; }
};

// The input as that of a plan of its kind: an algorithm's first line in Prepare. Internal when it is of another.
template <class Input>
absl::StatusOr<const Input*> InputOf(const StepInput& input) {
  if (const Input* of_kind = std::get_if<Input>(&input)) return of_kind;
  return absl::InternalError("a step's input is not of the kind that the algorithm's plan asks for");
}

using AlgorithmPlugin = Plugin<Algorithm>;

// An entry of the list: its name, one sentence, and the Markdown table of its keys.
struct AlgorithmInfo {
  std::string name, summary, reference_table;
};
// In the order of algorithms.inc. Any thread.
const std::vector<AlgorithmInfo>& ListAlgorithms();

// InvalidArgument for an unknown algorithm (the nearest is named). The plug-in stays valid.
absl::StatusOr<const AlgorithmPlugin*> FindAlgorithm(const std::string& name);
// The algorithm with these options. InvalidArgument for an unknown one, and for options that do not fit. Messages carry
// file, line and key.
absl::StatusOr<std::unique_ptr<Algorithm>> MakeAlgorithm(const std::string& name, const Section& options);
// The same options with every key present. Errors as MakeAlgorithm.
absl::StatusOr<Section> ResolveAlgorithm(const std::string& name, const Section& options);

}  // namespace grpo

#endif  // GRPO_TRAINER_ALGORITHM_ALGORITHM_H_
