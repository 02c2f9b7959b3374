// grpoctl reward score, grpoctl reward equal: the rules on JSON lines, without a server.
#include <iostream>
#include <map>
#include <memory>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "common/exit_codes.h"
#include "common/status_macros.h"
#include "configs/load.h"
#include "reward/profile.h"
#include "tools/grpoctl/score_lines.h"
#include "tools/grpoctl/verb.h"

namespace grpo {
namespace {

constexpr char kMathRule[] = "math_answer";

struct ScoreFlags {
  std::string config;
  std::string profile;
  bool plain_fallback = false;
  bool explain = false;
};

// The part of a configuration that is read here; a file that holds nothing else will do.
struct RewardsConfig {
  std::map<std::string, RewardProfileOptions> rewards;
  Section others;

  template <class V>
  void Visit(V& v) {
    v("rewards", rewards, {.help = "Named reward profiles.", .required = true});
    v.Rest(others);
  }
};

absl::StatusOr<RewardsConfig> LoadRewards(const std::string& path, const std::vector<std::string>& overrides = {}) {
  ASSIGN_OR_RETURN(const Section section, ParseConfigFile(path, overrides));
  RewardsConfig config;
  RETURN_IF_ERROR(LoadOptions(section, &config));
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

int ExitCodeForErrors(int64_t num_errors) {
  if (num_errors > 0) std::cerr << "grpoctl: " << num_errors << " input lines have an \"error\" in the output\n";
  return num_errors > 0 ? kExitData : kExitOk;
}

int Score(const ScoreFlags& flags) {
  if (!flags.profile.empty() && flags.config.empty()) {
    std::cerr << "grpoctl: --profile names a reward profile of a configuration; give that with --config FILE\n";
    return kExitUsage;
  }
  const absl::StatusOr<std::unique_ptr<RewardProfile>> profile = MakeProfile(flags);
  if (!profile.ok()) return Fail(profile.status());
  return ExitCodeForErrors(ScoreLines(std::cin, std::cout, **profile, flags.explain));
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
      [flags] { return ExitCodeForErrors(EqualLines(std::cin, std::cout, flags->explain)); }, exit_code);
  equal->add_flag("--explain", flags->explain, kExplainHelp);
}

}  // namespace grpo
