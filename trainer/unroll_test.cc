#include "trainer/unroll.h"

#include <filesystem>
#include <limits>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_replace.h"
#include "common/files.h"
#include "common/status_testing.h"
#include "configs/load.h"
#include "gmock/gmock.h"
#include "trainer/preflight.h"
#include "trainer/stage/testing.h"

namespace grpo {
namespace {

using ::testing::AllOf;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::Not;

constexpr auto kInvalid = absl::StatusCode::kInvalidArgument;

// Behind the stages stand data: LoadTestConfig's, of which `written` is artifacts.out, and `all`, a union of it.
constexpr char kStages[] = R"(  - repeat:
      name: f
      times: 3
      stages:
        - {name: solve, type: synthesize, policy: model, data: problems, rewards: rules, problems: 20, export_to: out}
        - {name: learn, type: train, algorithm: sft, policy: model, data: all, steps: 2, traces_per_step: 2, export_to: other}
        - {name: measure, type: evaluate, policy: model, data: problems, rewards: rules, problems: 9, samples_per_problem: 2}
      until: {stage: measure, metric: pass_at_1, min_gain: 0.01}
)";
constexpr char kUnion[] = "data.all={source: union, of: [traces, written]}";

class UnrollTest : public ::testing::Test {
 protected:
  void TearDown() override { std::filesystem::remove_all(folder_); }

  absl::StatusOr<LoadedConfig> Load(const std::string& stages, std::vector<std::string> overrides = {}) const {
    overrides.insert(overrides.begin(), kUnion);
    return LoadTestConfig(folder_, stages, overrides);
  }
  // kStages with one text replaced by another.
  std::string ErrorOf(const std::string& from, const std::string& to, const std::vector<std::string>& overrides = {}) {
    const std::string stages = absl::StrReplaceAll(kStages, {{from, to}});
    EXPECT_NE(stages, kStages) << from;
    const absl::Status status = Load(stages, overrides).status();
    EXPECT_EQ(status.code(), kInvalid) << status;
    return std::string(status.message());
  }

  static std::vector<std::string> NamesOf(const RunConfig& config) {
    std::vector<std::string> names;
    for (const ConfiguredStage& stage : config.stages) names.push_back(stage.name);
    return names;
  }
  static std::string KeyOf(const RunConfig& config, const std::string& stage, const char* key) {
    for (const ConfiguredStage& configured : config.stages) {
      if (configured.name == stage) return SectionText(configured.options, key).value_or("");
    }
    return "no such stage";
  }

  const std::string folder_ = ::testing::TempDir() + "/unroll_test";
};

TEST_F(UnrollTest, MakesOrdinaryStagesOfEachRound) {
  ASSERT_OK_AND_ASSIGN(const LoadedConfig loaded, Load(kStages));
  const RunConfig& config = loaded.config;
  EXPECT_THAT(NamesOf(config), ElementsAre("f.1.solve", "f.1.learn", "f.1.measure", "f.2.solve", "f.2.learn",
                                           "f.2.measure", "f.3.solve", "f.3.learn", "f.3.measure"));
  EXPECT_EQ(config.rounds.at("f").times, 3);
  EXPECT_EQ(config.rounds.at("f").until.stage, "measure");
  EXPECT_EQ(config.rounds.at("f").until.min_gain, 0.01);
}

TEST_F(UnrollTest, WhatARoundWritesAndReadsHasNamesAndFilesOfItsOwn) {
  ASSERT_OK_AND_ASSIGN(const LoadedConfig loaded, Load(kStages));
  const RunConfig& config = loaded.config;
  EXPECT_EQ(KeyOf(config, "f.2.solve", "export_to"), "f-2-out");
  EXPECT_EQ(config.artifacts.at("f-2-out").path, "f.2/out");
  EXPECT_EQ(KeyOf(config, "f.2.learn", "export_to"), "f-2-other");
  EXPECT_EQ(config.data.at("f-2-written").artifact, "f-2-out");
  // All rounds so far, the running one included, and what never changes.
  EXPECT_EQ(KeyOf(config, "f.2.learn", "data"), "f-2-all");
  EXPECT_THAT(DataParts(config, "f-1-all"), ElementsAre("traces", "f-1-written"));
  EXPECT_THAT(DataParts(config, "f-3-all"), ElementsAre("traces", "f-1-written", "f-2-written", "f-3-written"));
  // Policies, and data that no round writes, are the same throughout.
  EXPECT_EQ(KeyOf(config, "f.3.solve", "policy"), "model");
  EXPECT_EQ(KeyOf(config, "f.3.solve", "data"), "problems");
}

// What `--resume` reads.
TEST_F(UnrollTest, TheResolvedConfigurationLoadsToItself) {
  ASSERT_OK_AND_ASSIGN(const LoadedConfig loaded, Load(kStages));
  ASSERT_OK(WriteFileAtomically(folder_ + "/resolved.yaml", loaded.resolved_yaml));
  ASSERT_OK_AND_ASSIGN(const LoadedConfig again, LoadRunConfig(folder_ + "/resolved.yaml"));
  EXPECT_EQ(again.resolved_yaml, loaded.resolved_yaml);
  EXPECT_EQ(again.sha256, loaded.sha256);
  EXPECT_EQ(NamesOf(ReadRunConfig(folder_ + "/resolved.yaml")), NamesOf(loaded.config));
}

TEST_F(UnrollTest, OverridesFindTheRepeatByItsName) {
  ASSERT_OK_AND_ASSIGN(const LoadedConfig loaded,
                       Load(kStages, {"stages.f.repeat.times=2", "stages.f.repeat.stages.learn.steps=7"}));
  EXPECT_EQ(loaded.config.stages.size(), 6u);
  EXPECT_EQ(KeyOf(loaded.config, "f.2.learn", "steps"), "7");
}

TEST_F(UnrollTest, AStageReadsTheNewestThatWasWrittenByThen) {
  // `first` reads before the round has written; a stage before the repeat has written too.
  const std::string stages = absl::StrCat(
      "  - {name: seed, type: synthesize, policy: model, data: problems, rewards: rules, problems: 5, export_to: "
      "out}\n",
      absl::StrReplaceAll(kStages,
                          {{"      stages:\n",
                            "      stages:\n        - {name: first, type: train, algorithm: sft, policy: model, "
                            "data: written, steps: 1, traces_per_step: 1}\n"},
                           {"      until: {stage: measure, metric: pass_at_1, min_gain: 0.01}\n", ""}}),
      "  - {name: after, type: train, algorithm: sft, policy: model, data: written, steps: 1, traces_per_step: 1}\n",
      "  - {name: all_after, type: train, algorithm: sft, policy: model, data: all, steps: 1, traces_per_step: 1}\n",
      "  - {name: mixed, type: train, algorithm: sft, policy: model, data: mix, steps: 1, traces_per_step: 1}\n");
  ASSERT_OK_AND_ASSIGN(const LoadedConfig loaded,
                       Load(stages, {"data.mix={source: mix, mix: {traces: 0.5, written: 0.5}}"}));
  const RunConfig& config = loaded.config;
  EXPECT_EQ(KeyOf(config, "f.1.first", "data"), "written");
  EXPECT_EQ(KeyOf(config, "f.3.first", "data"), "f-2-written");
  EXPECT_EQ(KeyOf(config, "after", "data"), "f-3-written");
  EXPECT_THAT(DataParts(config, KeyOf(config, "f.2.learn", "data")),
              ElementsAre("traces", "written", "f-1-written", "f-2-written"));
  EXPECT_THAT(DataParts(config, KeyOf(config, "all_after", "data")),
              ElementsAre("traces", "written", "f-1-written", "f-2-written", "f-3-written"));
  EXPECT_THAT(DataParts(config, KeyOf(config, "mixed", "data")), ElementsAre("f-3-written", "traces"));
}

TEST_F(UnrollTest, NothingIsReadBeforeItIsWritten) {
  const std::string message = ErrorOf(
      "      stages:\n",
      "      stages:\n        - {name: first, type: train, algorithm: sft, policy: model, data: written, steps: "
      "1, traces_per_step: 1}\n");
  EXPECT_THAT(message, HasSubstr("run.yaml:21: stages.0.data: data.written is artifacts.out, which no `synthesize`"));
}

TEST_F(UnrollTest, WhatUntilMayLeaveOutIsNotReadBehindTheRepeat) {
  const std::string after =
      "  - {name: after, type: train, algorithm: sft, policy: model, data: all, steps: 1, traces_per_step: 1}\n";
  EXPECT_STATUS(Load(absl::StrCat(kStages, after)).status(), kInvalid,
                "stages.1.data: is data.written, which round 3 of f makes, and its `until` may leave that round out");
  // Two rounds always run, and the policy is there in any case.
  EXPECT_OK(Load(absl::StrCat(kStages, after), {"stages.f.repeat.times=2"}));
  EXPECT_OK(Load(
      absl::StrCat(kStages, "  - {name: final, type: evaluate, policy: model, data: problems, rewards: rules}\n")));
}

// As STaR: the round's policy begins at the base, and what it learns from the previous round's has written.
TEST_F(UnrollTest, FreshPoliciesAreMadeAnewInEachRound) {
  const std::string stages =
      absl::StrCat(absl::StrReplaceAll(kStages, {{"policy: model", "policy: student"},
                                                 {"      until: {stage: measure, metric: pass_at_1, min_gain: 0.01}\n",
                                                  "      fresh_policies: [student]\n"}}),
                   "  - {name: final, type: evaluate, policy: student, data: problems, rewards: rules}\n");
  ASSERT_OK_AND_ASSIGN(const LoadedConfig loaded, Load(stages, {"policies.student={initialize_from: model}"}));
  const RunConfig& config = loaded.config;
  EXPECT_EQ(KeyOf(config, "f.1.solve", "policy"), "student");
  EXPECT_EQ(KeyOf(config, "f.1.learn", "policy"), "f-1-student");
  EXPECT_EQ(KeyOf(config, "f.1.measure", "policy"), "f-1-student");
  EXPECT_EQ(KeyOf(config, "f.3.solve", "policy"), "f-2-student");
  EXPECT_EQ(KeyOf(config, "final", "policy"), "f-3-student");
  EXPECT_EQ(config.policies.at("f-3-student").initialize_from, "model");
}

// One that nobody trains is there from the round's first stage that reads it.
TEST_F(UnrollTest, AFreshReferenceStandsWhereTheRoundBegan) {
  const std::string stages = absl::StrReplaceAll(
      kStages,
      {{"        - {name: learn,",
        "        - {name: tune, type: train, algorithm: grpo, policy: model, reference_policy: ref, "
        "kl_coefficient: 0.1, data: problems, rewards: rules, steps: 1, group_size: 2}\n        - {name: learn,"},
       {"      until:", "      fresh_policies: [ref]\n      until:"}});
  const std::string ref = "policies.ref={initialize_from: model}";
  ASSERT_OK_AND_ASSIGN(const LoadedConfig loaded, Load(stages, {ref}));
  EXPECT_EQ(KeyOf(loaded.config, "f.1.tune", "reference_policy"), "f-1-ref");
  EXPECT_EQ(KeyOf(loaded.config, "f.3.tune", "reference_policy"), "f-3-ref");
  EXPECT_EQ(KeyOf(loaded.config, "f.3.tune", "policy"), "model");
  EXPECT_EQ(loaded.config.policies.at("f-2-ref").initialize_from, "model");
  EXPECT_STATUS(
      Load(absl::StrCat(stages, "  - {name: after, type: evaluate, policy: ref, data: problems, rewards: rules}\n"),
           {ref})
          .status(),
      kInvalid, "stages.1.policy: is policies.ref, which round 3 of f makes");
  EXPECT_STATUS(Load(stages).status(), kInvalid, "stages.0.repeat.fresh_policies.0: there is no policies.ref");
}

TEST_F(UnrollTest, SaysWhatIsWrongAboutTheRepeat) {
  EXPECT_THAT(ErrorOf("times: 3", "times: 0"),
              HasSubstr("run.yaml:19: stages.0.repeat.times: is 0; it must be between"));
  EXPECT_THAT(ErrorOf("      times: 3\n", ""), HasSubstr("stages.0.repeat.times: is missing"));
  EXPECT_THAT(ErrorOf("times: 3", "tims: 3"), HasSubstr("stages.0.repeat.tims: unknown key; did you mean times?"));
  EXPECT_THAT(ErrorOf("name: f\n", "name: f.2\n"), HasSubstr("run.yaml:18: stages.0.repeat.name: is \"f.2\""));
  EXPECT_THAT(ErrorOf("  - repeat:", "  - name: x\n    repeat:"),
              HasSubstr("stages.0.name: stands beside `repeat`, which stands alone"));
  EXPECT_THAT(ErrorOf("        - {name: solve,", "        - repeat: {name: g, times: 2}\n        - {name: solve,"),
              HasSubstr("run.yaml:21: stages.0.repeat.stages.0.repeat: stands inside another repeat"));
  const absl::Status twice = Load(absl::StrCat(kStages, kStages)).status();
  EXPECT_STATUS(twice, kInvalid, "stages.1.repeat.name: is f, as another repeat is called");
}

TEST_F(UnrollTest, SaysWhatIsWrongAboutUntil) {
  EXPECT_THAT(
      ErrorOf("stage: measure", "stage: mesure"),
      HasSubstr("run.yaml:24: stages.0.repeat.until.stage: there is no stage mesure in this repeat; did you mean "
                "measure?"));
  EXPECT_THAT(ErrorOf("stage: measure", "stage: learn"),
              HasSubstr("is learn, a stage of type train, which measures nothing; name one of type evaluate"));
  EXPECT_THAT(ErrorOf("metric: pass_at_1", "metric: loss"),
              HasSubstr("run.yaml:24: stages.0.repeat.until.metric: there is no metric loss of which a stage of type "
                        "evaluate wants more"));
  EXPECT_THAT(ErrorOf("metric: pass_at_1, ", ""), HasSubstr("stages.0.repeat.until.metric: is missing"));
}

TEST_F(UnrollTest, AFaultOfARepeatedStageIsSaidOnce) {
  const std::string unknown_key = ErrorOf("traces_per_step: 2", "traces_per_stp: 2");
  EXPECT_THAT(unknown_key, HasSubstr("run.yaml:22: stages.0.repeat.stages.1.traces_per_stp: unknown key"));
  const std::string unknown_name =
      ErrorOf("learn, type: train, algorithm: sft, policy: model", "learn, type: train, algorithm: sft, policy: modl");
  EXPECT_THAT(unknown_name,
              AllOf(HasSubstr("run.yaml:22: stages.1.policy: there is no policies.modl"), Not(HasSubstr("stages.4"))));
}

TEST_F(UnrollTest, NamesThatTheFileHasTakenAreRefused) {
  EXPECT_THAT(ErrorOf("times: 3", "times: 2", {"artifacts.f-2-out={path: elsewhere}"}),
              HasSubstr("artifacts.f-2-out: has the name that stages.0.repeat.stages.0.export_to takes in a round"));
  const absl::Status stage =
      Load(absl::StrCat(kStages,
                        "  - {name: f.1.solve, type: evaluate, policy: model, data: problems, rewards: rules}\n"))
          .status();
  EXPECT_STATUS(stage, kInvalid, "another stage is called f.1.solve too");
}

TEST_F(UnrollTest, AConfigurationWithoutRepeatStaysAsItIs) {
  ASSERT_OK_AND_ASSIGN(const Section given, ParseConfigText("stages: [{name: a}]\n", "x.yaml"));
  EXPECT_FALSE(HasRepeat(given));
  ASSERT_OK_AND_ASSIGN(const Section same, UnrollRepeats(given, std::numeric_limits<int64_t>::max()));
  EXPECT_EQ(same.node(), given.node());
  ASSERT_OK_AND_ASSIGN(const Section empty, ParseConfigText("", "x.yaml"));
  EXPECT_FALSE(HasRepeat(empty));
}

}  // namespace
}  // namespace grpo
