#include "rollout/device_sampler.h"

#include <ATen/TensorOperators.h>
#include <ATen/core/Tensor.h>
#include <ATen/ops/full.h>
#include <ATen/ops/randn.h>
#include <ATen/ops/zeros.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <limits>
#include <vector>

#include "common/seeds.h"
#include "common/status_testing.h"

namespace grpo {
namespace {

// The CPU is a device like any other here; tests/device has the rest.
at::Tensor Random(int64_t rows, int64_t vocab_size, uint64_t seed) {
  at::Generator generator = at::detail::createCPUGenerator(seed);
  return at::randn({rows, vocab_size}, generator) * 3;
}

struct Drawn {
  std::vector<int64_t> ids;
  std::vector<double> logprobs;
};

// Row i by draws[i]. `uniform` in place of the draws' own, where it is not negative.
Drawn SampleOnDevice(const at::Tensor& logits, const std::vector<Draw>& draws, double uniform = -1) {
  const int64_t rows = logits.size(0), vocab_size = logits.size(1);
  at::Tensor numbers = at::zeros({DeviceSampler::kNumbers, rows}, at::kDouble);
  int64_t num_ranked = 0;
  for (int64_t i = 0; i < rows; ++i) {
    DeviceSampler::Write(draws[i], vocab_size, i, rows,
                         absl::MakeSpan(numbers.mutable_data_ptr<double>(), numbers.numel()));
    num_ranked = std::max(num_ranked, DeviceSampler::NumRanked(draws[i], vocab_size));
  }
  if (uniform >= 0) numbers.select(0, 0).fill_(uniform);
  const at::Tensor drawn = DeviceSampler(vocab_size, c10::kCPU).Sample(logits, numbers, num_ranked).contiguous();
  const double* const data = drawn.const_data_ptr<double>();
  return {.ids = {data, data + rows}, .logprobs = {data + rows, data + 2 * rows}};
}

// What requests ask for, each beside all others.
std::vector<Draw> DrawsOfEachKind(int64_t rows) {
  const std::vector<Cut> cuts = {{},
                                 {},
                                 {.top_p = 0.9},
                                 {.top_k = 5},
                                 {.top_k = 1},
                                 {},
                                 {.min_p = 0.1},
                                 {.top_p = 0.7, .top_k = 40, .min_p = 0.02},
                                 {.top_k = 1'000'000}};
  const std::vector<double> temperatures = {1, 0.7, 1.3, 0, 0.05};
  std::vector<Draw> draws(rows);
  for (int64_t i = 0; i < rows; ++i) {
    draws[i] = {.temperature = temperatures[i % temperatures.size()],
                .cut = cuts[i % cuts.size()],
                .seed = SampleSeed(GroupSeed(1, "device", 2), static_cast<int32_t>(i)),
                .token_index = static_cast<uint64_t>(i % 7)};
  }
  return draws;
}

TEST(DeviceSamplerTest, DrawsWhatTheSamplerOfTheCpuDraws) {
  constexpr int64_t kRows = 450;
  int64_t num_different = 0;
  double difference = 0;
  // One block, exactly one, more, and more whose number is no whole one.
  for (const int64_t vocab_size : {1, 3, 256, 257, 1300}) {
    const at::Tensor logits = Random(kRows, vocab_size, 5 + vocab_size);
    const std::vector<Draw> draws = DrawsOfEachKind(kRows);
    const Drawn got = SampleOnDevice(logits, draws);
    for (int64_t i = 0; i < kRows; ++i) {
      const absl::Span<const float> row(logits[i].const_data_ptr<float>(), vocab_size);
      ASSERT_OK_AND_ASSIGN(
          const SampledToken want,
          SampleRow(row, draws[i].temperature, UniformAt(draws[i].seed, draws[i].token_index), draws[i].cut));
      if (got.ids[i] != want.id) {
        ++num_different;
        continue;
      }
      difference = std::max(difference, std::abs(got.logprobs[i] - want.sample_logprob));
    }
  }
  std::printf("of %d draws %d differ; log-probabilities by %g\n", static_cast<int>(5 * kRows),
              static_cast<int>(num_different), difference);
  // Where a uniform number lies on a token's very edge: some 1e-7 of them.
  EXPECT_LE(num_different, 1);
  EXPECT_LT(difference, 3e-6);
}

TEST(DeviceSamplerTest, OfEqualLogitsGreedyTakesTheFirstAndTopKTheLowest) {
  const at::Tensor logits = at::zeros({3, 600});
  logits.select(1, 300).fill_(2);
  logits.select(1, 10).fill_(2);
  EXPECT_EQ(SampleOnDevice(logits, {{.temperature = 0}, {.temperature = 0}, {.temperature = 0}}).ids,
            (std::vector<int64_t>{10, 10, 10}));
  // 10, 300, then 0, 1, 2 of those that are equal; the last of what is left.
  const std::vector<Draw> draws(3, {.cut = {.top_k = 5}});
  EXPECT_EQ(SampleOnDevice(logits, draws, std::nextafter(1.0, 0.0)).ids, (std::vector<int64_t>{2, 2, 2}));
  EXPECT_EQ(SampleOnDevice(logits, draws, 0).ids, (std::vector<int64_t>{10, 10, 10}));
}

TEST(DeviceSamplerTest, NeverDrawsATokenWithoutWeight) {
  const at::Tensor logits = at::full({2, 700}, -500.0f);
  logits.select(1, 3).fill_(0);
  logits.select(1, 402).fill_(0);
  const std::vector<Draw> draws = {{}, {.cut = {.top_p = 0.99}}};
  EXPECT_EQ(SampleOnDevice(logits, draws, 0).ids, (std::vector<int64_t>{3, 3}));
  EXPECT_EQ(SampleOnDevice(logits, draws, 0.5).ids, (std::vector<int64_t>{402, 402}));
  EXPECT_EQ(SampleOnDevice(logits, draws, std::nextafter(1.0, 0.0)).ids, (std::vector<int64_t>{402, 402}));
}

TEST(DeviceSamplerTest, ARowWithALogitThatIsNotFiniteSaysSoAndHarmsNoOther) {
  const std::vector<Draw> draws = DrawsOfEachKind(18);
  const at::Tensor logits = Random(18, 300, 3);
  const Drawn want = SampleOnDevice(logits, draws);
  for (const float bad : {std::numeric_limits<float>::quiet_NaN(), std::numeric_limits<float>::infinity(),
                          -std::numeric_limits<float>::infinity()}) {
    for (int64_t row = 0; row < 18; ++row) {
      const at::Tensor broken = logits.clone();
      broken[row][299].fill_(bad);
      const Drawn got = SampleOnDevice(broken, draws);
      for (int64_t i = 0; i < 18; ++i) {
        EXPECT_EQ(std::isnan(got.logprobs[i]), i == row) << bad << " row " << i;
        EXPECT_TRUE(got.ids[i] >= 0 && got.ids[i] < 300) << got.ids[i];
        if (i != row) {
          EXPECT_EQ(got.ids[i], want.ids[i]);
        }
      }
    }
  }
}

TEST(DeviceSamplerTest, ARowIsTheSameWhereverItLies) {
  const std::vector<Draw> draws(6, DrawsOfEachKind(1)[0]);
  const at::Tensor logits = Random(1, 900, 4).expand({6, 900});
  const Drawn drawn = SampleOnDevice(logits, draws);
  for (int64_t i = 1; i < 6; ++i) {
    EXPECT_EQ(drawn.ids[i], drawn.ids[0]);
    EXPECT_EQ(drawn.logprobs[i], drawn.logprobs[0]);
  }
}

TEST(DeviceSamplerTest, RanksNoMoreThanTheCutAsksFor) {
  EXPECT_EQ(DeviceSampler::NumRanked({}, 50), 0);
  EXPECT_EQ(DeviceSampler::NumRanked({.temperature = 0, .cut = {.top_k = 3}}, 50), 0);
  EXPECT_EQ(DeviceSampler::NumRanked({.cut = {.top_k = 3}}, 50), 3);
  EXPECT_EQ(DeviceSampler::NumRanked({.cut = {.top_k = 70}}, 50), 50);
  EXPECT_EQ(DeviceSampler::NumRanked({.cut = {.top_p = 0.5}}, 50), 50);
}

}  // namespace
}  // namespace grpo
