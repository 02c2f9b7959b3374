#include "tools/grpoctl/client/job_follower.h"

#include <algorithm>
#include <sstream>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "common/exit_codes.h"
#include "common/status_testing.h"
#include "gmock/gmock.h"

namespace grpo {
namespace {

using ::testing::HasSubstr;

// Says these states one after the other, the last again and again.
class ScriptedTarget : public LaunchTarget {
 public:
  explicit ScriptedTarget(std::vector<absl::StatusOr<JobState>> states) : states_(std::move(states)) {}
  absl::StatusOr<std::vector<LaunchFile>> Render(const LaunchRequest&) const override {
    return absl::UnimplementedError("");
  }
  absl::StatusOr<std::string> Submit(const std::string&) const override { return absl::UnimplementedError(""); }
  absl::StatusOr<JobState> State(const std::string&) const override {
    return states_[std::min(next_++, states_.size() - 1)];
  }
  absl::Status Stop(const std::string&) const override { return absl::OkStatus(); }
  std::vector<std::string> Hints(const std::string&) const override { return {}; }

 private:
  const std::vector<absl::StatusOr<JobState>> states_;
  mutable size_t next_ = 0;
};

TEST(JobFollower, ShowsEachStateOnceAndEndsWithAJobThatNeverServed) {
  const ScriptedTarget target({JobState{.word = "PENDING", .ended = false, .reason = "Priority", .run_dir = ""},
                               JobState{.word = "PENDING", .ended = false, .reason = "Priority", .run_dir = ""},
                               absl::UnavailableError("no answer"),
                               JobState{.word = "FAILED", .ended = true, .reason = "", .run_dir = ""}});
  std::ostringstream talk;
  ProgressPrinter printer(talk, ProgressStyle{}, Clock::Real());
  JobFollower follower(target, "42", ::testing::TempDir() + "/nowhere", {.ask_every = absl::ZeroDuration()}, &printer);
  EXPECT_EQ(follower.Follow(), kExitRunFailed);
  const std::string said = talk.str();
  EXPECT_THAT(said, HasSubstr("job 42 is PENDING (Priority)"));
  EXPECT_EQ(said.find("PENDING"), said.rfind("PENDING"));
  EXPECT_THAT(said, HasSubstr("no answer"));
  EXPECT_THAT(said, HasSubstr("job 42 is FAILED"));
}

}  // namespace
}  // namespace grpo
