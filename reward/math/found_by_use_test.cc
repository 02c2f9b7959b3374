// Pairs that use has shown to be judged wrongly (testdata/README.md), and neighbours of each kind.
#include <fstream>
#include <map>
#include <string>
#include <vector>

#include "absl/strings/match.h"
#include "absl/strings/str_split.h"
#include "gtest/gtest.h"
#include "nlohmann/json.hpp"
#include "reward/math/equal.h"

namespace grpo::math {
namespace {

constexpr char kFolder[] = "reward/math/testdata/";

// One is never paid for the other; a different pair may stay undecided, an equal one may not.
void ExpectPaid(const std::string& kind, const std::string& gold, const std::string& pred, bool paid) {
  for (const bool forth : {true, false}) {
    const Comparison comparison = forth ? Equal(gold, pred) : Equal(pred, gold);
    EXPECT_EQ(comparison.equal.value_or(false), paid)
        << kind << " " << gold << " | " << pred << (forth ? "   " : " turned round   ") << comparison.rule;
  }
}

TEST(FoundByUse, EachPairHasItsRightVerdict) {
  std::ifstream file(std::string(kFolder) + "equal_pairs.jsonl");
  int num_pairs = 0;
  for (std::string line; std::getline(file, line); ++num_pairs) {
    const nlohmann::json pair = nlohmann::json::parse(line);
    const std::string gold = pair["gold"], pred = pair["pred"];
    ExpectPaid(pair["kind"], gold, pred, pair["right"]);
    // None of them needs a way out.
    EXPECT_TRUE(Equal(gold, pred).equal.has_value()) << gold << " | " << pred;
  }
  EXPECT_EQ(num_pairs, 24);
}

TEST(FoundByUse, NeighboursOfEachKindHaveTheirs) {
  std::ifstream file(std::string(kFolder) + "neighbours.txt");
  std::map<std::string, std::pair<int, int>> counts;
  std::string kind;
  for (std::string line; std::getline(file, line);) {
    if (absl::StartsWith(line, "[")) kind = line;
    if (!absl::StartsWith(line, "= ") && !absl::StartsWith(line, "! ")) continue;
    const std::vector<std::string> sides = absl::StrSplit(line.substr(2), " || ");
    ASSERT_EQ(sides.size(), 2u) << line;
    ExpectPaid(kind, sides[0], sides[1], line[0] == '=');
    ++(line[0] == '=' ? counts[kind].first : counts[kind].second);
  }
  EXPECT_EQ(counts.size(), 12u);
  for (const auto& [name, count] : counts) {
    EXPECT_GE(count.first, 5) << name;
    EXPECT_GE(count.second, 5) << name;
    EXPECT_GE(count.first + count.second, 10) << name;
  }
}

TEST(FoundByUse, ACommaIsADecimalPointWhereTheConfigurationSaysSo) {
  const EqualOptions options{.decimal_comma = true};
  for (const auto& [gold, pred] : std::vector<std::pair<std::string, std::string>>{
           {"1,2", "1.2"}, {"0,1", "0.1"}, {"-1,5", "-3/2"}, {"1,20", "1,2"}, {"0,333333", "1/3"}, {"12,5", "12.5"}}) {
    EXPECT_EQ(Equal(gold, pred, options).equal, true) << gold << " | " << pred;
    EXPECT_EQ(Equal(pred, gold, options).equal, true) << gold << " | " << pred;
  }
  for (const auto& [gold, pred] : std::vector<std::pair<std::string, std::string>>{
           {"1,2", "2,1"}, {"1,2", "12"}, {"1,2", "1.3"}, {"1,2", "1"}, {"0,1", "1"}, {"1,2", "-1.2"}}) {
    EXPECT_EQ(Equal(gold, pred, options).equal, false) << gold << " | " << pred;
    EXPECT_EQ(Equal(pred, gold, options).equal, false) << gold << " | " << pred;
  }
}

TEST(FoundByUse, WhatIsNotFiniteOrHasNoValueIsUndecided) {
  for (const auto& [gold, pred] :
       std::vector<std::pair<std::string, std::string>>{{"\\sum_{k=1}^{\\infty} \\frac{1}{2^k}", "1"},
                                                        {"\\sum_{k=1}^{3} \\frac{1}{k-2}", "0"},
                                                        {"\\sum_{k=5}^{1} k", "0"},
                                                        {"\\sum_{k=1}^{10^{9}} \\sqrt{k}", "5"},
                                                        {"\\sum_{k=1}^{n} a_k", "n a_k"},
                                                        {"7^{7^{7^7}}", "49^{7^{7^7}}"}}) {
    EXPECT_EQ(Equal(gold, pred).outcome, v1::OUTCOME_UNDECIDED) << gold << " | " << pred;
  }
}

}  // namespace
}  // namespace grpo::math
