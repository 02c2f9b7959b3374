#include "trainer/stage/traces.h"

#include <filesystem>
#include <fstream>

#include "absl/strings/str_split.h"
#include "common/files.h"
#include "common/sha256.h"
#include "common/status_testing.h"
#include "gmock/gmock.h"
#include "trainer/stage/traces_testing.h"

namespace grpo {
namespace {

using nlohmann::ordered_json;

TEST(ProblemsFileTest, StandsBesideTheTraces) {
  EXPECT_EQ(ProblemsFile("traces/x.jsonl"), "traces/x.problems.jsonl");
  EXPECT_EQ(ProblemsFile("out.d/x"), "out.d/x.problems.jsonl");
}

TEST(TraceSelectorTest, AnEndpointsTraceNamesItsModelAndNoTokens) {
  ScoredGroup group = Group(3, "Q", {Sample(0, "a")});
  group.lease.set_endpoint(true);
  group.completions[0].mutable_completion()->clear_ids();
  group.usage.set_output_tokens(7);
  TraceSelector selector(StageDefaults());
  selector.SetModel("teacher-2026");
  const GroupTraces selected = selector.Select(group);
  EXPECT_EQ(selected.traces.at(0).at("model"), "teacher-2026");
  EXPECT_FALSE(selected.traces.at(0).contains("num_tokens"));
  EXPECT_EQ(selected.usage.output_tokens(), 7);
  EXPECT_EQ(selected.num_tokens, 0);
}

class TraceLogTest : public ::testing::Test {
 protected:
  // Opens the log; what is replayed goes into a new selector.
  std::unique_ptr<TraceLog> Open() {
    selector_ = std::make_unique<TraceSelector>(StageDefaults());
    replayed_.clear();
    return *TraceLog::Open(path_, origin_, [this](const GroupTraces& group) {
      selector_->Remember(group);
      replayed_.push_back(group.group_index);
    });
  }

  // Appends groups from where the log is up to `end`; every second sample of the same prompt is a duplicate.
  void Write(TraceLog& log, int64_t end) {
    for (int64_t i = log.num_groups(); i < end; ++i) {
      const std::string prompt = "Q" + std::to_string(i / 2);
      ASSERT_OK(log.Append(selector_->Select(Group(i, prompt, {Sample(0, "a"), Sample(1, std::to_string(i))}))));
    }
  }

  std::string Exported(TraceLog& log) {
    const std::string path = folder_ + "/out.jsonl";
    const std::string sha256 = *log.Export(path);
    const std::string content = *ReadFile(path);
    EXPECT_EQ(Sha256Hex(content), sha256);
    return content;
  }

  const std::string folder_ =
      ::testing::TempDir() + "/" + ::testing::UnitTest::GetInstance()->current_test_info()->name();
  const std::string path_ = folder_ + "/log.jsonl";
  const ordered_json origin_ = {{"policy", "teacher"}, {"weights_hash", "1"}};
  std::unique_ptr<TraceSelector> selector_;
  std::vector<int64_t> replayed_;

  void SetUp() override { ASSERT_OK(MakeFolders(folder_)); }
};

TEST_F(TraceLogTest, GoesOnWhereverItWasCut) {
  std::string whole, exported;
  {
    const auto log = Open();
    Write(*log, 6);
    whole = *ReadFile(path_);
    exported = Exported(*log);
  }
  EXPECT_EQ(std::count(exported.begin(), exported.end(), '\n'), 9);  // of each pair the second "a" is a duplicate
  for (size_t size = 0; size <= whole.size(); size += 31) {
    ASSERT_OK(WriteFileAtomically(path_, whole.substr(0, size)));
    const auto log = Open();
    EXPECT_EQ(static_cast<int64_t>(replayed_.size()), log->num_groups());
    EXPECT_GE(log->num_groups() + 1, std::count(whole.begin(), whole.begin() + size, '\n') - 1);
    Write(*log, 6);
    EXPECT_EQ(*ReadFile(path_), whole) << "cut at " << size;
    EXPECT_EQ(Exported(*log), exported);
  }
}

TEST_F(TraceLogTest, LinesOfOtherWeightsOrOfNobodyAreNotUsed) {
  Write(*Open(), 2);
  const std::string content = *ReadFile(path_);
  const size_t first = content.find('\n') + 1;
  const size_t second = content.find('\n', first) + 1;
  for (const std::string& other :
       {R"({"policy":"teacher","weights_hash":"2"})" + content.substr(first - 1), std::string("\0\0\0\n", 4),
        content.substr(0, first) + "[1]\n" + content.substr(second),
        content.substr(0, first) + R"({"group_index":0,"num_tokens":1,"rejected":{},"traces":[{"problem":1}]})" + "\n",
        // The first group is missing.
        content.substr(0, first) + content.substr(second)}) {
    ASSERT_OK(WriteFileAtomically(path_, other));
    EXPECT_EQ(Open()->num_groups(), 0) << other;
  }
}

TEST_F(TraceLogTest, TracesAreHandedOverInTheOrderOfTheExport) {
  const auto log = Open();
  Write(*log, 6);
  std::string text;
  ASSERT_OK(log->ForEach([&](const ordered_json& trace) {
    text += trace.dump() + "\n";
    return absl::OkStatus();
  }));
  EXPECT_EQ(text, Exported(*log));
  EXPECT_STATUS(log->ForEach([](const ordered_json&) { return absl::AbortedError("stop"); }),
                absl::StatusCode::kAborted, "stop");
}

TEST_F(TraceLogTest, WhatWasMeasuredOfEachProblemIsWrittenToo) {
  const auto log = Open();
  Write(*log, 3);
  GroupTraces quarantined;
  quarantined.group_index = 3;
  ASSERT_OK(log->Append(quarantined));
  const std::string path = folder_ + "/problems.jsonl";
  ASSERT_OK_AND_ASSIGN(const std::string sha256, log->ExportProblems(path));
  ASSERT_OK_AND_ASSIGN(const std::string content, ReadFile(path));
  EXPECT_EQ(Sha256Hex(content), sha256);
  const std::vector<std::string> lines = absl::StrSplit(content, '\n', absl::SkipEmpty());
  ASSERT_EQ(lines.size(), 3u);
  const ordered_json problem = ordered_json::parse(lines[1]);
  EXPECT_EQ(problem.at("group_index"), 1);
  EXPECT_EQ(problem.at("problem"), "Q0");
  EXPECT_EQ(problem.at("solve_rate"), 1.0);
  EXPECT_EQ(problem.at("num_kept"), 1) << "the other is a duplicate";
}

// Problems that were rewritten have no completion.
TEST_F(TraceLogTest, TracesWithoutACompletionAreReadBack) {
  TraceSelector::Options options = StageDefaults();
  options.rewrites = true;
  std::string exported;
  {
    const auto log = Open();
    ASSERT_OK(log->Append(TraceSelector(options).Select(Group(0, "Q", {Sample(0, "How many?")}))));
    exported = Exported(*log);
  }
  const auto log = Open();
  EXPECT_EQ(log->num_groups(), 1);
  EXPECT_EQ(Exported(*log), exported);
  EXPECT_EQ(ordered_json::parse(exported).at("problem"), "How many?");
}

TEST_F(TraceLogTest, AFolderThatIsNotThereIsAnError) {
  EXPECT_THAT(TraceLog::Open(folder_ + "/none/log.jsonl", origin_, [](const GroupTraces&) {}).status().message(),
              ::testing::HasSubstr("none/log.jsonl"));
}

}  // namespace
}  // namespace grpo
