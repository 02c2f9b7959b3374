#include "reward/math/equal.h"

#include <chrono>
#include <string>
#include <vector>

#include "common/cpu_time_testing.h"
#include "common/seeds.h"
#include "common/status_testing.h"

namespace grpo::math {
namespace {

struct Pair {
  const char *gold, *pred;
};

void ExpectAll(const std::vector<Pair>& pairs, bool equal) {
  for (const Pair& p : pairs) {
    for (const auto& [gold, pred] : {std::pair(p.gold, p.pred), std::pair(p.pred, p.gold)}) {
      const Comparison comparison = Equal(gold, pred);
      ASSERT_TRUE(comparison.equal.has_value()) << gold << " | " << pred << " outcome " << comparison.outcome;
      EXPECT_EQ(*comparison.equal, equal) << gold << " | " << pred;
      EXPECT_EQ(comparison.outcome, v1::OUTCOME_SCORED);
    }
  }
}

v1::Outcome OutcomeOf(absl::string_view gold, absl::string_view pred) {
  const Comparison comparison = Equal(gold, pred);
  EXPECT_EQ(comparison.equal.has_value(), comparison.outcome == v1::OUTCOME_SCORED);
  return comparison.outcome;
}

TEST(Equal, SpellingsOfOneNumber) {
  ExpectAll(
      {
          {"5", "5"},
          {"5", "05"},
          {"5", "+5"},
          {"5", "5.0"},
          {"5", "$5$"},
          {"5", "\\(5\\)"},
          {"5", "**5**"},
          {"5", "5."},
          {"5", " 5 "},
          {"5", "{5}"},
          {"5", "(5)"},
          {"5", "\\text{5}"},
          {"5", "\\mathbf{5}"},
          {"5", "\\boxed{5}"},
          {"-5", "\u22125"},
          {"-5", "(-5)"},
          {"-5", "-$5"},
          {"-5", "$-5"},
          {"0", "-0"},
          {"0", "0/7"},
          {"1234567", "1,234,567"},
          {"1234", "1{,}234"},
          {"1234", "1\\,234"},
          {"10000", "10,\\! 000"},
          {"1234.5", "1,234.50"},
          {"0.5", ".5"},
          {"0.5", "1/2"},
          {"0.5", "\\frac{1}{2}"},
          {"1/2", "\\dfrac12"},
          {"1/2", "\\tfrac{1}2"},
          {"1/2", "\\frac{ 2 }{ 4 }"},
          {"-1/2", "\\frac{-1}{2}"},
          {"-1/2", "-\\frac{1}{2}"},
          {"-1/2", "\\frac{1}{-2}"},
          {"1/2", "1 / 2"},
          {"1/3", "0.1/0.3"},
          {"7/3", "2 1/3"},
          {"7/3", "2\\frac{1}{3}"},
          {"7/3", "2\\frac13"},
          {"-7/3", "-2 1/3"},
          {"22/3", "4 10/3"},
          {"320000", "3.2e5"},
          {"320000", "3.2 \\times 10^5"},
          {"0.00032", "3.2 \\cdot 10^{-4}"},
          {"0.00032", "3.2E-4"},
          {"18", "$18"},
          {"18", "\\$18"},
          {"18", "$\\$18$"},
          {"18", "18\u20ac"},
          {"90", "90^\\circ"},
          {"90", "90^{\\circ}"},
          {"90", "90\u00b0"},
          {"x=5", "5"},
          {"x = 5", "x=5"},
          {"x_1 = 5", "5"},
          {"\\text{Area} = 5", "5"},
          {"\\alpha = 1/2", "0.5"},
      },
      true);
}

TEST(Equal, DifferentNumbers) {
  ExpectAll(
      {
          {"5", "6"},
          {"5", "-5"},
          {"5", "50"},
          {"5", "0.5"},
          {"2", "2 2/3"},
          {"10", "4 10/3"},
          {"7", "2 1/3"},
          {"1/2", "1/3"},
          {"1/2", "2/1"},
          {"x=5", "y=5"},
          {"$5", "\u20ac5"},
          {"5%", "$5"},
          {"0.333", "1/3"},
          {"3.14159", "3.141592"},
          {"0", "1e-9999"},
          {"0", "0.0000001"},
          {"123456789012345678901234567890", "123456789012345678901234567891"},
      },
      false);
}

TEST(Equal, PercentagesAreTheirNumberAndTheirFraction) {
  ExpectAll({{"50\\%", "50"}, {"50%", "0.5"}, {"50\\%", "1/2"}, {"50%", "50 \\%"}, {"33.3333\\%", "1/3"}}, true);
  ExpectAll({{"0.5", "50"}, {"50%", "0.5%"}, {"50%", "5"}, {"50%", "0.05"}, {"50%", "5000"}}, false);
}

TEST(Equal, DecimalsMayApproximateWithEnoughRightDigits) {
  ExpectAll({{"1/3", "0.333333"},
             {"2/3", "0.666666"},
             {"2/3", "0.666667"},
             {"-2/3", "-0.666667"},
             {"123456789", "1.23457e8"},
             {"1/3", "33.3333%"},
             {"1/2000000", "0.0000005"}},
            true);
  ExpectAll({{"1/3", "0.33333"},
             {"2/3", "0.666668"},
             {"2/3", "0.666665"},
             {"2/3", "-0.666667"},
             {"1/3", "0.33333333334"},
             {"1/3000000", "0.000000"}},
            false);
  EXPECT_EQ(Equal("1/3", "0.33", {.min_digits = 2}).equal, true);
}

TEST(Equal, ListsAreUnorderedSetsSoAHedgeDoesNotPay) {
  ExpectAll({{"1,2", "2, 1"},
             {"\\{1,2\\}", "2 and 1"},
             {"1, 2", "1 \\text{ or } 2"},
             {"1,2,3", "3; 2; 1"},
             {"1, 2, 2", "2, 1"},
             {"x = 1 or x = 2", "1, 2"},
             {"1, 2, and 3", "1,2,3"},
             {"5", "5, 5.0"}},
            true);
  ExpectAll({{"5", "5 \\text{ or } 6"},
             {"5", "5, 6"},
             {"5", "{5, 6}"},
             {"1, 2", "1"},
             {"1,2", "1,3"},
             {"1, 234", "1,234"},
             {"x=1, y=2", "x=2, y=1"}},
            false);
  EXPECT_EQ(Equal("5", std::vector<std::string>{"5", "6"}).equal, false);
  EXPECT_EQ(Equal("1/2", std::vector<std::string>{"0.5", "1/2"}).equal, true);
  EXPECT_EQ(Equal("5, 6", std::vector<std::string>{"6", "5"}).equal, true);
  EXPECT_EQ(Equal("1234", std::vector<std::string>{"1", "234"}).equal, false);
}

TEST(Equal, WhatCannotBeReadIsNeverGuessed) {
  for (const char* pred : {"",        "5 and", "or 5",    "1/0",        "\\frac{1}{0}", "\\frac{1}", "\\frac",
                           "1 2",     "1.2.3", "2 1/3/4", "5\x01",      "\xd9\xa5",     "5 \\to 6",  "\\boxed{5",
                           "3*10^{5", "5?6",   "5 not 6", "5 is wrong", "(1, 2",        "\\sqrt{",   "5 ="}) {
    EXPECT_EQ(OutcomeOf("5", pred), v1::OUTCOME_UNDECIDED) << pred;
    EXPECT_EQ(OutcomeOf(pred, "5"), v1::OUTCOME_REFERENCE_UNPARSABLE) << pred;
  }
  EXPECT_EQ(OutcomeOf("5", absl::string_view("5\0", 2)), v1::OUTCOME_UNDECIDED);
  EXPECT_EQ(OutcomeOf("", ""), v1::OUTCOME_REFERENCE_UNPARSABLE);
  EXPECT_EQ(Equal("5", std::vector<std::string>{"5", "5 and"}).outcome, v1::OUTCOME_UNDECIDED);
}

TEST(Equal, WhatIsReadButNotProvenIsUndecided) {
  for (const auto& [gold, pred] : std::vector<Pair>{{"5", "banana"},
                                                    {"12", "twelve"},
                                                    {"f(x)", "2x"},
                                                    {"\\sum_{k=1}^{\\infty} 2^{-k}", "1"},
                                                    {"7^{7^{7^{7^7}}}", "7^{7^{7^{7^8}}}"}}) {
    EXPECT_EQ(OutcomeOf(gold, pred), v1::OUTCOME_UNDECIDED) << gold << " | " << pred;
    EXPECT_EQ(OutcomeOf(pred, gold), v1::OUTCOME_UNDECIDED) << gold << " | " << pred;
  }
}

TEST(Equal, TheSameTextIsEqualWhateverItMeans) {
  ExpectAll({{"\\sqrt{2}", "$ \\sqrt {2} $"},
             {"Monday", "\\text{monday}"},
             {"5 \\to 6", "$5 \\to 6$"},
             {"7^{7^{7^7}}", "7^{7^{7^7}}"}},
            true);
}

TEST(Equal, GiantsAreOverBudgetOrDecidedAtOnce) {
  const auto begin = CpuTime();
  const std::string nines(1 << 20, '9');
  EXPECT_EQ(OutcomeOf("5", nines), v1::OUTCOME_OVER_BUDGET);
  EXPECT_EQ(OutcomeOf("5", "1e" + nines.substr(0, 1000)), v1::OUTCOME_OVER_BUDGET);
  EXPECT_EQ(OutcomeOf("5", "1e999999999"), v1::OUTCOME_OVER_BUDGET);
  EXPECT_EQ(OutcomeOf("5", "1e-999999999"), v1::OUTCOME_OVER_BUDGET);
  EXPECT_EQ(Equal("5", "3 \\times 10^{10^{10}}").equal, false);
  std::string list = "1";
  for (int i = 2; i < 1000; ++i) list += ", " + std::to_string(i);
  EXPECT_EQ(OutcomeOf("5", list), v1::OUTCOME_OVER_BUDGET);
  EXPECT_EQ(Equal("5", std::vector<std::string>(1 << 18, "1234")).outcome, v1::OUTCOME_OVER_BUDGET);
  EXPECT_EQ(OutcomeOf(nines, "5"), v1::OUTCOME_REFERENCE_UNPARSABLE);
  EXPECT_EQ(OutcomeOf(nines, nines), v1::OUTCOME_SCORED);
  // At the budget, as expensive as it gets: many long fractions against as many.
  std::string fractions;
  for (int i = 0; i < 99; ++i) fractions += "1/3" + std::string(180, '0' + i % 10) + "7, ";
  EXPECT_EQ(Equal(fractions + "1.5e-9999", fractions + "1.50000001e-9999").equal, false);
  EXPECT_EQ(Equal(nines.substr(0, 20000), "0." + nines.substr(0, 19998)).equal, false);
  EXPECT_LT(CpuTime() - begin, std::chrono::seconds(10));
}

TEST(Equal, SaysWhichRuleDecidedAndWhatEachSideWasReadAs) {
  const Comparison comparison = Equal("\\frac{1}{2}", "50\\%", {.explain = true});
  EXPECT_EQ(comparison.equal, true);
  EXPECT_STREQ(comparison.rule, "exact rational arithmetic");
  EXPECT_EQ(comparison.gold_form, "(1/2)");
  EXPECT_EQ(comparison.pred_form, "50%");
  const Comparison unread = Equal("5", "5 and", {.explain = true});
  EXPECT_STREQ(unread.rule, "the answer cannot be read");
  EXPECT_EQ(unread.pred_form, "");
}

TEST(Equal, ReferencesThatCannotBeReadAreNamed) {
  for (const char* gold : {"1,234", "\\sqrt{2}", "\\text{Evelyn}", "(1,2]", "x \\in \\mathbb{R}"})
    EXPECT_OK(CheckReadable(gold));
  EXPECT_STATUS(CheckReadable("\\frac{1}{"), absl::StatusCode::kInvalidArgument, "\"\\frac{1}{\" cannot be read");
  EXPECT_STATUS(CheckReadable(""), absl::StatusCode::kInvalidArgument, "cannot be read");
}

// A random number a/b in one of its spellings.
std::string Spell(int64_t a, int64_t b, Rng* rng) {
  const int64_t factor = 1 + rng->Below(50);
  const std::string p = std::to_string(a * factor), q = std::to_string(b * factor);
  switch (rng->Below(5)) {
    case 0:
      return p + "/" + q;
    case 1:
      return "\\frac{" + p + "}{" + q + "}";
    case 2:
      return "$\\dfrac{" + p + "}{" + q + "}$";
    case 3:
      return "x = " + p + " / " + q;
    default:
      if (a < b) return p + "/" + q;
      return std::to_string(a / b) + " \\frac{" + std::to_string(a % b) + "}{" + std::to_string(b) + "}";
  }
}

TEST(Equal, AgreesWithIntegerArithmeticOnRandomFractionsBothWaysRound) {
  Rng rng(7);
  int num_equal = 0;
  for (int i = 0; i < 20000; ++i) {
    const int64_t a = 1 + rng.Below(12), b = 1 + rng.Below(12), c = 1 + rng.Below(12), d = 1 + rng.Below(12);
    const std::string left = Spell(a, b, &rng), right = Spell(c, d, &rng);
    const bool expected = a * d == b * c;
    num_equal += expected;
    ASSERT_EQ(Equal(left, right).equal, expected) << left << " | " << right;
    ASSERT_EQ(Equal(right, left).equal, expected) << left << " | " << right;
  }
  EXPECT_GT(num_equal, 300);
}

TEST(Equal, IsSymmetricAndSurvivesRandomTokens) {
  const std::vector<std::string> tokens = {
      "1", "2", "50",      "0.5",    ".", ",",   " ",    "/",       "\\frac", "{",    "}",
      "-", "%", "\\%",     "$",      "=", "x",   " or ", "\\times", "10^",    "e",    "(",
      ")", "^", "\\text{", "333333", ";", "\\{", "\\}",  "\\,",     "\\",     "\xff", std::string(1, '\0')};
  Rng rng(11);
  int num_decided = 0;
  for (int i = 0; i < 50000; ++i) {
    std::string texts[2];
    for (std::string& text : texts) {
      for (int64_t n = 1 + rng.Below(5); n > 0; --n) text += rng.Choice(tokens);
    }
    const Comparison forth = Equal(texts[0], texts[1]), back = Equal(texts[1], texts[0]);
    ASSERT_EQ(forth.equal, back.equal) << texts[0] << " | " << texts[1];
    num_decided += forth.equal.has_value();
  }
  EXPECT_GT(num_decided, 100);
}

}  // namespace
}  // namespace grpo::math
