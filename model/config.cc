#include "model/config.h"

#include <cmath>

#include "absl/strings/str_cat.h"
#include "common/status_macros.h"

namespace grpo {
namespace {

absl::Status ExpectRange(const char* field, int64_t value, int64_t min, int64_t max) {
  if (value >= min && value <= max) return absl::OkStatus();
  return absl::InvalidArgumentError(absl::StrCat("model ", field, " is ", value, ", expected ", min, " to ", max));
}

absl::Status ValidateRopeScaling(const RopeScaling& scaling) {
  if (!(scaling.factor >= 1) || !std::isfinite(scaling.factor)) {
    return absl::InvalidArgumentError(
        absl::StrCat("model rope_scaling.factor is ", scaling.factor, ", expected a number of at least 1"));
  }
  if (scaling.type != RopeScaling::Type::kLlama3) return absl::OkStatus();
  if (!(scaling.low_freq_factor > 0) || !(scaling.high_freq_factor > scaling.low_freq_factor) ||
      !std::isfinite(scaling.high_freq_factor)) {
    return absl::InvalidArgumentError(absl::StrCat("model rope_scaling.low_freq_factor is ", scaling.low_freq_factor,
                                                   " and high_freq_factor ", scaling.high_freq_factor,
                                                   ", expected 0 < low < high"));
  }
  return ExpectRange("rope_scaling.original_max_position_embeddings", scaling.original_max_positions, 1, 1 << 24);
}

}  // namespace

int64_t ModelConfig::NumMatrixParameters() const {
  // q, k and v together; o; gate, up and down.
  const int64_t heads = 2 * (num_heads + num_kv_heads) * head_dim;
  return num_layers * hidden_size * (heads + 3 * intermediate_size);
}

int64_t ModelConfig::NumParameters() const {
  const int64_t biases = attention_bias ? (num_heads + 2 * num_kv_heads) * head_dim : 0;
  const int64_t norms = 2 * hidden_size + (qk_norm ? 2 * head_dim : 0);
  return NumMatrixParameters() + num_layers * (biases + norms) + hidden_size +
         (tie_word_embeddings ? 1 : 2) * vocab_size * hidden_size;
}

absl::Status ModelConfig::Validate() const {
  // Bounds far above every real model keep products of sizes within int64.
  RETURN_IF_ERROR(ExpectRange("vocab_size", vocab_size, 1, int64_t{1} << 24));
  RETURN_IF_ERROR(ExpectRange("hidden_size", hidden_size, 1, 1 << 17));
  RETURN_IF_ERROR(ExpectRange("intermediate_size", intermediate_size, 1, 1 << 20));
  RETURN_IF_ERROR(ExpectRange("num_layers", num_layers, 1, 1024));
  RETURN_IF_ERROR(ExpectRange("num_heads", num_heads, 1, 1024));
  RETURN_IF_ERROR(ExpectRange("num_kv_heads", num_kv_heads, 1, num_heads));
  RETURN_IF_ERROR(ExpectRange("head_dim", head_dim, 2, 4096));
  RETURN_IF_ERROR(ExpectRange("max_positions", max_positions, 1, 1 << 24));
  RETURN_IF_ERROR(ExpectRange("pad_token_id", pad_token_id, 0, vocab_size - 1));
  RETURN_IF_ERROR(ExpectRange("bos_token_id", bos_token_id, -1, vocab_size - 1));
  if (num_heads % num_kv_heads != 0) {
    return absl::InvalidArgumentError(
        absl::StrCat("model num_heads is ", num_heads, ", which num_kv_heads ", num_kv_heads, " does not divide"));
  }
  // The table of rotary angles is made whole: 512 MiB of float32 at most, a context of a million tokens of 128 angles.
  if (constexpr int64_t kMaxAngles = int64_t{1} << 27; max_positions * head_dim > kMaxAngles) {
    return absl::InvalidArgumentError(absl::StrCat("model max_position_embeddings is ", max_positions, " and head_dim ",
                                                   head_dim, "; their product may be ", kMaxAngles,
                                                   " at most: lower max_position_embeddings"));
  }
  if (head_dim % 2 != 0)
    return absl::InvalidArgumentError(absl::StrCat("model head_dim is ", head_dim, ", expected an even number"));
  if (!(rope_theta >= 1) || !std::isfinite(rope_theta)) {
    return absl::InvalidArgumentError(
        absl::StrCat("model rope_theta is ", rope_theta, ", expected a number of at least 1"));
  }
  RETURN_IF_ERROR(ValidateRopeScaling(rope_scaling));
  if (!(rms_norm_eps >= 0) || !(rms_norm_eps <= 1)) {
    return absl::InvalidArgumentError(absl::StrCat("model rms_norm_eps is ", rms_norm_eps, ", expected 0 to 1"));
  }
  if (eos_token_ids.empty())
    return absl::InvalidArgumentError(
        "model eos_token_id is missing, in generation_config.json too: no completion could end");
  for (const int64_t id : eos_token_ids) RETURN_IF_ERROR(ExpectRange("eos_token_id", id, 0, vocab_size - 1));
  return absl::OkStatus();
}

}  // namespace grpo
