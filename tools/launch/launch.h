// From a configuration to a job of a cluster: what is asked for, what is written, and whether it may be submitted.
#ifndef GRPO_TOOLS_LAUNCH_LAUNCH_H_
#define GRPO_TOOLS_LAUNCH_LAUNCH_H_

#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "configs/network_options.h"
#include "tools/launch/job_file.h"
#include "tools/launch/target.h"
#include "trainer/preflight.h"
#include "trainer/run_config.h"

namespace grpo {

// `overrides` (--set) and behind them what a launch sets where neither they nor the file `config` do: network.host is
// 0.0.0.0, for nobody knows yet which machines there will be, and the run makes certificates for itself
// (run_certificates.h). ParseConfigFile's errors.
absl::StatusOr<std::vector<std::string>> WithLaunchDefaults(const std::string& config,
                                                            std::vector<std::string> overrides);

// Where a run is launched to and by what.
struct LaunchPlace {
  // As LaunchRequest has them.
  std::string run_dir, run_id;
  Programs programs;
  std::string grpoctl;
  bool resume = false;
  std::vector<LaunchFile> tls = {};
  bool allow_other_device = false;
};

// Makes the certificates of a run that is to have its own, in FOLDER/tls; they name no host, for nobody knows yet which
// machines there will be. Returns what LaunchRequest::tls is to be for this target. InvalidArgument for files of the
// configuration that cannot be read or have one name; MakeRunCertificates's errors.
absl::StatusOr<std::vector<LaunchFile>> PrepareTls(const LaunchTarget& target, const NetworkOptions& network,
                                                   const std::string& folder, const std::string& run_id);

// The request of a configuration that LoadRunConfig made and that outlives it; `preflight` is its own. Memory is what
// launch.<role> says, or the estimate and a quarter more, 1 GiB at least. InvalidArgument names each launch.<role>
// whose nodes do not hold its processes; errors of Preflight::Shape.
absl::StatusOr<LaunchRequest> MakeLaunchRequest(const RunConfig& config, Preflight& preflight,
                                                const LaunchPlace& place);

// Replaces what is there. ErrnoStatus's codes.
absl::Status WriteLaunchFiles(const std::vector<LaunchFile>& files, const std::string& folder);

// OK unless the job that job.json names may run yet. AlreadyExists names it, with its state and what to do; Unavailable
// when its cluster does not say. Blocks as LaunchTarget::State.
absl::Status ExpectNoJob(const std::string& run_dir);

// What will be submitted, for people: machines, processes, memory, addresses, files.
std::string LaunchText(const LaunchRequest& request, const std::string& target, const std::vector<LaunchFile>& files);
// The same for programs; one JSON object.
std::string LaunchJson(const LaunchRequest& request, const std::string& target, const std::vector<LaunchFile>& files);

}  // namespace grpo

#endif  // GRPO_TOOLS_LAUNCH_LAUNCH_H_
