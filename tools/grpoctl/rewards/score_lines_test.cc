#include "tools/grpoctl/rewards/score_lines.h"

#include <sstream>

#include "absl/strings/str_split.h"
#include "common/status_testing.h"
#include "nlohmann/json.hpp"

namespace grpo {
namespace {

using nlohmann::json;

struct Output {
  int64_t num_errors = 0;
  std::vector<json> lines;
};

Output Parse(int64_t num_errors, const std::string& text) {
  Output output{.num_errors = num_errors, .lines = {}};
  for (absl::string_view line : absl::StrSplit(text, '\n', absl::SkipEmpty())) {
    output.lines.push_back(json::parse(line.begin(), line.end(), nullptr, /*allow_exceptions=*/false));
  }
  return output;
}

Output Score(const std::string& input) {
  const auto profile = RewardProfile::Make("default", DefaultRewardProfile());
  EXPECT_OK(profile);
  std::istringstream in(input);
  std::ostringstream out;
  const int64_t num_errors = ScoreLines(in, out, **profile);
  return Parse(num_errors, out.str());
}

TEST(ScoreLinesTest, ScoresALine) {
  const Output output = Score(R"({"id":"a","completion":"<think>2+2</think><answer>4</answer>","answer":"4"})");
  EXPECT_EQ(output.num_errors, 0);
  ASSERT_EQ(output.lines.size(), 1u);
  EXPECT_EQ(output.lines[0], json::parse(R"({"id":"a","outcome":"scored","value":2.0,"extracted":"4","rules":{
      "math_answer":{"outcome":"scored","value":1.0},"format_tags":{"outcome":"scored","value":1.0}}})"));
}

TEST(ScoreLinesTest, NamesOutcomesInLowerCaseAndExtractsNull) {
  const Output output = Score(R"({"id":1,"completion":"no idea","answer":"4"})");
  ASSERT_EQ(output.lines.size(), 1u);
  EXPECT_EQ(output.lines[0]["outcome"], "no_answer");
  EXPECT_EQ(output.lines[0]["rules"]["math_answer"]["outcome"], "no_answer");
  EXPECT_TRUE(output.lines[0]["extracted"].is_null());
}

TEST(ScoreLinesTest, BadLinesStopNothingAndKeepTheOrder) {
  const Output output = Score(
      "garbage\n"
      "[1]\n"
      "\n"
      "{\"id\":3,\"completion\":\"x\"}\n"
      "{\"id\":4,\"completion\":\"x\",\"completion_b64\":\"eA==\",\"answer\":\"1\"}\n"
      "{\"id\":5,\"completion\":5,\"answer\":\"1\"}\n"
      "{\"id\":6,\"completion_b64\":\"!\",\"answer\":\"1\"}\n"
      "{\"id\":7,\"completion\":\"x\",\"answer\":\"1\",\"prefill\":\"yes\"}\n"
      "{\"id\":[8],\"completion\":\"x\",\"answer\":\"1\"}\n"
      "{\"id\":9,\"completion\":\"<answer>1</answer>\",\"answer\":\"1\"}\n");
  EXPECT_EQ(output.num_errors, 8);
  ASSERT_EQ(output.lines.size(), 9u);
  for (int i = 0; i < 8; ++i) EXPECT_TRUE(output.lines[i].contains("error")) << output.lines[i];
  EXPECT_EQ(output.lines[0]["error"], "line 1: this is no JSON object");
  EXPECT_TRUE(output.lines[0]["id"].is_null());
  EXPECT_EQ(output.lines[2]["id"], 3);
  // Blank lines count, so that an editor finds the line.
  EXPECT_EQ(output.lines[2]["error"], "line 4: neither of \"answer\" and \"solution\" are given; give exactly one");
  EXPECT_EQ(output.lines[3]["error"], "line 5: both \"completion\" and \"completion_b64\" are given; give exactly one");
  EXPECT_EQ(output.lines[8]["rules"]["math_answer"]["value"], 1.0);
}

TEST(ScoreLinesTest, TakesTheReferenceFromASolution) {
  const Output output = Score(
      "{\"id\":1,\"completion\":\"<answer>4</answer>\",\"solution\":\"2+2 is \\\\boxed{4}\"}\n"
      "{\"id\":2,\"completion\":\"<answer>4</answer>\",\"solution\":\"left to the reader\"}\n");
  EXPECT_EQ(output.num_errors, 0);
  ASSERT_EQ(output.lines.size(), 2u);
  EXPECT_EQ(output.lines[0]["rules"]["math_answer"]["value"], 1.0);
  EXPECT_EQ(output.lines[1]["outcome"], "reference_unparsable");
}

TEST(ScoreLinesTest, PrefillStartsInsideTheThinking) {
  const std::string completion = R"("completion":"2+2</think><answer>4</answer>","answer":"4")";
  const Output output =
      Score("{\"id\":1,\"prefill\":true," + completion + "}\n" + "{\"id\":2,\"prefill\":false," + completion + "}\n" +
            "{\"id\":3,\"prefill\":true,\"prompt\":\"2+2?<think>\"," + completion + "}\n");
  ASSERT_EQ(output.lines.size(), 3u);
  EXPECT_EQ(output.lines[0]["rules"]["format_tags"]["value"], 1.0);
  EXPECT_EQ(output.lines[1]["rules"]["format_tags"]["value"], 0.0);
  EXPECT_EQ(output.lines[2]["rules"]["format_tags"]["value"], 1.0);
}

TEST(ScoreLinesTest, BytesThatAreNotUtf8AreScoredAndAnsweredInUtf8) {
  // "<answer>\xff</answer>"
  const Output output = Score(R"({"id":1,"completion_b64":"PGFuc3dlcj7/PC9hbnN3ZXI+","answer":"4"})");
  ASSERT_EQ(output.lines.size(), 1u);
  EXPECT_EQ(output.lines[0]["extracted"], "\xef\xbf\xbd");
  EXPECT_EQ(output.lines[0]["rules"]["math_answer"]["value"], 0.0);
}

TEST(EqualLinesTest, AnswersTrueFalseAndNull) {
  std::istringstream in(
      "{\"id\":1,\"gold\":\"1/2\",\"pred\":\"0.5\"}\n"
      "{\"id\":2,\"gold\":\"4\",\"pred\":\"5\"}\n"
      "{\"id\":3,\"gold\":\"4\",\"pred\":\"whatever\"}\n"
      "{\"id\":4,\"gold\":\"4\"}\n");
  std::ostringstream out;
  const int64_t num_errors = EqualLines(in, out);
  const Output output = Parse(num_errors, out.str());
  EXPECT_EQ(output.num_errors, 1);
  ASSERT_EQ(output.lines.size(), 4u);
  EXPECT_EQ(output.lines[0], json::parse(R"({"id":1,"equal":true,"outcome":"scored"})"));
  EXPECT_EQ(output.lines[1]["equal"], false);
  EXPECT_TRUE(output.lines[2]["equal"].is_null());
  EXPECT_EQ(output.lines[2]["outcome"], "undecided");
  EXPECT_EQ(output.lines[3]["error"], "line 4: \"pred\" is missing");
}

TEST(EqualLinesTest, ACommaIsADecimalPointWhereThatIsSaid) {
  for (const bool decimal_comma : {false, true}) {
    std::istringstream in(R"({"gold":"1,2","pred":"1.2"})");
    std::ostringstream out;
    EXPECT_EQ(EqualLines(in, out, {.decimal_comma = decimal_comma}), 0);
    EXPECT_EQ(nlohmann::json::parse(out.str())["equal"], decimal_comma);
  }
}

TEST(EqualLinesTest, ExplainsWhatDecidedAndWhatWasRead) {
  std::istringstream in("{\"id\":1,\"gold\":\"\\\\frac{1}{2}\",\"pred\":\"0.50\"}");
  std::ostringstream out;
  EqualLines(in, out, {.explain = true});
  const json line = json::parse(out.str());
  EXPECT_EQ(line["decided_by"], "exact rational arithmetic");
  EXPECT_EQ(line["gold_form"], "(1/2)");
  EXPECT_EQ(line["pred_form"], "1/2");
}

}  // namespace
}  // namespace grpo
