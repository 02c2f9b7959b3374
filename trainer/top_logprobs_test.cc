// The likeliest tokens against the whole distribution, row by row.
#include "trainer/top_logprobs.h"

#include <ATen/ATen.h>
#include <ATen/core/grad_mode.h>

#include <cmath>
#include <set>

#include "common/status_testing.h"
#include "model/attention.h"
#include "model/weights/testing.h"

namespace grpo {
namespace {

constexpr int64_t kTopK = 4;

// Prompts of one to three tokens; two of them twice, one after the other.
std::vector<TokenizedTrace> Traces() {
  std::vector<TokenizedTrace> traces;
  for (uint32_t i = 0; i < 7; ++i) {
    TokenizedTrace& trace = traces.emplace_back();
    for (uint32_t t = 0; t < 1 + i / 2 % 3; ++t) trace.prompt_ids.push_back((7 * (i / 2) + 3 * t) % 58);
    for (uint32_t t = 0; t < 1 + i % 5; ++t) trace.completion_ids.push_back((11 * i + 5 * t) % 58);
  }
  return traces;
}

// One trace alone, all its logits at a time.
at::Tensor Naive(const Transformer& model, const TokenizedTrace& trace) {
  std::vector<int64_t> ids(trace.prompt_ids.begin(), trace.prompt_ids.end());
  ids.insert(ids.end(), trace.completion_ids.begin(), trace.completion_ids.end());
  const int64_t length = static_cast<int64_t>(ids.size()) - 1;
  PackedAttention attention({length});
  const at::Tensor logits = model.Logits(model.Forward(at::tensor(ids).narrow(0, 0, length), at::arange(length),
                                                       attention));  // [T - 1, V]
  return logits
      .narrow(0, static_cast<int64_t>(trace.prompt_ids.size()) - 1, static_cast<int64_t>(trace.completion_ids.size()))
      .log_softmax(-1);
}

TEST(TopLogprobsTest, TheyAreTheLargestOfTheWholeDistributionHoweverItIsCut) {
  const at::NoGradGuard no_grad;
  const auto model = MakeRandom(SmallConfig(), 7);
  const std::vector<TokenizedTrace> traces = Traces();
  for (const int64_t micro_batch_tokens : {1, 9, 1000}) {
    for (const int64_t chunk_bytes : {1, 3 * 4 * 58, 1 << 20}) {
      TrainerOptions options;
      options.micro_batch_tokens = micro_batch_tokens;
      options.head_chunk_bytes = chunk_bytes;
      ASSERT_OK_AND_ASSIGN(const std::vector<TopK> tops, TopLogprobs(*model, traces, kTopK, options));
      ASSERT_EQ(tops.size(), traces.size());
      for (size_t i = 0; i < traces.size(); ++i) {
        const at::Tensor all = Naive(*model, traces[i]);  // [T, V]
        ASSERT_EQ(tops[i].ids.size(), traces[i].completion_ids.size() * kTopK);
        ASSERT_EQ(tops[i].logprobs.size(), tops[i].ids.size());
        for (int64_t t = 0; t < all.size(0); ++t) {
          const at::Tensor sorted = std::get<0>(all[t].sort(-1, /*descending=*/true));
          std::set<uint32_t> ids;
          for (int64_t j = 0; j < kTopK; ++j) {
            const size_t at = static_cast<size_t>(t * kTopK + j);
            EXPECT_NEAR(tops[i].logprobs[at], sorted[j].item<float>(), 1e-4);
            EXPECT_NEAR(tops[i].logprobs[at], all[t][tops[i].ids[at]].item<float>(), 1e-4) << "another token's";
            ids.insert(tops[i].ids[at]);
          }
          EXPECT_EQ(ids.size(), kTopK);
        }
      }
    }
  }
}

TEST(TopLogprobsTest, AllTokensTogetherHaveProbabilityOneAndNothingAsksForGradients) {
  const auto model = MakeRandom(SmallConfig(), 7);
  model->RequireGrad();
  ASSERT_OK_AND_ASSIGN(const std::vector<TopK> tops, TopLogprobs(*model, Traces(), 58, {}));
  for (const TopK& top : tops) {
    for (size_t begin = 0; begin < top.logprobs.size(); begin += 58) {
      double mass = 0;
      for (size_t j = begin; j < begin + 58; ++j) mass += std::exp(static_cast<double>(top.logprobs[j]));
      EXPECT_NEAR(mass, 1, 1e-5);
    }
  }
}

TEST(TopLogprobsTest, WhatThePolicyCannotReadIsRefused) {
  const auto model = MakeRandom(SmallConfig(), 7);
  const TokenizedTrace fits = {.prompt_ids = {1}, .completion_ids = std::vector<uint32_t>(32, 2)};
  EXPECT_OK(TopLogprobs(*model, {fits}, 1, {}));
  TokenizedTrace longer = fits;
  longer.completion_ids.push_back(2);
  EXPECT_STATUS(TopLogprobs(*model, {fits, longer}, 1, {}), absl::StatusCode::kInvalidArgument, "34 in all");
  EXPECT_STATUS(TopLogprobs(*model, {{.prompt_ids = {}, .completion_ids = {1}}}, 1, {}),
                absl::StatusCode::kInvalidArgument, "0 tokens of prompt");
}

}  // namespace
}  // namespace grpo
