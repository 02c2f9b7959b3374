// The contract of every type of stage in trainer/stages.inc: its options round trip, its references are checked, a run
// that is killed and resumed anywhere equals one that nobody disturbed, and its report is complete.
//
// A type that needs keys gets them in Cases; everything else is checked of all alike.
#include <algorithm>
#include <cmath>
#include <filesystem>
#include <set>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "common/files.h"
#include "common/seeds.h"
#include "common/sha256.h"
#include "common/status_testing.h"
#include "gmock/gmock.h"
#include "nlohmann/json.hpp"
#include "tools/grpoctl/records/completions.h"
#include "trainer/stage/stage.h"
#include "trainer/stage/testing.h"

namespace grpo {
namespace {

using ::testing::HasSubstr;

struct Case {
  std::string type;
  // Beside name and type, as YAML: all that the type refers to.
  std::string keys;
};

const std::vector<Case>& Cases() {
  static const auto* const cases = new std::vector<Case>{
      {"train",
       "algorithm: grpo, policy: model, data: problems, rewards: rules, steps: 7, prompts_per_step: 3, group_size: 2, "
       "kl_coefficient: 0.1, reference_policy: frozen, export_to: out"},
      {"train", "algorithm: pretrain, policy: model, data: corpus, steps: 7, rows_per_step: 2, row_tokens: 16"},
      {"train", "algorithm: sft, policy: model, data: traces, steps: 7, traces_per_step: 2, export_to: out"},
      {"evaluate", "policy: model, data: problems, rewards: rules, problems: 40, samples_per_problem: 4"},
      {"synthesize", "policy: model, data: problems, rewards: rules, samples_per_problem: 4, export_to: out"},
      {"synthesize",
       "policy: model, data: problems, rewards: rules, samples_per_problem: 4, export_to: out, teacher_top_k: 8"},
      {"synthesize",
       "teachers: [{policy: model, share: 2}, {policy: frozen}], data: problems, rewards: rules, samples_per_problem: "
       "6, "
       "export_to: out, max_traces_per_problem: 2, select: {prefer: most_varied, max_tokens: 100}, difficulty: "
       "[{up_to: "
       "0.5}, {up_to: 1, keep: 0.5}], decontaminate: {data: [traces], ngram: 5}"},
      {"synthesize",
       "policy: model, data: problems, rewards: rules, samples_per_problem: 4, export_to: out, rewrite: {template: "
       "'Change: {problem}'}"},
      // Only where it is linked: tests/toy.
      {"toy_survey", "policy: model, data: problems, rewards: rules, problems: 40, export_to: out"},
  };
  static const auto* const linked = [] {
    auto* const known = new std::vector<Case>;
    std::copy_if(cases->begin(), cases->end(), std::back_inserter(*known),
                 [](const Case& c) { return Stages().Find(c.type).ok(); });
    return known;
  }();
  return *linked;
}

// What the clock and the machine say is not part of a result.
const std::set<std::string>& Measured() {
  static const auto* const names =
      new std::set<std::string>{"wait_seconds",  "update_seconds",    "step_seconds",     "sample_seconds",
                                "score_seconds", "tokens_per_second", "peak_memory_bytes"};
  return *names;
}

// All that a stage leaves, as text.
struct Outcome {
  std::string report = {}, metrics = {}, completions = {}, weights = {};
  std::map<std::string, std::string> files = {};
};

class StageContractTest : public ::testing::TestWithParam<size_t> {
 protected:
  void SetUp() override {
    std::filesystem::remove_all(folder_);
    ASSERT_OK_AND_ASSIGN(loaded_, Load());
  }
  void TearDown() override { std::filesystem::remove_all(folder_); }

  const Case& GetCase() const { return Cases()[GetParam()]; }
  absl::StatusOr<LoadedConfig> Load(const std::vector<std::string>& overrides = {}) const {
    return LoadTestConfig(folder_ + "/config",
                          absl::StrCat("  - {name: s, type: ", GetCase().type, ", ", GetCase().keys, "}\n"), overrides);
  }
  const Stage& stage() const { return *loaded_.config.stages[0].stage; }

  static std::string Records(const std::string& run_dir) {
    std::string text;
    for (const absl::string_view line : absl::StrSplit(ReadFile(run_dir + "/metrics.jsonl").value(), '\n')) {
      if (line.empty()) continue;
      nlohmann::json record = nlohmann::json::parse(line);
      for (const std::string& name : Measured()) record.erase(name);
      absl::StrAppend(&text, record.dump(), "\n");
    }
    return text;
  }

  // Of a run that has ended with this report.
  static Outcome OutcomeOf(const std::string& run_dir, const StageRun& run, StageReport report) {
    Outcome outcome{.metrics = Records(run_dir), .weights = absl::StrCat(run.weights().hash)};
    for (const std::string& name : Measured()) report.metrics.erase(name);
    outcome.report = ToJson(report).dump();
    std::vector<StoredCompletion> stored = (*CompletionsReader::Open(run_dir).value()).Select({}).value();
    std::vector<std::string> rows;
    for (const StoredCompletion& row : stored) rows.push_back(row.columns.dump());
    std::sort(rows.begin(), rows.end());
    for (const std::string& row : rows) absl::StrAppend(&outcome.completions, row, "\n");
    for (const auto& entry : std::filesystem::recursive_directory_iterator(run_dir)) {
      const std::string path = entry.path().lexically_relative(run_dir).string();
      if (entry.is_regular_file() && path.rfind("out", 0) == 0) outcome.files[path] = *ReadFile(entry.path().string());
    }
    return outcome;
  }

  const std::string folder_ = absl::StrCat(::testing::TempDir(), "/stages_test.", GetParam());
  LoadedConfig loaded_;
};

TEST_P(StageContractTest, DescribesItself) {
  ASSERT_OK_AND_ASSIGN(const StagePlugin* const plugin, Stages().Find(GetCase().type));
  EXPECT_FALSE(plugin->summary.empty());
  for (const Reference& reference : stage().references()) {
    const std::string key = reference.key.substr(0, reference.key.find('.'));
    EXPECT_THAT(loaded_.resolved_yaml, HasSubstr(absl::StrCat("\n    ", key, ":")));
  }
  EXPECT_FALSE(stage().cost().batch.empty());
}

TEST_P(StageContractTest, OptionsRoundTrip) {
  ASSERT_OK(WriteFileAtomically(folder_ + "/again.yaml", loaded_.resolved_yaml));
  ASSERT_OK_AND_ASSIGN(const LoadedConfig again, LoadRunConfig(folder_ + "/again.yaml"));
  EXPECT_EQ(again.resolved_yaml, loaded_.resolved_yaml);
  const Stage& other = *again.config.stages[0].stage;
  EXPECT_EQ(other.cost().batch, stage().cost().batch);
  EXPECT_EQ(other.references().size(), stage().references().size());
  // Keys that nobody declares are refused.
  EXPECT_STATUS(Load({"stages.s.no_such_key=1"}), absl::StatusCode::kInvalidArgument,
                "stages.0.no_such_key: unknown key");
}

TEST_P(StageContractTest, EveryNameThatItRefersToIsCheckedAndTheNearestIsTold) {
  ASSERT_FALSE(stage().references().empty());
  for (const Reference& reference : stage().references()) {
    const std::string key = absl::StrCat("stages.s.", reference.key), place = absl::StrCat("stages.0.", reference.key);
    const std::string wrong = absl::StrCat(reference.value, "x");
    EXPECT_STATUS(Load({absl::StrCat(key, "=", wrong)}), absl::StatusCode::kInvalidArgument,
                  absl::StrCat(place, ": there is no ", reference.section, ".", wrong, "; "));
    if (reference.value.empty()) continue;
    EXPECT_THAT(std::string(Load({absl::StrCat(key, "=", wrong)}).status().message()),
                HasSubstr(absl::StrCat("did you mean ", reference.value, "?")));
    if (reference.required) {
      EXPECT_STATUS(Load({key + "="}), absl::StatusCode::kInvalidArgument, place);
    }
  }
  for (const RuleReference& reference : stage().rules()) {
    EXPECT_STATUS(Load({absl::StrCat("stages.s.", reference.key, "=", reference.rule, "x")}),
                  absl::StatusCode::kInvalidArgument,
                  absl::StrCat("stages.0.", reference.key, ": rewards.", reference.rewards, " has no rule ",
                               reference.rule, "x; did you mean ", reference.rule, "?"));
  }
}

TEST_P(StageContractTest, ReportIsComplete) {
  StageRun run(loaded_, folder_ + "/run");
  ASSERT_OK_AND_ASSIGN(const StageReport report, run.Start());
  EXPECT_EQ(report.policy, kTestPolicy);
  EXPECT_EQ(report.policy_number, run.weights().number);
  EXPECT_GT(report.steps, 0);
  EXPECT_EQ(run.status().step(), report.steps);
  EXPECT_EQ(run.status().num_steps(), report.steps);
  EXPECT_FALSE(report.metrics.empty());
  for (const auto& [name, value] : report.metrics) EXPECT_TRUE(std::isfinite(value)) << name;
  if (!report.exported_to.empty()) {
    EXPECT_TRUE(std::filesystem::exists(report.exported_to)) << report.exported_to;
  }
  std::vector<std::string> written;
  if (!report.artifact.empty()) {
    written.push_back(report.artifact);
    EXPECT_EQ(report.artifact_sha256, Sha256Hex(*ReadFile(report.exported_to)));
  }
  EXPECT_EQ(written, stage().writes());
  // What is shown of it is there.
  const StageView& view = StageViewOf(GetCase().type);
  const auto is_there = [&](const MetricPattern& pattern) {
    return std::any_of(report.metrics.begin(), report.metrics.end(),
                       [&](const auto& metric) { return MatchMetric(pattern, metric.first).has_value(); });
  };
  EXPECT_TRUE(view.progress.empty() || view.table.heading.empty() ||
              std::any_of(view.table.leading.begin(), view.table.leading.end(), is_there) ||
              view.table.leading.empty());
  // The last line of metrics.jsonl is the report's.
  const std::vector<std::string> lines = absl::StrSplit(Records(folder_ + "/run"), '\n', absl::SkipEmpty());
  const nlohmann::json last = nlohmann::json::parse(lines.back());
  EXPECT_EQ(last.at("step"), report.steps);
}

TEST_P(StageContractTest, KilledAndResumedAnywhereItEqualsAnUndisturbedRun) {
  StageRun undisturbed(loaded_, folder_ + "/run");
  ASSERT_OK_AND_ASSIGN(const StageReport report, undisturbed.Start());
  const Outcome expected = OutcomeOf(folder_ + "/run", undisturbed, report);
  const int64_t num_polls = undisturbed.num_polls();
  for (uint64_t seed = 0; seed < 6; ++seed) {
    // In the same place: paths are part of the report.
    std::filesystem::remove_all(folder_ + "/run");
    StageRun disturbed(loaded_, folder_ + "/run");
    Rng rng(seed);
    int num_killed = 0;
    for (; num_killed < 3; ++num_killed) {
      // A run that is slow polls more often; one that was to die beyond its end has ended.
      const auto ended = disturbed.Start(rng.Below(num_polls + 1));
      if (ended.ok()) break;
      ASSERT_STREQ(std::string(ended.status().message()).c_str(), "killed");
    }
    ASSERT_OK_AND_ASSIGN(const StageReport last, disturbed.Start());
    const Outcome outcome = OutcomeOf(folder_ + "/run", disturbed, last);
    EXPECT_EQ(outcome.report, expected.report) << seed;
    EXPECT_EQ(outcome.metrics, expected.metrics) << seed;
    EXPECT_EQ(outcome.completions, expected.completions) << seed;
    EXPECT_EQ(outcome.weights, expected.weights) << seed;
    EXPECT_EQ(outcome.files, expected.files) << seed;
  }
}

INSTANTIATE_TEST_SUITE_P(EveryStage, StageContractTest, ::testing::Range(size_t{0}, Cases().size()),
                         [](const auto& info) { return absl::StrCat(Cases()[info.param].type, info.param); });

// A new line in stages.inc without a case here is an uncovered type.
TEST(StagesIncTest, EveryTypeHasACase) {
  for (const auto& [type, plugin] : Stages().entries()) {
    EXPECT_TRUE(std::any_of(Cases().begin(), Cases().end(), [&type = type](const Case& c) { return c.type == type; }))
        << type;
  }
}

}  // namespace
}  // namespace grpo
