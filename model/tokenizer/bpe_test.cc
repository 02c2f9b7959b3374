#include "model/tokenizer/bpe.h"

#include <gtest/gtest.h>

#include <nlohmann/json.hpp>

#include "absl/strings/str_cat.h"
#include "common/cpu_time_testing.h"
#include "common/seeds.h"
#include "common/status_testing.h"

namespace grpo {
namespace {

using nlohmann::json;

// As from a file: there, numbers are unsigned.
absl::StatusOr<Vocabulary> ParseVocabulary(const json& model) {
  return Vocabulary::FromJson(json::parse(model["vocab"].dump()));
}

// Letters a to c and random merges, of which some make the same token in different ways.
json RandomModel(uint64_t seed) {
  Rng rng(seed);
  std::vector<std::string> tokens = {"a", "b", "c"};
  json model = {{"type", "BPE"}, {"merges", json::array()}};
  for (int i = 0; i < 30; ++i) {
    const std::string left = rng.Choice(tokens), right = rng.Choice(tokens);
    if (left.size() + right.size() > 8) continue;
    tokens.push_back(left + right);
    model["merges"].push_back(absl::StrCat(left, " ", right));
  }
  for (const std::string& token : tokens) {
    if (!model["vocab"].contains(token)) model["vocab"][token] = model["vocab"].size();
  }
  return model;
}

// By the definition: looks through all pairs before each merge.
std::vector<uint32_t> NaiveEncode(const json& model, const std::string& word) {
  std::vector<std::string> tokens;
  for (const char c : word) tokens.emplace_back(1, c);
  std::map<std::string, size_t> ranks;
  for (size_t rank = 0; rank < model["merges"].size(); ++rank) ranks[model["merges"][rank]] = rank;
  while (true) {
    size_t best = tokens.size(), best_rank = ranks.size() + model["merges"].size();
    for (size_t i = 0; i + 1 < tokens.size(); ++i) {
      const auto found = ranks.find(absl::StrCat(tokens[i], " ", tokens[i + 1]));
      if (found == ranks.end() || found->second >= best_rank) continue;
      best = i;
      best_rank = found->second;
    }
    if (best == tokens.size()) break;
    tokens[best] += tokens[best + 1];
    tokens.erase(tokens.begin() + static_cast<int64_t>(best) + 1);
  }
  std::vector<uint32_t> ids;
  for (const std::string& token : tokens) ids.push_back(model["vocab"][token]);
  return ids;
}

TEST(BpeTest, MergesAsTheDefinitionSays) {
  for (uint64_t seed = 0; seed < 50; ++seed) {
    const json model = RandomModel(seed);
    ASSERT_OK_AND_ASSIGN(const Vocabulary vocabulary, ParseVocabulary(model));
    ASSERT_OK_AND_ASSIGN(const Bpe bpe, Bpe::FromJson(model, vocabulary, /*byte_level=*/false));
    BpeScratch scratch;
    Rng rng(seed);
    for (int i = 0; i < 200; ++i) {
      std::string word;
      for (int64_t left = 1 + rng.Below(40); left > 0; --left) word.push_back(static_cast<char>('a' + rng.Below(3)));
      std::vector<uint32_t> ids;
      EXPECT_EQ(bpe.Encode(word, scratch, &ids), std::nullopt);
      EXPECT_EQ(ids, NaiveEncode(model, word)) << word;
      // From the cache, behind what is there.
      EXPECT_EQ(bpe.Encode(word, scratch, &ids), std::nullopt);
      EXPECT_EQ(ids.size(), 2 * NaiveEncode(model, word).size());
    }
  }
}

// A megabyte of one letter whose merges double it; a quadratic merge takes hours. The parity test has the real ones.
TEST(BpeTest, WordsOfMegabytesAreNoTrouble) {
  json model = {{"type", "BPE"}, {"vocab", {{"a", 0}}}, {"merges", json::array()}};
  for (int i = 0; i < 5; ++i) {
    const std::string half(1 << i, 'a');
    model["vocab"][half + half] = i + 1;
    model["merges"].push_back(json::array({half, half}));
  }
  ASSERT_OK_AND_ASSIGN(const Vocabulary vocabulary, ParseVocabulary(model));
  ASSERT_OK_AND_ASSIGN(const Bpe bpe, Bpe::FromJson(model, vocabulary, /*byte_level=*/true));
  BpeScratch scratch;
  std::vector<uint32_t> ids;
  constexpr size_t kWords = kSanitized ? 1 << 14 : 1 << 17;
  EXPECT_EQ(bpe.Encode(std::string(kWords * 32 + 3, 'a'), scratch, &ids), std::nullopt);
  EXPECT_EQ(ids.size(), kWords + 2);
  EXPECT_EQ(std::vector<uint32_t>(ids.end() - 3, ids.end()), (std::vector<uint32_t>{5, 1, 0}));
}

TEST(BpeTest, CacheStaysRightWhenItIsFull) {
  const json model = {{"type", "BPE"}, {"vocab", {{"a", 0}, {"b", 1}}}};
  ASSERT_OK_AND_ASSIGN(const Vocabulary vocabulary, ParseVocabulary(model));
  ASSERT_OK_AND_ASSIGN(const Bpe bpe, Bpe::FromJson(model, vocabulary, /*byte_level=*/true));
  BpeScratch scratch;
  for (uint64_t seed = 0; seed < 20'000; ++seed) {
    Rng rng(seed % 7000);
    std::string word;
    std::vector<uint32_t> ids, expected;
    for (int64_t left = 1 + rng.Below(300); left > 0; --left) {
      expected.push_back(static_cast<uint32_t>(rng.Below(2)));
      word.push_back(expected.back() == 0 ? 'a' : 'b');
    }
    ASSERT_EQ(bpe.Encode(word, scratch, &ids), std::nullopt);
    ASSERT_EQ(ids, expected);
  }
}

TEST(BpeTest, WordsInTheVocabularyNeedNoMergesWhenTheseAreIgnored) {
  json model = {{"type", "BPE"}, {"vocab", {{"a", 0}, {"\u0120", 1}, {"\u0120a", 2}, {"aa", 3}}}, {"merges", {"a a"}}};
  ASSERT_OK_AND_ASSIGN(const Vocabulary vocabulary, ParseVocabulary(model));
  for (const bool ignore_merges : {false, true}) {
    model["ignore_merges"] = ignore_merges;
    ASSERT_OK_AND_ASSIGN(const Bpe bpe, Bpe::FromJson(model, vocabulary, /*byte_level=*/true));
    BpeScratch scratch;
    std::vector<uint32_t> ids;
    EXPECT_EQ(bpe.Encode(" a", scratch, &ids), std::nullopt);
    EXPECT_EQ(bpe.Encode(" aa", scratch, &ids), std::nullopt);
    EXPECT_EQ(ids, ignore_merges ? (std::vector<uint32_t>{2, 1, 3}) : (std::vector<uint32_t>{1, 0, 1, 3}));
    EXPECT_EQ(bpe.Encode("ab", scratch, &ids), std::optional<size_t>(1));
  }
}

}  // namespace
}  // namespace grpo
