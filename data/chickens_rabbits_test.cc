// The worked text of the problems about chickens and rabbits: the corpus, and solutions to learn from.
#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <map>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_replace.h"
#include "absl/strings/str_split.h"
#include "common/status_testing.h"
#include "data/sources_testing.h"

namespace grpo {
namespace {

std::string StyleOf(const std::string& document) {
  const size_t end = document.find("\nA:");
  if (end == std::string::npos) return "drill";
  const std::string body = document.substr(end + 3);
  const bool worked = body.find('=') != std::string::npos;
  const bool think = body.find("<think>") == 0;
  const bool answer = body.find("<answer>") != std::string::npos;
  if (!think && !answer) return worked ? "worked" : "bare";
  if (!think) return worked ? "worked inside answer" : "answer only";
  if (!answer) return "answer outside";
  return body.find(';') != std::string::npos ? "good" : "skipped thought";
}

TEST(ChickensRabbitsCorpus, MixesStylesAsThePrototypeAndNeverShowsAHeldOutProblem) {
  ASSERT_OK_AND_ASSIGN(const auto corpus, Make("chickens_rabbits_corpus", ""));
  ASSERT_OK_AND_ASSIGN(const auto held_out, Make("chickens_rabbits", "split: held_out"));
  // The prompt and the subtraction that follows from it, each unique to a problem.
  std::set<std::string> forbidden;
  for (int64_t i = 0; i < held_out->size(); ++i) forbidden.insert(held_out->At(i).prompt.text());
  EXPECT_EQ(corpus->size(), -1);
  constexpr int kDocuments = 20000;
  std::map<std::string, int> count;
  for (int64_t i = 0; i < kDocuments; ++i) {
    const DataItem item = corpus->At(i);
    EXPECT_EQ(item.prompt.text(), "");
    ASSERT_FALSE(item.document.empty());
    const std::string style = StyleOf(item.document);
    ++count[style];
    if (style == "drill") continue;
    ASSERT_EQ(forbidden.count(item.document.substr(0, item.document.find("\nA:") + 3)), 0u) << item.document;
  }
  const std::map<std::string, double> expected = {{"drill", 0.2},
                                                  {"bare", 0.28},
                                                  {"worked", 0.12},
                                                  {"answer only", 0.12},
                                                  {"skipped thought", 0.08},
                                                  {"answer outside", 0.08},
                                                  {"worked inside answer", 0.08},
                                                  {"good", 0.04}};
  EXPECT_EQ(count.size(), expected.size());
  for (const auto& [style, share] : expected) {
    EXPECT_NEAR(count[style], kDocuments * share, 3 * std::sqrt(kDocuments * share * (1 - share))) << style;
  }
}

TEST(ChickensRabbitsCorpus, DrillLinesAreRightAndOfTheTrainingSplit) {
  ASSERT_OK_AND_ASSIGN(const auto corpus, Make("chickens_rabbits_corpus", "drill_frac: 1"));
  ASSERT_OK_AND_ASSIGN(const auto held_out, Make("chickens_rabbits", "split: held_out"));
  std::set<std::string> forbidden;
  for (int64_t i = 0; i < held_out->size(); ++i) {
    const auto fields = held_out->At(i).prompt.metadata().fields();
    const int heads = static_cast<int>(fields.at("heads").number_value()),
              rabbits = static_cast<int>(fields.at("rabbits").number_value());
    forbidden.insert(absl::StrCat(2 * heads + 2 * rabbits, "-", 2 * heads, "=", 2 * rabbits));
  }
  int num_double = 0;
  for (int64_t i = 0; i < 6000; ++i) {
    const std::vector<std::string> steps = absl::StrSplit(corpus->At(i).document, ';');
    num_double += steps.size() == 2;
    if (steps.size() == 2) {
      EXPECT_NE(steps[0], steps[1]);
    }
    for (const std::string& step : steps) {
      EXPECT_EQ(forbidden.count(step), 0u) << step;
      const size_t sign = step.find_first_of("*-/"), equals = step.find('=');
      ASSERT_TRUE(sign != std::string::npos && equals != std::string::npos) << step;
      const int a = std::atoi(step.c_str()), b = std::atoi(step.c_str() + sign + 1),
                c = std::atoi(step.c_str() + equals + 1);
      EXPECT_EQ(c, step[sign] == '*' ? a * b : step[sign] == '-' ? a - b : a / b) << step;
    }
  }
  // A third; 3 sigma are 110.
  EXPECT_NEAR(num_double, 2000, 110);
}

// What RL with a reward for consistent language is to undo.
TEST(ChickensRabbitsCorpus, WorkedAnswersMixScriptsAsOftenAsConfigured) {
  const std::string keys = "drill_frac: 0, step_words: true, second_script_frac: ";
  ASSERT_OK_AND_ASSIGN(const auto mixed, Make("chickens_rabbits_corpus", keys + "0.6"));
  ASSERT_OK_AND_ASSIGN(const auto pure, Make("chickens_rabbits_corpus", keys + "0"));
  ASSERT_OK_AND_ASSIGN(const auto plain, Make("chickens_rabbits_corpus", "drill_frac: 0"));
  int num_worked = 0, num_second = 0, num_words = 0;
  for (int64_t i = 0; i < 6000; ++i) {
    const std::string text = plain->At(i).document;
    std::string with_words = mixed->At(i).document;
    EXPECT_EQ(with_words, mixed->At(i).document);
    if (StyleOf(text) == "good") {
      ++num_worked;
      num_second += with_words.find_first_of("\xd0\xd1") != std::string::npos;
    }
    // Words are all that is added.
    for (const auto& [first, second] : {std::pair{"two ", "два "}, {"less ", "без "}, {"half ", "пол "}}) {
      num_words += static_cast<int>(with_words.find(second) != std::string::npos);
      with_words = absl::StrReplaceAll(with_words, {{first, ""}, {second, ""}});
    }
    EXPECT_EQ(with_words, text);
    EXPECT_EQ(pure->At(i).document.find_first_of("\xd0\xd1"), std::string::npos);
  }
  // Of those that mix an eighth has tossed no second word; 3 sigma.
  const double share = 0.6 * 7 / 8;
  EXPECT_NEAR(num_second, num_worked * share, 3 * std::sqrt(num_worked * share * (1 - share)));
  EXPECT_GT(num_words, num_second);
}

TEST(ChickensRabbits, SolutionsAreRightAndSoAreStepsOfThem) {
  ASSERT_OK_AND_ASSIGN(const auto plain, Make("chickens_rabbits", ""));
  ASSERT_OK_AND_ASSIGN(const auto solved, Make("chickens_rabbits", "solutions: true, step_words: true"));
  ASSERT_OK_AND_ASSIGN(const auto steps, Make("chickens_rabbits", "solutions: true, ask: step"));
  for (int64_t i = 0; i < plain->size(); ++i) {
    const DataItem item = plain->At(i), with_solution = solved->At(i);
    EXPECT_EQ(item.completion, "");
    EXPECT_EQ(with_solution.prompt.DebugString(), item.prompt.DebugString());
    int heads = 0, legs = 0;
    ASSERT_EQ(std::sscanf(item.prompt.text().c_str(), "Q:H%d L%d", &heads, &legs), 2);
    const int rabbits = legs / 2 - heads;
    EXPECT_EQ(with_solution.completion,
              absl::StrCat("<think>two ", heads, "*2=", 2 * heads, ";less ", legs, "-", 2 * heads, "=", 2 * rabbits,
                           ";half ", 2 * rabbits, "/2=", rabbits, "</think><answer>", rabbits, "</answer>"));
    const DataItem step = steps->At(i);
    int a = 0, b = 0;
    char sign = 0;
    ASSERT_EQ(std::sscanf(step.prompt.text().c_str(), "Q:%d%c%d\nA:", &a, &sign, &b), 3) << step.prompt.text();
    EXPECT_EQ(step.prompt.answer(), absl::StrCat(sign == '*' ? a * b : sign == '-' ? a - b : a / b));
    EXPECT_EQ(step.completion, absl::StrCat("<think>ok</think><answer>", step.prompt.answer(), "</answer>"));
  }
}

TEST(ChickensRabbitsCorpus, ErrorsOccurAsOftenAsConfigured) {
  // good_frac 1 and no slips: every good document is right.
  ASSERT_OK_AND_ASSIGN(const auto clean,
                       Make("chickens_rabbits_corpus", "drill_frac: 0, step_error: 0, guess_error: 0"));
  ASSERT_OK_AND_ASSIGN(const auto messy, Make("chickens_rabbits_corpus", "drill_frac: 0"));
  int num_worked = 0, num_worked_right = 0, num_bare = 0, num_bare_right = 0;
  for (int64_t i = 0; i < 10000; ++i) {
    for (const DataSource* source : {clean.get(), messy.get()}) {
      const std::string document = source->At(i).document;
      int heads = 0, legs = 0;
      ASSERT_EQ(std::sscanf(document.c_str(), "Q:H%d L%d", &heads, &legs), 2) << document;
      const std::string rabbits = absl::StrCat((legs - 2 * heads) / 2);
      const std::string style = StyleOf(document), body = document.substr(document.find("\nA:") + 3);
      const bool right = style == "worked" ? body.substr(body.rfind(' ') + 1) == rabbits : body == rabbits;
      if (style != "worked" && style != "bare") continue;
      if (source == clean.get()) {
        EXPECT_TRUE(right) << document;
      } else {
        ++(style == "worked" ? num_worked : num_bare);
        (style == "worked" ? num_worked_right : num_bare_right) += right;
      }
    }
  }
  // Right when no step slipped: 0.92^3 = 0.779 (a slip seldom makes good another, and b / 2 hides an odd one: a little
  // more).
  EXPECT_NEAR(num_worked_right / static_cast<double>(num_worked), 0.79, 0.035);
  // Right when not guessed and worked right; a guess hits seldom: 0.6 * 0.79 + 0.4 / 50 = 0.48.
  EXPECT_NEAR(num_bare_right / static_cast<double>(num_bare), 0.48, 0.03);
}

}  // namespace
}  // namespace grpo
