// What the configuration says about rollout workers.
#ifndef GRPO_ROLLOUT_OPTIONS_H_
#define GRPO_ROLLOUT_OPTIONS_H_

#include <algorithm>
#include <cstdint>
#include <string>

#include "configs/visit.h"
#include "model/device_names.h"

namespace grpo {

// `rollout_worker`: the processes that sample.
struct RolloutOptions {
  // Processes that `grpoctl run` starts on one machine.
  int64_t workers = 1;
  int64_t threads = 1;
  std::string device = "auto";
  int64_t slots = 64;
  int64_t context_tokens = 0;
  // Of one attempt at one server, with the whole group.
  double score_deadline_s = 30;

  // Prompt plus completion at most, for a policy with this many positions. In tokens, at least 1.
  int64_t ContextTokens(int64_t max_positions) const {
    return context_tokens == 0 ? max_positions : std::min(context_tokens, max_positions);
  }

  template <class V>
  void Visit(V& v) {
    v("workers", workers, {.help = "Rollout worker processes.", .min = 1, .max = 4096});
    v("threads", threads,
      {.help = "Threads of each worker's tensor operations.", .unit = "threads", .min = 1, .max = 1024});
    v("device", device,
      {.help =
           "What workers compute on: cuda, one GPU each, of those that the trainer's ranks leave on the machine, or "
           "the same where they leave none; cpu; auto: a GPU where this build and the machine have one.",
       .choices = DeviceNames()});
    v("slots", slots,
      {.help = "Completions decoded at the same time in each worker. The KV cache is slots x context_tokens; every "
               "decode step computes all slots, so that a completion's bits do not depend on its neighbours.",
       .unit = "completions",
       .min = 1,
       .max = 65536});
    v("context_tokens", context_tokens,
      {.help = "Longest prompt plus completion; 0 takes the policy's max_positions. A longer prompt is refused.",
       .unit = "tokens",
       .min = 0,
       .max = 1 << 24});
    v("score_deadline_s", score_deadline_s,
      {.help = "Deadline of one call to a reward server; after it the call is tried again.",
       .unit = "seconds",
       .min = 0.1,
       .max = 3600});
  }
};

}  // namespace grpo

#endif  // GRPO_ROLLOUT_OPTIONS_H_
