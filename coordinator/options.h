// What the configuration says about data and leases.
#ifndef GRPO_COORDINATOR_OPTIONS_H_
#define GRPO_COORDINATOR_OPTIONS_H_

#include <string>

#include "configs/visit.h"

namespace grpo {

// `data.<name>`: a source of problems or documents, and the keys that the source itself declares.
struct DataOptions {
  std::string source = "jsonl";
  Section options;

  template <class V>
  void Visit(V& v) {
    v("source", source, {.help = "Which source reads or makes the data (coordinator/sources.inc lists them)."});
    v.Rest(options);
  }
};

// `coordinator`: leases and liveness.
struct CoordinatorOptions {
  double lease_ttl_s = 30;
  double heartbeat_interval_s = 2;

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
  }
};

}  // namespace grpo

#endif  // GRPO_COORDINATOR_OPTIONS_H_
