// The verifier on pairs of answers whose labels are certain (pairs.txt), in every spelling that changes nothing, and on
// several threads.
#include <cctype>
#include <fstream>
#include <map>
#include <string>
#include <thread>
#include <vector>

#include "absl/strings/match.h"
#include "absl/strings/str_replace.h"
#include "absl/strings/str_split.h"
#include "absl/strings/string_view.h"
#include "gtest/gtest.h"
#include "reward/math/equal.h"

namespace grpo::math {
namespace {

struct LabelledPair {
  std::string name, gold, pred;
  bool equal = false;
};

std::vector<LabelledPair> ReadPairs() {
  std::ifstream file("tests/verifier/pairs.txt");
  std::vector<LabelledPair> pairs;
  std::string line, name;
  while (std::getline(file, line)) {
    if (absl::StartsWith(line, "[")) name = line;
    if (!absl::StartsWith(line, "= ") && !absl::StartsWith(line, "! ")) continue;
    const std::vector<std::string> sides = absl::StrSplit(line.substr(2), " || ");
    if (sides.size() != 2) ADD_FAILURE() << "no pair: " << line;
    pairs.push_back({name, sides[0], sides[1], line[0] == '='});
  }
  return pairs;
}

// "1,22" is 1.22 only where the configuration says so.
EqualOptions OptionsOf(const LabelledPair& pair) {
  return {.decimal_comma = pair.name == "[decimal comma]"};
}

// One is never paid for the other; a different pair may stay undecided, an equal one may not.
void ExpectLabel(const LabelledPair& pair, const std::string& gold, const std::string& pred) {
  const Comparison comparison = Equal(gold, pred, OptionsOf(pair));
  EXPECT_EQ(comparison.equal.value_or(false), pair.equal)
      << pair.name << " " << gold << " | " << pred << "   " << comparison.rule;
}

TEST(Pairs, ThereAreManyOfEveryClass) {
  const std::vector<LabelledPair> pairs = ReadPairs();
  EXPECT_GE(pairs.size(), 1000u);
  std::map<std::string, std::pair<int, int>> counts;
  for (const LabelledPair& pair : pairs) ++(pair.equal ? counts[pair.name].first : counts[pair.name].second);
  EXPECT_GE(counts.size(), 25u);
  for (const auto& [name, count] : counts) EXPECT_GE(count.second, 5) << name;
}

TEST(Pairs, NoVerdictIsWrongEitherWayRound) {
  int num_undecided = 0, num_different = 0;
  for (const LabelledPair& pair : ReadPairs()) {
    ExpectLabel(pair, pair.gold, pair.pred);
    ExpectLabel(pair, pair.pred, pair.gold);
    const EqualOptions options = OptionsOf(pair);
    const Comparison forth = Equal(pair.gold, pair.pred, options), back = Equal(pair.pred, pair.gold, options);
    EXPECT_EQ(forth.equal, back.equal) << pair.gold << " | " << pair.pred;
    num_different += !pair.equal;
    num_undecided += !pair.equal && !forth.equal.has_value();
  }
  // "Undecided" is for what cannot be known, no way out.
  EXPECT_LT(num_undecided, num_different / 5);
}

// The same answer as it is written in other places.
std::vector<std::string> Rewritings(const std::string& answer) {
  std::vector<std::string> result = {"\\(" + answer + "\\)", "  " + answer + "  ", answer + "."};
  if (!absl::StrContains(answer, "$")) result.push_back("$" + answer + "$");
  result.push_back(absl::StrReplaceAll(answer, {{"\\frac", "\\dfrac"}, {"\\sqrt", "\\sqrt "}}));
  const bool has_text = absl::StrContains(answer, "\\text") || absl::StrContains(answer, "\\left") ||
                        absl::StrContains(answer, "\\mbox") || absl::StrContains(answer, "\\(");
  if (!has_text) {
    result.push_back(absl::StrReplaceAll(answer, {{"(", "\\left("}, {")", "\\right)"}}));
    if (answer.find_first_of("*$") == std::string::npos && answer.back() != '.')
      result.push_back("\\boxed{" + answer + "}");
  }
  return result;
}

TEST(Pairs, SpacingDollarsAndSizesChangeNoVerdict) {
  for (const LabelledPair& pair : ReadPairs()) {
    if (pair.name == "[hostile]") continue;
    for (const std::string& pred : Rewritings(pair.pred)) ExpectLabel(pair, pair.gold, pred);
    for (const std::string& gold : Rewritings(pair.gold)) ExpectLabel(pair, gold, pair.pred);
  }
}

TEST(Pairs, EveryAnswerEqualsItself) {
  for (const LabelledPair& pair : ReadPairs()) {
    for (const std::string& answer : {pair.gold, pair.pred}) {
      if (!CheckReadable(answer).ok()) continue;
      for (const std::string& other : Rewritings(answer)) {
        EXPECT_EQ(Equal(answer, other).equal, true) << answer << " | " << other;
      }
    }
  }
}

TEST(Pairs, ThreadsDoNotDisturbEachOther) {
  const std::vector<LabelledPair> pairs = ReadPairs();
  std::vector<std::thread> threads;
  for (int t = 0; t < 4; ++t) {
    threads.emplace_back([&, t] {
      for (size_t i = t; i < pairs.size(); i += 2) ExpectLabel(pairs[i], pairs[i].gold, pairs[i].pred);
    });
  }
  for (std::thread& thread : threads) thread.join();
}

}  // namespace
}  // namespace grpo::math
