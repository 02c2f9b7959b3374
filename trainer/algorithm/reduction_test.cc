#include "trainer/algorithm/reduction.h"

#include <string>
#include <vector>

#include "common/seeds.h"
#include "common/status_testing.h"
#include "gmock/gmock.h"

namespace grpo {
namespace {

using ::testing::DoubleNear;
using ::testing::Each;
using ::testing::ElementsAre;
using ::testing::FloatNear;
using ::testing::IsEmpty;

// The mask says which tokens are targets: "..xx" has two.
TokenStreams Sequence(const std::string& mask) {
  TokenStreams sequence;
  for (const char c : mask) {
    sequence.ids.push_back(7);
    sequence.trainable_mask.push_back(c == 'x');
  }
  return sequence;
}

TEST(ReductionTest, TargetsAreTheTokensThatAreTrainedOn) {
  EXPECT_EQ(NumTargets(Sequence("")), 0);
  EXPECT_EQ(NumTargets(Sequence("....")), 0);
  EXPECT_EQ(NumTargets(Sequence(".x.xx")), 3);
}

TEST(ReductionTest, ATokenMeanWeighsEveryTargetAlike) {
  EXPECT_THAT(TargetWeights({Sequence(".x"), Sequence(".xxx")}, "token_mean"), ElementsAre(0.25, 0.25));
}

TEST(ReductionTest, ASequenceMeanWeighsEverySequenceThatHasTargetsAlike) {
  EXPECT_THAT(TargetWeights({Sequence(".x"), Sequence("...."), Sequence(".xxxx")}, "sequence_mean"),
              ElementsAre(0.5, 0, 0.125));
}

TEST(ReductionTest, WithoutATargetNothingWeighsAnything) {
  for (const char* const reduction : {"token_mean", "sequence_mean"}) {
    EXPECT_THAT(TargetWeights({Sequence("..."), Sequence("")}, reduction), ElementsAre(0, 0)) << reduction;
    EXPECT_THAT(TargetWeights({}, reduction), IsEmpty());
  }
}

// docs/design.md law 4: the loss is a mean, however long the sequences are.
TEST(ReductionTest, TheWeightsOfAllTargetsSumToOne) {
  Rng rng(11);
  for (int round = 0; round < 50; ++round) {
    std::vector<TokenStreams> sequences;
    for (int64_t i = 0, count = 1 + rng.Below(8); i < count; ++i) {
      std::string mask = ".x";
      for (int64_t t = rng.Below(20); t > 0; --t) mask.push_back(rng.Below(3) == 0 ? '.' : 'x');
      sequences.push_back(Sequence(mask));
    }
    for (const char* const reduction : {"token_mean", "sequence_mean"}) {
      const std::vector<double> weights = TargetWeights(sequences, reduction);
      double sum = 0;
      for (size_t i = 0; i < sequences.size(); ++i) sum += weights[i] * static_cast<double>(NumTargets(sequences[i]));
      EXPECT_THAT(sum, DoubleNear(1, 1e-12)) << reduction;
    }
  }
}

TEST(ReductionTest, ABatchOfCrossEntropyIsOneUpdateOfGroupsOfOne) {
  const StepBatch batch = CrossEntropyBatch({Sequence(".xx"), Sequence(".x"), Sequence("..")}, "token_mean");
  EXPECT_EQ(batch.iterations, 1);
  ASSERT_EQ(batch.minibatches.size(), 1u);
  const std::vector<TokenStreams>& sequences = batch.minibatches[0];
  ASSERT_EQ(sequences.size(), 3u);
  for (int64_t i = 0; i < 3; ++i) {
    EXPECT_EQ(sequences[i].group, i);
    ASSERT_EQ(sequences[i].streams.at(stream::kCeWeight).size(), static_cast<int64_t>(sequences[i].ids.size()));
    EXPECT_THAT(sequences[i].streams.at(stream::kCeWeight).floats(), Each(FloatNear(1.0f / 3, 1e-7f)));
  }
  EXPECT_EQ(batch.metrics.at("num_tokens"), 3) << "targets, not ids";
}

}  // namespace
}  // namespace grpo
