// Sixteen float32 lanes, read from and written to float32 or bfloat16, for hand-written CPU kernels, by the compiler's
// vector extension. A kernel is a free function marked GRPO_SIMD_CLONES: it is compiled for several instruction sets
// and the machine's own is chosen when the program starts. Sums are taken in a fixed order; the bits may differ between
// machines of different instruction sets, never between runs on one.
#ifndef GRPO_MODEL_SIMD_H_
#define GRPO_MODEL_SIMD_H_

#ifdef GRPO_PRECOMPILED_TORCH
#error "this would not be optimised as asked: its target needs `copts = KERNEL` (third_party/kernel.bzl)"
#endif

#include <c10/util/BFloat16.h>

#include <cstdint>
#include <cstring>

// Sanitizers run their checks inside the function that chooses, before they are set up.
#if defined(__x86_64__) && defined(__GNUC__) && !defined(__clang__) && !defined(__SANITIZE_THREAD__) && \
    !defined(__SANITIZE_ADDRESS__)
#define GRPO_SIMD_CLONES __attribute__((target_clones("arch=x86-64-v4", "arch=x86-64-v3", "default")))
#else
#define GRPO_SIMD_CLONES
#endif
#define GRPO_SIMD_INLINE inline __attribute__((always_inline))

namespace grpo::simd {

inline constexpr int64_t kLanes = 16;
// GCC's vectors: + - * /, comparisons (all bits set for true) and `mask ? a : b` work lane by lane.
typedef float Floats __attribute__((vector_size(64)));
typedef int32_t Ints __attribute__((vector_size(64)));

// The first `count` lanes (1 to kLanes) from unaligned memory; the others are zero. Nothing is read behind them.
GRPO_SIMD_INLINE Floats Load(const float* from, int64_t count) {
  Floats value = {};
  if (count == kLanes) {
    std::memcpy(&value, from, sizeof(value));
  } else {
    for (int64_t i = 0; i < count; ++i) value[i] = from[i];
  }
  return value;
}

// Writes the first `count` lanes (1 to kLanes), and nothing behind them.
GRPO_SIMD_INLINE void Store(float* to, Floats value, int64_t count) {
  if (count == kLanes) {
    std::memcpy(to, &value, sizeof(value));
  } else {
    for (int64_t i = 0; i < count; ++i) to[i] = value[i];
  }
}

// bfloat16 is the upper half of a float32. Otherwise as above.
GRPO_SIMD_INLINE Floats Load(const c10::BFloat16* from, int64_t count) {
  typedef uint16_t Halves __attribute__((vector_size(32)));
  Halves halves = {};
  if (count == kLanes) {
    std::memcpy(&halves, from, sizeof(halves));
  } else {
    for (int64_t i = 0; i < count; ++i) halves[i] = from[i].x;
  }
  const Ints bits = __builtin_convertvector(halves, Ints) << 16;
  Floats value;
  std::memcpy(&value, &bits, sizeof(value));
  return value;
}

// Rounds to the nearest, ties to even. A NaN stays one.
GRPO_SIMD_INLINE void Store(c10::BFloat16* to, Floats value, int64_t count) {
  typedef uint32_t Words __attribute__((vector_size(64)));
  typedef uint16_t Halves __attribute__((vector_size(32)));
  Words bits;
  std::memcpy(&bits, &value, sizeof(bits));
  const Words rounded = bits + 0x7FFFu + ((bits >> 16) & 1u), quiet_nan = bits | 0x400000u;
  const Halves halves = __builtin_convertvector((value == value ? rounded : quiet_nan) >> 16, Halves);
  if (count == kLanes) {
    std::memcpy(to, &halves, sizeof(halves));
  } else {
    for (int64_t i = 0; i < count; ++i) to[i].x = halves[i];
  }
}

// `value` in every lane.
GRPO_SIMD_INLINE Floats Fill(float value) {
  return Floats{} + value;
}

// The larger of two lanes; b where one of them is NaN.
GRPO_SIMD_INLINE Floats Max(Floats a, Floats b) {
  return a > b ? a : b;
}

// Of all lanes.
GRPO_SIMD_INLINE float LargestLane(Floats value) {
  float largest = value[0];
  for (int64_t lane = 1; lane < kLanes; ++lane) largest = value[lane] > largest ? value[lane] : largest;
  return largest;
}

// All bits set in the first `count` lanes, for `mask ? a : b`; count may be any number. None for 0 and below.
GRPO_SIMD_INLINE Ints FirstLanes(int64_t count) {
  const Ints lane = {0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15};
  return lane < static_cast<int32_t>(count < kLanes ? count : kLanes);
}

// Halves are added to each other until one lane is left. The same order on every machine.
GRPO_SIMD_INLINE float Sum(Floats value) {
  float lanes[kLanes];
  std::memcpy(lanes, &value, sizeof(value));
  for (int64_t width = kLanes / 2; width > 0; width /= 2) {
    for (int64_t i = 0; i < width; ++i) lanes[i] += lanes[i + width];
  }
  return lanes[0];
}

// e^x within 2 units in the last place for x in [-87, 88]; beyond that, of the nearest bound (so never zero, infinite
// or NaN-making). Cephes' expf: x = n ln 2 + r, a polynomial in r, n into the exponent bits. NaN gives NaN. Each lane
// by itself: the same x gives the same bits in any lane.
GRPO_SIMD_INLINE Floats Exp(Floats x) {
  const Floats low = Fill(-87.0f), high = Fill(88.0f);
  x = x < low ? low : x;
  x = x > high ? high : x;
  // Adding 1.5 * 2^23 rounds to an integer, which then stands in the low bits.
  constexpr float kRounder = 12582912.0f;
  const Floats shifted = x * 1.44269504088896341f + kRounder;
  const Floats n = shifted - kRounder;
  const Floats r = (x - n * 0.693359375f) - n * -2.12194440e-4f;
  Floats polynomial = Fill(1.9875691500e-4f);
  polynomial = polynomial * r + 1.3981999507e-3f;
  polynomial = polynomial * r + 8.3334519073e-3f;
  polynomial = polynomial * r + 4.1665795894e-2f;
  polynomial = polynomial * r + 1.6666665459e-1f;
  polynomial = polynomial * r + 5.0000001201e-1f;
  polynomial = polynomial * (r * r) + r + 1.0f;
  Ints bits;
  std::memcpy(&bits, &shifted, sizeof(bits));
  bits = (bits << 23) + (127 << 23);
  Floats power;
  std::memcpy(&power, &bits, sizeof(power));
  return polynomial * power;
}

// Natural logarithm within 2 units in the last place for positive x, none of them denormal; 0, negative and denormal x
// give the logarithm of the smallest normal number. NaN gives NaN. Cephes' logf: x = 2^n (1 + r) with 1 + r between
// sqrt(1/2) and sqrt(2), a polynomial in r. Exactly 0 at 1. Each lane by itself.
GRPO_SIMD_INLINE Floats Log(Floats x) {
  const Floats smallest = Fill(1.17549435e-38f);
  const Floats normal = x > smallest ? x : smallest;
  Ints bits;
  std::memcpy(&bits, &normal, sizeof(bits));
  // The bits of sqrt(1/2) taken away, the exponent counts from there.
  constexpr int32_t kRootHalf = 0x3F3504F3;
  const Ints exponent = (bits - kRootHalf) >> 23;
  bits -= exponent << 23;
  Floats r;
  std::memcpy(&r, &bits, sizeof(r));
  r -= 1.0f;
  const Floats n = __builtin_convertvector(exponent, Floats), square = r * r;
  Floats polynomial = Fill(7.0376836292e-2f);
  polynomial = polynomial * r - 1.1514610310e-1f;
  polynomial = polynomial * r + 1.1676998740e-1f;
  polynomial = polynomial * r - 1.2420140846e-1f;
  polynomial = polynomial * r + 1.4249322787e-1f;
  polynomial = polynomial * r - 1.6668057665e-1f;
  polynomial = polynomial * r + 2.0000714765e-1f;
  polynomial = polynomial * r - 2.4999993993e-1f;
  polynomial = polynomial * r + 3.3333331174e-1f;
  const Floats log = r + (polynomial * r * square + n * -2.12194440e-4f - 0.5f * square) + n * 0.693359375f;
  return x == x ? log : x;
}

}  // namespace grpo::simd

#endif  // GRPO_MODEL_SIMD_H_
