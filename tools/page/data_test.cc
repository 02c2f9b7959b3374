#include "tools/page/data.h"

#include <unistd.h>

#include <cmath>
#include <filesystem>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "common/files.h"
#include "common/rpc/endpoint.h"
#include "common/status_testing.h"
#include "gmock/gmock.h"
#include "trainer/records/completions_format.h"
#include "trainer/records/completions_log.h"

namespace grpo {
namespace {

using ::testing::ElementsAre;
using ::testing::IsEmpty;
using ::testing::SizeIs;

constexpr char kConfig[] = R"(run: {name: young, seed: 5}
policies:
  base: {random_init: {tokenizer: t.json, hidden_size: 8, intermediate_size: 8, num_layers: 1, num_heads: 1, num_kv_heads: 1}}
data:
  problems: {source: chickens_rabbits}
  corpus: {source: chickens_rabbits_corpus}
rewards:
  rules: {rules: {math_answer: }}
stages:
  - {name: pretrain, type: train, algorithm: pretrain, policy: base, data: corpus, steps: 2}
  - {name: rl, type: train, algorithm: grpo, policy: base, data: problems, rewards: rules, steps: 2}
  - {name: evaluate_base, type: evaluate, policy: base, data: problems, rewards: rules}
  - {name: evaluate_rl, type: evaluate, policy: base, data: problems, rewards: rules}
)";

constexpr char kSummary[] = R"({"run": {"name": "old", "id": "old-1", "seed": 7}, "stages": [
  {"name": "pretrain", "type": "train", "policy": "base", "seconds": 10, "metrics": {"loss": 1.5}},
  {"name": "rl", "type": "train", "policy": "base", "seconds": 20, "metrics": {"reward": 1}},
  {"name": "evaluate_base", "type": "evaluate", "policy": "base", "seconds": 3, "metrics": {"pass_at_1": 0.25}},
  {"name": "evaluate_rl", "type": "evaluate", "policy": "base", "seconds": 4, "metrics": {"pass_at_1": 0.5}}]})";

class PageDataTest : public ::testing::Test {
 protected:
  void SetUp() override {
    std::filesystem::remove_all(dir_);
    ASSERT_OK(MakeFolders(dir_));
  }
  void TearDown() override { std::filesystem::remove_all(dir_); }

  void Write(const std::string& name, const std::string& content) {
    ASSERT_OK(WriteFileAtomically(absl::StrCat(dir_, "/", name), content));
  }
  ReportData Gather() {
    const absl::StatusOr<ReportData> data = GatherReport(dir_);
    EXPECT_OK(data);
    return data.value_or(ReportData());
  }
  static std::vector<std::string> Titles(const ReportData& data) {
    std::vector<std::string> titles;
    for (const Chart& chart : data.charts) titles.push_back(chart.title);
    return titles;
  }

  // A group of one problem with this first sample; greedy, or at temperature 1.
  static ScoredGroup Group(const std::string& prompt_id, const std::string& text, double value, bool greedy = false) {
    ScoredGroup group;
    group.lease.mutable_prompt()->set_id(prompt_id);
    group.lease.mutable_prompt()->set_text(absl::StrCat("what is ", prompt_id, "?"));
    group.lease.mutable_prompt()->set_answer("42");
    group.lease.mutable_sampling()->set_temperature(greedy ? 0 : 1);
    v1::ScoredCompletion& scored = group.completions.emplace_back();
    scored.mutable_completion()->set_text(text);
    scored.mutable_score()->set_outcome(v1::OUTCOME_SCORED);
    scored.mutable_score()->set_value(value);
    v1::RuleScore& rule = *scored.mutable_score()->add_rules();
    rule.set_name("math_answer");
    rule.set_outcome(v1::OUTCOME_SCORED);
    rule.set_value(value);
    rule.set_weight(1);
    return group;
  }

  const std::string dir_ = absl::StrCat(::testing::TempDir(), "/page_data_test.", ::getpid());
};

TEST_F(PageDataTest, AFolderWithoutARunIsSaidToBeNone) {
  EXPECT_STATUS(GatherReport(dir_), absl::StatusCode::kNotFound, "this is no run's folder");
  EXPECT_STATUS(GatherReport(dir_ + "/nowhere"), absl::StatusCode::kNotFound, "this is no run's folder");
}

// Before its first stage is done a run has no summary.
TEST_F(PageDataTest, AYoungRunIsToldFromItsConfiguration) {
  Write("config.yaml", kConfig);
  Write("run_id", "young-abc\n");
  const ReportData data = Gather();
  EXPECT_EQ(data.name, "young");
  EXPECT_EQ(data.id, "young-abc");
  EXPECT_EQ(data.seed, "5");
  EXPECT_EQ(data.state, "stopped, 0 of 4 stages done");
  EXPECT_THAT(data.tables, IsEmpty());
  EXPECT_THAT(data.seconds, IsEmpty());
  ASSERT_OK(WriteEndpoint(RunEndpointPath(dir_), {.address = "127.0.0.1:1", .pid = ::getpid()}));
  EXPECT_EQ(Gather().state, "running, 0 of 4 stages done");
}

TEST_F(PageDataTest, AFinishedRunHasItsTablesAndSeconds) {
  Write("config.yaml", kConfig);
  Write("summary.json", kSummary);
  const ReportData data = Gather();
  EXPECT_EQ(data.name, "old");
  EXPECT_EQ(data.state, "finished");
  EXPECT_EQ(data.seed, "7");
  EXPECT_THAT(data.tables, SizeIs(1));
  EXPECT_THAT(data.seconds, SizeIs(6)) << "heading, stages, sum";
}

TEST_F(PageDataTest, ASummaryWithoutAReadableConfigurationIsShownAllTheSame) {
  Write("summary.json", kSummary);
  const ReportData data = Gather();
  EXPECT_EQ(data.name, "old");
  EXPECT_THAT(data.tables, SizeIs(1));
}

TEST_F(PageDataTest, ABrokenSummaryIsAnError) {
  Write("config.yaml", kConfig);
  Write("summary.json", "{\"stages\":");
  EXPECT_STATUS(GatherReport(dir_), absl::StatusCode::kDataLoss, "");
}

TEST_F(PageDataTest, CurvesAreByGroupOfStagesAndMetric) {
  Write("config.yaml", kConfig);
  Write("metrics.jsonl",
        "{\"stage\":\"pretrain\",\"step\":1,\"loss\":3,\"unknown\":1}\n"
        "{\"stage\":\"pretrain\",\"step\":2,\"loss\":2.5}\n"
        "{\"stage\":\"rl\",\"step\":1,\"loss\":0.1,\"reward\":0.25}\n"
        "{\"stage\":\"rl\",\"step\":2,\"loss\":null,\"reward\":0.5}\n");
  const ReportData data = Gather();
  EXPECT_THAT(Titles(data), ElementsAre("Reward, rl", "Loss, rl", "Loss, pretrain"));
  EXPECT_THAT(data.charts[0].series[0].points,
              ElementsAre(std::pair<double, double>(1, 0.25), std::pair<double, double>(2, 0.5)));
  ASSERT_THAT(data.charts[1].series[0].points, SizeIs(2));
  EXPECT_TRUE(std::isnan(data.charts[1].series[0].points[1].second)) << "a gap, no zero";
  std::set<std::string> ids;
  for (const Chart& chart : data.charts) {
    EXPECT_TRUE(ids.insert(chart.id).second) << chart.id;
    EXPECT_EQ(chart.id.find_first_not_of("abcdefghijklmnopqrstuvwxyz0123456789_"), std::string::npos)
        << "a file's name: " << chart.id;
  }
}

// A run that is writing, or was killed while it wrote, has half a line.
TEST_F(PageDataTest, LinesThatCannotBeReadAreLeftOut) {
  Write("config.yaml", kConfig);
  Write("metrics.jsonl",
        "{\"stage\":\"pretrain\",\"step\":1,\"loss\":3}\n"
        "not json\n\n[1]\n"
        "{\"stage\":7,\"step\":1,\"loss\":3}\n"
        "{\"stage\":\"pretrain\",\"step\":\"two\",\"loss\":3}\n"
        "{\"stage\":\"pretrain\",\"loss\":3}\n"
        "{\"stage\":\"nobody\",\"step\":1,\"loss\":3}\n"
        "{\"stage\":\"pretrain\",\"step\":2,\"loss\":2}\n"
        "{\"stage\":\"pretrain\",\"step\":3,\"lo");
  const ReportData data = Gather();
  ASSERT_THAT(data.charts, SizeIs(1));
  EXPECT_THAT(data.charts[0].series[0].points, SizeIs(2));
}

TEST_F(PageDataTest, AProblemIsShownWhereEveryEvaluationSampledIt) {
  Write("config.yaml", kConfig);
  Write("summary.json", kSummary);
  {
    ASSERT_OK_AND_ASSIGN(const auto log, CompletionsLog::Open(absl::StrCat(dir_, "/", kCompletionsFile), {}));
    log->Append("evaluate_base", 1, {Group("p1", "base of 1", 0), Group("p2", "base of 2", 1), Group("p3", "b3", 0)});
    log->Append("evaluate_base", 2, {Group("p1", "greedy base of 1", 1, /*greedy=*/true)});
    log->Append("evaluate_rl", 1, {Group("p2", "rl of 2", 0.5), Group("p1", "rl of 1", 1)});
    log->Append("rl", 1, {Group("p1", "while it learned", 1)});
  }
  const ReportData data = Gather();
  ASSERT_THAT(data.problems, SizeIs(2)) << "p3 is of one evaluation alone";
  EXPECT_EQ(data.problems[0].prompt_id, "p1");
  EXPECT_EQ(data.problems[0].prompt, "what is p1?");
  EXPECT_EQ(data.problems[0].answer, "42");
  ASSERT_THAT(data.problems[0].samples, SizeIs(2));
  EXPECT_EQ(data.problems[0].samples[0].completion, "base of 1") << "the first one";
  EXPECT_FALSE(data.problems[0].samples[0].right);
  EXPECT_TRUE(data.problems[0].samples[1].right);
  EXPECT_EQ(data.problems[0].samples[1].reward, "1");
  EXPECT_FALSE(data.problems[1].samples[1].right) << "half right is not right";
}

// docs/design.md law 1: what we caused has no reward.
TEST_F(PageDataTest, AnExcludedSampleHasNoReward) {
  Write("config.yaml", kConfig);
  Write("summary.json", kSummary);
  {
    ASSERT_OK_AND_ASSIGN(const auto log, CompletionsLog::Open(absl::StrCat(dir_, "/", kCompletionsFile), {}));
    ScoredGroup excluded = Group("p1", "cut off", 0);
    excluded.completions[0].mutable_score()->set_excluded(true);
    excluded.completions[0].mutable_score()->set_outcome(v1::OUTCOME_DEADLINE);
    log->Append("evaluate_base", 1, {excluded});
    log->Append("evaluate_rl", 1, {Group("p1", "fine", 1)});
  }
  const ReportData data = Gather();
  ASSERT_THAT(data.problems, SizeIs(1));
  EXPECT_EQ(data.problems[0].samples[0].reward, "none");
}

TEST_F(PageDataTest, ACompletionsFileThatIsNoneIsAnErrorAndAMissingOneIsNot) {
  Write("config.yaml", kConfig);
  Write("summary.json", kSummary);
  EXPECT_THAT(Gather().problems, IsEmpty());
  Write(kCompletionsFile, std::string(4096, 'x'));
  EXPECT_EQ(GatherReport(dir_).status().code(), absl::StatusCode::kDataLoss);
}

}  // namespace
}  // namespace grpo
