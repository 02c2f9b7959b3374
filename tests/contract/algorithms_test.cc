// The contract of every algorithm in trainer/algorithms.inc (docs/design.md section 3).
#include <algorithm>
#include <cmath>

#include "common/seeds.h"
#include "common/status_testing.h"
#include "configs/load.h"
#include "trainer/algorithm/algorithm.h"

namespace grpo {
namespace {

struct Case {
  std::string algorithm, options;
};

// The keys that have no default, and the switches that change what Prepare does.
const std::vector<Case>& Cases() {
  static const auto* cases = new std::vector<Case>{
      {"grpo", "{rewards: r}"},
      {"grpo", "{rewards: r, scale_rewards: none, loss_reduction: sequence_mean}"},
      {"grpo",
       "{rewards: r, kl_coefficient: 0.1, reference_policy: base, minibatches_per_iteration: 2, iterations_per_step: "
       "2}"},
      {"pretrain", "{}"},
      {"sft", "{}"},
      {"sft", "{loss_reduction: sequence_mean}"},
  };
  return *cases;
}

ScoredGroup MakeGroup(Rng& rng, int64_t group_index, int64_t group_size) {
  ScoredGroup group;
  group.lease.mutable_key()->set_group_index(group_index);
  for (int64_t i = 0, size = 2 + rng.Below(4); i < size; ++i)
    group.prompt_ids.push_back(static_cast<uint32_t>(rng.Below(50)));
  for (int64_t i = 0; i < group_size; ++i) {
    v1::ScoredCompletion& scored = group.completions.emplace_back();
    v1::Completion& completion = *scored.mutable_completion();
    const int64_t length = 1 + rng.Below(6);
    for (int64_t t = 0; t < length; ++t) {
      completion.add_ids(static_cast<uint32_t>(rng.Below(50)));
      completion.add_sample_logprob(static_cast<float>(-rng.Uniform()));
    }
    // Two spans, the first of which the loss may not read.
    v1::Span& first = *completion.add_spans();
    first.set_num_tokens(static_cast<int32_t>(length / 2));
    v1::Span& second = *completion.add_spans();
    second.set_num_tokens(static_cast<int32_t>(length - length / 2));
    second.set_trainable(true);
    scored.mutable_score()->set_value(static_cast<double>(rng.Below(3)));
    scored.mutable_score()->set_outcome(v1::OUTCOME_SCORED);
  }
  return group;
}

StepInput RandomInput(const Algorithm& algorithm, uint64_t seed) {
  Rng rng(seed);
  StepInput input;
  if (algorithm.rollouts()) {
    for (int64_t g = 0; g < 6; ++g) input.groups.push_back(MakeGroup(rng, g, algorithm.rollouts()->group_size));
    return input;
  }
  const auto random_ids = [&rng](int64_t size) {
    std::vector<uint32_t> ids;
    for (int64_t t = 0; t < size; ++t) ids.push_back(static_cast<uint32_t>(rng.Below(50)));
    return ids;
  };
  if (algorithm.traces()) {
    for (int64_t i = 0; i < 6; ++i)
      input.traces.push_back({random_ids(2 + rng.Below(4)), random_ids(1 + rng.Below(6))});
    return input;
  }
  for (int64_t r = 0; r < 6; ++r) input.rows.push_back(random_ids(algorithm.corpus()->row_tokens + 1));
  return input;
}

class AlgorithmContractTest : public ::testing::TestWithParam<Case> {
 protected:
  AlgorithmContractTest() {
    auto section = ParseConfigText(GetParam().options, "case");
    algorithm_ = *MakeAlgorithm(GetParam().algorithm, *section);
  }
  std::unique_ptr<Algorithm> algorithm_;
};

TEST_P(AlgorithmContractTest, SaysWhatItNeedsAndKnowsItsLosses) {
  EXPECT_EQ(algorithm_->rollouts().has_value() + algorithm_->corpus().has_value() + algorithm_->traces().has_value(),
            1);
  for (const std::string& name : algorithm_->losses()) EXPECT_OK(MakeLoss(name, algorithm_->loss_options()));
}

TEST_P(AlgorithmContractTest, FillsEveryStreamThatItsLossesRead) {
  ASSERT_OK_AND_ASSIGN(const StepBatch batch, algorithm_->Prepare(RandomInput(*algorithm_, 1)));
  for (const std::string& loss : algorithm_->losses()) {
    for (const std::string& name : (*MakeLoss(loss, {}))->streams()) {
      // The loop fills this one.
      if (name == stream::kRefLogprob) continue;
      for (const auto& sequences : batch.minibatches) {
        for (const TokenStreams& sequence : sequences) EXPECT_TRUE(sequence.streams.contains(name)) << name;
      }
    }
  }
}

TEST_P(AlgorithmContractTest, TheWeightsOfEachUpdateSumToOne) {
  ASSERT_OK_AND_ASSIGN(const StepBatch batch, algorithm_->Prepare(RandomInput(*algorithm_, 2)));
  for (const auto& sequences : batch.minibatches) {
    double sum = 0;
    for (const TokenStreams& sequence : sequences) {
      const std::vector<float>& weights =
          sequence.streams.at(algorithm_->rollouts() ? stream::kRlWeight : stream::kCeWeight);
      for (size_t t = 0; t < weights.size(); ++t) {
        if (sequence.trainable_mask[t]) sum += weights[t];
      }
    }
    EXPECT_NEAR(sum, 1, 1e-5);
  }
}

TEST_P(AlgorithmContractTest, OnlyTrainableCompletionTokensAreTargets) {
  const StepInput input = RandomInput(*algorithm_, 3);
  ASSERT_OK_AND_ASSIGN(const StepBatch batch, algorithm_->Prepare(input));
  if (!algorithm_->rollouts()) return;
  size_t index = 0;
  const size_t group_size = input.groups[0].completions.size();
  for (const auto& sequences : batch.minibatches) {
    for (const TokenStreams& sequence : sequences) {
      const ScoredGroup& group = input.groups[index / group_size];
      const v1::Completion& completion = group.completions[index % group_size].completion();
      const size_t first = group.prompt_ids.size() + completion.spans(0).num_tokens();
      for (size_t t = 0; t < sequence.ids.size(); ++t) EXPECT_EQ(sequence.trainable_mask[t], t >= first);
      ++index;
    }
  }
}

TEST_P(AlgorithmContractTest, OfATraceOnlyTheCompletionIsTarget) {
  if (!algorithm_->traces()) return;
  const StepInput input = RandomInput(*algorithm_, 3);
  ASSERT_OK_AND_ASSIGN(const StepBatch batch, algorithm_->Prepare(input));
  ASSERT_EQ(batch.minibatches[0].size(), input.traces.size());
  for (size_t i = 0; i < input.traces.size(); ++i) {
    const TokenStreams& sequence = batch.minibatches[0][i];
    const TokenizedTrace& trace = input.traces[i];
    ASSERT_EQ(sequence.ids.size(), trace.prompt_ids.size() + trace.completion_ids.size());
    for (size_t t = 0; t < sequence.ids.size(); ++t) {
      const bool in_prompt = t < trace.prompt_ids.size();
      EXPECT_EQ(sequence.ids[t], in_prompt ? trace.prompt_ids[t] : trace.completion_ids[t - trace.prompt_ids.size()]);
      EXPECT_EQ(sequence.trainable_mask[t], !in_prompt);
    }
  }
}

TEST_P(AlgorithmContractTest, ExcludedSamplesAreNotLearnedFrom) {
  if (!algorithm_->rollouts()) return;
  StepInput input = RandomInput(*algorithm_, 4);
  input.groups[0].completions[1].mutable_score()->set_excluded(true);
  ASSERT_OK_AND_ASSIGN(const StepBatch batch, algorithm_->Prepare(input));
  const std::vector<bool>& mask = batch.minibatches[0][1].trainable_mask;
  EXPECT_EQ(std::count(mask.begin(), mask.end(), true), 0);
  EXPECT_EQ(batch.metrics.at("samples_excluded"), 1);
}

TEST_P(AlgorithmContractTest, AStepWithoutGroupsMakesNoUpdate) {
  if (!algorithm_->rollouts()) return;
  ASSERT_OK_AND_ASSIGN(const StepBatch batch, algorithm_->Prepare(StepInput()));
  EXPECT_TRUE(batch.minibatches.empty());
  for (const auto& [name, value] : batch.metrics) EXPECT_TRUE(std::isfinite(value)) << name;
}

TEST_P(AlgorithmContractTest, EqualRewardsGiveNoAdvantage) {
  if (!algorithm_->rollouts()) return;
  StepInput input = RandomInput(*algorithm_, 5);
  for (ScoredGroup& group : input.groups) {
    for (v1::ScoredCompletion& scored : group.completions) scored.mutable_score()->set_value(0.1);
  }
  ASSERT_OK_AND_ASSIGN(const StepBatch batch, algorithm_->Prepare(input));
  for (const auto& sequences : batch.minibatches) {
    for (const TokenStreams& sequence : sequences)
      EXPECT_THAT(sequence.streams.at(stream::kAdvantage), ::testing::Each(0.0f));
  }
  EXPECT_EQ(batch.metrics.at("frac_reward_zero_std"), 1);
}

TEST_P(AlgorithmContractTest, TheOrderOfGroupsInAnUpdateDoesNotMatter) {
  const StepInput input = RandomInput(*algorithm_, 6);
  StepInput reversed = input;
  std::reverse(reversed.groups.begin(), reversed.groups.end());
  std::reverse(reversed.rows.begin(), reversed.rows.end());
  std::reverse(reversed.traces.begin(), reversed.traces.end());
  ASSERT_OK_AND_ASSIGN(const StepBatch batch, algorithm_->Prepare(input));
  if (batch.minibatches.size() > 1) return;
  ASSERT_OK_AND_ASSIGN(const StepBatch other, algorithm_->Prepare(reversed));
  const auto same = [](const TokenStreams& a, const TokenStreams& b) {
    return a.ids == b.ids && a.trainable_mask == b.trainable_mask && a.streams == b.streams;
  };
  EXPECT_TRUE(std::is_permutation(batch.minibatches[0].begin(), batch.minibatches[0].end(),
                                  other.minibatches[0].begin(), other.minibatches[0].end(), same));
}

INSTANTIATE_TEST_SUITE_P(EveryAlgorithm, AlgorithmContractTest, ::testing::ValuesIn(Cases()),
                         [](const auto& info) { return info.param.algorithm + std::to_string(info.index); });

// A new line in algorithms.inc without a case here is an uncovered algorithm.
TEST(AlgorithmsIncTest, EveryAlgorithmHasACase) {
#define ALGORITHM(name, Options) \
  EXPECT_TRUE(std::any_of(Cases().begin(), Cases().end(), [](const Case& c) { return c.algorithm == #name; })) << #name;
#include "trainer/algorithms.inc"
#undef ALGORITHM
}

}  // namespace
}  // namespace grpo
