// A run on Kubernetes as a list of documents for `kubectl apply`. All are named after the run.
//
//   PersistentVolumeClaim  holds /runs/RUN_ID; not made where launch.kubernetes.claim names one
//   Secret                 what proves the run's processes to each other
//   ConfigMap              config.yaml as the containers see it, and small files that it names
//   Service                rank 0's services, for `kubectl port-forward`
//   NetworkPolicy          only pods of the run reach pods of the run
//   JobSet                 the processes (pods.h), and what becomes of the run when one ends
//
//   a pod ends              with                                     what follows
//   any                     because it was moved (DisruptionTarget)  it goes on elsewhere
//   any                     a code that another start would repeat   the run ends (restart_rules.h)
//   trainer                 anything else                            all Jobs start again, ranks from the last checkpoint
//   reward, rollout         anything else                            this Job starts again
//   trainer                 success                                  the run is complete
//
// The trainer always goes on with what the run folder holds, which at the first start is nothing: the folder is the
// launch's own, by its run id, and how often a pod has been moved is not counted anywhere.
#ifndef GRPO_TOOLS_LAUNCH_KUBERNETES_MANIFEST_H_
#define GRPO_TOOLS_LAUNCH_KUBERNETES_MANIFEST_H_

#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "nlohmann/json.hpp"
#include "tools/launch/target.h"

namespace grpo {

// The name of all that is made for a run: its id in small letters, digits and dashes, cut so that names of pods fit.
// Pure; any thread.
std::string KubernetesName(absl::string_view run_id);

// In the order in which they are made. Paths in the configuration are those in the containers: of the claim (/runs), of
// the image (/opt/grpo), or of small files of this machine, which are read here. Of the request programs and run folder
// are not looked at. InvalidArgument names each key that Kubernetes needs otherwise. Any thread.
absl::StatusOr<std::vector<nlohmann::ordered_json>> KubernetesDocuments(const LaunchRequest& request);

}  // namespace grpo

#endif  // GRPO_TOOLS_LAUNCH_KUBERNETES_MANIFEST_H_
