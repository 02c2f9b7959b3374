// Which of the trainer's processes this one is: the environment that torchrun, Slurm and `grpoctl run` set alike. Links
// no torch.
#ifndef GRPO_TRAINER_DIST_RANK_ENVIRONMENT_H_
#define GRPO_TRAINER_DIST_RANK_ENVIRONMENT_H_

#include <cstdint>
#include <string>

#include "absl/status/statusor.h"

namespace grpo {

// What it says of a single rank: the defaults.
struct RankEnvironment {
  // RANK and WORLD_SIZE: 0 <= rank < world_size.
  int rank = 0;
  int world_size = 1;
  // LOCAL_RANK: which of this machine's ranks, and so which of its GPUs.
  int local_rank = 0;
  // MASTER_ADDR and MASTER_PORT: where rank 0's store listens.
  std::string master_addr;
  uint16_t master_port = 0;
  // TORCHELASTIC_USE_AGENT_STORE: torchrun serves the store itself, also to rank 0. Exactly "True" says so.
  bool agent_store = false;
  // TORCHELASTIC_RESTART_COUNT: how often torchrun has started all ranks again.
  int restart_count = 0;
};

// A single rank when neither RANK nor WORLD_SIZE is set. InvalidArgument names the variable that is missing or holds no
// such number. With a world size of 1 neither MASTER_ADDR nor MASTER_PORT is asked for.
absl::StatusOr<RankEnvironment> ReadRankEnvironment();

}  // namespace grpo

#endif  // GRPO_TRAINER_DIST_RANK_ENVIRONMENT_H_
