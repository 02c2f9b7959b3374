// Problems mixed by difficulty: of each band of solve rates a share is kept. Links no torch.
#ifndef GRPO_TRAINER_STAGE_DIFFICULTY_H_
#define GRPO_TRAINER_STAGE_DIFFICULTY_H_

#include <cstdint>
#include <string>
#include <vector>

#include "absl/strings/string_view.h"
#include "configs/visit.h"
#include "trainer/plugin.h"

namespace grpo {

// An element of `difficulty`.
struct DifficultyBand {
  double up_to = 1;
  double keep = 1;

  template <class V>
  void Visit(V& v) {
    v("up_to", up_to,
      {.help = "The largest solve rate of the band, whose least is above the band before it; the last band's is 1. The "
               "solve rate is the share of a problem's samples that are right; of a pseudo-labelled problem the "
               "majority's share stands for it.",
       .min = 0,
       .max = 1});
    v("keep", keep,
      {.help =
           "The share of the band's problems of which traces are kept: 0 leaves the band out. Which they are depends "
           "on the run's seed and the problem's id alone.",
       .min = 0,
       .max = 1});
  }
};

// Keys as they stand below `difficulty`: bands that do not rise, or do not end at 1.
std::vector<Conflict> Conflicts(const std::vector<DifficultyBand>& bands);

// Whether the problem with this id and solve rate is kept; without bands it is. Pure.
bool KeepsProblem(const std::vector<DifficultyBand>& bands, double solve_rate, absl::string_view id, uint64_t seed);

}  // namespace grpo

#endif  // GRPO_TRAINER_STAGE_DIFFICULTY_H_
