// Next-token prediction on documents: what makes a base model. The mean over all targets of the step.
#include <utility>

#include "common/status_macros.h"
#include "trainer/algorithm/algorithm_plugin.h"
#include "trainer/algorithm/reduction.h"

namespace grpo {
namespace {

struct Options {
  int64_t rows_per_step = 16;
  int64_t row_tokens = 64;

  template <class V>
  void Visit(V& v) {
    v("rows_per_step", rows_per_step, {.help = "Rows in one step's batch.", .unit = "rows", .min = 1, .max = 1 << 24});
    v("row_tokens", row_tokens,
      {.help = "Tokens predicted in each row. A row is filled with documents, each followed by the end-of-sequence "
               "token; what does not "
               "fit is dropped.",
       .unit = "tokens",
       .min = 1,
       .max = 1 << 24});
  }
};

class Pretrain : public Algorithm {
 public:
  explicit Pretrain(const Options& options) : options_(options) {}

  StepPlan plan() const override {
    return CorpusPlan{.rows_per_step = options_.rows_per_step, .row_tokens = options_.row_tokens};
  }
  std::vector<LossTerm> losses() const override { return {{.name = "cross_entropy"}}; }

  absl::StatusOr<StepBatch> Prepare(const StepInput& input) const override {
    ASSIGN_OR_RETURN(const CorpusInput* const corpus, InputOf<CorpusInput>(input));
    std::vector<TokenStreams> sequences;
    for (const auto& row : corpus->rows) {
      TokenStreams& sequence = sequences.emplace_back();
      sequence.ids.assign(row.begin(), row.end());
      sequence.trainable_mask.assign(row.size(), true);
      sequence.trainable_mask[0] = false;
    }
    return CrossEntropyBatch(std::move(sequences), "token_mean");
  }

 private:
  const Options options_;
};

}  // namespace

AlgorithmPlugin Algorithm_pretrain() {
  return MakeAlgorithmPlugin<Options, Pretrain>("Next-token prediction on documents.");
}

}  // namespace grpo
