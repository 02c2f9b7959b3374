#include "model/attention_kernel.h"

#include <algorithm>
#include <cmath>
#include <limits>

namespace grpo::attention {
namespace {

using simd::Fill;
using simd::Floats;
using simd::kLanes;
using simd::Load;
using simd::Store;

static_assert(kTileTokens == kLanes);

int64_t NumTiles(const Rows& rows) {
  return WholeTiles(*std::max_element(rows.num_tokens, rows.num_tokens + rows.count)) / kTileTokens;
}

float Scale(int64_t head_dim) {
  return 1.0f / std::sqrt(static_cast<float>(head_dim));
}

// products[r] = rows' r-th (packed [K, R]) . each token of a tile [K, 16]. Two chains of additions run at the same
// time: K is even.
template <int R>
GRPO_SIMD_INLINE void TileProducts(const float* packed, const float* tile, int64_t head_dim, Floats* products) {
  Floats even[R] = {}, odd[R] = {};
  for (int64_t i = 0; i < head_dim; i += 2) {
    const Floats first = Load(tile + i * kLanes, kLanes), second = Load(tile + (i + 1) * kLanes, kLanes);
#pragma GCC unroll 4
    for (int r = 0; r < R; ++r) {
      even[r] += packed[i * R + r] * first;
      odd[r] += packed[(i + 1) * R + r] * second;
    }
  }
#pragma GCC unroll 4
  for (int r = 0; r < R; ++r) products[r] = even[r] + odd[r];
}

// out_r [K] = factors[r] * sum over t of weights_r[t] * vectors_t; weights in tiles [tiles, R, 16], vectors [tokens, K].
template <int R>
GRPO_SIMD_INLINE void WeightedSums(const float* weights, const float* vectors, int64_t num_tiles, int64_t head_dim,
                                   const float* factors, float* out) {
  for (int64_t i = 0; i < head_dim; i += kLanes) {
    const int64_t count = std::min(kLanes, head_dim - i);
    Floats even[R] = {}, odd[R] = {};
    for (int64_t tile = 0; tile < num_tiles; ++tile) {
      const float* const tile_weights = weights + tile * R * kLanes;
      const float* const tile_vectors = vectors + tile * kLanes * head_dim + i;
      for (int64_t t = 0; t < kLanes; t += 2) {
        const Floats first = Load(tile_vectors + t * head_dim, count);
        const Floats second = Load(tile_vectors + (t + 1) * head_dim, count);
#pragma GCC unroll 4
        for (int r = 0; r < R; ++r) {
          even[r] += tile_weights[r * kLanes + t] * first;
          odd[r] += tile_weights[r * kLanes + t + 1] * second;
        }
      }
    }
#pragma GCC unroll 4
    for (int r = 0; r < R; ++r) Store(out + r * head_dim + i, (even[r] + odd[r]) * factors[r], count);
  }
}

// scores: room for [tiles, R, 16].
template <int R>
GRPO_SIMD_CLONES void AttendRows(const Rows& rows, const Head& head, int64_t num_tiles, float scale, float* out,
                                 float* log_sum_exp, float* scores) {
  const Floats nothing = Fill(-std::numeric_limits<float>::infinity());
  Floats highest[R];
  for (int r = 0; r < R; ++r) highest[r] = nothing;
  for (int64_t tile = 0; tile < num_tiles; ++tile) {
    Floats products[R];
    TileProducts<R>(rows.queries, head.key_tiles + tile * kLanes * head.head_dim, head.head_dim, products);
#pragma GCC unroll 4
    for (int r = 0; r < R; ++r) {
      const Floats score = simd::FirstLanes(rows.num_tokens[r] - tile * kLanes) ? products[r] * scale : nothing;
      highest[r] = simd::Max(score, highest[r]);
      Store(scores + (tile * R + r) * kLanes, score, kLanes);
    }
  }
  float inverse_totals[R];
  for (int r = 0; r < R; ++r) {
    const float maximum = simd::LargestLane(highest[r]);
    Floats total = {};
    for (int64_t tile = 0; tile < num_tiles; ++tile) {
      float* const tile_scores = scores + (tile * R + r) * kLanes;
      const Floats weight = simd::FirstLanes(rows.num_tokens[r] - tile * kLanes)
                                ? simd::Exp(Load(tile_scores, kLanes) - maximum)
                                : Floats{};
      total += weight;
      Store(tile_scores, weight, kLanes);
    }
    const float sum = simd::Sum(total);
    inverse_totals[r] = 1.0f / sum;
    if (log_sum_exp != nullptr) log_sum_exp[r] = maximum + std::log(sum);
  }
  WeightedSums<R>(scores, head.values, num_tiles, head.head_dim, inverse_totals, out);
}

// With p = exp(score - log_sum_exp) and s = p * (d_out . value - delta) / sqrt(K): d_value_t += p_t d_out,
// d_key_t += s_t query, d_query = sum of s_t key_t. slopes: room for [tiles, R, 16].
template <int R>
GRPO_SIMD_CLONES void AttendBackwardRows(const Rows& rows, const HeadGrad& head, const float* d_out,
                                         const float* log_sum_exp, const float* delta, int64_t num_tiles, float scale,
                                         float* d_query, float* slopes) {
  const int64_t head_dim = head.head_dim;
  for (int64_t tile = 0; tile < num_tiles; ++tile) {
    const int64_t at = tile * kLanes * head_dim;
    Floats weight[R], slope[R];
    TileProducts<R>(rows.queries, head.key_tiles + at, head_dim, weight);
    TileProducts<R>(d_out, head.value_tiles + at, head_dim, slope);
#pragma GCC unroll 4
    for (int r = 0; r < R; ++r) {
      weight[r] = simd::FirstLanes(rows.num_tokens[r] - tile * kLanes) ? simd::Exp(weight[r] * scale - log_sum_exp[r])
                                                                       : Floats{};
      slope[r] = weight[r] * (slope[r] - delta[r]) * scale;
      Store(slopes + (tile * R + r) * kLanes, slope[r], kLanes);
    }
    float *const d_keys = head.d_key_tiles + at, *const d_values = head.d_value_tiles + at;
    for (int64_t i = 0; i < head_dim; ++i) {
      Floats d_key = Load(d_keys + i * kLanes, kLanes), d_value = Load(d_values + i * kLanes, kLanes);
#pragma GCC unroll 4
      for (int r = 0; r < R; ++r) {
        d_key += rows.queries[i * R + r] * slope[r];
        d_value += d_out[i * R + r] * weight[r];
      }
      Store(d_keys + i * kLanes, d_key, kLanes);
      Store(d_values + i * kLanes, d_value, kLanes);
    }
  }
  constexpr float kOnes[kMaxRows] = {1, 1, 1, 1};
  WeightedSums<R>(slopes, head.keys, num_tiles, head_dim, kOnes, d_query);
}

// Calls body.operator()<R>() for R = count.
template <typename Body>
void WithRows(int64_t count, const Body& body) {
  static_assert(kMaxRows == 4);
  switch (count) {
    case 1:
      return body.template operator()<1>();
    case 2:
      return body.template operator()<2>();
    case 3:
      return body.template operator()<3>();
    default:
      return body.template operator()<4>();
  }
}

float* Room(std::vector<float>& scratch, int64_t size) {
  if (static_cast<int64_t>(scratch.size()) < size) scratch.resize(size);
  return scratch.data();
}

}  // namespace

void Attend(const Rows& rows, const Head& head, float* out, float* log_sum_exp, std::vector<float>& scratch) {
  const int64_t num_tiles = NumTiles(rows);
  float* const scores = Room(scratch, num_tiles * rows.count * kLanes);
  WithRows(rows.count,
           [&]<int R>() { AttendRows<R>(rows, head, num_tiles, Scale(head.head_dim), out, log_sum_exp, scores); });
}

void AttendBackward(const Rows& rows, const HeadGrad& head, const float* d_out, const float* log_sum_exp,
                    const float* delta, float* d_query, std::vector<float>& scratch) {
  const int64_t num_tiles = NumTiles(rows);
  float* const slopes = Room(scratch, num_tiles * rows.count * kLanes);
  WithRows(rows.count, [&]<int R>() {
    AttendBackwardRows<R>(rows, head, d_out, log_sum_exp, delta, num_tiles, Scale(head.head_dim), d_query, slopes);
  });
}

}  // namespace grpo::attention
