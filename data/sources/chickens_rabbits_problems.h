// The problems "chickens and rabbits": heads and legs are given, the number of rabbits is asked. Shared by the source
// of problems and by the corpus that a base model reads, so that both agree on what is held out.
#ifndef GRPO_DATA_SOURCES_CHICKENS_RABBITS_PROBLEMS_H_
#define GRPO_DATA_SOURCES_CHICKENS_RABBITS_PROBLEMS_H_

#include <algorithm>
#include <cstdint>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "common/seeds.h"
#include "configs/visit.h"

namespace grpo {

struct ChickensRabbitsProblem {
  // Animals in all, from 4 on.
  int64_t heads = 0;
  // The answer: at least 1, below heads.
  int64_t rabbits = 0;

  // Four for a rabbit, two for a chicken.
  int64_t legs() const { return 2 * heads + 2 * rabbits; }
  // "Q:H8 L22\nA:", as the policy reads it.
  std::string prompt() const { return absl::StrCat("Q:H", heads, " L", legs(), "\nA:"); }
};

// What both sources say of the problems.
struct ChickensRabbitsOptions {
  int64_t max_heads = 50;
  double held_out_frac = 0.2, validation_frac = 0;
  int64_t split_seed = 12345;

  template <class V>
  void Visit(V& v) {
    v("max_heads", max_heads,
      {.help = "Problems have from 4 to max_heads - 1 heads, and at least one animal of each kind.",
       .min = 5,
       .max = 2000});
    v("held_out_frac", held_out_frac,
      {.help = "Share of the problems that is kept for measuring, rounded down.", .min = 0, .max = 0.9});
    v("validation_frac", validation_frac,
      {.help = "Share of the problems, rounded down, that is taken from the training split for choosing between "
               "settings, so that the held-out problems have no part in it. Sources of one run must agree on it.",
       .min = 0,
       .max = 0.9});
    v("split_seed", split_seed,
      {.help =
           "Which problems are held out. Sources of one run must agree on it, or the corpus teaches what is measured.",
       .min = 0,
       .max = 9e15});
  }
};

// Every problem is in one of the three.
struct ChickensRabbitsSplit {
  std::vector<ChickensRabbitsProblem> train, held_out, validation;
};

// All problems in a seeded order, the first ones held out, those behind them for validation. An order by arithmetic
// would hold out a recognisable class, such as the leg counts that end in 0. Pure: equal options give equal splits, and
// validation_frac changes nothing about held_out. Any part may be empty.
inline ChickensRabbitsSplit SplitChickensRabbits(const ChickensRabbitsOptions& options) {
  std::vector<ChickensRabbitsProblem> problems;
  for (int64_t heads = 4; heads < options.max_heads; ++heads) {
    for (int64_t rabbits = 1; rabbits < heads; ++rabbits) problems.push_back({heads, rabbits});
  }
  Shuffle(problems, static_cast<uint64_t>(options.split_seed));
  const auto num_problems = static_cast<int64_t>(problems.size());
  const auto share = [&](double frac) { return static_cast<int64_t>(static_cast<double>(num_problems) * frac); };
  const int64_t num_held_out = share(options.held_out_frac);
  const auto held_out_end = problems.begin() + num_held_out;
  const auto validation_end = held_out_end + std::min(share(options.validation_frac), num_problems - num_held_out);
  return {.train = {validation_end, problems.end()},
          .held_out = {problems.begin(), held_out_end},
          .validation = {held_out_end, validation_end}};
}

}  // namespace grpo

#endif  // GRPO_DATA_SOURCES_CHICKENS_RABBITS_PROBLEMS_H_
