#include "tools/launch/starters.h"

#include "common/files.h"
#include "common/status_testing.h"
#include "gmock/gmock.h"

namespace grpo {
namespace {

using ::testing::ElementsAre;

class StartersTest : public ::testing::Test {
 protected:
  absl::StatusOr<std::map<std::string, Starter>> Read(const std::string& text) {
    EXPECT_OK(WriteFileSynced(path_, text));
    return ReadStarters(path_);
  }
  const std::string path_ = ::testing::TempDir() + "/starters.json";
};

TEST_F(StartersTest, ReadsWhatWasWrittenAndFindsThePrograms) {
  ASSERT_OK_AND_ASSIGN(
      const auto starters,
      Read(StartersJson({{"trainer", {.argv = {"sh", "{host}"}, .stop_signal = SIGINT, .kill_signal = SIGTERM}},
                         {"reward_server", {.argv = {"/opt/start"}}}})));
  ASSERT_EQ(starters.size(), 2u);
  EXPECT_THAT(starters.at("trainer").argv, ElementsAre(::testing::EndsWith("/sh"), "{host}"));
  EXPECT_EQ(starters.at("trainer").stop_signal, SIGINT);
  EXPECT_EQ(starters.at("trainer").kill_signal, SIGTERM);
  EXPECT_THAT(starters.at("reward_server").argv, ElementsAre("/opt/start"));
  EXPECT_EQ(starters.at("reward_server").kill_signal, SIGKILL);
}

TEST_F(StartersTest, RefusesWhatIsSomethingElse) {
  for (const char* text : {"", "[]", "{}", R"({"worker": {"argv": ["a"], "stop_signal": 2, "kill_signal": 9}})",
                           R"({"trainer": {"argv": [], "stop_signal": 2, "kill_signal": 9}})",
                           R"({"trainer": {"argv": ["a", 1], "stop_signal": 2, "kill_signal": 9}})",
                           R"({"trainer": {"argv": ["a"], "stop_signal": 0, "kill_signal": 9}})",
                           R"({"trainer": {"argv": ["a"], "kill_signal": 9}})"})
    EXPECT_STATUS(Read(text), absl::StatusCode::kInvalidArgument, path_);
  EXPECT_STATUS(Read(R"({"trainer": {"argv": ["no-such-program-here"], "stop_signal": 2, "kill_signal": 9}})"),
                absl::StatusCode::kNotFound, "no-such-program-here");
  EXPECT_STATUS(ReadStarters("/nowhere/starters.json"), absl::StatusCode::kNotFound, "/nowhere");
}

}  // namespace
}  // namespace grpo
