#include "trainer/stage/difficulty.h"

#include <algorithm>

#include "absl/strings/str_cat.h"
#include "common/seeds.h"

namespace grpo {

std::vector<Conflict> Conflicts(const std::vector<DifficultyBand>& bands) {
  std::vector<Conflict> conflicts;
  for (size_t i = 1; i < bands.size(); ++i) {
    if (bands[i].up_to > bands[i - 1].up_to) continue;
    conflicts.push_back(
        {absl::StrCat(i, ".up_to"), absl::StrCat("is ", bands[i].up_to, ", and the band before it ends at ",
                                                 bands[i - 1].up_to, ": let bands rise")});
  }
  if (!bands.empty() && bands.back().up_to != 1) {
    conflicts.push_back({absl::StrCat(bands.size() - 1, ".up_to"),
                         absl::StrCat("is ", bands.back().up_to, ": the last band ends at 1")});
  }
  return conflicts;
}

bool KeepsProblem(const std::vector<DifficultyBand>& bands, double solve_rate, absl::string_view id, uint64_t seed) {
  const auto band =
      std::find_if(bands.begin(), bands.end(), [&](const DifficultyBand& one) { return solve_rate <= one.up_to; });
  // Draws lie in [0, 1): all of them are below 1 and none is below 0.
  return band == bands.end() || UniformAt(CombineSeeds(seed, HashName(id)), 0) < band->keep;
}

}  // namespace grpo
