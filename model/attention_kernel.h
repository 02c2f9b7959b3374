// Softmax attention of a few query rows over the keys and values of one head, in float32 on the CPU: one arithmetic for
// decoding, prefill and the training pass, so that a token's result has the same bits whoever computes it
// (docs/design.md laws 3 and 5). A row's bits depend on its own query, its own number of tokens and those tokens' keys
// and values; not on the rows that it is computed beside, nor on how many.
//
// Keys lie in tiles of kTileTokens tokens, [tokens / kTileTokens, K, kTileTokens]: the scores of a tile are sums over K
// without a horizontal step. Values lie token by token, [tokens, K]. The last tile is there whole, and what it holds
// beyond the tokens is finite.
#ifndef GRPO_MODEL_ATTENTION_KERNEL_H_
#define GRPO_MODEL_ATTENTION_KERNEL_H_

#include <cstdint>
#include <vector>

#include "model/simd.h"

namespace grpo::attention {

inline constexpr int64_t kTileTokens = simd::kLanes;
// Rows that one call computes at most: their keys are read once for all of them.
inline constexpr int64_t kMaxRows = 4;

// `tokens` rounded up to whole tiles.
constexpr int64_t WholeTiles(int64_t tokens) {
  return (tokens + kTileTokens - 1) / kTileTokens * kTileTokens;
}

// Where component i of token t lies in tiles of heads of size head_dim.
constexpr int64_t TileOffset(int64_t t, int64_t i, int64_t head_dim) {
  return (t / kTileTokens * head_dim + i) * kTileTokens + t % kTileTokens;
}

// Puts the key of token t into tiles, and its value beside the others' (or the other way round).
template <typename T>
void StoreToken(const T* key, const T* value, float* key_tiles, float* values, int64_t t, int64_t head_dim) {
  for (int64_t i = 0; i < head_dim; ++i) {
    key_tiles[TileOffset(t, i, head_dim)] = static_cast<float>(key[i]);
    values[t * head_dim + i] = static_cast<float>(value[i]);
  }
}

// Puts a vector [K] into place r of `count` rows that lie component by component, [K, count].
template <typename T>
void SetRow(const T* vector, int64_t r, int64_t count, int64_t head_dim, float* rows) {
  for (int64_t i = 0; i < head_dim; ++i) rows[i * count + r] = static_cast<float>(vector[i]);
}

// R rows of one call, 1 to kMaxRows, each over the tokens 0 .. num_tokens[r] - 1, at least one.
struct Rows {
  int64_t count = 0;  // R
  int64_t num_tokens[kMaxRows] = {};
  // [K, R]: component by component, a row's beside its neighbours'.
  const float* queries = nullptr;
};

// The keys and values of one head of even size K.
struct Head {
  const float* key_tiles;
  const float* values;
  int64_t head_dim;  // K
};

// out [R, K] = softmax(query . keys / sqrt(K)) values. log_sum_exp [R], of the scaled scores; may be null. `scratch` is
// made as large as is needed, and may be used again.
void Attend(const Rows& rows, const Head& head, float* out, float* log_sum_exp, std::vector<float>& scratch);

// What the backward pass reads and adds to, beside the keys of the forward pass.
struct HeadGrad {
  const float* key_tiles;
  const float* value_tiles;  // as key_tiles
  const float* keys;         // [tokens, K]
  int64_t head_dim;
  float* d_key_tiles;
  float* d_value_tiles;
};

// The derivative of Attend: d_query [R, K] is written, d_key_tiles and d_value_tiles are added to (rows in order, for
// each token). d_out [K, R] like the queries; log_sum_exp [R] as Attend gave it; delta [R] = sum over K of d_out * out.
void AttendBackward(const Rows& rows, const HeadGrad& head, const float* d_out, const float* log_sum_exp,
                    const float* delta, float* d_query, std::vector<float>& scratch);

}  // namespace grpo::attention

#endif  // GRPO_MODEL_ATTENTION_KERNEL_H_
