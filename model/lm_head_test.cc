#include "model/lm_head.h"

#include <ATen/ATen.h>
#include <gtest/gtest.h>

#include "common/status_testing.h"
#include "model/threads.h"

namespace grpo {
namespace {

constexpr int64_t kTokens = 13, kWidth = 10, kVocab = 4099;

struct Inputs {
  at::Tensor hidden, head, targets, weights;
};

Inputs Random(double spread = 1) {
  at::manual_seed(7);
  return {.hidden = (at::randn({kTokens, kWidth}) * spread).requires_grad_(true),
          .head = at::randn({kVocab, kWidth}).requires_grad_(true),
          .targets = at::randint(kVocab, {kTokens}, at::kLong),
          .weights = at::randn({kTokens})};
}

double RelativeDifference(const at::Tensor& a, const at::Tensor& b) {
  return ((a - b).norm() / b.norm()).item<double>();
}

// Against log_softmax of the whole logits, in float64.
TEST(LmHeadTest, EqualsLogSoftmaxAndItsGradientInAnyChunks) {
  for (const double temperature : {1.0, 0.7}) {
    Inputs exact = Random();
    const at::Tensor hidden = exact.hidden.detach().to(at::kDouble).requires_grad_(true);
    const at::Tensor head = exact.head.detach().to(at::kDouble).requires_grad_(true);
    const at::Tensor expected =
        (hidden.matmul(head.t()) / temperature).log_softmax(-1).gather(1, exact.targets.unsqueeze(1)).squeeze(1);
    (expected * exact.weights).sum().backward();
    // One row, five rows, all rows.
    for (const int64_t chunk_bytes : {int64_t{1}, 5 * kVocab * 4, kDefaultHeadChunkBytes}) {
      Inputs in = Random();
      const at::Tensor logprobs = TargetLogprobs(in.hidden, in.head, in.targets, temperature, chunk_bytes);
      EXPECT_LT(RelativeDifference(logprobs, expected), 1e-6) << chunk_bytes;
      (logprobs * in.weights).sum().backward();
      EXPECT_LT(RelativeDifference(in.hidden.grad(), hidden.grad()), 2e-6) << chunk_bytes;
      EXPECT_LT(RelativeDifference(in.head.grad(), head.grad()), 2e-6) << chunk_bytes;
    }
  }
}

// Of small whole numbers, whose products' sums are exact in any order: what is left is our own kernel.
TEST(LmHeadTest, BitsDoNotDependOnTheNumberOfThreads) {
  at::manual_seed(3);
  const at::Tensor hidden = at::randint(-4, 5, {kTokens, kWidth}, at::kFloat);
  const at::Tensor head = at::randint(-4, 5, {kVocab, kWidth}, at::kFloat);
  const at::Tensor targets = at::randint(kVocab, {kTokens}, at::kLong);
  at::Tensor reference;
  for (const int64_t num_threads : {1, 2, 4}) {
    ASSERT_OK(UseThreads(num_threads));
    const at::Tensor logprobs = TargetLogprobs(hidden, head, targets, 0.7);
    if (!reference.defined()) reference = logprobs;
    EXPECT_TRUE(logprobs.equal(reference)) << num_threads;
  }
}

TEST(LmHeadTest, LargeLogitsStayFinite) {
  Inputs in = Random(/*spread=*/100);
  const at::Tensor logprobs = TargetLogprobs(in.hidden, in.head, in.targets, 1.0);
  logprobs.sum().backward();
  EXPECT_TRUE(at::isfinite(logprobs).all().item<bool>());
  EXPECT_TRUE(at::isfinite(in.hidden.grad()).all().item<bool>());
  EXPECT_TRUE((logprobs <= 0).all().item<bool>());
}

TEST(LmHeadTest, NoTokensAreNoError) {
  const at::Tensor none = TargetLogprobs(at::zeros({0, kWidth}).requires_grad_(true), at::zeros({kVocab, kWidth}),
                                         at::zeros({0}, at::kLong), 1.0);
  EXPECT_EQ(none.numel(), 0);
}

TEST(LmHeadTest, ATargetOutsideTheVocabularyIsAnException) {
  EXPECT_THROW(
      TargetLogprobs(at::zeros({1, kWidth}), at::zeros({kVocab, kWidth}), at::full({1}, kVocab, at::kLong), 1.0),
      c10::Error);
}

}  // namespace
}  // namespace grpo
