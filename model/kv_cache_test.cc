#include "model/kv_cache.h"

#include <ATen/ATen.h>
#include <ATen/Parallel.h>
#include <gtest/gtest.h>

#include <cmath>

namespace grpo {
namespace {

constexpr int64_t kSlots = 6, kMaxTokens = 50;

ModelConfig ConfigWithHeads(int64_t num_heads, int64_t num_kv_heads, int64_t head_dim) {
  ModelConfig config;
  config.num_layers = 2;
  config.num_heads = num_heads;
  config.num_kv_heads = num_kv_heads;
  config.head_dim = head_dim;
  return config;
}

at::Tensor Random(at::IntArrayRef shape, uint64_t seed) {
  at::Generator generator = at::detail::createCPUGenerator(seed);
  return at::randn(shape, generator);
}

// Fills a slot with `length` tokens in both layers, as a prefill does.
void FillSlot(KvCache& cache, const ModelConfig& config, int64_t slot, int64_t length, uint64_t seed) {
  PrefillAttention prefill(&cache, {length}, {slot});
  for (int64_t layer = 0; layer < config.num_layers; ++layer) {
    const at::Tensor k = Random({length, config.num_kv_heads, config.head_dim}, seed + 100 * layer);
    prefill.Attend(layer, Random({length, config.num_heads, config.head_dim}, seed + 1), k, k * 0.5 + 0.1);
  }
}

// One row's attention in float64, from keys and values [T, Hkv, K].
at::Tensor NaiveRow(const at::Tensor& query, const at::Tensor& keys, const at::Tensor& values) {
  at::Tensor out = at::empty({query.size(0), query.size(1)}, at::kDouble);
  const int64_t group = query.size(0) / keys.size(1);
  for (int64_t head = 0; head < query.size(0); ++head) {
    const at::Tensor k = keys.select(1, head / group).to(at::kDouble),
                     v = values.select(1, head / group).to(at::kDouble);
    const at::Tensor weights =
        (k.matmul(query[head].to(at::kDouble)) / std::sqrt(static_cast<double>(query.size(1)))).softmax(0);
    out.select(0, head).copy_(weights.matmul(v));
  }
  return out;
}

TEST(DecodeAttentionTest, EqualsTheNaiveReferenceForEveryShapeAndLength) {
  for (const auto& [num_heads, num_kv_heads, head_dim] :
       {std::tuple<int64_t, int64_t, int64_t>{4, 4, 16}, {4, 2, 10}, {6, 1, 64}, {2, 2, 2}}) {
    const ModelConfig config = ConfigWithHeads(num_heads, num_kv_heads, head_dim);
    for (const int64_t length : {0, 1, 15, 16, 31, 49}) {
      KvCache cache(config, Placement{}, kSlots, kMaxTokens);
      std::vector<int64_t> lengths(kSlots, -1);
      lengths[3] = length;
      if (length > 0) FillSlot(cache, config, 3, length, 7);
      const at::Tensor past =
          length > 0 ? Random({length, num_kv_heads, head_dim}, 107) : at::empty({0, num_kv_heads, head_dim});
      const at::Tensor q = Random({kSlots, num_heads, head_dim}, 1) * 3,
                       k = Random({kSlots, num_kv_heads, head_dim}, 2);
      const at::Tensor v = Random({kSlots, num_kv_heads, head_dim}, 3);
      const at::Tensor got = DecodeAttention(&cache, &lengths).Attend(1, q, k, v);
      const at::Tensor expected =
          NaiveRow(q[3], at::cat({past, k.narrow(0, 3, 1)}), at::cat({past * 0.5 + 0.1, v.narrow(0, 3, 1)}));
      EXPECT_LT((got[3] - expected).abs().max().item<double>(), 2e-6)
          << num_heads << " " << num_kv_heads << " " << length;
    }
  }
}

TEST(DecodeAttentionTest, GivesTheBitsOfAWholeSequence) {
  for (const auto dtype : {at::kFloat, at::kBFloat16}) {
    for (const auto& [num_heads, num_kv_heads, head_dim] :
         {std::tuple<int64_t, int64_t, int64_t>{4, 4, 16}, {9, 3, 64}, {5, 1, 10}}) {
      const ModelConfig config = ConfigWithHeads(num_heads, num_kv_heads, head_dim);
      constexpr int64_t kPrompt = 21, kTotal = 40, kSlot = 2;
      const at::Tensor q = Random({kTotal, num_heads, head_dim}, 1).to(dtype),
                       k = Random({kTotal, num_kv_heads, head_dim}, 2).to(dtype),
                       v = Random({kTotal, num_kv_heads, head_dim}, 3).to(dtype);
      PackedAttention whole(std::vector<int64_t>{kTotal});
      const at::Tensor expected = whole.Attend(0, q, k, v);
      KvCache cache(config, Placement{}, kSlots, kMaxTokens);
      PrefillAttention prefill(&cache, {kPrompt}, {0});
      const auto rows = [](const at::Tensor& t, int64_t from, int64_t count) { return t.narrow(0, from, count); };
      EXPECT_TRUE(at::equal(prefill.Attend(0, rows(q, 0, kPrompt), rows(k, 0, kPrompt), rows(v, 0, kPrompt)),
                            rows(expected, 0, kPrompt)));
      cache.CopyPrefix(0, {kSlot}, kPrompt);
      std::vector<int64_t> lengths(kSlots, -1);
      lengths[kSlot] = kPrompt;
      DecodeAttention decode(&cache, &lengths);
      for (int64_t& t = lengths[kSlot]; t < kTotal; ++t) {
        const auto step = [&](const at::Tensor& all) { return rows(all, t, 1).repeat({kSlots, 1, 1}); };
        EXPECT_TRUE(at::equal(decode.Attend(0, step(q), step(k), step(v))[kSlot], expected[t])) << "token " << t;
      }
    }
  }
}

TEST(DecodeAttentionTest, BitsDependOnNeitherSlotNorNeighboursNorThreads) {
  const ModelConfig config = ConfigWithHeads(4, 2, 16);
  const at::Tensor q = Random({4, 16}, 1), k = Random({2, 16}, 2), v = Random({2, 16}, 3);
  at::Tensor reference;
  for (const int threads : {1, 2}) {
    at::set_num_threads(threads);
    for (int64_t slot = 0; slot < kSlots; ++slot) {
      KvCache cache(config, Placement{}, kSlots, kMaxTokens);
      std::vector<int64_t> lengths(kSlots);
      at::Tensor all_q = Random({kSlots, 4, 16}, 50 + slot), all_k = Random({kSlots, 2, 16}, 60 + slot),
                 all_v = all_k * 2;
      for (int64_t other = 0; other < kSlots; ++other) {
        lengths[other] = other == slot ? 21 : 3 + 7 * ((other + slot) % 6);
        FillSlot(cache, config, other, lengths[other], other == slot ? 7 : 1000 + other + slot);
      }
      all_q[slot] = q;
      all_k[slot] = k;
      all_v[slot] = v;
      const at::Tensor row = DecodeAttention(&cache, &lengths).Attend(0, all_q, all_k, all_v)[slot];
      if (!reference.defined()) reference = row.clone();
      EXPECT_TRUE(row.equal(reference)) << "slot " << slot << ", " << threads << " threads";
    }
  }
}

TEST(DecodeAttentionTest, ReadsStridedRowsAndLeavesIdleSlotsAlone) {
  const ModelConfig config = ConfigWithHeads(2, 2, 16);
  const at::Tensor fused = Random({kSlots, 6, 16}, 4);
  const at::Tensor q = fused.narrow(1, 0, 2), k = fused.narrow(1, 2, 2), v = fused.narrow(1, 4, 2);
  const std::vector<int64_t> lengths = {0, -1, 0, 0, -1, 0};
  KvCache strided(config, Placement{}, kSlots, kMaxTokens), dense(config, Placement{}, kSlots, kMaxTokens);
  const at::Tensor got = DecodeAttention(&strided, &lengths).Attend(0, q, k, v);
  EXPECT_TRUE(got.equal(DecodeAttention(&dense, &lengths).Attend(0, q.contiguous(), k.contiguous(), v.contiguous())));
  // The first token of a slot sees itself only.
  EXPECT_TRUE(got[0].allclose(v[0]));
  EXPECT_EQ(got[1].abs().max().item<float>(), 0);
  EXPECT_EQ(strided.keys().select(1, 1).abs().max().item<float>(), 0);
}

TEST(DecodeAttentionTest, SurvivesScoresThatOverflowTheExponential) {
  const ModelConfig config = ConfigWithHeads(1, 1, 16);
  KvCache cache(config, Placement{}, 1, kMaxTokens);
  std::vector<int64_t> lengths = {0};
  const at::Tensor big = at::full({1, 1, 16}, 1e3);
  DecodeAttention decode(&cache, &lengths);
  decode.Attend(0, big, big, at::full({1, 1, 16}, 2.0));
  lengths[0] = 1;
  const at::Tensor out = decode.Attend(0, big, -big, at::full({1, 1, 16}, 5.0));
  EXPECT_TRUE(out.allclose(at::full({1, 1, 16}, 2.0)));
}

TEST(KvCacheTest, CopiedPrefixContinuesLikeTheOriginal) {
  const ModelConfig config = ConfigWithHeads(4, 2, 16);
  KvCache cache(config, Placement{}, kSlots, kMaxTokens);
  FillSlot(cache, config, 1, 18, 7);
  FillSlot(cache, config, 5, 40, 8);  // an older completion, longer than the prefix that replaces it
  cache.CopyPrefix(1, {0, 1, 5}, 18);
  const std::vector<int64_t> lengths = {18, 18, -1, -1, -1, 18};
  const at::Tensor q = Random({1, 4, 16}, 1).expand({kSlots, 4, 16}), k = Random({1, 2, 16}, 2).expand({kSlots, 2, 16});
  for (int64_t layer = 0; layer < 2; ++layer) {
    const at::Tensor out = DecodeAttention(&cache, &lengths).Attend(layer, q, k, k);
    EXPECT_TRUE(out[0].equal(out[1]) && out[5].equal(out[1])) << layer;
  }
}

TEST(KvCacheTest, RefusesATokenBeyondItsEnd) {
  const ModelConfig config = ConfigWithHeads(1, 1, 16);
  KvCache cache(config, Placement{}, 1, /*max_tokens=*/3);
  const std::vector<int64_t> lengths = {3};
  const at::Tensor row = at::ones({1, 1, 16});
  EXPECT_THROW(DecodeAttention(&cache, &lengths).Attend(0, row, row, row), c10::Error);
}

TEST(KvCacheTest, CountsItsBytes) {
  // 2 layers, 6 slots, 2 heads of 16, 64 tokens of capacity for 50, keys and values, 4 bytes.
  EXPECT_EQ(KvCache(ConfigWithHeads(4, 2, 16), Placement{}, kSlots, kMaxTokens).size_bytes(),
            2 * 6 * 2 * 16 * 64 * 2 * 4);
}

}  // namespace
}  // namespace grpo
