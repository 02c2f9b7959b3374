// What the tests of Supervisor share.
#ifndef GRPO_TOOLS_GRPOCTL_LOCAL_SUPERVISOR_TESTING_H_
#define GRPO_TOOLS_GRPOCTL_LOCAL_SUPERVISOR_TESTING_H_

#include <unistd.h>

#include <optional>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "common/files.h"
#include "common/status_testing.h"
#include "tools/grpoctl/local/supervisor.h"

namespace grpo {

// Children are shell scripts; delays before restarts run on a fake clock.
class SupervisorTest : public ::testing::Test {
 protected:
  SupervisorTest() { EXPECT_OK(MakeFolders(dir_)); }

  PlannedProcess Script(Role role, const std::string& name, const std::string& script) {
    PlannedProcess process;
    process.name = name;
    process.role = role;
    process.log_path = absl::StrCat(dir_, "/", name, ".log");
    ::unlink(process.log_path.c_str());
    // $1 is the attempt, $2 the port of the attempt before.
    process.argv = {{"/bin/sh"}, {"-c"}, {script}, {"sh"}, {"", Late::kAttempt}, {"", Late::kPort}};
    return process;
  }
  PlannedProcess Worker(const std::string& script) { return Script(Role::kRolloutWorker, "worker", script); }

  // A child that does `on_term` on SIGTERM, serves at 127.0.0.1:77 and goes on with `script`.
  PlannedProcess Server(Role role, const std::string& name, const std::string& script,
                        const std::string& on_term = "'exit 75'") {
    const std::string endpoint = absl::StrCat(dir_, "/", name, ".json");
    PlannedProcess process = Script(role, name,
                                    absl::StrCat("trap ", on_term, " TERM; echo '{\"address\":\"127.0.0.1:77\"}' > ",
                                                 endpoint, ".tmp; mv ", endpoint, ".tmp ", endpoint, "; ", script));
    process.endpoint_path = endpoint;
    return process;
  }

  Supervisor& Make(const Supervisor::Options& options) {
    supervisor_.emplace(options, clock_, [this](const std::string& note) { notes_.push_back(note); });
    return *supervisor_;
  }

  // Polls until the run ends or `done`; the fake clock runs ahead, so that no restart has to be waited for.
  template <typename Done>
  std::optional<RunEnd> PollUntil(Done done) {
    for (int i = 0; i < 4000; ++i) {
      const std::optional<RunEnd> end = supervisor_->Poll();
      if (end.has_value() || done()) return end;
      clock_.Advance(absl::Seconds(1));
      absl::SleepFor(absl::Milliseconds(5));
    }
    ADD_FAILURE() << "nothing happened";
    return std::nullopt;
  }
  std::optional<RunEnd> PollToEnd() {
    return PollUntil([] { return false; });
  }

  const std::string dir_ =
      absl::StrCat(::testing::TempDir(), "/", ::testing::UnitTest::GetInstance()->current_test_info()->name());
  FakeClock clock_;
  std::vector<std::string> notes_;
  std::optional<Supervisor> supervisor_;
};

// A trainer of two ranks; $START names rank and start.
inline std::vector<PlannedProcess> Ranks(PlannedProcess rank_0, PlannedProcess rank_1) {
  for (PlannedProcess* rank : {&rank_0, &rank_1})
    rank->environment = {{absl::StrCat("START=", rank->name, " "), Late::kAttempt}};
  return {rank_0, rank_1};
}

// Shell: waits until the other has said something.
inline std::string Await(const std::string& log_path) {
  return absl::StrCat("while [ ! -s ", log_path, " ]; do sleep 0.01; done; ");
}

}  // namespace grpo

#endif  // GRPO_TOOLS_GRPOCTL_LOCAL_SUPERVISOR_TESTING_H_
