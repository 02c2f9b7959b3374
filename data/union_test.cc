#include "data/union.h"

#include <fstream>
#include <map>
#include <set>

#include "absl/strings/str_cat.h"
#include "common/status_testing.h"
#include "configs/load.h"
#include "data/shuffled_reader.h"
#include "data/sources.h"
#include "gmock/gmock.h"

namespace grpo {
namespace {

using ::testing::ElementsAre;
using ::testing::UnorderedElementsAre;

constexpr auto kInvalid = absl::StatusCode::kInvalidArgument;

// The lines of each part, as a test sets them.
std::map<std::string, std::string>& Parts() {
  static auto* const parts = new std::map<std::string, std::string>;
  return *parts;
}

absl::StatusOr<std::unique_ptr<DataSource>> OpenPart(const std::string& name) {
  if (name == "endless") return MakeDataSource({.source = "chickens_rabbits_corpus", .options = Section()}, "");
  std::ofstream(absl::StrCat(::testing::TempDir(), "/", name, ".jsonl")) << Parts().at(name);
  const auto section = ParseConfigText(
      absl::StrCat("{path: ", name, ".jsonl, stream_from_bytes: ", name == "streamed" ? 1 : 1 << 20, "}"), "test.yaml");
  if (!section.ok()) return section.status();
  return MakeDataSource({.source = "jsonl", .options = *section}, ::testing::TempDir());
}

absl::StatusOr<std::unique_ptr<DataSource>> Union(const std::string& keys) {
  const auto section = ParseConfigText(absl::StrCat("{", keys, "}"), "test.yaml");
  if (!section.ok()) return section.status();
  return MakeDataSource({.source = "union", .options = *section}, "", OpenPart);
}

std::string Trace(const std::string& problem, const std::string& completion, const std::string& more = "") {
  return absl::StrCat("{\"problem\": \"", problem, "\", \"answer\": 1, \"completion\": \"", completion, "\"", more,
                      "}\n");
}

std::string Trace(const std::string& problem, const std::string& completion, double solve_rate) {
  return Trace(problem, completion, absl::StrCat(", \"solve_rate\": ", solve_rate));
}

std::vector<std::string> Completions(const DataSource& source) {
  std::vector<std::string> completions;
  for (int64_t i = 0; i < source.size(); ++i) completions.push_back(source.At(i).completion);
  return completions;
}

TEST(UnionSource, ChecksBeforeARunLookAtWhatTheyWouldOfEachPart) {
  std::string lines;
  for (int i = 0; i < 3000; ++i) lines += Trace(absl::StrCat("p", i), "x");
  Parts() = {{"streamed", lines}, {"a", Trace("q", "y") + Trace("r", "z")}};
  ASSERT_OK_AND_ASSIGN(const auto source, Union("of: [streamed, a]"));
  EXPECT_EQ(source->size(), 3002);
  const int64_t num_checked = source->num_checked(10);
  EXPECT_LT(num_checked, 3000);
  EXPECT_EQ(source->CheckedAt(num_checked - 3, 10).prompt.id(), "streamed/line/3000");
  EXPECT_EQ(source->CheckedAt(num_checked - 1, 10).completion, "z");
}

TEST(UnionSource, WhatMaxItemsLeavesOutIsNotChecked) {
  Parts() = {{"a", Trace("q", "y") + Trace("r", "z")}};
  ASSERT_OK_AND_ASSIGN(const auto source, Union("of: [a], max_items: 1"));
  ASSERT_EQ(source->num_checked(10), 1);
  EXPECT_EQ(source->CheckedAt(0, 10).completion, source->At(0).completion);
}

TEST(UnionSource, IsOneSourceAfterTheOtherWithNamesOfTheirOwn) {
  Parts() = {{"a", Trace("p", "x") + Trace("q", "y")}, {"b", Trace("r", "z")}};
  ASSERT_OK_AND_ASSIGN(const auto source, Union("of: [b, a]"));
  EXPECT_THAT(Completions(*source), ElementsAre("z", "x", "y"));
  EXPECT_EQ(source->At(0).prompt.id(), "b/line/1");
  EXPECT_EQ(source->At(2).prompt.id(), "a/line/2");
  // Its parts' files say what they hold.
  EXPECT_EQ(source->content_sha256(), "");
}

TEST(UnionSource, KeepsTheFirstOfItemsThatDifferInBlanksAlone) {
  Parts() = {{"a", Trace("p", "x y") + Trace("p", " x \\n y")}, {"b", Trace("p", "x\\ty ") + Trace("q", "x y")}};
  ASSERT_OK_AND_ASSIGN(const auto source, Union("of: [a, b]"));
  EXPECT_THAT(Completions(*source), ElementsAre("x y", "x y"));
  EXPECT_EQ(source->At(1).prompt.text(), "q");
  ASSERT_OK_AND_ASSIGN(const auto all, Union("of: [a, b], deduplicate: false"));
  EXPECT_EQ(all->size(), 4);
}

TEST(UnionSource, BlanksAreNormalizedAndLettersAreNot) {
  EXPECT_EQ(NormalizedBlanks("  a\n\t b  "), "a b");
  EXPECT_EQ(NormalizedBlanks(" \n"), "");
  EXPECT_NE(NormalizedBlanks("ab"), NormalizedBlanks("a b"));
}

// Round b measured p anew: it is easy by now.
TEST(UnionSource, HarderProblemsComeFirstByTheNewestRate) {
  Parts() = {{"a", Trace("p", "p1", 0.1) + Trace("q", "q1", 0.5)},
             {"b", Trace("p", "p2", 0.9) + Trace("r", "r1", 0.2)}};
  ASSERT_OK_AND_ASSIGN(const auto source, Union("of: [a, b], harder_first: true"));
  const std::vector<std::string> completions = Completions(*source);
  ASSERT_EQ(completions.size(), 4u);
  EXPECT_THAT((std::vector<std::string>{completions[0], completions[1]}), ElementsAre("r1", "q1"));
  EXPECT_THAT((std::set<std::string>{completions[2], completions[3]}), UnorderedElementsAre("p1", "p2"));
  ASSERT_OK_AND_ASSIGN(const auto hardest, Union("of: [a, b], harder_first: true, max_items: 2"));
  EXPECT_THAT(Completions(*hardest), ElementsAre("r1", "q1"));
}

// A majority's answer is what there is where no answer is known.
TEST(UnionSource, TheMajoritysShareStandsForASolveRate) {
  Parts() = {{"a", Trace("p", "p1", ", \"majority_share\": 0.75") + Trace("q", "q1", 0.5)}};
  ASSERT_OK_AND_ASSIGN(const auto source, Union("of: [a], harder_first: true"));
  EXPECT_THAT(Completions(*source), ElementsAre("q1", "p1"));
}

TEST(UnionSource, IsReadInThatOrderAndShuffledWithoutIt) {
  std::string lines;
  for (int i = 0; i < 40; ++i) absl::StrAppend(&lines, Trace(absl::StrCat("p", i), absl::StrCat(i), (40 - i) / 40.0));
  Parts() = {{"a", lines}};
  const auto read = [](const DataSource& source, int64_t first) {
    ShuffledReader reader(&source, /*seed=*/1);
    std::vector<std::string> completions;
    for (int64_t i = 0; i < source.size(); ++i) completions.push_back(reader.At(first + i).completion);
    return completions;
  };
  ASSERT_OK_AND_ASSIGN(const auto ordered, Union("of: [a], harder_first: true"));
  EXPECT_EQ(Completions(*ordered).front(), "39");
  EXPECT_EQ(read(*ordered, 0), Completions(*ordered));
  EXPECT_EQ(read(*ordered, 40), Completions(*ordered));
  ASSERT_OK_AND_ASSIGN(const auto shuffled, Union("of: [a]"));
  EXPECT_NE(read(*shuffled, 0), Completions(*shuffled));
}

TEST(UnionSource, OrderAmongEquallyHardOnesDependsOnTheirTextsAlone) {
  std::string forward, backward;
  for (int i = 0; i < 40; ++i) {
    forward = absl::StrCat(forward, Trace(absl::StrCat("p", i), absl::StrCat(i), 0.5));
    backward = absl::StrCat(Trace(absl::StrCat("p", i), absl::StrCat(i), 0.5), backward);
  }
  Parts() = {{"a", forward}, {"b", backward}};
  ASSERT_OK_AND_ASSIGN(const auto one, Union("of: [a], harder_first: true"));
  ASSERT_OK_AND_ASSIGN(const auto other, Union("of: [b], harder_first: true"));
  EXPECT_EQ(Completions(*one), Completions(*other));
}

TEST(UnionSource, SaysWhatCannotBe) {
  Parts() = {
      {"a", Trace("p", "x")}, {"b", Trace("q", "y", 1.5)}, {"problems", "{\"problem\": \"p\", \"answer\": 1}\n"}};
  EXPECT_STATUS(Union("of: []"), kInvalid, "test.yaml:1: of: names no source");
  EXPECT_STATUS(Union("of: [a, endless]"), kInvalid, "of.1: is endless, which has no end");
  EXPECT_STATUS(Union("of: [a, problems]"), kInvalid, "of.1: holds problems without completions, and a problems with");
  EXPECT_STATUS(Union("of: [a], harder_first: true"), kInvalid, "item line/1 of data.a has no number solve_rate");
  EXPECT_STATUS(Union("of: [b], harder_first: true"), kInvalid, "item line/1 of data.b has no number solve_rate");
  EXPECT_STATUS(Union("off: [a]"), kInvalid, "did you mean of?");
}

}  // namespace
}  // namespace grpo
