#include "trainer/stage/traces.h"

#include <filesystem>
#include <fstream>

#include "absl/strings/str_split.h"
#include "common/files.h"
#include "common/sha256.h"
#include "common/status_testing.h"

namespace grpo {
namespace {

using nlohmann::ordered_json;
using ::testing::ElementsAre;
using ::testing::Pair;

// As a synthesize stage has them by default.
const TraceSelector::Options kStageDefaults = {.accuracy_rule = "math_answer", .format_rule = "format_tags"};

// Right and well-formed.
v1::ScoredCompletion Sample(int index, const std::string& text) {
  v1::ScoredCompletion scored;
  v1::Completion& completion = *scored.mutable_completion();
  completion.set_index(index);
  completion.set_text(text);
  completion.add_ids(5);
  completion.add_ids(1);
  completion.set_finish_reason(v1::FINISH_REASON_STOP);
  scored.mutable_score()->set_outcome(v1::OUTCOME_SCORED);
  scored.mutable_score()->set_value(1.1);
  for (const char* name : {"math_answer", "format_tags"}) {
    v1::RuleScore& rule = *scored.mutable_score()->add_rules();
    rule.set_name(name);
    rule.set_value(1);
  }
  return scored;
}

ScoredGroup Group(int64_t index, const std::string& prompt, const std::vector<v1::ScoredCompletion>& completions) {
  ScoredGroup group;
  group.lease.mutable_key()->set_stage("write");
  group.lease.mutable_key()->set_group_index(index);
  group.lease.mutable_policy()->set_policy_id("teacher");
  group.lease.mutable_policy()->set_number(120);
  group.lease.set_seed(~uint64_t{0});
  group.lease.mutable_prompt()->set_id("train/7");
  group.lease.mutable_prompt()->set_text(prompt);
  group.lease.mutable_prompt()->set_answer("12");
  group.completions = completions;
  return group;
}

std::vector<std::string> Completions(const GroupTraces& group) {
  std::vector<std::string> texts;
  for (const ordered_json& trace : group.traces) texts.push_back(trace.at("completion"));
  return texts;
}

TEST(TraceSelectorTest, KeepsWhatTheRewardAcceptsAndSaysWhyNotTheRest) {
  std::vector<v1::ScoredCompletion> samples;
  for (int i = 0; i < 8; ++i) samples.push_back(Sample(i, "text " + std::to_string(i)));
  samples[1].mutable_score()->set_excluded(true);
  samples[2].mutable_completion()->set_finish_reason(v1::FINISH_REASON_LENGTH);
  samples[3].mutable_score()->mutable_rules(0)->set_value(0);
  samples[4].mutable_score()->mutable_rules(1)->set_value(0.5);
  samples[5].mutable_completion()->set_text("\xff");
  samples[6].mutable_completion()->set_text("text 0");
  samples[7].mutable_completion()->set_finish_reason(v1::FINISH_REASON_STOP_STRING);
  const GroupTraces group = TraceSelector(kStageDefaults).Select(Group(3, "Q", samples));
  EXPECT_THAT(Completions(group), ElementsAre("text 0", "text 7"));
  EXPECT_THAT(group.rejected, ElementsAre(Pair("duplicate", 1), Pair("malformed", 1), Pair("not_utf8", 1),
                                          Pair("unfinished", 1), Pair("unscored", 1), Pair("wrong", 1)));
  EXPECT_EQ(group.num_tokens, 16);
}

TEST(TraceSelectorTest, AnyFormWillDoWithoutAFormatRule) {
  v1::ScoredCompletion sample = Sample(0, "12");
  sample.mutable_score()->mutable_rules(1)->set_value(0);
  TraceSelector::Options options = kStageDefaults;
  EXPECT_TRUE(TraceSelector(options).Select(Group(0, "Q", {sample})).traces.empty());
  options.format_rule = "";
  EXPECT_EQ(TraceSelector(options).Select(Group(0, "Q", {sample})).traces.size(), 1);
}

TEST(TraceSelectorTest, CapsEachProblemAndForgetsNoDuplicateAcrossProblems) {
  TraceSelector::Options options = kStageDefaults;
  options.max_traces_per_problem = 2;
  TraceSelector selector(options);
  const GroupTraces first = selector.Select(Group(0, "Q", {Sample(0, "a"), Sample(1, "b"), Sample(2, "c")}));
  EXPECT_THAT(Completions(first), ElementsAre("a", "b"));
  EXPECT_THAT(first.rejected, ElementsAre(Pair("over_cap", 1)));
  // The same problem once more in the data, and another with the same answer.
  EXPECT_THAT(selector.Select(Group(1, "Q", {Sample(0, "a")})).rejected, ElementsAre(Pair("duplicate", 1)));
  EXPECT_THAT(Completions(selector.Select(Group(2, "R", {Sample(0, "a")}))), ElementsAre("a"));
  // Prompt and completion are told apart.
  EXPECT_THAT(Completions(selector.Select(Group(3, "", {Sample(0, "Qa")}))), ElementsAre("Qa"));
}

TEST(TraceSelectorTest, SaysWhereATraceComesFrom) {
  const ordered_json trace = TraceSelector(kStageDefaults).Select(Group(3, "Q", {Sample(2, "a")})).traces.at(0);
  EXPECT_EQ(trace, ordered_json::parse(R"({"id":"train/7#3.2","problem":"Q","answer":"12","completion":"a",
      "policy":"teacher","policy_number":120,"stage":"write","group_index":3,"sample_index":2,
      "seed":"18446744073709551615","num_tokens":1,"reward":1.1,"rewards":{"math_answer":1.0,"format_tags":1.0}})"));
}

TEST(TraceSelectorTest, AnEndpointsTraceNamesItsModelAndNoTokens) {
  ScoredGroup group = Group(3, "Q", {Sample(0, "a")});
  group.lease.set_endpoint(true);
  group.completions[0].mutable_completion()->clear_ids();
  group.usage.set_output_tokens(7);
  TraceSelector selector(kStageDefaults);
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
    selector_ = std::make_unique<TraceSelector>(kStageDefaults);
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

TEST_F(TraceLogTest, AFolderThatIsNotThereIsAnError) {
  EXPECT_THAT(TraceLog::Open(folder_ + "/none/log.jsonl", origin_, [](const GroupTraces&) {}).status().message(),
              ::testing::HasSubstr("none/log.jsonl"));
}

}  // namespace
}  // namespace grpo
