// grpoctl reward: the rules without a server. Scores and compares JSON lines, writes the skeleton of a rule of one's
// own, checks rules against their contract, and reference answers against the rules.
#include <algorithm>
#include <filesystem>
#include <iostream>
#include <map>
#include <memory>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "common/exit_codes.h"
#include "common/status_macros.h"
#include "configs/load.h"
#include "data/sources.h"
#include "nlohmann/json.hpp"
#include "reward/math/equal.h"
#include "reward/profile.h"
#include "tools/grpoctl/rewards/rule_check.h"
#include "tools/grpoctl/rewards/rule_skeleton.h"
#include "tools/grpoctl/rewards/score_lines.h"
#include "tools/grpoctl/verb.h"
#include "trainer/references.h"

namespace grpo {
namespace {

constexpr char kMathRule[] = "math_answer";

struct ScoreFlags {
  std::string config;
  std::string profile;
  bool plain_fallback = false;
  bool explain = false;
  math::EqualOptions equal;
  // Of `test`: the reference answer. Of `new`: kind and folder. Of `audit`: the data source.
  std::string answer = "12", rule, kind = "yaml", folder = ".", data;
};

// The part of a configuration that is read here; a file that holds nothing else will do.
struct RewardsConfig {
  std::map<std::string, RewardProfileOptions> rewards;
  std::map<std::string, DataOptions> data;
  Section others;

  template <class V>
  void Visit(V& v) {
    v("rewards", rewards, {.help = "Named reward profiles.", .required = true});
    v("data", data, {.help = "Named data sources."});
    v.Rest(others);
  }
};

std::string FolderOf(const std::string& path) {
  return std::filesystem::path(path).parent_path().string();
}

absl::StatusOr<RewardsConfig> LoadRewards(const std::string& path, const std::vector<std::string>& overrides = {}) {
  ASSIGN_OR_RETURN(const Section section, ParseConfigFile(path, overrides));
  RewardsConfig config;
  RETURN_IF_ERROR(LoadOptions(section, &config));
  ResolveRewardPaths(FolderOf(path), &config.rewards);
  return config;
}

// The one that --profile names, or the only one there is.
absl::StatusOr<std::string> ProfileName(const RewardsConfig& config, const std::string& name) {
  if (!name.empty() && config.rewards.count(name) > 0) return name;
  if (name.empty() && config.rewards.size() == 1) return config.rewards.begin()->first;
  const auto append_name = [](std::string* out, const auto& entry) { out->append(entry.first); };
  return absl::InvalidArgumentError(
      absl::StrCat(name.empty() ? "the configuration does not hold exactly one reward profile"
                                : absl::StrCat("there is no reward profile \"", name, "\""),
                   ": choose one of (", absl::StrJoin(config.rewards, ", ", append_name), ") with --profile NAME"));
}

absl::StatusOr<std::unique_ptr<RewardProfile>> MakeProfile(const ScoreFlags& flags) {
  if (flags.config.empty()) {
    RewardProfileOptions options = DefaultRewardProfile();
    if (flags.plain_fallback) {
      ASSIGN_OR_RETURN(options.rules[kMathRule].rule, ParseConfigText("plain_fallback: true", "--plain-fallback"));
    }
    return RewardProfile::Make("default", options);
  }
  ASSIGN_OR_RETURN(RewardsConfig config, LoadRewards(flags.config));
  ASSIGN_OR_RETURN(const std::string name, ProfileName(config, flags.profile));
  if (flags.plain_fallback) {
    const std::string key = absl::StrCat("rewards.", name, ".rules.", kMathRule, ".plain_fallback=true");
    ASSIGN_OR_RETURN(config, LoadRewards(flags.config, {key}));
  }
  return RewardProfile::Make(name, config.rewards.at(name));
}

int Score(const ScoreFlags& flags) {
  if (!flags.profile.empty() && flags.config.empty()) {
    std::cerr << "grpoctl: --profile names a reward profile of a configuration; give that with --config FILE\n";
    return kExitUsage;
  }
  const absl::StatusOr<std::unique_ptr<RewardProfile>> profile = MakeProfile(flags);
  if (!profile.ok()) return Fail(profile.status());
  return ExitCodeForLines(ScoreLines(std::cin, std::cout, **profile, flags.explain));
}

int New(const ScoreFlags& flags) {
  const auto paths = WriteSkeleton(flags.rule, flags.kind, flags.folder);
  if (!paths.ok()) return Fail(paths.status());
  for (const std::string& path : *paths) std::cout << path << "\n";
  if (flags.kind == "compiled") {
    std::cerr << "Move it to reward/rules/, add REWARD_RULE(" << flags.rule << ") to reward/rules.inc and build.\n";
  } else {
    std::cerr << "Next: grpoctl reward test --config " << paths->front() << "\n";
  }
  return kExitOk;
}

int Test(const ScoreFlags& flags) {
  const absl::StatusOr<std::unique_ptr<RewardProfile>> profile = MakeProfile(flags);
  if (!profile.ok()) return Fail(profile.status());
  const absl::Status prepared = (*profile)->Prepare();
  if (!prepared.ok()) return Fail(prepared);
  v1::Prompt prompt;
  prompt.set_id("test");
  prompt.set_answer(flags.answer);
  const absl::Status readable = (*profile)->CheckReference(prompt);
  if (!readable.ok()) return Fail(Annotate(readable, "--answer"));
  return CheckRules(**profile, prompt, std::cout) == 0 ? kExitOk : kExitRunFailed;
}

void WriteLine(const nlohmann::ordered_json& line) {
  std::cout << line.dump(-1, ' ', false, nlohmann::ordered_json::error_handler_t::replace) << "\n";
}

// The number of answers that cannot be read, of one data source. DataSource::Check's errors.
absl::StatusOr<int64_t> AuditSource(const std::string& name, const DataSource& source, const RewardProfile& profile) {
  ReferenceAudit audit(profile);
  for (int64_t i = 0; i < source.num_checked(kEndlessSourceSample); ++i) {
    const DataItem item = source.CheckedAt(i, kEndlessSourceSample);
    RETURN_IF_ERROR(source.Check());
    if (!item.document.empty()) continue;
    const absl::Status readable = audit.Add(item.prompt);
    if (readable.ok()) continue;
    WriteLine({{"data", name},
               {"problem", item.prompt.id()},
               {"answer", item.prompt.answer()},
               {"error", std::string(readable.message())}});
  }
  if (audit.num_answers() > 0) {
    WriteLine({{"data", name},
               {"rewards", profile.ref().name()},
               {"num_answers", audit.num_answers()},
               {"num_unreadable", audit.num_unreadable()}});
  }
  return audit.num_unreadable();
}

// The number of answers that cannot be read, of the source of that name.
absl::StatusOr<int64_t> AuditNamed(const std::string& name, const DataOptions& options, const ScoreFlags& flags,
                                   const RewardProfile& profile) {
  if (!options.artifact.empty()) {
    std::cerr << "grpoctl: " << name << " is what a stage of the run writes: nothing to audit yet\n";
    return 0;
  }
  // Its sources are audited as what they are.
  if (!MixedSources(options).empty()) return 0;
  ASSIGN_OR_RETURN(const std::unique_ptr<DataSource> source, MakeDataSource(options, FolderOf(flags.config)));
  return AuditSource(name, *source, profile);
}

int Audit(const ScoreFlags& flags) {
  const absl::StatusOr<RewardsConfig> config = LoadRewards(flags.config);
  if (!config.ok()) return Fail(config.status());
  const absl::StatusOr<std::unique_ptr<RewardProfile>> profile = MakeProfile(flags);
  if (!profile.ok()) return Fail(profile.status());
  if (!flags.data.empty() && config->data.count(flags.data) == 0) {
    return Fail(absl::InvalidArgumentError(absl::StrCat("--data: the configuration has no data.", flags.data)));
  }
  int64_t num_unreadable = 0;
  for (const auto& [name, options] : config->data) {
    if (!flags.data.empty() && name != flags.data) continue;
    const absl::StatusOr<int64_t> unreadable = AuditNamed(name, options, flags, **profile);
    if (!unreadable.ok()) return Fail(unreadable.status());
    num_unreadable += *unreadable;
  }
  return num_unreadable == 0 ? kExitOk : kExitData;
}

}  // namespace

void AddRewardVerb(CLI::App& app, int* exit_code) {
  CLI::App* reward = app.add_subcommand("reward", "The reward rules on JSON lines from stdin, without a server");
  reward->footer(
      "  echo '{\"id\":1,\"completion\":\"<answer>4</answer>\",\"answer\":\"4\"}' | grpoctl reward score\n"
      "  echo '{\"id\":1,\"gold\":\"1/2\",\"pred\":\"0.5\"}' | grpoctl reward equal");
  reward->require_subcommand(1);
  const auto flags = std::make_shared<ScoreFlags>();
  CLI::App* score = AddSubcommand(
      *reward, "score", "Score completions: one JSON line in, one out, in order",
      "  grpoctl reward score < completions.jsonl\n"
      "  grpoctl reward score --config configs/quickstart.yaml --profile r1_zero < completions.jsonl\n"
      "  echo '{\"id\":1,\"completion\":\"It is 4.\",\"solution\":\"so \\\\boxed{4}\"}' | grpoctl reward score "
      "--plain-fallback",
      [flags] { return Score(*flags); }, exit_code);
  score
      ->add_option("--config", flags->config,
                   "Configuration whose rules score (default: math_answer and format_tags, weight 1 each)")
      ->option_text("FILE");
  score->add_option("--profile", flags->profile, "Key under its `rewards`; needed when there are several")
      ->option_text("NAME");
  score->add_flag("--plain-fallback", flags->plain_fallback,
                  "math_answer takes the last formula or number where nothing marks an answer");
  constexpr char kExplainHelp[] = "Adds what decided, and what both sides were read as";
  score->add_flag("--explain", flags->explain, kExplainHelp);
  CLI::App* equal = AddSubcommand(
      *reward, "equal", "Compare answers: {\"gold\",\"pred\"} in, {\"equal\",\"outcome\"} out; null is undecided",
      "  echo '{\"gold\":\"1/2\",\"pred\":\"0.5\"}' | grpoctl reward equal --explain",
      [flags] { return ExitCodeForLines(EqualLines(std::cin, std::cout, flags->equal)); }, exit_code);
  equal->add_flag("--explain", flags->equal.explain, kExplainHelp);
  equal->add_flag("--decimal-comma", flags->equal.decimal_comma,
                  "\"1,2\" is 1.2 too, as in math_answer's decimal_comma");
  CLI::App* add = AddSubcommand(
      *reward, "new", "Write the files of a rule of one's own to begin with",
      "  grpoctl reward new short_answer --as yaml\n"
      "  grpoctl reward new short_answer --as python --folder rules",
      [flags] { return New(*flags); }, exit_code);
  add->add_option("name", flags->rule, "Lower-case letters, digits and _")->required();
  add->add_option("--as", flags->kind, "yaml (default), python, cpp, remote or compiled")
      ->option_text("KIND")
      ->check(CLI::IsMember(SkeletonKinds()));
  add->add_option("--folder", flags->folder, "Where to (default: here)")->option_text("DIR");
  CLI::App* test = AddSubcommand(
      *reward, "test", "Check a profile's rules against the contract of rules, and time them",
      "  grpoctl reward test --config short_answer.yaml", [flags] { return Test(*flags); }, exit_code);
  test->add_option("--answer", flags->answer, "Reference answer to test with (default 12)")->option_text("TEXT");
  CLI::App* audit = AddSubcommand(
      *reward, "audit",
      "Say which reference answers of a configuration's problems its rules cannot read, as JSON lines: each one, "
      "and behind those of a data source how many they are",
      "  grpoctl reward audit --config configs/quickstart.yaml", [flags] { return Audit(*flags); }, exit_code);
  audit->add_option("--data", flags->data, "Key under `data` (default: all that hold problems)")->option_text("NAME");
  for (CLI::App* verb : {test, audit}) {
    verb->add_option("--config", flags->config, "Configuration with the rules")->option_text("FILE")->required();
    verb->add_option("--profile", flags->profile, "Key under its `rewards`; needed when there are several")
        ->option_text("NAME");
  }
}

}  // namespace grpo
