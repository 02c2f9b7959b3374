#include "tools/grpoctl/client/job.h"

#include <memory>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "common/status_macros.h"
#include "tools/grpoctl/text.h"
#include "tools/launch/job_file.h"
#include "tools/launch/target.h"

namespace grpo {
namespace {

absl::StatusOr<JobState> StateOf(const JobFlags& flags) {
  ASSIGN_OR_RETURN(const std::unique_ptr<LaunchTarget> target, MakeLaunchTarget(flags.on));
  return target->State(flags.job);
}

}  // namespace

void AddJobFlags(CLI::App& verb, JobFlags* flags) {
  CLI::Option* on = verb.add_option("--on", flags->on, "With --job: the kind of cluster that the run was launched on");
  on->option_text(absl::StrJoin(LaunchTargetNames(), "|"));
  CLI::Option* job = verb.add_option("--job", flags->job, "The cluster's name for the run's job, instead of --run-dir");
  job->option_text("JOB")->needs(on)->excludes("--run-dir");
  on->needs(job);
}

absl::StatusOr<std::string> RunDirOfJob(const JobFlags& flags) {
  ASSIGN_OR_RETURN(const JobState state, StateOf(flags));
  if (!state.run_dir.empty()) return state.run_dir;
  return absl::NotFoundError(
      absl::StrCat("job ", flags.job, " of ", flags.on, " is ", Printable(state.word),
                   ", and where its run's folder is cannot be told: name it with --run-dir DIR"));
}

std::optional<JobFlags> JobOf(const JobFlags& given, const std::string& run_dir) {
  if (given.given()) return given;
  const std::optional<LaunchedJob> launched = ReadJob(run_dir);
  if (!launched.has_value()) return std::nullopt;
  return JobFlags{.on = launched->target, .job = launched->job};
}

std::string DescribeJob(const JobFlags& job) {
  const absl::StatusOr<JobState> state = StateOf(job);
  if (!state.ok()) return "";
  return absl::StrCat("job ", Printable(job.job), " of ", job.on, " is ", Printable(state->word),
                      state->reason.empty() ? "" : absl::StrCat(" (", Printable(state->reason), ")"));
}

absl::Status StopJob(const JobFlags& job) {
  ASSIGN_OR_RETURN(const std::unique_ptr<LaunchTarget> target, MakeLaunchTarget(job.on));
  return target->Stop(job.job);
}

}  // namespace grpo
