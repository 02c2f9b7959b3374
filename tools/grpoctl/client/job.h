// A run named by the job of a cluster that it is: --on slurm --job 42.
#ifndef GRPO_TOOLS_GRPOCTL_CLIENT_JOB_H_
#define GRPO_TOOLS_GRPOCTL_CLIENT_JOB_H_

#include <optional>
#include <string>

#include "CLI/CLI.hpp"
#include "absl/status/status.h"
#include "absl/status/statusor.h"

namespace grpo {

struct JobFlags {
  // One of LaunchTargetNames, and the job's name there.
  std::string on, job;
  bool given() const { return !job.empty(); }
};

// Adds --on and --job, one not without the other, and neither with --run-dir, which is there. `flags` outlives the
// parsing.
void AddJobFlags(CLI::App& verb, JobFlags* flags);

// The folder of the job's run, as the cluster knows it. Errors of LaunchTarget::State; NotFound when it does not know.
// Blocks as that does.
absl::StatusOr<std::string> RunDirOfJob(const JobFlags& flags);
// The job that was given, or the one that the run folder names (tools/launch/job_file.h); nothing for a run that was not
// launched.
std::optional<JobFlags> JobOf(const JobFlags& given, const std::string& run_dir);

// "job 42 of slurm is PENDING (Resources)"; empty when the cluster does not say. Blocks as LaunchTarget::State.
std::string DescribeJob(const JobFlags& job);
// LaunchTarget::Stop, and MakeLaunchTarget's errors.
absl::Status StopJob(const JobFlags& job);

}  // namespace grpo

#endif  // GRPO_TOOLS_GRPOCTL_CLIENT_JOB_H_
