// What the configuration says about leases.
#ifndef GRPO_COORDINATOR_OPTIONS_H_
#define GRPO_COORDINATOR_OPTIONS_H_

#include <string>

#include "configs/visit.h"

namespace grpo {

// `coordinator`: leases, liveness, and what it holds at most. All are the Coordinator's but max_quarantined_groups,
// which GroupFeed goes by.
struct CoordinatorOptions {
  double lease_ttl_s = 30;
  double heartbeat_interval_s = 2;
  double hand_in_within_s = 3600;
  int64_t max_quarantined_groups = 8;
  int64_t max_buffered_groups = 4096;
  int64_t max_buffered_bytes = int64_t{1} << 30;
  bool shared_memory_weights = true;

  template <class V>
  void Visit(V& v) {
    v("lease_ttl_s", lease_ttl_s,
      {.help = "A group whose worker does not renew its lease for this long is given to another; raise it when one "
               "decode step can take long.",
       .unit = "seconds",
       .min = 1,
       .max = 86400});
    v("heartbeat_interval_s", heartbeat_interval_s,
      {.help = "How often workers report; one is LOST after two missed reports.",
       .unit = "seconds",
       .min = 0.1,
       .max = 60});
    v("hand_in_within_s", hand_in_within_s,
      {.help =
           "A worker that is there, holds groups and hands none in for this long is named, loses them to the others, "
           "and gets no more for as long again; not while no other worker can go on. Raise it when one group can "
           "take longer.",
       .unit = "seconds",
       .min = 1,
       .max = 1e9});
    v("max_quarantined_groups", max_quarantined_groups,
      {.help =
           "Groups whose prompts killed a worker twice are left out and written to quarantine.jsonl; each one beyond "
           "this number pauses the run until `grpoctl resume`.",
       .unit = "groups",
       .min = 0,
       .max = 1e9});
    v("max_buffered_groups", max_buffered_groups,
      {.help = "Groups that wait for a worker, are with one, or wait for their step at most; a larger step is sampled "
               "in parts.",
       .unit = "groups",
       .min = 1,
       .max = 1e9});
    v("max_buffered_bytes", max_buffered_bytes,
      {.help = "When scored groups take this much memory, only groups that the trainer waits for are leased further.",
       .unit = "bytes",
       .min = 0,
       .max = 1e12});
    v("shared_memory_weights", shared_memory_weights,
      {.help = "Workers on the trainer's machine read weights from its memory, which takes up to two versions more "
               "there; where that cannot be, and when this is false, weights come by gRPC."});
  }
};

}  // namespace grpo

#endif  // GRPO_COORDINATOR_OPTIONS_H_
