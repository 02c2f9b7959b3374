#include "trainer/run_config.h"

#include <sys/stat.h>
#include <unistd.h>

#include <filesystem>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_replace.h"
#include "common/files.h"
#include "common/sha256.h"
#include "common/status_testing.h"
#include "configs/load.h"
#include "gmock/gmock.h"
#include "trainer/algorithm/algorithm.h"

namespace grpo {
namespace {

using ::testing::HasSubstr;

namespace fs = std::filesystem;

constexpr char kYaml[] = R"(run: {name: demo, seed: 7}
policies:
  base:
    random_init: {tokenizer: parts/tokenizer.json, hidden_size: 8, intermediate_size: 16, num_layers: 1, num_heads: 2, num_kv_heads: 1}
  tuned: {initialize_from: base}
data:
  problems: {source: jsonl, path: parts/problems.jsonl}
rewards:
  rules_only:
    rules:
      math_answer:
      format_tags: {weight: 0.5}
artifacts:
  model: {path: models/tuned}
stages:
  - {name: learn, type: train, algorithm: grpo, policy: tuned, data: problems, rewards: rules_only, steps: 3, group_size: 4, export_to: model}
  - {name: measure, type: evaluate, policy: tuned, data: problems, rewards: rules_only, samples_per_problem: 2}
)";

class RunConfigTest : public ::testing::Test {
 protected:
  RunConfigTest()
      : folder_(
            fs::path(absl::StrCat(::testing::TempDir(), "/run_config_test.", ::getpid())).lexically_normal().string()) {
    fs::remove_all(folder_);
    fs::create_directories(folder_ + "/parts");
    EXPECT_OK(WriteFileSynced(folder_ + "/parts/tokenizer.json", "{}"));
    EXPECT_OK(WriteFileSynced(folder_ + "/parts/problems.jsonl", "{\"problem\": \"1+1\", \"answer\": \"2\"}\n"));
  }
  ~RunConfigTest() override { fs::remove_all(folder_); }

  absl::StatusOr<LoadedConfig> Load(const std::string& yaml, const std::vector<std::string>& overrides = {}) {
    EXPECT_OK(WriteFileSynced(path(), yaml));
    return LoadRunConfig(path(), overrides);
  }
  // kYaml with one text replaced by another.
  absl::Status ErrorOf(const std::string& from, const std::string& to) {
    const std::string yaml = absl::StrReplaceAll(kYaml, {{from, to}});
    EXPECT_NE(yaml, kYaml) << from;
    return Load(yaml).status();
  }
  std::string path() const { return folder_ + "/run.yaml"; }

  const std::string folder_;
};

TEST_F(RunConfigTest, LoadsAndResolvesPathsAgainstTheFilesFolder) {
  ASSERT_OK_AND_ASSIGN(const LoadedConfig loaded, Load(kYaml));
  EXPECT_EQ(loaded.config.run.seed, 7);
  EXPECT_EQ(loaded.config.policies.at("base").random_init.tokenizer, folder_ + "/parts/tokenizer.json");
  EXPECT_EQ(SectionText(loaded.config.data.at("problems").options, "path"), folder_ + "/parts/problems.jsonl");
  EXPECT_EQ(loaded.config.artifacts.at("model").path, "models/tuned");
  EXPECT_EQ(loaded.sha256, Sha256Hex(loaded.resolved_yaml));
}

TEST_F(RunConfigTest, ResolvedYamlHoldsEveryKeyAlsoThoseOfAlgorithmsAndRules) {
  ASSERT_OK_AND_ASSIGN(const LoadedConfig loaded, Load(kYaml));
  for (const char* line :
       {"    clip_high: 0.2\n", "    group_size: 4\n", "    std_eps: 0.0001\n", "    steps: 3\n", "lease_ttl_s: 30\n",
        "        plain_fallback: false\n", "    greedy: true\n", "      beta2: 0.999\n"}) {
    EXPECT_THAT(loaded.resolved_yaml, HasSubstr(line));
  }
}

TEST_F(RunConfigTest, ResolvedYamlLoadsAgainFromAnywhereToTheSameConfiguration) {
  ASSERT_OK_AND_ASSIGN(const LoadedConfig loaded,
                       Load(kYaml, {"run.name=123", "stages.learn.optimizer.learning_rate=3e-7"}));
  fs::create_directories(folder_ + "/elsewhere");
  ASSERT_OK(WriteFileSynced(folder_ + "/elsewhere/config.yaml", loaded.resolved_yaml));
  ASSERT_OK_AND_ASSIGN(const LoadedConfig again, LoadRunConfig(folder_ + "/elsewhere/config.yaml"));
  EXPECT_EQ(again.resolved_yaml, loaded.resolved_yaml);
  EXPECT_EQ(again.sha256, loaded.sha256);
  EXPECT_EQ(again.config.run.name, "123");

  const std::optional<LearnerSpec> learner = again.config.stages[0].stage->learner();
  ASSERT_TRUE(learner.has_value());
  EXPECT_EQ(learner->optimizer.learning_rate, 3e-7);
  EXPECT_EQ(std::get<RolloutPlan>(learner->algorithm.plan()).group_size, 4);
}

TEST_F(RunConfigTest, AChangedValueChangesTheHashAndAWrittenDefaultDoesNot) {
  ASSERT_OK_AND_ASSIGN(const LoadedConfig loaded, Load(kYaml));
  ASSERT_OK_AND_ASSIGN(const LoadedConfig same,
                       Load(kYaml, {"stages.learn.clip_low=0.2", "coordinator.lease_ttl_s=30"}));
  EXPECT_EQ(same.sha256, loaded.sha256);
  ASSERT_OK_AND_ASSIGN(const LoadedConfig other, Load(kYaml, {"stages.learn.clip_low=0.3"}));
  EXPECT_NE(other.sha256, loaded.sha256);
}

TEST_F(RunConfigTest, ArtifactsHavePlacesOfTheirOwn) {
  const auto with = [&](const std::string& other) {
    return ErrorOf("  model: {path: models/tuned}\n", absl::StrCat("  model: {path: models/tuned}\n", other));
  };
  for (const char* path : {"models/tuned", "models", "models/tuned/", "models/./tuned", "models/tuned/again"}) {
    EXPECT_STATUS(with(absl::StrCat("  other: {path: ", path, "}\n")), absl::StatusCode::kInvalidArgument,
                  "artifacts.other.path: lies in the same place as artifacts.model");
  }
  for (const char* path : {"models/tuned2", "models2", "tuned", "traces.jsonl"})
    EXPECT_OK(with(absl::StrCat("  other: {path: ", path, "}\n"))) << path;
  for (const char* path : {"checkpoints", "logs/x", "data.json", "synthesis", "./summary.json"}) {
    EXPECT_STATUS(with(absl::StrCat("  other: {path: ", path, "}\n")), absl::StatusCode::kInvalidArgument,
                  "artifacts.other.path: is where the run itself writes");
  }
}

TEST_F(RunConfigTest, ErrorsOfAllPartsComeTogetherWithTheirLines) {
  const absl::Status status =
      Load(kYaml, {"stages.learn.stpes=1", "trainer.thraeds=2", "rewards.rules_only.rules.math_answr.weight=1",
                   "data.problems.pth=x", "stages.measure.samples_per_problem=0"})
          .status();
  EXPECT_EQ(status.code(), absl::StatusCode::kInvalidArgument);
  for (const char* part :
       {"--set stages.learn.stpes=1: stages.0.stpes: unknown key; did you mean steps?",
        "--set trainer.thraeds=2: trainer.thraeds: unknown key; did you mean threads?", "did you mean math_answer?",
        "data.problems.pth: unknown key; did you mean path?", "stages.1.samples_per_problem: is 0"}) {
    EXPECT_THAT(std::string(status.message()), HasSubstr(part));
  }
}

TEST_F(RunConfigTest, AMisspeltRequiredKeyIsNamedBesideTheMissingOne) {
  const std::string message(ErrorOf("algorithm: grpo, policy: tuned", "algorithm: grpo, polcy: tuned").message());
  EXPECT_THAT(message, HasSubstr("run.yaml:16: stages.0.policy: is missing"));
  EXPECT_THAT(message, HasSubstr("run.yaml:16: stages.0.polcy: unknown key; did you mean policy?"));
}

TEST_F(RunConfigTest, ReferencesMustExist) {
  const auto expect = [&](const std::string& from, const std::string& to, const std::string& text) {
    EXPECT_STATUS(ErrorOf(from, to), absl::StatusCode::kInvalidArgument, text);
  };
  expect("grpo, policy: tuned", "grpo, policy: tunde",
         "run.yaml:16: stages.0.policy: there is no policies.tunde; did you mean tuned?");
  expect("evaluate, policy: tuned, data: problems", "evaluate, policy: tuned, data: exam",
         "run.yaml:17: stages.1.data: there is no data.exam; known are problems");
  expect("rewards: rules_only, steps", "rewards: rules, steps", "stages.0.rewards: there is no rewards.rules;");
  expect("export_to: model", "export_to: modle",
         "stages.0.export_to: there is no artifacts.modle; did you mean model?");
  expect("initialize_from: base", "initialize_from: bsae",
         "run.yaml:5: policies.tuned.initialize_from: there is no policies.bsae;");
  expect("algorithm: grpo", "algorithm: gpro", "stages.0.algorithm: there is no algorithm gpro; did you mean grpo?");
  expect("type: evaluate", "type: evalaute", "stages.1.type: is evalaute; it must be one of train, evaluate");
  expect("source: jsonl", "source: json", "did you mean jsonl?");
  expect("samples_per_problem: 2", "accuracy_rule: math",
         "stages.1.accuracy_rule: rewards.rules_only has no rule math;");
  expect("group_size: 4", "reference_policy: ref", "stages.0.reference_policy: there is no policies.ref;");
  expect("group_size: 4", "kl_coefficient: 0.1", "stages.0.kl_coefficient: is above 0, which needs a reference_policy");
  expect("group_size: 4", "sampling: {temperature: 0}", "stages.0.sampling.temperature: is 0");
  expect("group_size: 4", "sampling: {top_p: 0.9}", "stages.0.sampling.top_p: is below 1");
  expect("group_size: 4", "sampling: {top_k: 50}", "stages.0.sampling.top_k: is above 0");
  expect("group_size: 4", "sampling: {min_p: 0.1}", "stages.0.sampling.min_p: is above 0");
  expect("group_size: 4", "sampling: {stop: [x]}", "stages.0.sampling.stop: names stop strings");
  expect("group_size: 4", "kl_coefficient: 0.1, reference_policy: tuned",
         "stages.0.reference_policy: is the policy that is trained");
}

TEST_F(RunConfigTest, APolicyThatIsOnlyAnAddressStandsWhereTextIsEnoughAndNowhereElse) {
  const std::string endpoint = "{endpoint: {url: https://api.example.com/v1, model: m, api_key_file: parts/key}}";
  ASSERT_OK(WriteFileSynced(folder_ + "/parts/key", "sk-secret\n"));
  ASSERT_EQ(::chmod((folder_ + "/parts/key").c_str(), 0600), 0);
  const std::string with_teacher =
      absl::StrReplaceAll(kYaml, {{"data:\n", absl::StrCat("  teacher: ", endpoint, "\ndata:\n")},
                                  {"evaluate, policy: tuned", "evaluate, policy: teacher"}});
  ASSERT_OK_AND_ASSIGN(const LoadedConfig loaded, Load(with_teacher));
  EXPECT_EQ(loaded.config.policies.at("teacher").endpoint.api_key_file, folder_ + "/parts/key");
  EXPECT_THAT(loaded.resolved_yaml, ::testing::Not(HasSubstr("sk-secret")));
  // Trained, initialised from, held on to, and its probabilities stored.
  const auto invalid = absl::StatusCode::kInvalidArgument;
  const std::string only_address = "names policies.tuned, which is only an address";
  EXPECT_STATUS(ErrorOf("{initialize_from: base}", endpoint), invalid, "stages.0.policy: " + only_address);
  const auto change = [&](const std::string& from, const std::string& to) {
    return Load(absl::StrReplaceAll(with_teacher, {{from, to}})).status();
  };
  EXPECT_STATUS(change("initialize_from: base", "initialize_from: teacher"), invalid,
                "policies.tuned.initialize_from: names");
  EXPECT_STATUS(change("group_size: 4", "kl_coefficient: 0.1, reference_policy: teacher"), invalid,
                "stages.0.reference_policy: names policies.teacher");
  EXPECT_STATUS(change("type: evaluate, policy: teacher",
                       "type: synthesize, export_to: traces, teacher_top_k: 4, policy: teacher"),
                invalid, "stages.1.teacher_top_k: names policies.teacher");
  EXPECT_STATUS(change("model: m, ", ""), invalid, "policies.teacher.endpoint.model: is missing");
  EXPECT_STATUS(change("{endpoint:", "{path: parts, endpoint:"), invalid, "exactly one of");
}

TEST_F(RunConfigTest, PoliciesHaveExactlyOneOriginAndNoCircle) {
  EXPECT_STATUS(ErrorOf("{initialize_from: base}", "{}"), absl::StatusCode::kInvalidArgument,
                "run.yaml:5: policies.tuned: needs exactly one of");
  EXPECT_STATUS(ErrorOf("{initialize_from: base}", "{initialize_from: base, path: parts}"),
                absl::StatusCode::kInvalidArgument, "policies.tuned: needs exactly one of");
  EXPECT_STATUS(ErrorOf("{initialize_from: base}", "{initialize_from: other}\n  other: {initialize_from: tuned}"),
                absl::StatusCode::kInvalidArgument, "run.yaml:6: policies.other.initialize_from: leads in a circle");
  EXPECT_STATUS(ErrorOf("num_layers: 1, ", ""), absl::StatusCode::kInvalidArgument,
                "policies.base.random_init.num_layers: is missing");
  EXPECT_STATUS(ErrorOf("num_heads: 2", "num_heads: 3"), absl::StatusCode::kInvalidArgument,
                "it must divide hidden_size, 8");
}

TEST_F(RunConfigTest, ALeaseOutlivesTheSilenceOfALostWorker) {
  EXPECT_STATUS(Load(kYaml, {"coordinator.lease_ttl_s=4"}).status(), absl::StatusCode::kInvalidArgument,
                "must be more than two heartbeat intervals of 2 s");
}

TEST_F(RunConfigTest, DevicesAndWhatOnlyGpusDoAreChecked) {
  ASSERT_OK_AND_ASSIGN(const LoadedConfig loaded, Load(kYaml));
  EXPECT_EQ(loaded.config.trainer.device, "auto");
  EXPECT_EQ(loaded.config.rollout_worker.device, "auto");
  EXPECT_TRUE(loaded.config.trainer.deterministic);
  EXPECT_STATUS(Load(kYaml, {"trainer.device=gpu"}).status(), absl::StatusCode::kInvalidArgument,
                "must be one of auto, cpu, cuda");
  const std::string tf32 = "policies.base.head_dtype=tf32";
  EXPECT_OK(Load(kYaml, {tf32}));
  EXPECT_OK(Load(kYaml, {tf32, "trainer.device=cuda"}));
  for (const std::string& role : {std::string("trainer"), std::string("rollout_worker")}) {
    EXPECT_STATUS(Load(kYaml, {tf32, role + ".device=cpu"}).status(), absl::StatusCode::kInvalidArgument,
                  "policies.base.head_dtype: is tf32, which is for GPUs, but " + role + ".device is cpu");
  }
}

TEST_F(RunConfigTest, NamesThatBecomeFilesAreChecked) {
  EXPECT_STATUS(ErrorOf("name: measure", "name: learn"), absl::StatusCode::kInvalidArgument,
                "run.yaml:17: stages.1.name: another stage is called learn too");
  EXPECT_STATUS(ErrorOf("name: measure", "name: ../x"), absl::StatusCode::kInvalidArgument,
                "stages.1.name: names files");
  EXPECT_STATUS(ErrorOf("name: demo", "name: a/b"), absl::StatusCode::kInvalidArgument,
                "run.yaml:1: run.name: names the run's folder");
  for (const char* bad : {"/tmp/x", "../x", "a/../../x", ".", "\"\""}) {
    EXPECT_STATUS(ErrorOf("path: models/tuned", absl::StrCat("path: ", bad)), absl::StatusCode::kInvalidArgument,
                  "artifacts.model.path: must be a folder inside the run folder");
  }
}

TEST_F(RunConfigTest, MissingFilesAreNotFoundWithTheKeyThatNamesThem) {
  EXPECT_STATUS(ErrorOf("parts/tokenizer.json", "none.json"), absl::StatusCode::kNotFound,
                absl::StrCat("run.yaml:4: policies.base.random_init.tokenizer: there is no ", folder_, "/none.json"));
  EXPECT_STATUS(ErrorOf("parts/problems.jsonl", "none.jsonl"), absl::StatusCode::kNotFound,
                "run.yaml:7: data.problems.path: ");
  EXPECT_STATUS(ErrorOf("{initialize_from: base}", "{path: parts}"), absl::StatusCode::kNotFound,
                "policies.tuned.path: there is no ");
  EXPECT_STATUS(Load(kYaml, {"network.token_file=none"}).status(), absl::StatusCode::kNotFound, "network.token_file");
  EXPECT_STATUS(LoadRunConfig(folder_ + "/none.yaml"), absl::StatusCode::kNotFound, "none.yaml");
}

TEST_F(RunConfigTest, ALineOfDataThatIsNotJsonIsNamed) {
  ASSERT_OK(
      WriteFileSynced(folder_ + "/parts/problems.jsonl", "{\"problem\": \"1+1\", \"answer\": \"2\"}\nnot json\n"));
  EXPECT_STATUS(Load(kYaml).status(), absl::StatusCode::kDataLoss, "problems.jsonl:2: ");
}

constexpr char kTraces[] = R"(
  - {name: write, type: synthesize, policy: tuned, data: problems, rewards: rules_only, export_to: traces}
  - {name: copy, type: train, algorithm: sft, policy: base, data: traces, steps: 2}
)";

// kYaml with a stage that writes traces and one that learns from them.
std::string WithTraces(const std::string& data = "{source: jsonl, artifact: traces}") {
  return absl::StrReplaceAll(kYaml, {{"data:\n", absl::StrCat("data:\n  traces: ", data, "\n")},
                                     {"artifacts:\n", "artifacts:\n  traces: {path: traces.jsonl}\n"}}) +
         (kTraces + 1);
}

TEST_F(RunConfigTest, DataMayBeWhatAnEarlierStageWrites) {
  ASSERT_OK_AND_ASSIGN(const LoadedConfig loaded, Load(WithTraces()));
  EXPECT_EQ(loaded.data_sha256.count("traces"), 0u);
  ASSERT_OK_AND_ASSIGN(const LoadedConfig again, Load(loaded.resolved_yaml));
  EXPECT_EQ(again.sha256, loaded.sha256);
}

TEST_F(RunConfigTest, ArtifactsThatAreDataAreCheckedBeforeTheyAreThere) {
  const auto expect = [&](const std::string& yaml, const std::string& text) {
    EXPECT_STATUS(Load(yaml).status(), absl::StatusCode::kInvalidArgument, text);
  };
  expect(WithTraces("{source: jsonl, artifact: trace}"), "data.traces.artifact: there is no artifacts.trace;");
  expect(WithTraces("{source: jsonl, artifact: model}"),
         "stages.3.data: data.traces is artifacts.model, which no `synthesize` stage before this one has");
  expect(WithTraces("{source: jsonl, artifact: traces, id_feild: x}"),
         "data.traces.id_feild: unknown key; did you mean id_field?");
  expect(WithTraces("{source: jsonl, artifact: traces, path: x}"), "data.traces.artifact: stands in place of `path`");
  // Learned from before it is written.
  expect(absl::StrReplaceAll(WithTraces(), {{"type: synthesize, policy: tuned, data: problems",
                                             "type: synthesize, policy: tuned, data: traces"}}),
         "stages.2.data: data.traces is artifacts.traces, which");
  expect(absl::StrReplaceAll(WithTraces(), {{"export_to: traces", "export_to: traces, format_rule: form"}}),
         "stages.2.format_rule: rewards.rules_only has no rule form;");
}

// A checkpoint is resumed only under the resolved configuration that saved it: a change of this golden, which has the
// folder's path replaced, is a change that runs under way do not survive.
TEST(ResolvedYamlTest, TheQuickstartsIsByteForByteWhatCheckpointsHold) {
  ASSERT_OK_AND_ASSIGN(const LoadedConfig loaded, LoadRunConfig("configs/quickstart.yaml"));
  ASSERT_OK_AND_ASSIGN(const std::string golden, ReadFile("trainer/testdata/resolved_quickstart.yaml"));
  EXPECT_EQ(absl::StrReplaceAll(loaded.resolved_yaml, {{fs::absolute("configs").string(), "CONFIGS"}}), golden);
}

TEST_F(RunConfigTest, ReadsWhatARunWasWithoutChecking) {
  ASSERT_OK(WriteFileSynced(path(),
                            absl::StrReplaceAll(kYaml, {{"policy: tuned, data: problems, rewards: rules_only, samples",
                                                         "policy: gone, data: gone, rewards: gone, samples"},
                                                        {"type: train", "type: of_the_future"},
                                                        {"parts/problems.jsonl", "gone.jsonl"}})));
  const RunConfig config = ReadRunConfig(path());
  ASSERT_EQ(config.stages.size(), 2u);
  EXPECT_EQ(config.stages[0].stage, nullptr);
  ASSERT_NE(config.stages[1].stage, nullptr);
  EXPECT_EQ(config.stages[1].stage->accuracy_rule(), "math_answer");
  EXPECT_TRUE(ReadRunConfig(folder_ + "/nothing.yaml").stages.empty());
}

TEST_F(RunConfigTest, AMixNamesOtherDataThatAreThereByThen) {
  const auto mixed = [](const std::string& yaml, const std::string& mix) {
    return absl::StrReplaceAll(yaml,
                               {{"data:\n  ", absl::StrCat("data:\n  mixed: {source: mix, mix: {", mix, "}}\n  ")},
                                {"policy: tuned, data: problems", "policy: tuned, data: mixed"}});
  };
  const std::string two = absl::StrReplaceAll(kYaml, {{"data:\n", "data:\n  more: {source: chickens_rabbits}\n"}});
  ASSERT_OK_AND_ASSIGN(const LoadedConfig loaded, Load(mixed(two, "problems: 0.75, more: 0.25")));
  EXPECT_EQ(loaded.data_sha256.count("mixed"), 0u);
  EXPECT_EQ(loaded.data_sha256.count("problems"), 1u);
  ASSERT_OK_AND_ASSIGN(const LoadedConfig again, Load(loaded.resolved_yaml));
  EXPECT_EQ(again.sha256, loaded.sha256);
  const auto expect = [&](const std::string& yaml, const std::string& text) {
    EXPECT_STATUS(Load(yaml).status(), absl::StatusCode::kInvalidArgument, text);
  };
  expect(mixed(two, "problems: 0.75, moer: 0.25"), "data.mixed.mix.moer: there is no data.moer; did you mean more?");
  expect(mixed(two, "problems: 0.75, more: 0.5"), "data.mixed.mix: has shares that add up to 1.25; make it 1");
  expect(mixed(two, "problems: 0.75, mixed: 0.25"), "data.mixed.mix.mixed: is a mix itself; name its sources");
  expect(mixed(two, "problems: 0.75, more: 0.25, artefact: x"), "data.mixed.mix.artefact");
  // Learned from before it is written, and after.
  expect(mixed(WithTraces(), "problems: 0.5, traces: 0.5"),
         "stages.0.data: data.traces is artifacts.traces, which no `synthesize` stage before this one has");
  ASSERT_OK(Load(absl::StrReplaceAll(
      mixed(WithTraces("{source: file, artifact: traces}"), "traces: 1"),
      {{"policy: tuned, data: mixed", "policy: tuned, data: problems"}, {"data: traces,", "data: mixed,"}})));
}

TEST_F(RunConfigTest, ATemplateThatHidesTheProblemIsRefusedWithItsLine) {
  EXPECT_STATUS(ErrorOf("problems.jsonl}", "problems.jsonl, template: \"Q: {{problem}}\\nA:\"}"),
                absl::StatusCode::kInvalidArgument, "run.yaml:7: data.problems.template: names no field of the data");
}

class ReadyConfigTest : public ::testing::TestWithParam<const char*> {};

TEST_P(ReadyConfigTest, Loads) {
  EXPECT_OK(LoadRunConfig(absl::StrCat("configs/", GetParam(), ".yaml")).status());
}

// Those that need a model of others are not here.
INSTANTIATE_TEST_SUITE_P(EveryConfig, ReadyConfigTest,
                         ::testing::Values("quickstart", "collapse", "distill_features", "distill_logits",
                                           "distill_on_policy", "r1"),
                         [](const auto& info) { return std::string(info.param); });

// It names folders and a file that its user has.
TEST(DistillQwenLlamaTest, LoadsWithFoldersAndATraceFile) {
  const std::string folder = ::testing::TempDir() + "/distill_qwen_llama";
  ASSERT_OK(MakeFolders(folder));
  for (const char* part : {"config.json", "tokenizer.json"})
    ASSERT_OK(WriteFileSynced(absl::StrCat(folder, "/", part), "{}"));
  const std::string traces = folder + "/traces.jsonl";
  ASSERT_OK(WriteFileSynced(traces, "{\"problem\": \"1+1?\", \"completion\": \"2\", \"answer\": \"2\"}\n"));
  std::vector<std::string> overrides = {"data.held_out.path=" + traces, "policies.qwen.path=" + folder,
                                        "policies.llama.path=" + folder};
  EXPECT_STATUS(LoadRunConfig("configs/distill_qwen_llama.yaml", overrides), absl::StatusCode::kNotFound,
                "data.traces.path");
  overrides.push_back("data.traces.path=" + traces);
  ASSERT_OK_AND_ASSIGN(const LoadedConfig loaded, LoadRunConfig("configs/distill_qwen_llama.yaml", overrides));
  for (const ConfiguredStage& stage : loaded.config.stages) {
    const bool by_sft = SectionText(stage.options, "algorithm") == "sft";
    EXPECT_TRUE(by_sft || stage.type == "evaluate") << stage.name << ": no RL";
  }
}

}  // namespace
}  // namespace grpo
