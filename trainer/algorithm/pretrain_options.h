// Keys of a train stage with `algorithm: pretrain`.
#ifndef GRPO_TRAINER_ALGORITHM_PRETRAIN_OPTIONS_H_
#define GRPO_TRAINER_ALGORITHM_PRETRAIN_OPTIONS_H_

#include "configs/visit.h"

namespace grpo {

struct PretrainOptions {
  int64_t rows_per_step = 16;
  int64_t row_tokens = 64;

  template <class V>
  void Visit(V& v) {
    v("rows_per_step", rows_per_step, {.help = "Rows in one step's batch.", .unit = "rows", .min = 1, .max = 1 << 24});
    v("row_tokens", row_tokens,
      {.help = "Tokens predicted in each row. A row is filled with documents, each followed by the end-of-sequence "
               "token; what does not "
               "fit is dropped.",
       .unit = "tokens",
       .min = 1,
       .max = 1 << 24});
  }
};

}  // namespace grpo

#endif  // GRPO_TRAINER_ALGORITHM_PRETRAIN_OPTIONS_H_
