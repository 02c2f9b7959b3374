// IEEE 754's half precision, for files: what is computed is float32. Links no torch.
#ifndef GRPO_COMMON_FLOAT16_H_
#define GRPO_COMMON_FLOAT16_H_

#include <bit>
#include <cstdint>

namespace grpo {

// The largest finite half.
inline constexpr float kMaxFloat16 = 65504;

// The bits of the half that is nearest, ties to the even one; what is nearer to 65,536 than to kMaxFloat16 is infinite,
// and NaN stays one. Pure; in the processor's default rounding.
inline uint16_t ToFloat16(float value) {
  const uint32_t bits = std::bit_cast<uint32_t>(value), sign = bits >> 16 & 0x8000, magnitude = bits & 0x7fffffff;
  uint32_t half = 0;
  if (magnitude > 0x7f800000) {
    half = 0x7e00;
  } else if (magnitude >= 0x477ff000) {  // 65,520
    half = 0x7c00;
  } else if (magnitude < 0x38800000) {
    // Below the smallest normal half halves are multiples of 2^-24, as floats from 0.5 to 1 are.
    half = std::bit_cast<uint32_t>(std::bit_cast<float>(magnitude) + 0.5f) - 0x3f000000;
  } else {
    // 13 bits of the fraction go, and the exponent counts from 15 in place of 127.
    half = (magnitude + 0xfff + (magnitude >> 13 & 1) - 0x38000000) >> 13;
  }
  return static_cast<uint16_t>(sign | half);
}

// Exact. Pure.
inline float FromFloat16(uint16_t half) {
  const uint32_t sign = static_cast<uint32_t>(half & 0x8000) << 16, exponent = half >> 10 & 0x1f,
                 fraction = half & 0x3ff;
  uint32_t magnitude = 0;
  if (exponent == 0) {
    magnitude = std::bit_cast<uint32_t>(static_cast<float>(fraction) * 0x1p-24f);
  } else if (exponent == 0x1f) {
    magnitude = 0x7f800000 | fraction << 13;
  } else {
    magnitude = ((exponent << 10 | fraction) << 13) + 0x38000000;
  }
  return std::bit_cast<float>(sign | magnitude);
}

}  // namespace grpo

#endif  // GRPO_COMMON_FLOAT16_H_
