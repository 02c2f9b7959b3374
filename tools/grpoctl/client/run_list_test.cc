#include "tools/grpoctl/client/run_list.h"

#include <unistd.h>

#include <atomic>
#include <chrono>
#include <filesystem>
#include <fstream>
#include <memory>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "common/files.h"
#include "common/rpc/endpoint.h"
#include "common/rpc/server.h"
#include "common/status_testing.h"
#include "gmock/gmock.h"
#include "nlohmann/json.hpp"
#include "proto/trainer.grpc.pb.h"

namespace grpo {
namespace {

namespace fs = std::filesystem;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::Not;

class FakeTrainer : public v1::TrainerService::Service {
 public:
  grpc::Status GetStatus(grpc::ServerContext* context, const v1::GetStatusRequest*, v1::RunStatus* status) override {
    return rpc::Handle(context, [&] {
      status->set_state(v1::RUN_STATE_PAUSED);
      status->set_state_reason("by `grpoctl pause`");
      status->set_run_id("live-1");
      status->set_stage_index(0);
      v1::StageStatus* stage = status->add_stages();
      stage->set_name("tune");
      stage->set_step(3);
      stage->set_num_steps(9);
      (*stage->mutable_metrics())["reward"] = 0.25;
      return absl::OkStatus();
    });
  }
};

class RunListTest : public ::testing::Test {
 protected:
  void SetUp() override { fs::remove_all(root_); }
  void TearDown() override { fs::remove_all(root_); }

  // A run that was last started so many hours ago; returns its folder.
  std::string Put(const std::string& name, int hours_ago, const std::string& end = R"({"state":"FINISHED"})") const {
    const std::string folder = absl::StrCat(root_, "/", name);
    EXPECT_OK(MakeFolders(folder));
    std::ofstream(folder + "/lock") << R"({"host":"h1","pid":5,"run_id":"x"})";
    const fs::path lock = folder + "/lock";
    fs::last_write_time(lock, fs::last_write_time(lock) - std::chrono::hours(hours_ago));
    if (!end.empty()) std::ofstream(folder + "/ended.json") << end;
    return folder;
  }
  absl::StatusOr<RunList> List(absl::Duration deadline = absl::Seconds(20)) const {
    return ListRuns(root_, {.deadline = deadline}, Clock::Real());
  }
  static std::vector<std::string> Names(const RunList& list) {
    std::vector<std::string> names;
    for (const RunRecord& run : list.runs) names.push_back(run.name);
    return names;
  }

  const std::string root_ =
      absl::StrCat(::testing::TempDir(), "/runs_", ::testing::UnitTest::GetInstance()->current_test_info()->name());
};

TEST_F(RunListTest, TheNewestComesFirstAndFoldersWithoutARunAreNamed) {
  Put("old", 50);
  Put("new", 1);
  Put("middle", 7);
  ASSERT_OK(MakeFolders(root_ + "/notes"));
  ASSERT_OK(WriteFileSynced(root_ + "/a_file", "x"));
  ASSERT_OK_AND_ASSIGN(const RunList list, List());
  EXPECT_THAT(Names(list), ElementsAre("new", "middle", "old"));
  EXPECT_THAT(list.others, ElementsAre("notes"));
  const std::string table = RunsTable(list.runs);
  EXPECT_THAT(table, HasSubstr("2 d"));
  EXPECT_THAT(table, HasSubstr("7 h"));
}

TEST_F(RunListTest, AFolderThatIsARunsIsListedAlone) {
  const std::string folder = Put("one", 1);
  ASSERT_OK_AND_ASSIGN(const RunList list, ListRuns(folder, {}, Clock::Real()));
  EXPECT_THAT(Names(list), ElementsAre("one"));
  EXPECT_STATUS(ListRuns(root_ + "/nowhere", {}, Clock::Real()), absl::StatusCode::kNotFound, "nowhere");
}

TEST_F(RunListTest, ATrainerThatServesIsAskedAndOneThatIsGoneIsLost) {
  FakeTrainer trainer;
  ASSERT_OK_AND_ASSIGN(const auto server, rpc::Server::Start({}, {&trainer}));
  ASSERT_OK(WriteEndpoint(RunEndpointPath(Put("live", 1, "")), {.address = server->address(), .pid = ::getpid()}));
  ASSERT_OK(WriteEndpoint(RunEndpointPath(Put("gone", 2, "")), {.address = "127.0.0.1:1", .pid = 5}));
  ASSERT_OK_AND_ASSIGN(const RunList list, List());
  ASSERT_THAT(Names(list), ElementsAre("live", "gone"));
  const RunRecord& live = list.runs[0];
  EXPECT_EQ(live.state, "paused");
  EXPECT_EQ(live.note, "by `grpoctl pause`");
  EXPECT_EQ(live.run_id, "live-1");
  EXPECT_EQ(live.step, 3);
  EXPECT_EQ(live.num_steps, 9);
  EXPECT_EQ(live.reward, 0.25);
  EXPECT_EQ(list.runs[1].state, "no answer") << "its host is another: whether it lives cannot be seen from here";
  EXPECT_THAT(list.runs[1].note, HasSubstr("127.0.0.1:1"));
}

TEST_F(RunListTest, AnAnswerThatIsNotForThisCallerIsNoAccess) {
  ASSERT_OK(MakeFolders(root_));
  const std::string token = root_ + "/token";
  ASSERT_OK(WriteFileSynced(token, "secret"));
  fs::permissions(token, fs::perms::owner_read | fs::perms::owner_write);
  FakeTrainer trainer;
  ASSERT_OK_AND_ASSIGN(const auto server, rpc::Server::Start({.token_file = token}, {&trainer}));
  ASSERT_OK(WriteEndpoint(RunEndpointPath(Put("locked", 1, "")), {.address = server->address(), .pid = ::getpid()}));
  ASSERT_OK_AND_ASSIGN(const RunList list, List());
  ASSERT_EQ(list.runs.size(), 1);
  EXPECT_EQ(list.runs[0].state, "no access");
}

// Its writer would be told where this user's token lies and have it sent to them.
TEST_F(RunListTest, WhatAnotherUserSaysOfATrainerIsNotFollowed) {
  if (::geteuid() != 0) GTEST_SKIP() << "only a root can give a file away";
  FakeTrainer trainer;
  ASSERT_OK_AND_ASSIGN(const auto server, rpc::Server::Start({}, {&trainer}));
  const std::string path = RunEndpointPath(Put("foreign", 1, ""));
  ASSERT_OK(WriteEndpoint(path, {.address = server->address(), .pid = ::getpid()}));
  ASSERT_EQ(::chown(path.c_str(), 12345, 12345), 0);
  ASSERT_OK_AND_ASSIGN(const RunList list, List());
  ASSERT_EQ(list.runs.size(), 1);
  EXPECT_EQ(list.runs[0].state, "not asked");
}

// A clock that moves on by a minute whenever it is looked at: the time for all is over before the first is asked.
TEST_F(RunListTest, TrainersThatTakeTheirTimeDoNotTakeAllOfIt) {
  class HastyClock : public Clock {
   public:
    absl::Duration Now() const override { return absl::Minutes(++looks_); }

   private:
    mutable std::atomic<int> looks_ = 0;
  };
  FakeTrainer trainer;
  ASSERT_OK_AND_ASSIGN(const auto server, rpc::Server::Start({}, {&trainer}));
  ASSERT_OK(WriteEndpoint(RunEndpointPath(Put("late", 1, "")), {.address = server->address(), .pid = ::getpid()}));
  ASSERT_OK_AND_ASSIGN(const RunList list, ListRuns(root_, {.deadline = absl::Seconds(1)}, HastyClock()));
  ASSERT_EQ(list.runs.size(), 1);
  EXPECT_EQ(list.runs[0].state, "not asked");
}

TEST_F(RunListTest, ThousandRunsAreListedByTheEndsOfTheirFiles) {
  const std::string lines(1 << 16, '\n');
  for (int i = 0; i < 1000; ++i) {
    const std::string folder = Put(absl::StrCat("run", i), i);
    if (i % 100 == 0) std::ofstream(folder + "/metrics.jsonl") << lines << "{\"stage\":\"a\",\"step\":5}\n";
  }
  ASSERT_OK_AND_ASSIGN(const RunList list, List());
  ASSERT_EQ(list.runs.size(), 1000);
  EXPECT_EQ(list.runs[0].name, "run0");
  EXPECT_EQ(list.runs[999].name, "run999");
}

TEST_F(RunListTest, HostileNamesAndNotesAreShownAndNotObeyed) {
  Put("evil\x1b[2J\nname", 1, "{\"state\":\"FAILED\",\"reason\":\"\\u001b[31mred\\nline\",\"stage\":\"\\u202e\"}");
  Put("bad\xff", 2);
  ASSERT_OK_AND_ASSIGN(const RunList list, List());
  for (const std::string& text : {RunsTable(list.runs), RunsJson(list.runs)}) {
    EXPECT_THAT(text, Not(HasSubstr("\x1b")));
    EXPECT_THAT(text, Not(HasSubstr("\u202e")));
    EXPECT_THAT(text, Not(HasSubstr("\xff")));
  }
  EXPECT_THAT(RunsTable(list.runs), HasSubstr("evil\\x1b[2J\\nname"));
  const auto json = nlohmann::json::parse(RunsJson(list.runs), nullptr, /*allow_exceptions=*/false);
  ASSERT_EQ(json.size(), 2);
  EXPECT_EQ(json[0]["run"], "evil\x1b[2J\nname");
  EXPECT_EQ(json[0]["state"], "failed");
  EXPECT_TRUE(json[0]["reward"].is_null());
  EXPECT_TRUE(json[1]["step"].is_null());
}

TEST_F(RunListTest, AJobThatWaitsIsShownWithItsName) {
  EXPECT_THAT(RunsTable({{.name = "q", .folder = "runs/q", .state = "submitted", .job = "slurm 42"}}),
              HasSubstr("submitted (slurm 42)"));
}

}  // namespace
}  // namespace grpo
