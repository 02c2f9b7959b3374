#include "model/even_layers.h"

#include <gtest/gtest.h>

#include <algorithm>

namespace grpo {
namespace {

using Layers = std::vector<int64_t>;

TEST(EvenLayersTest, HandWorked) {
  EXPECT_EQ(EvenLayers(5, 3), (Layers{1, 3, 5}));
  EXPECT_EQ(EvenLayers(3, 2), (Layers{1, 3}));
  // 1, 2.5 and 4: a half goes up.
  EXPECT_EQ(EvenLayers(4, 3), (Layers{1, 3, 4}));
  // 1, 1 + 5/3, 1 + 10/3, 6.
  EXPECT_EQ(EvenLayers(6, 4), (Layers{1, 3, 4, 6}));
  EXPECT_EQ(EvenLayers(12, 6), (Layers{1, 3, 5, 8, 10, 12}));
  EXPECT_EQ(EvenLayers(7, 1), Layers{1});
  EXPECT_EQ(EvenLayers(1, 1), Layers{1});
}

TEST(EvenLayersTest, AreRisingBeginWithTheFirstAndEndWithTheLast) {
  for (int64_t num_layers = 1; num_layers <= 40; ++num_layers) {
    for (int64_t keep = 1; keep <= num_layers; ++keep) {
      const Layers layers = EvenLayers(num_layers, keep);
      ASSERT_EQ(static_cast<int64_t>(layers.size()), keep);
      EXPECT_EQ(layers.front(), 1);
      EXPECT_EQ(layers.back(), keep > 1 ? num_layers : 1) << num_layers << " " << keep;
      int64_t smallest_gap = num_layers, largest_gap = 0;
      for (size_t k = 1; k < layers.size(); ++k) {
        smallest_gap = std::min(smallest_gap, layers[k] - layers[k - 1]);
        largest_gap = std::max(largest_gap, layers[k] - layers[k - 1]);
      }
      if (keep > 1) {
        EXPECT_GE(smallest_gap, 1) << num_layers << " " << keep;
        EXPECT_LE(largest_gap - smallest_gap, 1) << num_layers << " " << keep;
      }
    }
  }
}

}  // namespace
}  // namespace grpo
