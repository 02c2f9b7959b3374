// Several ranks inside one test process, a thread each.
#ifndef GRPO_TRAINER_DIST_RANK_TESTING_H_
#define GRPO_TRAINER_DIST_RANK_TESTING_H_

#include <functional>

#include "trainer/dist/collectives.h"

namespace grpo {

// Connects `world_size` ranks over loopback and, once all are, runs `body` on each, with one thread for its tensor
// operations; returns when all have. Aborts when they cannot connect. A rank whose body returns early leaves the
// others: its collectives are gone. With `device_of`, that is where each rank computes, in place of options.device.
void RunRanks(int world_size, const std::function<void(Collectives&)>& body, const Collectives::Options& options = {},
              const std::function<c10::Device(int rank)>& device_of = nullptr);

}  // namespace grpo

#endif  // GRPO_TRAINER_DIST_RANK_TESTING_H_
