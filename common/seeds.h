// Where randomness comes from: every draw is a pure function of what it is for, so results do not depend on who did the
// work (docs/design.md law 5). Counter-based: draw k of a seed needs no draw before it.
#ifndef GRPO_COMMON_SEEDS_H_
#define GRPO_COMMON_SEEDS_H_

#include <cstdint>
#include <vector>

#include "absl/strings/string_view.h"

namespace grpo {

// The output function of SplitMix64 (Steele, Lea, Flood 2014): a bijection of 64-bit words without visible structure.
constexpr uint64_t Mix64(uint64_t x) {
  x += 0x9e3779b97f4a7c15ULL;
  x = (x ^ (x >> 30)) * 0xbf58476d1ce4e5b9ULL;
  x = (x ^ (x >> 27)) * 0x94d049bb133111ebULL;
  return x ^ (x >> 31);
}

// A seed for `value` under `seed`; the order of the two matters. Different values under one seed never meet, since both
// steps are bijections.
constexpr uint64_t CombineSeeds(uint64_t seed, uint64_t value) {
  return Mix64(seed ^ Mix64(value));
}

// FNV-1a: stable over platforms and builds, unlike std::hash.
constexpr uint64_t HashName(absl::string_view name) {
  uint64_t hash = 0xcbf29ce484222325ULL;
  for (const char c : name) hash = (hash ^ static_cast<unsigned char>(c)) * 0x100000001b3ULL;
  return hash;
}

// Seed of one group of a stage: Lease.seed. group_index is the group's number in its stage, from 0.
constexpr uint64_t GroupSeed(uint64_t run_seed, absl::string_view stage, int64_t group_index) {
  return CombineSeeds(CombineSeeds(run_seed, HashName(stage)), static_cast<uint64_t>(group_index));
}

// Seed of one sample of a group. sample_index counts from 0.
constexpr uint64_t SampleSeed(uint64_t group_seed, int32_t sample_index) {
  return CombineSeeds(group_seed, static_cast<uint64_t>(sample_index) + 1);
}

// Draw number `counter` of a seed, in [0, 1) with 53 bits. Pure: the same everywhere, on every platform with IEEE
// doubles.
constexpr double UniformAt(uint64_t seed, uint64_t counter) {
  return static_cast<double>(CombineSeeds(seed, counter) >> 11) * 0x1.0p-53;
}

// A sequence of draws from one seed. One thread.
class Rng {
 public:
  // Two with the same seed give the same numbers.
  explicit Rng(uint64_t seed) : seed_(seed) {}
  // In [0, 1).
  double Uniform() { return UniformAt(seed_, counter_++); }
  // In [0, n), n >= 1; the bias is below n / 2^53.
  int64_t Below(int64_t n) { return static_cast<int64_t>(Uniform() * static_cast<double>(n)); }
  // One of the values, each as likely. There is at least one; the reference lives as long as `values`.
  template <typename T>
  const T& Choice(const std::vector<T>& values) {
    return values[Below(static_cast<int64_t>(values.size()))];
  }

 private:
  const uint64_t seed_;
  uint64_t counter_ = 0;
};

// Fisher-Yates; unlike std::shuffle the same everywhere.
template <typename T>
void Shuffle(std::vector<T>& values, uint64_t seed) {
  Rng rng(seed);
  for (int64_t i = static_cast<int64_t>(values.size()) - 1; i > 0; --i) std::swap(values[i], values[rng.Below(i + 1)]);
}

}  // namespace grpo

#endif  // GRPO_COMMON_SEEDS_H_
