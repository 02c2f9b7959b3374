#include "model/attention.h"

#include <ATen/ATen.h>
#include <ATen/Parallel.h>
#include <gtest/gtest.h>

#include <functional>
#include <numeric>
#include <utility>
#include <vector>

namespace grpo {
namespace {

struct Shape {
  int64_t num_heads, num_kv_heads, head_dim;
};

const Shape kShapes[] = {{4, 4, 16}, {6, 2, 64}, {5, 1, 10}, {9, 3, 34}, {2, 2, 2}};

// Sequences alone, a prompt that three share (one of them adds nothing), a prompt that fills a tile, one nobody shares.
const PackedLayout kLayouts[] = {
    {{5}, {}},
    {{1, 16, 33}, {-1, -1, -1}},
    {{7, 4, 0, 20}, {-1, 0, 0, 0}},
    {{16, 1, 16, 3, 40, 5, 6}, {-1, 0, 0, -1, -1, 4, 4}},
};

struct Inputs {
  at::Tensor q, k, v, d_out;
};

Inputs RandomInputs(const PackedLayout& layout, const Shape& shape, uint64_t seed, at::ScalarType dtype = at::kFloat) {
  const int64_t rows = std::accumulate(layout.lengths.begin(), layout.lengths.end(), int64_t{0});
  at::Generator generator = at::detail::createCPUGenerator(seed);
  const auto random = [&](int64_t heads) {
    return at::randn({rows, heads, shape.head_dim}, generator).mul_(1.5).to(dtype);
  };
  return {random(shape.num_heads), random(shape.num_kv_heads), random(shape.num_kv_heads), random(shape.num_heads)};
}

// The result, then the gradients of q, k and v.
using Attend = std::function<at::Tensor(const at::Tensor&, const at::Tensor&, const at::Tensor&)>;
std::vector<at::Tensor> WithGradients(const Inputs& in, const Attend& attend, at::ScalarType dtype = at::kFloat) {
  std::vector<at::Tensor> leaves;
  for (const at::Tensor& tensor : {in.q, in.k, in.v}) leaves.push_back(tensor.to(dtype).clone().requires_grad_(true));
  const at::Tensor out = attend(leaves[0], leaves[1], leaves[2]);
  out.backward(in.d_out.to(dtype));
  return {out.detach(), leaves[0].grad(), leaves[1].grad(), leaves[2].grad()};
}

std::vector<at::Tensor> Packed(const Inputs& in, const PackedLayout& layout, at::ScalarType dtype = at::kFloat) {
  PackedAttention attention(layout);
  return WithGradients(
      in, [&](const auto& q, const auto& k, const auto& v) { return attention.Attend(0, q, k, v); }, dtype);
}

std::vector<at::Tensor> Plain(const Inputs& in, const PackedLayout& layout) {
  return WithGradients(
      in, [&](const auto& q, const auto& k, const auto& v) { return PlainPackedAttention(layout, q, k, v); },
      at::kDouble);
}

void ExpectNear(const std::vector<at::Tensor>& got, const std::vector<at::Tensor>& expected, double tolerance) {
  for (size_t i = 0; i < got.size(); ++i) {
    EXPECT_LT((got[i] - expected[i]).abs().max().item<double>(), tolerance) << "of tensor " << i;
  }
}

TEST(PackedAttentionTest, EqualsAtensOwnOperationsInFloat64) {
  for (const Shape& shape : kShapes) {
    for (const PackedLayout& layout : kLayouts) {
      const Inputs in = RandomInputs(layout, shape, 1);
      ExpectNear(Packed(in, layout), Plain(in, layout), 3e-5);
    }
  }
}

TEST(PackedAttentionTest, Bfloat16IsRoundedOnceAtTheEnd) {
  for (const PackedLayout& layout : kLayouts) {
    const Inputs in = RandomInputs(layout, {6, 2, 64}, 2, at::kBFloat16);
    const std::vector<at::Tensor> got = Packed(in, layout, at::kBFloat16), expected = Plain(in, layout);
    for (size_t i = 0; i < got.size(); ++i) {
      EXPECT_EQ(got[i].scalar_type(), at::kBFloat16);
      // Half a unit in the last of 8 bits; the gradients also know the result, which is rounded, by delta.
      const double others = i == 0 ? 1e-5 : 0.01 * expected[i].abs().max().item<double>();
      const at::Tensor bound = expected[i].abs() * 0.00393 + others;
      EXPECT_TRUE(((got[i] - expected[i]).abs() <= bound).all().item<bool>()) << "of tensor " << i;
    }
  }
}

// The rows of sequence i with what it goes on from, in `layout`.
std::vector<int64_t> RowsOf(const PackedLayout& layout, size_t i) {
  std::vector<int64_t> begins(layout.lengths.size()), rows;
  std::exclusive_scan(layout.lengths.begin(), layout.lengths.end(), begins.begin(), int64_t{0});
  const int64_t prefix = layout.prefixes.empty() ? -1 : layout.prefixes[i];
  const auto add = [&](size_t sequence) {
    for (int64_t t = 0; t < layout.lengths[sequence]; ++t) rows.push_back(begins[sequence] + t);
  };
  if (prefix >= 0) add(prefix);
  add(i);
  return rows;
}

TEST(PackedAttentionTest, WhatIsSharedGivesTheBitsOfWhatIsWrittenOut) {
  for (const auto dtype : {at::kFloat, at::kBFloat16}) {
    for (const Shape& shape : kShapes) {
      for (const PackedLayout& layout : kLayouts) {
        const Inputs in = RandomInputs(layout, shape, 3, dtype);
        PackedAttention shared(layout);
        const at::Tensor got = shared.Attend(0, in.q, in.k, in.v);
        for (size_t i = 0; i < layout.lengths.size(); ++i) {
          const std::vector<int64_t> rows = RowsOf(layout, i);
          const at::Tensor index = at::tensor(rows);
          const auto take = [&](const at::Tensor& tensor) { return tensor.index_select(0, index); };
          PackedAttention alone(std::vector<int64_t>{static_cast<int64_t>(rows.size())});
          EXPECT_TRUE(at::equal(alone.Attend(0, take(in.q), take(in.k), take(in.v)), take(got))) << "sequence " << i;
        }
      }
    }
  }
}

TEST(PackedAttentionTest, BitsDoNotDependOnTheNumberOfThreads) {
  const int before = at::get_num_threads();
  for (const PackedLayout& layout : kLayouts) {
    const Inputs in = RandomInputs(layout, {6, 2, 64}, 4);
    at::set_num_threads(1);
    const std::vector<at::Tensor> one = Packed(in, layout);
    for (const int threads : {2, 4}) {
      at::set_num_threads(threads);
      const std::vector<at::Tensor> more = Packed(in, layout);
      for (size_t i = 0; i < one.size(); ++i) EXPECT_TRUE(at::equal(one[i], more[i])) << threads << " threads";
    }
  }
  at::set_num_threads(before);
}

TEST(PackedAttentionTest, ALayoutThatBreaksItsRulesThrows) {
  const std::pair<PackedLayout, const char*> kBad[] = {
      {{{3, 2}, {-1}}, "as many prefixes as sequences"},
      {{{0}, {}}, "a row at least"},
      {{{3, 2}, {1, -1}}, "an earlier one"},
      {{{3, 2}, {-1, 1}}, "not itself"},
      {{{3, 2, 2}, {-1, 0, 1}}, "from one that goes on from none"},
  };
  for (const auto& [layout, rule] : kBad) EXPECT_THROW(PackedAttention{layout}, c10::Error) << rule;
  PackedAttention attention(std::vector<int64_t>{3});
  const Inputs in = RandomInputs({{4}, {}}, kShapes[0], 5);
  EXPECT_THROW(attention.Attend(0, in.q, in.k, in.v), c10::Error);
}

}  // namespace
}  // namespace grpo
