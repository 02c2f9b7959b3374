#include "reward/extract.h"

#include <chrono>
#include <optional>
#include <string>
#include <vector>

#include "common/cpu_time_testing.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace grpo {
namespace {

using ::testing::ElementsAre;

// The answer's text; absent for no answer.
std::optional<std::string> Extract(absl::string_view completion, const ExtractOptions& options = {}) {
  const Extraction extraction = ExtractAnswer(completion, options);
  EXPECT_EQ(extraction.outcome == v1::OUTCOME_SCORED, !extraction.parts.empty());
  if (extraction.outcome != v1::OUTCOME_SCORED) return std::nullopt;
  return extraction.Text();
}

struct Case {
  const char* completion;
  // Null: no answer.
  const char* answer;
};

void ExpectAll(const std::vector<Case>& cases, const ExtractOptions& options = {}) {
  for (const Case& c : cases) {
    const std::optional<std::string> expected =
        c.answer == nullptr ? std::nullopt : std::make_optional<std::string>(c.answer);
    EXPECT_EQ(Extract(c.completion, options), expected) << c.completion;
  }
}

TEST(Extract, OnlyTheTextAfterTheLastThinkingCounts) {
  ExpectAll({
      {"<think>\\boxed{3}</think>\\boxed{4}", "4"},
      {"<think>\\boxed{3}</think>no box", nullptr},
      {"<think>a</think>\\boxed{3}<think>b</think>\\boxed{4}", "4"},
      {"<think>a</think>\\boxed{3}</think>", nullptr},
      {"reasoning</think>\\boxed{4}", "4"},
      {"<think>\\boxed{3}", nullptr},
      {"<think>a</think>\\boxed{4}<think>b", nullptr},
      {"\\boxed{4}<think>", nullptr},
      {"<Think>\\boxed{4}", "4"},
      {"<think >\\boxed{4}", "4"},
  });
}

TEST(Extract, PrefilledThinkingMustClose) {
  ExpectAll({{"\\boxed{4}", nullptr}, {"so</think>\\boxed{4}", "4"}, {"so</think><answer>4</answer>", "4"}},
            {.prefill = true});
}

TEST(Extract, TheLastWholeAnswerPairCounts) {
  ExpectAll({
      {"<answer>3</answer>", "3"},
      {"<answer>3</answer> or <answer>4</answer>", "4"},
      {"<answer>3</answer><answer>4", nullptr},
      {"<answer>3</answer></answer>", "3"},
      {"<answer>3<answer>4</answer>", "4"},
      {"3</answer>", nullptr},
      {"</answer><answer>3", nullptr},
      {"<answer> </answer>", nullptr},
      {"<answer></answer>", nullptr},
      {"\\boxed{3}<answer>4</answer>", "4"},
      {"<answer>\\boxed{3} and later words</answer> \\boxed{4}", "3"},
      {"<answer>the answer is 5.</answer>", "5"},
      {"<answer>\n 12 \n</answer>", "12"},
      {"<ANSWER>3</ANSWER>", nullptr},
      {"<answer id=1>3</answer>", nullptr},
  });
}

TEST(Extract, TheLastBoxWithBalancedBraces) {
  ExpectAll({
      {"\\boxed{\\frac{1}{2}}", "\\frac{1}{2}"},
      {"\\fbox{7}", "7"},
      {"\\boxed {7}", "7"},
      {"\\boxed{\\{1,2\\}}", "\\{1,2\\}"},
      {"\\boxed{\\}}", "\\}"},
      {"\\boxed{3 \\boxed{4}}", "3 \\boxed{4}"},
      {"\\boxed{3} and hence \\boxed{4}", "4"},
      {"\\boxed{3} then \\boxed{4", nullptr},
      {"\\boxed{ \\boxed{4}", nullptr},
      {"\\boxed{3} \\boxed", nullptr},
      {"\\boxed{}", nullptr},
      {"\\boxed", nullptr},
      {"#### 3\n\\boxed{4}", "4"},
      {"\\boxed{3}\nThe answer is 4.", "3"},
  });
}

TEST(Extract, ABoxWithoutBracesHoldsWhatFollowsWhenNothingElseMayBeMeant) {
  ExpectAll({
      {"\\boxed7", "7"},
      {"so $\\boxed 9$.", "9"},
      {"so $\\boxed 12$.", "12"},
      {"so \\(\\boxed -1,234.5\\)", "-1,234.5"},
      {"so $\\boxed\\frac12$", "\\frac12"},
      {"so $\\boxed \\frac{1}{2}$", "\\frac{1}{2}"},
      {"so $\\boxed x$", "x"},
      {"so \\boxed 9 apples", "9"},
      {"\\boxed 3, \\boxed 4", "3, 4"},
      {"so $\\boxed 9 + 1$", nullptr},
      {"so $\\boxed 9^2$", nullptr},
      {"so $\\boxed 9x$", nullptr},
      {"so $\\boxed 1/2$", nullptr},
      {"so \\boxed 9 or 10", nullptr},
      {"so $\\boxed 9, 10$", nullptr},
      {"so \\boxed 9, and that is all", "9"},
      {"\\boxed{4} and \\boxed x + 1", "4"},
      {"I use \\boxed to mark it", nullptr},
      {"I use \\boxed a lot", nullptr},
      {"\\boxedx 9", nullptr},
      {"\\boxed \\frac{1}{2", nullptr},
  });
}

TEST(Extract, BoxesWithOnlyGlueBetweenThemAreOneList) {
  for (const char* glue : {"", " ", ", ", " and ", " or ", "$, $", "\\), \\(", "\\] \\[", " \\quad ", "\\,",
                           " \\text{ or } ", ".\n", "; "}) {
    EXPECT_THAT(ExtractAnswer(std::string("\\boxed{3}") + glue + "\\boxed{4}").parts, ElementsAre("3", "4")) << glue;
  }
  EXPECT_THAT(ExtractAnswer("\\boxed{2} so \\boxed{3}, \\boxed{4} or \\boxed{3}").parts, ElementsAre("3", "4"));
  EXPECT_THAT(ExtractAnswer("\\boxed{840}, \\boxed{840}").parts, ElementsAre("840"));
  EXPECT_EQ(Extract("\\boxed{3}, \\boxed{4}"), "3, 4");
}

TEST(Extract, TheLastHashLine) {
  ExpectAll({
      {"work\n#### 42", "42"},
      {"#### 41\n#### 42\nmore words", "42"},
      {"a #### 42", nullptr},
      {"####42", nullptr},
      {"#### 1,234.\n", "1,234"},
      {"#### \nThe answer is 4", nullptr},
      {"The answer is 4\n#### 5", "5"},
  });
}

TEST(Extract, TheLastAnswerPhrase) {
  ExpectAll({
      {"The answer is 42.", "42"},
      {"The final answer is $3.5$. I hope it is correct.", "3.5"},
      {"The final answer is $3.5$.", "3.5"},
      {"So the answer is \\(x = 3. 5\\)", "x = 3. 5"},
      {"The answer is 3.5 because. Yes", "3.5 because"},
      {"ANSWER: 7\nbye", "7"},
      {"**Answer:** 7", "7"},
      {"The answers are 1 and 2.", "1 and 2"},
      {"answer = 7", "7"},
      {"The answer is: 7", "7"},
      {"The answer is 6. No, the answer is 7!", "7"},
      {"The answer isn't 7", nullptr},
      {"The answered is 7", nullptr},
      {"The answer is\n7", nullptr},
      {"just 7", nullptr},
  });
}

TEST(Extract, DisplayFormIsTrimmed) {
  ExpectAll({
      {"<answer>$5$</answer>", "5"},
      {"<answer>$$5$$.</answer>", "5"},
      {"<answer> \\( 5 \\) </answer>", "5"},
      {"<answer>\\[5.\\]</answer>", "5"},
      {"<answer>**73**</answer>", "73"},
      {"<answer>$5$ or $6$</answer>", "$5$ or $6$"},
      {"<answer>$\\$18$</answer>", "\\$18"},
  });
}

TEST(Extract, PlainFallbackTakesTheLastFormulaOrNumberOnlyWhenAsked) {
  ExpectAll({{"so it is 42", nullptr}, {"$x=5$", nullptr}});
  ExpectAll(
      {
          {"so 41 and it is 42", "42"},
          {"that makes 1,234.50 in all", "1,234.50"},
          {"that makes -3/4", "-3/4"},
          {"5-3", "3"},
          {"half of them, 50\\%, left", "50\\%"},
          {"it was 7, so $x=\\frac{1}{2}$ here", "x=\\frac{1}{2}"},
          {"$x=5$ and then 6", "6"},
          {"costs $5 and $6", "6"},
          {"\\(3\\) \\[4\\]", "4"},
          {"no digits", nullptr},
          {"\\boxed{3} 4", "3"},
          {"4 \\boxed{3", nullptr},
          {"<think>4", nullptr},
          {"<answer>4</answer>5", "4"},
          {"$5$ or $6$", "5, 6"},
          {"$1$ and $2$ and $3$", "1, 2, 3"},
          {"either 5 or 6", "5, 6"},
          {"$ \\frac13 $", "\\frac13"},
          {"\\frac{10}{9}", "\\frac{10}{9}"},
          {"that makes .4", ".4"},
          {"that makes 1 000", "1 000"},
          {"AZYUK2A", nullptr},
          {"Final Answer: The largest $n$ is 34.", "34"},
      },
      {.plain_fallback = true});
}

TEST(Extract, AnyBytesAreText) {
  const std::string hostile("\xff\x00\xc3<answer>\x00\xfe</answer>", 22);
  EXPECT_EQ(Extract(hostile), std::string("\x00\xfe", 2));
  EXPECT_EQ(Extract(""), std::nullopt);
  EXPECT_EQ(Extract(std::string(3, '\0')), std::nullopt);
}

// 1 MB of what a quadratic scan would drown in: at 1e12 steps it would take minutes.
constexpr size_t kTextBytes = kSanitized ? 1 << 17 : 1 << 20;

TEST(Extract, IsLinearInTheCompletion) {
  const auto begin = CpuTime();
  for (const std::string unit : {"<think>",
                                 "</think>",
                                 "<answer>",
                                 "</answer>",
                                 "<answer></answer>",
                                 "\\boxed",
                                 "\\boxed ",
                                 "\\boxed{",
                                 "\\boxed{1}",
                                 "\\fbox{1} x",
                                 "{",
                                 "}",
                                 "\\",
                                 "answer",
                                 "answer ",
                                 "answer is ",
                                 "answer:\n",
                                 "#### ",
                                 "\n#### ",
                                 "$",
                                 "$ ",
                                 "\\(",
                                 "\\)",
                                 "\\[",
                                 "**",
                                 "**.",
                                 "$**",
                                 "1",
                                 "1,",
                                 ".",
                                 " ",
                                 "a",
                                 "\\boxed 1",
                                 "\\boxed\\frac1",
                                 "\\boxed\\frac{",
                                 "\\boxed x ",
                                 "answer to the ",
                                 "answer is:\n\n",
                                 "answer is $$",
                                 "or the answer is ",
                                 "if the answer is ",
                                 "answer of the x ",
                                 "answer is 1, since 2 (3) ",
                                 "answer:\n1\n2\n",
                                 ", ",
                                 "\\, ",
                                 "}",
                                 "* ",
                                 "C, "}) {
    std::string text;
    while (text.size() < kTextBytes) text += unit;
    ExtractAnswer(text, {.plain_fallback = true});
    ExtractAnswer("<answer>" + text + "</answer>", {.plain_fallback = true});
    ExtractAnswer("\\boxed{" + text + "}", {.plain_fallback = true});
  }
  EXPECT_LT(CpuTime() - begin, std::chrono::minutes(2));
}

TEST(Extract, IsLinearInTheBoxes) {
  const auto begin = CpuTime();
  std::string boxes;
  for (int i = 0; boxes.size() < kTextBytes; ++i) boxes += "\\boxed{" + std::to_string(i) + "}";
  EXPECT_GT(ExtractAnswer(boxes).parts.size(), kTextBytes / 20);
  EXPECT_LT(CpuTime() - begin, std::chrono::minutes(2));
}

TEST(Extract, IsLinearInTheStatement) {
  const auto begin = CpuTime();
  for (const std::string unit : {"1, since ", "(1 ", "(1) ", "**", "** a ", "_a_ ", ", so 1", "\n1", "}", ";", "\\,",
                                 "!", "5! ", "\n\n", "$$", "\\[", "or ", "not "}) {
    std::string text = "answer is: ";
    while (text.size() < kTextBytes) text += unit;
    ExtractAnswer(text);
  }
  EXPECT_LT(CpuTime() - begin, std::chrono::minutes(2));
}

TEST(Extract, PromptsThatEndInThinkArePrefilled) {
  v1::Prompt prompt;
  prompt.set_text("Q: 1+1\nA: <think>\n");
  EXPECT_TRUE(IsPrefilled(prompt));
  prompt.set_text("Reason in <think> tags.");
  EXPECT_FALSE(IsPrefilled(prompt));
}

TEST(Extract, EveryRungCanBeLeftOut) {
  ExpectAll({{"\\boxed{3}\n#### 4", "4"}, {"\\boxed{3}", nullptr}}, {.boxes = false});
  ExpectAll({{"#### 4\nThe answer is 5.", "5"}, {"#### 4", nullptr}}, {.hash_lines = false});
  ExpectAll({{"The answer is 5.", nullptr}, {"\\boxed{3}", "3"}}, {.phrases = false});
  ExpectAll({{"<answer>3</answer> \\boxed{4}", "4"}, {"<answer>3</answer>", nullptr}}, {.answer_tags = false});
}

}  // namespace
}  // namespace grpo
