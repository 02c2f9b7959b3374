// Supervised fine-tuning on traces: cross-entropy on completion tokens only. On traces of a stronger policy it is
// distillation as in DeepSeek-R1 (arXiv:2501.12948, section 2.4).
#include <utility>

#include "trainer/algorithm/algorithm.h"
#include "trainer/algorithm/reduction.h"
#include "trainer/algorithm/sft_options.h"

namespace grpo {
namespace {

class Sft : public Algorithm {
 public:
  explicit Sft(const SftOptions& options) : options_(options) {}

  std::optional<TracesPlan> traces() const override { return TracesPlan{.traces_per_step = options_.traces_per_step}; }
  std::vector<std::string> losses() const override { return {"cross_entropy"}; }

  absl::StatusOr<StepBatch> Prepare(const StepInput& input) const override {
    std::vector<TokenStreams> sequences;
    for (const TokenizedTrace& trace : input.traces) {
      TokenStreams& sequence = sequences.emplace_back();
      sequence.ids.assign(trace.prompt_ids.begin(), trace.prompt_ids.end());
      sequence.ids.insert(sequence.ids.end(), trace.completion_ids.begin(), trace.completion_ids.end());
      sequence.trainable_mask.assign(trace.prompt_ids.size(), false);
      sequence.trainable_mask.resize(sequence.ids.size(), true);
    }
    return CrossEntropyBatch(std::move(sequences), options_.loss_reduction);
  }

 private:
  const SftOptions options_;
};

}  // namespace

std::unique_ptr<Algorithm> MakeAlgorithm_sft(const SftOptions& options) {
  return std::make_unique<Sft>(options);
}

}  // namespace grpo
