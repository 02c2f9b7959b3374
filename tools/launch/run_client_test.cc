#include <stdlib.h>

#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "common/status_testing.h"
#include "tools/launch/target.h"

namespace grpo {
namespace {

TEST(RunClient, ReturnsWhatWasWrittenToStdout) {
  // More than a pipe holds, on both streams.
  ASSERT_OK_AND_ASSIGN(
      const std::string said,
      RunClient({"sh", "-c", "head -c 300000 /dev/zero; head -c 300000 /dev/zero >&2"}, absl::Seconds(60)));
  EXPECT_EQ(said.size(), 300000u);
}

TEST(RunClient, ErrorsCarryTheExitCodeAndStderr) {
  EXPECT_STATUS(RunClient({"sh", "-c", "echo out; echo why >&2; exit 3"}, absl::Seconds(60)),
                absl::StatusCode::kUnavailable, "exit code 3: why");
  EXPECT_STATUS(RunClient({"sh", "-c", "kill -9 $$"}, absl::Seconds(60)), absl::StatusCode::kUnavailable, "137");
  EXPECT_STATUS(RunClient({"no-such-program-here"}, absl::Seconds(60)), absl::StatusCode::kNotFound,
                "no-such-program-here");
}

TEST(RunClient, KillsWhatTakesTooLong) {
  EXPECT_STATUS(RunClient({"sleep", "1000"}, absl::Milliseconds(50)), absl::StatusCode::kDeadlineExceeded,
                "sleep 1000");
  // It has closed its streams, but goes on.
  EXPECT_STATUS(RunClient({"sh", "-c", "exec >&- 2>&-; exec sleep 1000"}, absl::Milliseconds(50)),
                absl::StatusCode::kDeadlineExceeded, "did not end within");
}

TEST(ShellQuoted, IsOneWordOfTheShells) {
  for (const std::string word : {"plain", "", "a b", "it's", "$HOME `id` \"x\" \\ !", "'"}) {
    ASSERT_OK_AND_ASSIGN(const std::string said,
                         RunClient({"sh", "-c", absl::StrCat("printf %s ", ShellQuoted(word))}, absl::Seconds(60)));
    EXPECT_EQ(said, word);
  }
}

}  // namespace
}  // namespace grpo
