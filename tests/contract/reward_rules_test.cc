// What every reward rule promises (reward/rule.h), checked on each that rules.inc lists: a new rule is covered by being
// there.
#include <chrono>
#include <filesystem>
#include <map>
#include <string>
#include <thread>
#include <vector>

#include "absl/strings/str_cat.h"
#include "common/cpu_time_testing.h"
#include "common/rpc/server.h"
#include "common/seeds.h"
#include "common/status_testing.h"
#include "configs/load.h"
#include "reward/rule.h"
#include "reward/service.h"

namespace grpo {
namespace {

// For one completion of 1 MB; a linear scan takes milliseconds. Of processor time, so that a busy machine fails no
// test, and by the clock for rules that wait for something else.
constexpr std::chrono::seconds kLongestComputation(10);
constexpr std::chrono::seconds kLongestScore(60);

v1::Prompt ExamplePrompt(const std::string& rule) {
  v1::Prompt prompt;
  prompt.set_id("p");
  prompt.set_text("Q:H35 L94\nA:");
  prompt.set_answer(rule == "multiple_choice" ? "B" : "12");
  auto& metadata = *prompt.mutable_metadata()->mutable_fields();
  for (const double number : {3, 4}) {
    metadata["numbers"].mutable_list_value()->add_values()->set_number_value(number);
  }
  return prompt;
}

// A folder with a program and the SDK file beside it.
const std::string& ProgramFolder() {
  static const std::string* folder = [] {
    namespace fs = std::filesystem;
    auto* path = new std::string(::testing::TempDir() + "/program");
    fs::create_directories(*path);
    for (const std::string file : {"sdk/templates/my_rule.py", "sdk/python/grpo_rule.py"}) {
      fs::copy_file(file, fs::path(*path) / fs::path(file).filename(), fs::copy_options::overwrite_existing);
    }
    return path;
  }();
  return *folder;
}

// Of a server in this process, which outlives the tests.
const std::string& RemoteAddress() {
  static const std::string* address = [] {
    RewardProfileOptions profile;
    profile.rules["exact"];
    static const auto* service = new auto(RewardServiceImpl::Make({{"main", profile}}, {}));
    EXPECT_OK(service->status());
    static const auto* server = new auto(rpc::Server::Start({}, {(*service)->get()}));
    EXPECT_OK(server->status());
    return new std::string((**server)->address());
  }();
  return *address;
}

// For rules with keys that must be given.
std::string RequiredOptions(const std::string& rule) {
  static const auto* options = new std::map<std::string, std::string>{
      {"soft_overlong", "{max_tokens: 100, cache_tokens: 20}"},
      {"cosine_length", "{max_tokens: 100}"},
      {"json_schema", R"({schema: '{"type": "object", "required": ["a"], "properties": {"a": {"minimum": 1}}}'})"},
      // A program that the suite puts there itself, and a server that it starts.
      {"program",
       absl::StrCat("{command: [/usr/bin/python3, my_rule.py], deadline_s: 50, folder: ", ProgramFolder(), "}")},
      {"remote", absl::StrCat("{profile: main, deadline_s: 50, address: \"", RemoteAddress(), "\"}")},
      {"regex", R"({pattern: '(a|b)*c|(?:answer>)\s*([0-9]+)', times: 100})"},
  };
  const auto found = options->find(rule);
  return found == options->end() ? "{}" : found->second;
}

absl::StatusOr<std::unique_ptr<Rule>> Make(const std::string& rule) {
  ASSIGN_OR_RETURN(const Section options, ParseConfigText(RequiredOptions(rule), "contract.yaml"));
  return MakeRule(rule, options);
}

// A token for every fourth byte, so that texts that differ mostly have other ids.
std::vector<uint32_t> FakeIds(const std::string& text) {
  std::vector<uint32_t> ids;
  for (size_t i = 0; i < text.size(); i += 4) ids.push_back(static_cast<unsigned char>(text[i]));
  return ids;
}

constexpr size_t kTextBytes = kSanitized ? 1 << 17 : 1 << 20;

// One unit repeated to 1 MB, alone and where an answer is looked for.
std::vector<std::string> MegabyteTexts() {
  std::vector<std::string> texts;
  for (const std::string unit :
       {"<think>",    "</think>", "<answer>", "</answer>", "\\boxed{", "\\boxed{1}, ", "}", "#### 1\n",
        "answer is ", "$",        "\\(",      "9",         "1,",       "1/",           "-", "10^{",
        "\\frac{",    "\\text{",  "\xff",     "a",         " ",        "\n",           "**"}) {
    std::string text;
    while (text.size() < kTextBytes) text += unit;
    texts.push_back("<think>t</think><answer>" + text + "</answer>");
    texts.push_back("\\boxed{" + text + "}");
    texts.push_back(std::move(text));
  }
  texts.push_back(std::string(kTextBytes, '\0'));
  return texts;
}

std::vector<std::string> SmallTexts() {
  std::vector<std::string> texts = {"",
                                    " ",
                                    std::string(1, '\0'),
                                    std::string("<answer>1\0 2</answer>", 21),
                                    "\xff\xfe\xc3",
                                    "<think>\xed\xa0\x80</think><answer>\xf5</answer>",
                                    "12",
                                    "\\boxed{12}",
                                    "<think>t</think><answer>12</answer>",
                                    "<answer>7^{7^{7^{7^7}}}</answer>",
                                    "<answer>1e999999999</answer>",
                                    "<answer>1/0</answer>",
                                    "<answer>(B)</answer>"};
  const std::vector<std::string> tokens = {"<think>", "</think>", "<answer>", "</answer>", "\\boxed{",          "}",
                                           "12",      " ",        "\n",       "#### ",     "The answer is ",    "$",
                                           ".",       ",",        "/",        "\xff",      std::string(1, '\0')};
  Rng rng(3);
  for (int i = 0; i < 2000; ++i) {
    std::string text;
    for (int64_t n = rng.Below(12); n > 0; --n) text += rng.Choice(tokens);
    texts.push_back(std::move(text));
  }
  return texts;
}

class RewardRuleContract : public ::testing::TestWithParam<RuleInfo> {
 protected:
  void SetUp() override {
    ASSERT_OK_AND_ASSIGN(rule_, Make(GetParam().name));
    basis_.set_outcome(v1::OUTCOME_SCORED);
    basis_.set_value(1);
    range_ = rule_->Range().value_or(ValueRange{GetParam().min_value, GetParam().max_value});
  }

  // As one of a group of two, so that rules about groups have something to compare with.
  RuleResult Score(const Rule& rule, const std::string& text, const v1::Prompt& prompt) const {
    const std::vector<uint32_t> ids = FakeIds(text);
    const RuleInput input{.completion = text, .prompt = prompt, .ids = ids, .basis = &basis_};
    if (!rule.Needs().group) return rule.Score(input);
    const std::vector<uint32_t> other_ids(25);
    const RuleInput other{.completion = "other", .prompt = prompt, .ids = other_ids, .basis = &basis_};
    const std::vector<RuleResult> results = rule.ScoreGroup({input, other});
    EXPECT_EQ(results.size(), 2u);
    return results.at(0);
  }

  void ExpectInRange(const RuleResult& result, const std::string& text) const {
    EXPECT_NE(result.outcome, v1::OUTCOME_UNSPECIFIED);
    // The rest are for others to give: the profile and the service.
    EXPECT_NE(result.outcome, v1::OUTCOME_RULE_ERROR) << result.decided_by;
    EXPECT_NE(result.outcome, v1::OUTCOME_DEADLINE);
    if (result.outcome != v1::OUTCOME_SCORED) {
      EXPECT_EQ(result.value, 0) << text.substr(0, 100);
    }
    if (result.outcome == v1::OUTCOME_SCORED) {
      EXPECT_GE(result.value, range_.min) << text.substr(0, 100);
      EXPECT_LE(result.value, range_.max) << text.substr(0, 100);
    }
  }

  std::unique_ptr<Rule> rule_;
  v1::RuleScore basis_;
  ValueRange range_;
};

void ExpectSame(const RuleResult& a, const RuleResult& b, const std::string& text) {
  EXPECT_EQ(a.outcome, b.outcome) << text.substr(0, 100);
  EXPECT_EQ(a.value, b.value) << text.substr(0, 100);
  EXPECT_EQ(a.extracted, b.extracted) << text.substr(0, 100);
}

TEST_P(RewardRuleContract, SaysWhatItIs) {
  EXPECT_FALSE(GetParam().name.empty());
  EXPECT_FALSE(GetParam().summary.empty());
  EXPECT_LT(GetParam().min_value, GetParam().max_value);
  EXPECT_FALSE(GetParam().reference_table.empty());
}

// Otherwise the checks below would be of a rule that never judges.
TEST_P(RewardRuleContract, JudgesSomeOfTheTexts) {
  const v1::Prompt prompt = ExamplePrompt(GetParam().name);
  EXPECT_OK(rule_->CheckReference(prompt));
  int num_scored = 0;
  for (const std::string& text : SmallTexts()) {
    if (Score(*rule_, text, prompt).outcome == v1::OUTCOME_SCORED) ++num_scored;
  }
  EXPECT_GT(num_scored, 0);
}

TEST_P(RewardRuleContract, StaysInRangeAndIsDeterministicOnAnyBytes) {
  const v1::Prompt prompt = ExamplePrompt(GetParam().name);
  ASSERT_OK_AND_ASSIGN(const auto other, Make(GetParam().name));
  for (const std::string& text : SmallTexts()) {
    const RuleResult result = Score(*rule_, text, prompt);
    ExpectInRange(result, text);
    ExpectSame(result, Score(*rule_, text, prompt), text);
    ExpectSame(result, Score(*other, text, prompt), text);
  }
}

TEST_P(RewardRuleContract, AnyReferenceIsAnOutcomeNeverACrash) {
  for (const std::string& answer : SmallTexts()) {
    v1::Prompt prompt = ExamplePrompt(GetParam().name);
    prompt.set_answer(answer);
    for (const std::string text : {"", "<answer>12</answer>", "<think>t</think><answer>1e9</answer>"}) {
      const RuleResult result = Score(*rule_, text, prompt);
      ExpectInRange(result, text);
      // A reference that passed the check before step 0 is never the reason afterwards.
      if (rule_->CheckReference(prompt).ok()) {
        EXPECT_NE(result.outcome, v1::OUTCOME_REFERENCE_UNPARSABLE) << answer;
      }
    }
  }
}

TEST_P(RewardRuleContract, AMegabyteTakesBoundedTimeAndKeepsLittle) {
  const v1::Prompt prompt = ExamplePrompt(GetParam().name);
  for (const std::string& text : MegabyteTexts()) {
    const auto begin = std::chrono::steady_clock::now();
    const auto computed = CpuTime();
    const RuleResult result = Score(*rule_, text, prompt);
    EXPECT_LT(CpuTime() - computed, kLongestComputation) << text.substr(0, 100);
    EXPECT_LT(std::chrono::steady_clock::now() - begin, kLongestScore) << text.substr(0, 100);
    ExpectInRange(result, text);
    // Scores of a large group must fit into messages.
    EXPECT_LE(result.extracted.size(), 64u << 10) << text.substr(0, 100);
  }
}

TEST_P(RewardRuleContract, ThreadsDoNotDisturbEachOther) {
  const v1::Prompt prompt = ExamplePrompt(GetParam().name);
  const std::vector<std::string> texts = SmallTexts();
  std::vector<RuleResult> expected;
  for (const std::string& text : texts) expected.push_back(Score(*rule_, text, prompt));
  std::vector<std::thread> threads;
  for (int t = 0; t < 4; ++t) {
    threads.emplace_back([&] {
      for (size_t i = 0; i < texts.size(); ++i) ExpectSame(Score(*rule_, texts[i], prompt), expected[i], texts[i]);
    });
  }
  for (std::thread& thread : threads) thread.join();
}

INSTANTIATE_TEST_SUITE_P(AllRules, RewardRuleContract, ::testing::ValuesIn(ListRules()),
                         [](const auto& param_info) { return param_info.param.name; });

}  // namespace
}  // namespace grpo
