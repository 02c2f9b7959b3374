// Next-token prediction on documents: what makes a base model. The mean over all targets of the step.
#include <utility>

#include "trainer/algorithm/algorithm.h"
#include "trainer/algorithm/pretrain_options.h"
#include "trainer/algorithm/reduction.h"

namespace grpo {
namespace {

class Pretrain : public Algorithm {
 public:
  explicit Pretrain(const PretrainOptions& options) : options_(options) {}

  std::optional<CorpusPlan> corpus() const override {
    return CorpusPlan{.rows_per_step = options_.rows_per_step, .row_tokens = options_.row_tokens};
  }
  std::vector<std::string> losses() const override { return {"cross_entropy"}; }

  absl::StatusOr<StepBatch> Prepare(const StepInput& input) const override {
    std::vector<TokenStreams> sequences;
    for (const auto& row : input.rows) {
      TokenStreams& sequence = sequences.emplace_back();
      sequence.ids.assign(row.begin(), row.end());
      sequence.trainable_mask.assign(row.size(), true);
      sequence.trainable_mask[0] = false;
    }
    return CrossEntropyBatch(std::move(sequences), "token_mean");
  }

 private:
  const PretrainOptions options_;
};

}  // namespace

std::unique_ptr<Algorithm> MakeAlgorithm_pretrain(const PretrainOptions& options) {
  return std::make_unique<Pretrain>(options);
}

}  // namespace grpo
