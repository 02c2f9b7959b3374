#include "data/mix.h"

#include <algorithm>
#include <cmath>
#include <fstream>
#include <map>
#include <set>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/strip.h"
#include "common/seeds.h"
#include "common/status_testing.h"
#include "configs/load.h"
#include "data/shuffled_reader.h"
#include "data/sources.h"

namespace grpo {
namespace {

constexpr auto kInvalid = absl::StatusCode::kInvalidArgument;

// Problems "NAME 0?" to "NAME N-1?".
absl::StatusOr<std::unique_ptr<DataSource>> OpenFile(const std::string& name, int size,
                                                     const std::string& completion = "") {
  const std::string path = ::testing::TempDir() + "/" + name + ".jsonl";
  std::ofstream file(path);
  for (int i = 0; i < size; ++i) {
    file << "{\"problem\": \"" << name << " " << i << "?\", \"answer\": " << i << completion << "}\n";
  }
  file.close();
  const auto section = ParseConfigText(absl::StrCat("{path: ", name, ".jsonl}"), "test.yaml");
  if (!section.ok()) return section.status();
  return MakeDataSource({.source = "jsonl", .artifact = "", .options = *section}, ::testing::TempDir());
}

// `a` has 7 problems, `b` 40, `c` 3 with completions, `corpus` is endless.
absl::StatusOr<std::unique_ptr<DataSource>> OpenPart(const std::string& name) {
  if (name == "a") return OpenFile(name, 7);
  if (name == "b") return OpenFile(name, 40);
  if (name == "c") return OpenFile(name, 3, ", \"completion\": \"so\"");
  return MakeDataSource({.source = "chickens_rabbits_corpus", .artifact = "", .options = Section()}, "");
}

absl::StatusOr<std::unique_ptr<DataSource>> Mix(const std::string& shares) {
  const auto section = ParseConfigText(absl::StrCat("{mix: {", shares, "}}"), "test.yaml");
  if (!section.ok()) return section.status();
  return MakeDataSource({.source = "mix", .artifact = "", .options = *section}, "", OpenPart);
}

TEST(MixSchedule, GivesEachItsShareAtEveryMoment) {
  const std::vector<std::vector<int64_t>> cases = {
      {10000},
      {7000, 3000},
      {3333, 3333, 3334},
      {9999, 1},
      {1, 1, 9998},
      {5000, 3000, 2000},
      {100, 4900, 1, 4999},
      {2500, 2500, 2500, 2500},
      {5714, 2857, 1429},
  };
  for (const auto& shares : cases) {
    const MixSchedule schedule(shares);
    std::vector<int64_t> given(shares.size(), 0);
    // Of given - share, over all prefixes; a window's deviation is the difference of two.
    std::vector<double> least(shares.size(), 0), most(shares.size(), 0);
    for (int64_t i = 0; i < 20000; ++i) {
      const MixSchedule::Draw draw = schedule.At(i);
      ASSERT_EQ(draw.position, given[draw.part]++) << i;
      for (size_t part = 0; part < shares.size(); ++part) {
        const double deviation =
            static_cast<double>(given[part]) - static_cast<double>((i + 1) * shares[part]) / 10000.0;
        ASSERT_LT(std::abs(deviation), 1) << "part " << part << " of " << shares.size() << " after " << i + 1;
        least[part] = std::min(least[part], deviation);
        most[part] = std::max(most[part], deviation);
      }
    }
    for (size_t part = 0; part < shares.size(); ++part) {
      EXPECT_EQ(given[part], 2 * shares[part]);
      // Of two sources, to within one in any window; of more that is impossible for most shares (Fraenkel).
      EXPECT_LT(most[part] - least[part], shares.size() <= 2 ? 1 : 2);
    }
  }
}

TEST(MixSchedule, AnyPositionIsFoundWithoutThoseBefore) {
  const MixSchedule schedule({7000, 3000});
  const MixSchedule::Draw draw = schedule.At(int64_t{1} << 50);
  std::vector<int64_t> given(2, 0);
  const int64_t rest = (int64_t{1} << 50) % 10;
  for (int64_t i = 0; i < rest; ++i) ++given[schedule.At(i).part];
  EXPECT_EQ(draw.position, (int64_t{1} << 50) / 10 * (draw.part == 0 ? 7 : 3) + given[draw.part]);
}

TEST(MixTest, ReadsEachSourceInItsOrderAndAgainWhenItEnds) {
  ASSERT_OK_AND_ASSIGN(const auto mix, Mix("a: 0.7, b: 0.3"));
  EXPECT_EQ(mix->size(), -1);
  EXPECT_EQ(mix->content_sha256(), "");
  std::map<std::string, int> count;
  std::set<std::string> ids;
  for (int64_t i = 0; i < 100; ++i) {
    const v1::Prompt prompt = mix->At(i).prompt;
    const std::string name = prompt.text().substr(0, 1);
    const int number = count[name]++;
    EXPECT_EQ(prompt.text(), absl::StrCat(name, " ", number % (name == "a" ? 7 : 40), "?"));
    EXPECT_TRUE(ids.insert(prompt.id()).second) << prompt.id();
  }
  EXPECT_EQ(count["a"], 70);
  EXPECT_EQ(ids.count("a/line/7"), 1u);
  EXPECT_EQ(ids.count("a/line/7#2"), 1u);
  EXPECT_EQ(ids.count("a/line/7#10"), 1u);
  EXPECT_EQ(ids.count("b/line/30"), 1u);
}

TEST(MixTest, ShuffledEachSourceIsReadOnceAnEpochInTheMixesShares) {
  ASSERT_OK_AND_ASSIGN(const auto mix, Mix("a: 0.7, b: 0.3"));
  ShuffledReader reader(mix.get(), 5);
  std::vector<std::string> texts;
  std::vector<std::string> of_a;
  for (int64_t i = 0; i < 140; ++i) {
    texts.push_back(reader.At(i).prompt.text());
    EXPECT_EQ(texts.back().substr(0, 1), mix->At(i).prompt.text().substr(0, 1)) << i;
    if (absl::StartsWith(texts.back(), "a")) of_a.push_back(texts.back());
  }
  // 98 readings of a: 14 epochs of 7, not all in one order.
  ASSERT_EQ(of_a.size(), 98u);
  std::set<std::vector<std::string>> orders;
  for (int epoch = 0; epoch < 14; ++epoch) {
    const std::vector<std::string> order(of_a.begin() + 7 * epoch, of_a.begin() + 7 * (epoch + 1));
    EXPECT_EQ(std::set<std::string>(order.begin(), order.end()).size(), 7u);
    orders.insert(order);
  }
  EXPECT_GT(orders.size(), 10u);
  // The position is all of the state, and the seed decides.
  ShuffledReader resumed(mix.get(), 5), other(mix.get(), 6);
  int num_equal = 0;
  for (int64_t i = 139; i >= 0; --i) {
    EXPECT_EQ(resumed.At(i).prompt.text(), texts[static_cast<size_t>(i)]);
    num_equal += other.At(i).prompt.text() == texts[static_cast<size_t>(i)];
  }
  EXPECT_LT(num_equal, 70);
}

TEST(MixTest, ChecksLookAtEveryItemOfEverySource) {
  ASSERT_OK_AND_ASSIGN(const auto mix, Mix("a: 0.9999, b: 0.0001"));
  std::set<std::string> seen;
  ASSERT_EQ(mix->num_checked(1000), 47);
  for (int64_t i = 0; i < 47; ++i) seen.insert(mix->CheckedAt(i, 1000).prompt.id());
  EXPECT_EQ(seen.size(), 47u);
  EXPECT_EQ(seen.count("b/line/40"), 1u);
  ASSERT_OK_AND_ASSIGN(const auto corpus, OpenPart("corpus"));
  EXPECT_EQ(corpus->num_checked(1000), 1000);
}

TEST(MixTest, RefusesSharesAndSourcesThatDoNotFit) {
  EXPECT_STATUS(Mix("a: 0.7, b: 0.2"), kInvalid, "add up to 0.9; make it 1");
  EXPECT_STATUS(Mix("a: 1, b: 0"), kInvalid, "mix.b: is 0; a share is a number of whole ten-thousandths");
  EXPECT_STATUS(Mix("a: 0.33333, b: 0.66667"), kInvalid, "whole ten-thousandths");
  EXPECT_STATUS(Mix("a: 2, b: -1"), kInvalid, "mix.a");
  EXPECT_STATUS(Mix(""), kInvalid, "mix");
  EXPECT_STATUS(Mix("a: 0.5, c: 0.5"), kInvalid, "mix.c: holds problems with completions, and a problems without");
  EXPECT_STATUS(Mix("a: 0.5, corpus: 0.5"), kInvalid, "mix.corpus: holds documents");
  const auto section = ParseConfigText("{mix: {a: 1}}", "test.yaml");
  ASSERT_OK(section.status());
  EXPECT_STATUS(MakeDataSource({.source = "mix", .artifact = "", .options = *section}, ""), kInvalid, "no other data");
  EXPECT_STATUS(
      CheckDataOptions({.source = "mix", .artifact = "", .options = *ParseConfigText("{mix: {a: 0.5}}", "t")}),
      kInvalid, "add up to 0.5");
  EXPECT_EQ(MixedSources({.source = "mix", .artifact = "", .options = *section}), std::vector<std::string>{"a"});
  EXPECT_TRUE(MixedSources({.source = "jsonl", .artifact = "", .options = *section}).empty());
}

}  // namespace
}  // namespace grpo
