// Next-token prediction on documents: what makes a base model. The mean over all targets of the step.
#include "trainer/algorithm/algorithm.h"
#include "trainer/algorithm/pretrain_options.h"

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
    int64_t num_targets = 0;
    for (const auto& row : input.rows) num_targets += static_cast<int64_t>(row.size()) - 1;
    StepBatch batch;
    std::vector<TokenStreams>& sequences = batch.minibatches.emplace_back();
    for (const auto& row : input.rows) {
      TokenStreams& sequence = sequences.emplace_back();
      sequence.ids.assign(row.begin(), row.end());
      sequence.trainable_mask.assign(row.size(), true);
      sequence.trainable_mask[0] = false;
      sequence.streams[stream::kCeWeight].assign(row.size(), 1.0f / static_cast<float>(num_targets));
    }
    batch.metrics["num_tokens"] = static_cast<double>(num_targets);
    return batch;
  }

 private:
  const PretrainOptions options_;
};

}  // namespace

std::unique_ptr<Algorithm> MakeAlgorithm_pretrain(const PretrainOptions& options) {
  return std::make_unique<Pretrain>(options);
}

}  // namespace grpo
