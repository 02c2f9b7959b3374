// The work from heads and legs to the number of rabbits, written out: what the corpus of a base model is full of, and
// what traces of the problems hold.
#ifndef GRPO_DATA_SOURCES_CHICKENS_RABBITS_WORK_H_
#define GRPO_DATA_SOURCES_CHICKENS_RABBITS_WORK_H_

#include <algorithm>
#include <array>
#include <cstdint>
#include <string>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "common/seeds.h"
#include "configs/visit.h"
#include "data/sources/chickens_rabbits_problems.h"

namespace grpo {

// How steps are written. The default is the quickstart's: figures alone.
struct ChickensRabbitsWriting {
  bool step_words = false;
  double second_script_frac = 0;

  template <class V>
  void Visit(V& v) {
    v("step_words", step_words,
      {.help = "Each written step begins with a word: two, less, half. Needs a tokenizer that has them "
               "(tokenizers/chickens_rabbits_two_scripts.json has both scripts)."});
    v("second_script_frac", second_script_frac,
      {.help = "With step_words: share of the worked answers that mix languages. In these each step's word is, by the "
               "toss of a coin, the Russian one in Cyrillic letters.",
       .min = 0,
       .max = 1});
  }
};

struct ChickensRabbitsWork {
  std::array<std::string, 3> steps;
  int64_t rabbits = 0;

  std::string Joined() const { return absl::StrJoin(steps, ";"); }
};

// Each step slips with probability step_error, and what follows goes on with the slip.
inline ChickensRabbitsWork WorkOut(const ChickensRabbitsProblem& problem, double step_error, Rng& rng) {
  const auto slip = [&](int64_t value) -> int64_t {
    static constexpr std::array<int64_t, 6> kSlips = {-10, -2, -1, 1, 2, 10};
    if (rng.Uniform() >= step_error) return value;
    return std::max<int64_t>(0, value + kSlips[static_cast<size_t>(rng.Below(kSlips.size()))]);
  };
  const int64_t legs = problem.legs();
  const int64_t chicken_legs = slip(2 * problem.heads);
  const int64_t extra_legs = slip(std::max<int64_t>(0, legs - chicken_legs));
  const int64_t rabbits = slip(extra_legs / 2);
  return {.steps = {absl::StrCat(problem.heads, "*2=", chicken_legs),
                    absl::StrCat(legs, "-", chicken_legs, "=", extra_legs), absl::StrCat(extra_legs, "/2=", rabbits)},
          .rabbits = rabbits};
}

// Puts a word before each step, where `writing` says so. `seed` is of this answer: words change nothing else about it.
inline void AddWords(const ChickensRabbitsWriting& writing, uint64_t seed, ChickensRabbitsWork* work) {
  if (!writing.step_words) return;
  static constexpr std::array<const char*, 3> kWords = {"two", "less", "half"}, kSecondWords = {"два", "без", "пол"};
  Rng rng(CombineSeeds(seed, HashName("words")));
  const bool mixes = rng.Uniform() < writing.second_script_frac;
  for (size_t i = 0; i < work->steps.size(); ++i) {
    const bool second = mixes && rng.Below(2) == 1;
    work->steps[i] = absl::StrCat(second ? kSecondWords[i] : kWords[i], " ", work->steps[i]);
  }
}

}  // namespace grpo

#endif  // GRPO_DATA_SOURCES_CHICKENS_RABBITS_WORK_H_
