// Keys of a train stage with `algorithm: sft`.
#ifndef GRPO_TRAINER_ALGORITHM_SFT_OPTIONS_H_
#define GRPO_TRAINER_ALGORITHM_SFT_OPTIONS_H_

#include <string>

#include "configs/visit.h"

namespace grpo {

struct SftOptions {
  int64_t traces_per_step = 64;
  std::string loss_reduction = "token_mean";

  template <class V>
  void Visit(V& v) {
    v("traces_per_step", traces_per_step,
      {.help = "Traces (a problem and its completion) in one step's batch.",
       .unit = "traces",
       .min = 1,
       .max = 1 << 24});
    v("loss_reduction", loss_reduction,
      {.help = "token_mean: every completion token of the batch counts alike; sequence_mean: every completion counts "
               "alike, its tokens share its weight.",
       .choices = {"token_mean", "sequence_mean"}});
  }
};

}  // namespace grpo

#endif  // GRPO_TRAINER_ALGORITHM_SFT_OPTIONS_H_
