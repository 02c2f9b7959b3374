// The reward rules against the Python functions that they name: reward_goldens.json is what TRL 1.13's own functions,
// and open-r1's and verl's formulas, made of fixed completions (tools/parity/make_reward_goldens). Departures are said
// in each rule's file; the goldens hold none of those inputs.
#include <cmath>
#include <nlohmann/json.hpp>
#include <set>
#include <string>
#include <vector>

#include "common/status_testing.h"
#include "configs/load.h"
#include "reward/rule.h"
#include "tests/parity/goldens.h"

namespace grpo {
namespace {

using nlohmann::json;

constexpr double kTolerance = 1e-9;

const json& Goldens() {
  static const auto* goldens = new json(ReadGoldens("reward_goldens.json")["goldens"]);
  return *goldens;
}

// One completion of a golden, with everything that its RuleInput refers to.
struct Row {
  std::string text;
  v1::Prompt prompt;
  std::vector<uint32_t> ids;
  v1::RuleScore basis;

  explicit Row(const json& row) : text(row.value("text", "")), ids(row.value("ids", std::vector<uint32_t>{})) {
    prompt.set_answer(row.value("answer", ""));
    basis.set_outcome(v1::OUTCOME_SCORED);
    basis.set_value(row.value("right", false) ? 1 : 0);
  }
  RuleInput Input() const { return {.completion = text, .prompt = prompt, .ids = ids, .basis = &basis}; }
};

TEST(RewardParity, EveryGoldenIsMet) {
  ASSERT_GT(Goldens().size(), 30u);
  for (const json& golden : Goldens()) {
    SCOPED_TRACE(golden["function"].get<std::string>() + " " + golden["options"].get<std::string>());
    ASSERT_OK_AND_ASSIGN(const Section options, ParseConfigText(golden["options"], "golden"));
    ASSERT_OK_AND_ASSIGN(const auto rule, MakeRule(golden["rule"], options));
    std::vector<Row> rows;
    for (const json& row : golden["rows"]) rows.emplace_back(row);
    std::vector<RuleInput> group;
    for (const Row& row : rows) group.push_back(row.Input());
    const std::vector<RuleResult> results = rule->ScoreGroup(group);
    ASSERT_EQ(results.size(), golden["values"].size());
    for (size_t i = 0; i < results.size(); ++i) {
      const json& expected = golden["values"][i];
      if (expected.is_null()) {
        EXPECT_EQ(results[i].outcome, v1::OUTCOME_NO_ANSWER) << golden["rows"][i];
      } else {
        EXPECT_EQ(results[i].outcome, v1::OUTCOME_SCORED) << golden["rows"][i];
        EXPECT_NEAR(results[i].value, expected.get<double>(), kTolerance) << golden["rows"][i];
      }
    }
  }
}

// A golden that is met by a constant would show nothing.
TEST(RewardParity, TheGoldensTellCompletionsApart) {
  std::set<std::string> functions;
  for (const json& golden : Goldens()) {
    functions.insert(golden["function"]);
    std::set<std::string> values;
    for (const json& value : golden["values"]) values.insert(value.dump());
    if (golden["rule"] != "group_length") {
      EXPECT_GE(values.size(), 2u) << golden["function"] << golden["options"];
    }
  }
  EXPECT_EQ(functions.size(), 8u);
}

}  // namespace
}  // namespace grpo
