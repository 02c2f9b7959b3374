#include "rollout/sampler.h"

#include <ATen/ops/from_blob.h>
#include <ATen/ops/log_softmax.h>
#include <ATen/ops/tensor.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <map>
#include <vector>

#include "common/seeds.h"
#include "common/status_testing.h"

namespace grpo {
namespace {

constexpr float kInfinity = std::numeric_limits<float>::infinity();

// About normal, by the sum of uniforms; `spread` is the deviation.
std::vector<float> RandomLogits(int64_t vocab_size, uint64_t seed, double spread = 2) {
  Rng rng(seed);
  std::vector<float> logits(vocab_size);
  for (float& logit : logits) {
    double sum = -6;
    for (int i = 0; i < 12; ++i) sum += rng.Uniform();
    logit = static_cast<float>(spread * sum);
  }
  return logits;
}

// Of softmax(logits / temperature), in double.
std::vector<double> Probabilities(const std::vector<float>& logits, double temperature) {
  std::vector<double> p(logits.size());
  double max = -kInfinity, total = 0;
  for (const float logit : logits) max = std::max<double>(max, logit);
  for (size_t i = 0; i < p.size(); ++i) total += p[i] = std::exp((logits[i] - max) / temperature);
  for (double& value : p) value /= total;
  return p;
}

TEST(SampleRow, InvertsTheDistributionFunctionOfAHandComputedRow) {
  // Weights 1 : 2 : 1.
  const std::vector<float> logits = {0, std::log(2.0f), 0};
  const auto id = [&](double uniform) { return SampleRow(logits, 1, uniform)->id; };
  EXPECT_EQ(id(0), 0);
  EXPECT_EQ(id(0.249), 0);
  EXPECT_EQ(id(0.251), 1);
  EXPECT_EQ(id(0.749), 1);
  EXPECT_EQ(id(0.751), 2);
  EXPECT_EQ(id(1 - 0x1p-53), 2);
  EXPECT_NEAR(SampleRow(logits, 1, 0.5)->sample_logprob, std::log(0.5), 1e-7);
  // At temperature 1/2 the weights are 1 : 4 : 1.
  EXPECT_EQ(SampleRow(logits, 0.5, 0.17)->id, 1);
  EXPECT_NEAR(SampleRow(logits, 0.5, 0.1)->sample_logprob, std::log(1.0 / 6), 1e-6);
}

// The nucleus by brute force: every token by falling probability until they sum to top_p.
TEST(SampleRow, TopPDrawsFromTheNucleusWithItsOwnProbabilities) {
  for (const double top_p : {0.05, 0.5, 0.9, 0.999}) {
    const std::vector<float> logits = RandomLogits(58, 9);
    const std::vector<double> p = Probabilities(logits, 0.8);
    std::vector<size_t> order(p.size());
    for (size_t i = 0; i < order.size(); ++i) order[i] = i;
    std::stable_sort(order.begin(), order.end(), [&](size_t a, size_t b) { return p[a] > p[b]; });
    double mass = 0;
    std::map<uint32_t, double> nucleus;
    for (size_t i = 0; i < order.size() && mass < top_p; ++i) {
      nucleus[order[i]] = p[order[i]];
      mass += p[order[i]];
    }
    std::map<uint32_t, int64_t> counts;
    constexpr int64_t kDraws = 20000;
    for (int64_t i = 0; i < kDraws; ++i) {
      const SampledToken token = *SampleRow(logits, 0.8, UniformAt(4, i), {.top_p = top_p});
      ASSERT_TRUE(nucleus.contains(token.id)) << top_p;
      EXPECT_NEAR(token.sample_logprob, std::log(nucleus[token.id] / mass), 1e-5);
      ++counts[token.id];
    }
    for (const auto& [id, probability] : nucleus) {
      const double expected = kDraws * probability / mass;
      EXPECT_NEAR(counts[id], expected, 6 * std::sqrt(expected) + 1) << top_p << " token " << id;
    }
  }
}

// What the cut leaves, by brute force: each token is judged by itself, in the order top_k, top_p, min_p.
std::map<uint32_t, double> NaiveCut(const std::vector<double>& p, const Cut& cut) {
  const auto before = [&](size_t a, size_t b) { return p[a] > p[b] || (p[a] == p[b] && a < b); };
  const double largest = *std::max_element(p.begin(), p.end());
  std::vector<size_t> rank(p.size(), 0);
  for (size_t i = 0; i < p.size(); ++i) {
    for (size_t j = 0; j < p.size(); ++j) rank[i] += before(j, i);
  }
  const auto in_k = [&](size_t i) { return cut.top_k == 0 || static_cast<int64_t>(rank[i]) < cut.top_k; };
  double mass_k = 0, mass = 0;
  for (size_t i = 0; i < p.size(); ++i) mass_k += in_k(i) ? p[i] : 0;
  std::map<uint32_t, double> left;
  for (size_t i = 0; i < p.size(); ++i) {
    double heavier = 0;
    for (size_t j = 0; j < p.size(); ++j) heavier += before(j, i) ? p[j] : 0;
    const bool in_nucleus = cut.top_p >= 1 || heavier < cut.top_p * mass_k;
    if (!in_k(i) || !in_nucleus || p[i] < cut.min_p * largest) continue;
    left[static_cast<uint32_t>(i)] = p[i];
    mass += p[i];
  }
  for (auto& [id, probability] : left) probability /= mass;
  return left;
}

TEST(SampleRow, CutsAsANaiveReferenceDoes) {
  const Cut cuts[] = {{.top_k = 1},
                      {.top_k = 5},
                      {.top_k = 57},
                      {.top_k = 58},
                      {.top_k = 1000},
                      {.min_p = 0.1},
                      {.min_p = 0.9},
                      {.min_p = 1},
                      {.top_p = 0.7, .top_k = 10},
                      {.top_p = 0.95, .top_k = 3, .min_p = 0.2},
                      {.top_p = 0.9, .min_p = 0.05},
                      {.top_p = 0.001, .top_k = 20, .min_p = 0.5}};
  for (const uint64_t seed : {9, 10, 11}) {
    const std::vector<float> logits = RandomLogits(58, seed);
    for (const Cut& cut : cuts) {
      const std::map<uint32_t, double> expected = NaiveCut(Probabilities(logits, 0.8), cut);
      std::map<uint32_t, int64_t> counts;
      constexpr int64_t kDraws = 4000;
      for (int64_t i = 0; i < kDraws; ++i) {
        const SampledToken token = *SampleRow(logits, 0.8, UniformAt(4, i), cut);
        ASSERT_TRUE(expected.contains(token.id)) << cut.top_k << " " << cut.top_p << " " << cut.min_p;
        EXPECT_NEAR(token.sample_logprob, std::log(expected.at(token.id)), 1e-5);
        ++counts[token.id];
      }
      for (const auto& [id, probability] : expected) {
        EXPECT_NEAR(counts[id], kDraws * probability, 6 * std::sqrt(kDraws * probability) + 1) << id;
      }
    }
  }
}

TEST(SampleRow, OfEqualTokensTheLowerIdsAreKept) {
  const std::vector<float> logits = {1, 2, 2, 2, 0};
  std::map<uint32_t, int64_t> counts;
  for (int64_t i = 0; i < 200; ++i) ++counts[SampleRow(logits, 1, UniformAt(1, i), {.top_k = 2})->id];
  EXPECT_EQ(counts.size(), 2u);
  EXPECT_TRUE(counts.contains(1) && counts.contains(2));
  EXPECT_EQ(SampleRow(logits, 0, 0.5, {.top_k = 2, .min_p = 0.5})->id, 1);
}

// Nothing that is switched off changes a bit.
TEST(SampleRow, WithoutACutTheDrawIsTheSameToTheBit) {
  const std::vector<float> logits = RandomLogits(1000, 3);
  for (int64_t i = 0; i < 200; ++i) {
    const SampledToken plain = *SampleRow(logits, 1, UniformAt(2, i));
    const SampledToken off = *SampleRow(logits, 1, UniformAt(2, i), {.top_p = 1, .top_k = 0, .min_p = 0});
    EXPECT_EQ(plain.id, off.id);
    EXPECT_EQ(plain.sample_logprob, off.sample_logprob);
  }
}

TEST(SampleRow, DrawsEachTokenAsOftenAsItsProbabilitySays) {
  for (const double temperature : {0.5, 1.0, 1.7}) {
    const std::vector<float> logits = RandomLogits(58, 3);
    const std::vector<double> p = Probabilities(logits, temperature);
    constexpr int kDraws = 200000;
    std::vector<int> counts(logits.size());
    for (int i = 0; i < kDraws; ++i) ++counts[SampleRow(logits, temperature, UniformAt(SampleSeed(7, i), 0))->id];
    double chi_square = 0, rest_expected = 0, rest_counted = 0;
    int cells = 0;
    for (size_t i = 0; i < p.size(); ++i) {
      const double expected = p[i] * kDraws;
      if (expected < 10) {
        rest_expected += expected;
        rest_counted += counts[i];
        continue;
      }
      chi_square += (counts[i] - expected) * (counts[i] - expected) / expected;
      ++cells;
    }
    if (rest_expected > 0) chi_square += std::pow(rest_counted - rest_expected, 2) / rest_expected;
    // Mean `cells`, deviation sqrt(2 cells): five deviations.
    EXPECT_LT(chi_square, cells + 5 * std::sqrt(2.0 * cells)) << "temperature " << temperature;
  }
}

TEST(SampleRow, FindsTheBucketOfTheUniformNumberInALargeVocabulary) {
  for (const int64_t vocab_size : {1, 15, 16, 17, 255, 256, 257, 151936}) {
    const std::vector<float> logits = RandomLogits(vocab_size, vocab_size);
    const std::vector<double> p = Probabilities(logits, 1);
    for (int draw = 0; draw < 50; ++draw) {
      const double uniform = UniformAt(99, draw);
      const SampledToken token = *SampleRow(logits, 1, uniform);
      ASSERT_LT(token.id, vocab_size);
      double before = 0;
      for (uint32_t i = 0; i < token.id; ++i) before += p[i];
      // Float weights: the borders between buckets are good to about 1e-7 of the total.
      EXPECT_LE(before, uniform + 1e-6);
      EXPECT_GT(before + p[token.id], uniform - 1e-6);
    }
    EXPECT_LT(SampleRow(logits, 1, 1 - 0x1p-53)->id, vocab_size);
  }
}

TEST(SampleRow, LogprobIsLogSoftmaxAtTheTemperature) {
  for (const int64_t vocab_size : {58, 151936}) {
    std::vector<float> logits = RandomLogits(vocab_size, 11, /*spread=*/5);
    const at::Tensor row = at::from_blob(logits.data(), {vocab_size}, at::kFloat);  // [V]
    for (const double temperature : {0.3, 1.0, 2.0}) {
      const at::Tensor expected = at::log_softmax(row.to(at::kDouble).div(temperature), 0);  // [V] float64
      for (int draw = 0; draw < 100; ++draw) {
        const SampledToken token = *SampleRow(logits, temperature, UniformAt(5, draw));
        EXPECT_NEAR(token.sample_logprob, expected[token.id].item<double>(), 2e-6);
      }
    }
  }
}

TEST(SampleRow, TemperatureZeroTakesTheFirstLargestWithItsLogprobAtTemperatureOne) {
  const std::vector<float> logits = {0, 1, 3, 3, -2};
  for (const double uniform : {0.0, 0.5, 0.999}) {
    const SampledToken token = *SampleRow(logits, 0, uniform);
    EXPECT_EQ(token.id, 2);
    EXPECT_NEAR(token.sample_logprob, std::log(Probabilities(logits, 1)[2]), 1e-6);
  }
}

TEST(SampleRow, SurvivesExtremeLogitsAndNeverDrawsWhatHasNoProbability) {
  const float huge = std::numeric_limits<float>::max();
  for (const double uniform : {0.0, 0.5, 1 - 0x1p-53}) {
    // The only token with weight is in the middle; the difference to the others overflows float.
    const SampledToken lone = *SampleRow(std::vector<float>{-huge, huge, -huge}, 1, uniform);
    EXPECT_EQ(lone.id, 1);
    EXPECT_EQ(lone.sample_logprob, 0);
    EXPECT_EQ(SampleRow(std::vector<float>{-200, 0, -200}, 1, uniform)->id, 1);
    EXPECT_EQ(SampleRow(std::vector<float>{0, 1, 0}, kMinTemperature, uniform)->id, 1);
    // Trailing blocks without any weight.
    std::vector<float> row(1000, -1e4f);
    row[3] = 0;
    EXPECT_EQ(SampleRow(row, 1, uniform)->id, 3);
  }
  EXPECT_EQ(SampleRow(std::vector<float>{-1e30f}, 1, 0.5)->id, 0);
}

TEST(SampleRow, RefusesLogitsThatAreNotFinite) {
  for (const float bad : {kInfinity, -kInfinity, std::numeric_limits<float>::quiet_NaN()}) {
    for (const size_t position : {0, 15, 16, 40}) {
      std::vector<float> logits = RandomLogits(41, 1);
      logits[position] = bad;
      EXPECT_STATUS(SampleRow(logits, 1, 0.5), absl::StatusCode::kInvalidArgument,
                    absl::StrCat("token ", position, " is"));
      EXPECT_FALSE(SampleRow(logits, 0, 0.5).ok());
    }
  }
}

TEST(Sample, ARowsResultDependsOnTheRowAlone) {
  constexpr int64_t kRows = 64, kVocab = 1003;
  std::vector<float> data;
  for (int64_t row = 0; row < kRows; ++row) {
    const std::vector<float> logits = RandomLogits(kVocab, row);
    data.insert(data.end(), logits.begin(), logits.end());
  }
  const at::Tensor logits = at::from_blob(data.data(), {kRows, kVocab}, at::kFloat);
  // Backwards, with a row that is drawn from twice.
  std::vector<Draw> draws;
  for (int64_t row = kRows - 1; row >= 0; --row) {
    draws.push_back(
        {.row = row, .temperature = 0.5 + 0.01 * row, .seed = static_cast<uint64_t>(1000 + row), .token_index = 3});
  }
  draws.push_back({.row = 5, .temperature = 1, .seed = 1, .token_index = 0});
  ASSERT_OK_AND_ASSIGN(const std::vector<SampledToken> tokens, Sample(logits, draws));
  ASSERT_EQ(tokens.size(), draws.size());
  for (size_t i = 0; i < draws.size(); ++i) {
    const Draw& draw = draws[i];
    const std::vector<float> copy(data.begin() + draw.row * kVocab, data.begin() + (draw.row + 1) * kVocab);
    const SampledToken alone = *SampleRow(copy, draw.temperature, UniformAt(draw.seed, draw.token_index));
    EXPECT_EQ(tokens[i].id, alone.id);
    EXPECT_EQ(tokens[i].sample_logprob, alone.sample_logprob);
  }
}

TEST(Sample, NamesTheFirstRowThatIsNotFinite) {
  const at::Tensor logits = at::tensor({0.f, 1.f, 0.f, kInfinity, kInfinity, 0.f}).view({3, 2});
  EXPECT_OK(Sample(logits, {{.row = 0}}));
  EXPECT_STATUS(Sample(logits, {{.row = 0}, {.row = 1}, {.row = 2}}), absl::StatusCode::kInvalidArgument,
                "row 1: the logit of token 1 is inf");
}

}  // namespace
}  // namespace grpo
