// What a worker takes from the run's configuration.
#ifndef GRPO_ROLLOUT_WORKER_CONFIG_H_
#define GRPO_ROLLOUT_WORKER_CONFIG_H_

#include <string>

#include "absl/status/status.h"
#include "rollout/worker.h"

namespace grpo {

// Reads the resolved configuration at `path`: its hash, `rollout_worker`, `network` and the endpoints of `policies`;
// the trainer has checked the rest. What endpoints answer is kept in the folder `answers` beside it, which is the run's.
// Errors of ParseConfigText and LoadOptions (configs/load.h), and of a file that cannot be read. Nothing of `options`
// but config_sha256, rollout, client and endpoints changes, and nothing after an error.
// `tls_dir`: folder of the run's own certificates, in place of network.tls_*; empty: those.
absl::Status LoadWorkerConfig(const std::string& path, WorkerOptions& options, const std::string& tls_dir = "");

}  // namespace grpo

#endif  // GRPO_ROLLOUT_WORKER_CONFIG_H_
