// Which completions the rules pay whose answer stands in prose: the lines of public bug reports
// (testdata/public/README.md) and neighbours of each kind, both ways (testdata/reading.txt).
#include <fstream>
#include <map>
#include <string>

#include "absl/strings/match.h"
#include "absl/strings/str_replace.h"
#include "absl/strings/string_view.h"
#include "common/status_testing.h"
#include "configs/load.h"
#include "nlohmann/json.hpp"
#include "reward/extract.h"
#include "reward/rule.h"

namespace grpo {
namespace {

const Rule& RuleOf(const std::string& name) {
  static auto& rules = *new std::map<std::string, std::unique_ptr<Rule>>();
  std::unique_ptr<Rule>& rule = rules[name];
  if (rule == nullptr) {
    const std::string options = name == "multiple_choice" ? "{choices: ABCDEFGHIJ}" : "{}";
    absl::StatusOr<Section> section = ParseConfigText(options, "test.yaml");
    EXPECT_OK(section.status());
    auto made = MakeRule(name, *section);
    EXPECT_OK(made.status());
    rule = *std::move(made);
  }
  return *rule;
}

RuleResult Score(const std::string& rule, const std::string& completion, const std::string& answer) {
  v1::Prompt prompt;
  prompt.set_answer(answer);
  const RuleResult result = RuleOf(rule).Score({completion, prompt});
  EXPECT_EQ(result.outcome == v1::OUTCOME_REFERENCE_UNPARSABLE, !RuleOf(rule).CheckReference(prompt).ok()) << answer;
  return result;
}

TEST(Reading, CompletionsOfPublicReportsHaveTheirRightValues) {
  std::ifstream file("reward/testdata/public/completions.jsonl");
  int num_lines = 0;
  for (std::string line; std::getline(file, line); ++num_lines) {
    const auto row = nlohmann::json::parse(line);
    const auto& input = row["line"];
    // As `grpoctl reward score` reads a solution.
    const std::string answer = input.contains("answer") ? input["answer"].get<std::string>()
                                                        : ExtractAnswer(input["solution"].get<std::string>()).Text();
    const RuleResult result = Score(row["rule"], input["completion"], answer);
    // One right value is a sentence: 1, or that the reference cannot be read.
    const double right = row["right"].is_number() ? row["right"].get<double>() : 1;
    EXPECT_EQ(result.value, right) << line << "\n" << result.decided_by;
  }
  EXPECT_EQ(num_lines, 22);
}

TEST(Reading, NeighboursOfThemToo) {
  std::ifstream file("reward/testdata/reading.txt");
  std::map<std::string, std::map<char, int>> counts;
  std::string section, rule;
  for (std::string line; std::getline(file, line);) {
    if (absl::StartsWith(line, "[")) {
      section = line;
      rule = line.substr(1, line.find(':') - 1);
    }
    const size_t bars = line.find(" || ");
    if (bars == std::string::npos || line[0] == '#') continue;
    const auto text = [](const std::string& cut) { return absl::StrReplaceAll(cut, {{"\u23ce", "\n"}}); };
    const RuleResult result = Score(rule, text(line.substr(bars + 4)), text(line.substr(2, bars - 2)));
    EXPECT_EQ(result.value, line[0] == '1' ? 1 : 0) << section << "\n" << line << "\n" << result.decided_by;
    EXPECT_EQ(result.outcome == v1::OUTCOME_REFERENCE_UNPARSABLE, line[0] == '-') << section << "\n" << line;
    ++counts[section][line[0]];
  }
  EXPECT_EQ(counts.size(), 7u);
  for (auto& [name, count] : counts) {
    EXPECT_GE(count['1'], 10) << name;
    EXPECT_GE(count['0'] + count['-'], 10) << name;
  }
}

}  // namespace
}  // namespace grpo
