// A stage of a run, as everybody but itself sees it: what it refers to, what it costs, how it shows itself, and its
// run. A .cc beside this file and a line in trainer/stages.inc (stage_plugin.h says what is in it); nothing else knows
// its name. tests/contract/stages_test.cc covers each.
//
// Links no torch: grpoctl knows of a stage all that the trainer knows. What a stage touches of policies and learners it
// touches through trainer/stage/models.h.
#ifndef GRPO_TRAINER_STAGE_STAGE_H_
#define GRPO_TRAINER_STAGE_STAGE_H_

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "configs/registry.h"
#include "trainer/options.h"
#include "trainer/plugin.h"
#include "trainer/stage/cursor.h"
#include "trainer/stage/report.h"
#include "trainer/stage/view.h"

namespace grpo {

class Algorithm;
class Models;
struct StageContext;

// A row of `grpoctl validate`. What follows from the data alone is absent.
struct StageCost {
  // The batch's arithmetic in words: "32 prompts x 8 = 256 completions a step, 1 updates each".
  std::string batch = {};
  std::optional<int64_t> steps = {}, completions = {};
  // At most.
  std::optional<int64_t> tokens = {};
};

// Items of an entry of `data` that a stage reads, and what it asks of them. One place, trainer/preflight.h, checks them
// for all stages, before the first one runs or, where an earlier stage writes them, before this one does.
struct DataUse {
  enum class Kind {
    // A policy completes them, and rules judge that.
    kProblems,
    // Cut into rows of tokens.
    kDocuments,
    // Problems with the completions that a policy is to learn.
    kTraces,
    // Problems of which only the text is looked at, by the stage itself.
    kTexts,
  };
  Kind kind = Kind::kProblems;
  // For messages: "algorithm pretrain".
  std::string reader;
  // Keys under `data` and `policies`; of texts no policy.
  std::string data = {}, policy = {};
  // Of traces: entries of the teacher's stored top-k that come with each token; 0: none.
  int64_t stored_top_k = 0;
  // Of problems: the key under `rewards`, and the longest completion.
  std::string rewards = {};
  int64_t max_new_tokens = 0;
  // Of documents: tokens that the policy reads at a time.
  int64_t row_tokens = 0;
  // How many, from the start of the data; 0: all, of which there must be an end. Absent: any, again and again.
  std::optional<int64_t> num_items = {};
  // And all the others of a source that has an end.
  bool all_of_finite = false;
  // Of problems: one without an answer is no error of the data.
  bool answers_may_lack = false;
};

// A policy's top-k that a stage stores beside the traces that it writes (trainer/stage/top_k_files.h).
struct TopKOutput {
  // Keys under `artifacts` and `policies`.
  std::string artifact = {}, policy = {};
  // Entries of each token; 0: none are stored. `key` is where the configuration says so.
  int64_t k = 0;
  std::string key = {};
  // At most; absent where the data alone say how much is sampled.
  std::optional<int64_t> num_bytes = {};
};

// What the trainer's ranks change together in a stage that learns. References live as long as the stage.
struct LearnerSpec {
  // Key under `policies`.
  std::string policy;
  const Algorithm& algorithm;
  const OptimizerOptions& optimizer;
  // Of the stage.
  int64_t num_steps = 0;
};

// Curves of stages of one group are drawn together.
struct ChartGroup {
  std::string name = {};
  // Groups of a smaller rank come first, and those of one rank by name.
  int rank = 0;
};

// What the configuration says about one stage, checked and typed. Immutable; any thread.
class Stage {
 public:
  virtual ~Stage() = default;

  // --- Before the run: checked by trainer/run_config.cc ---

  // Every key whose value names something elsewhere in the configuration.
  virtual std::vector<Reference> references() const = 0;
  virtual std::vector<RuleReference> rules() const { return {}; }
  virtual std::vector<Conflict> Conflicts() const { return {}; }
  // Keys under `artifacts` of data that stages after this one may read.
  virtual std::vector<std::string> writes() const { return {}; }
  // What it stores beside traces that it writes; of a stage that writes none, nothing.
  virtual std::optional<TopKOutput> top_k_output() const { return std::nullopt; }
  virtual StageCost cost() const = 0;
  // What it reads; checked by trainer/preflight.h.
  virtual std::vector<DataUse> reads() const { return {}; }

  // --- What is shown of it ---

  virtual ChartGroup chart_group() const { return {}; }
  // The rule whose value 1 means that a sample of the stage is right; empty when nothing is judged.
  virtual std::string accuracy_rule() const { return ""; }

  // --- The run ---

  // nullopt for a stage in which the other ranks have no part.
  virtual std::optional<LearnerSpec> learner() const { return std::nullopt; }
  // Of every stage, in order, before the first one runs: what only the learner can find wrong. No policy has been made.
  virtual absl::Status Check(const Models& models) const { return absl::OkStatus(); }
  // From `start` to the end, on the training thread; all that outlives the call is in the context. Aborted when a stop
  // was requested; killed anywhere, it ends the same when it is run again from the newest cursor that it saved.
  virtual absl::StatusOr<StageReport> Run(StageContext& context, StageCursor start) const = 0;
};

// An entry of the registry.
struct StagePlugin : Plugin<Stage> {
  StageView view;
};

// In the order of stages.inc.
const Registry<StagePlugin>& Stages();
// For `type` of a stage's configuration.
std::vector<const char*> StageTypes();
// Of stages of this type; that of a stage which shows nothing for a type that this build does not know.
const StageView& StageViewOf(const std::string& type);

}  // namespace grpo

#endif  // GRPO_TRAINER_STAGE_STAGE_H_
