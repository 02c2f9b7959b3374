#include "model/tokenizer/tokenizer.h"

#include <gtest/gtest.h>

#include <nlohmann/json.hpp>

#include "common/files.h"
#include "common/seeds.h"
#include "common/status_testing.h"

namespace grpo {
namespace {

using nlohmann::json;

std::string ShippedJson() {
  const auto text = ReadFile("configs/tokenizers/chickens_rabbits.json");
  EXPECT_OK(text);
  return text.value_or("");
}

std::unique_ptr<Tokenizer> MustMake(const std::string& text) {
  auto tokenizer = Tokenizer::FromJson(text);
  EXPECT_OK(tokenizer);
  return tokenizer.ok() ? *std::move(tokenizer) : nullptr;
}

json Added(const char* content, int id) {
  return {{"id", id},        {"content", content},  {"single_word", false}, {"lstrip", false},
          {"rstrip", false}, {"normalized", false}, {"special", false}};
}

// Characters of one to four bytes, and added tokens of which one begins another.
json Small() {
  return {{"added_tokens", {Added("<a", 5), Added("<ab>", 6)}},
          {"decoder", {{"type", "Fuse"}}},
          {"model",
           {{"type", "BPE"},
            {"vocab", {{"a", 0}, {"b", 1}, {"<", 2}, {"\xC3\xA9", 3}, {"\xF0\x9F\x90\x87", 4}}},
            {"merges", json::array()}}}};
}

TEST(TokenizerTest, ShippedVocabularyIsThePrototypes) {
  const auto tokenizer = MustMake(ShippedJson());
  EXPECT_EQ(tokenizer->vocab_size(), 58);
  const char* const kFirst[] = {"<pad>", "<eos>", "<think>", "</think>", "<answer>", "</answer>", "\n", " ", "0"};
  for (uint32_t id = 0; id < std::size(kFirst); ++id) EXPECT_EQ(tokenizer->TokenId(kFirst[id]).value_or(99), id);
  EXPECT_EQ(tokenizer->TokenId("z").value_or(99), 57u);
  const std::vector<uint32_t> ids = {28, 18, 30, 11, 13, 7, 31, 17, 12, 6, 29, 18, 2, 3, 4, 9, 10, 5, 1};
  const std::string text = "Q:H35 L94\nA:<think></think><answer>12</answer><eos>";
  EXPECT_EQ(tokenizer->Encode(text).value_or(std::vector<uint32_t>()), ids);
  EXPECT_EQ(tokenizer->Decode(ids), text);
}

TEST(TokenizerTest, EveryTextOfTheVocabularyComesBack) {
  const auto tokenizer = MustMake(ShippedJson());
  for (uint64_t seed = 0; seed < 200; ++seed) {
    Rng rng(seed);
    std::vector<uint32_t> ids(rng.Below(60));
    for (uint32_t& id : ids) id = static_cast<uint32_t>(rng.Below(58));
    // No sequence of this vocabulary's characters spells a tag, since < and > are none of them: ids come back too.
    EXPECT_EQ(tokenizer->Encode(tokenizer->Decode(ids)).value_or(std::vector<uint32_t>()), ids);
  }
}

TEST(TokenizerTest, TakesTheLongestAddedTokenAndWholeCharacters) {
  const auto tokenizer = MustMake(Small().dump());
  const auto encode = [&](const char* text) { return tokenizer->Encode(text).value_or(std::vector<uint32_t>{99}); };
  EXPECT_EQ(encode("<ab>"), (std::vector<uint32_t>{6}));
  EXPECT_EQ(encode("<abb"), (std::vector<uint32_t>{5, 1, 1}));
  EXPECT_EQ(encode("<<a"), (std::vector<uint32_t>{2, 5}));
  EXPECT_EQ(encode("\xC3\xA9\xF0\x9F\x90\x87"), (std::vector<uint32_t>{3, 4}));
  EXPECT_EQ(encode(""), std::vector<uint32_t>());
  EXPECT_EQ(tokenizer->vocab_size(), 7);
  EXPECT_EQ(tokenizer->Decode({4, 1000, 5}), "\xF0\x9F\x90\x87<a") << "unknown ids are written as nothing";
}

TEST(TokenizerTest, NamesTheCharacterItCannotWrite) {
  const auto tokenizer = MustMake(Small().dump());
  EXPECT_STATUS(tokenizer->Encode("ab?"), absl::StatusCode::kInvalidArgument, "the character \"?\" at byte 2");
  EXPECT_STATUS(tokenizer->Encode("\xC3\xA9\xC3\xB6"), absl::StatusCode::kInvalidArgument, "at byte 2");
  for (const char* broken : {"a\xC3", "a\xFF", "a\xC0\x80", "a\xED\xA0\x80", "a\xF5\x80\x80\x80", "a\xE2\x82"}) {
    EXPECT_STATUS(tokenizer->Encode(broken), absl::StatusCode::kInvalidArgument, "not valid UTF-8 at byte 1");
  }
  EXPECT_STATUS(tokenizer->TokenId("zz"), absl::StatusCode::kNotFound, "no token \"zz\"");
}

TEST(TokenizerTest, RefusesByNameWhateverWouldChangeTokenization) {
  const struct {
    const char *pointer, *value, *message;
  } kCases[] = {
      {"/normalizer", R"({"type":"NFC"})", R"(normalizer is {"type":"NFC"})"},
      {"/pre_tokenizer", R"({"type":"ByteLevel"})", "pre_tokenizer is"},
      {"/post_processor", R"({"type":"TemplateProcessing"})", "post_processor is"},
      {"/truncation", R"({"max_length":5})", "truncation is"},
      {"/padding", R"({"length":5})", "padding is"},
      {"/decoder", R"({"type":"ByteLevel"})", "decoder is"},
      {"/decoder", "null", "decoder is null"},
      {"/model/type", R"("Unigram")", R"(model.type is "Unigram")"},
      {"/model", "7", "model.type is 7"},
      {"/model/merges", R"(["a b"])", R"(model.merges is ["a b"])"},
      {"/model/dropout", "0.1", "model.dropout is 0.1"},
      {"/model/unk_token", R"("a")", R"(model.unk_token is "a")"},
      {"/model/continuing_subword_prefix", R"("##")", "model.continuing_subword_prefix"},
      {"/model/end_of_word_suffix", R"("</w>")", "model.end_of_word_suffix"},
      {"/model/byte_fallback", "true", "model.byte_fallback is true"},
      {"/model/ignore_merges", "true", "model.ignore_merges is true"},
      {"/model/vocab", "{}", "model.vocab is missing, empty"},
      {"/model/vocab/a", "-1", R"(the id of "a" is -1)"},
      {"/model/vocab/a", "4294967296", R"(the id of "a" is 4294967296)"},
      {"/model/vocab/a", "1", R"("a" and "b" have the same id 1)"},
      {"/added_tokens", "{}", "added_tokens is not a list"},
      {"/added_tokens/0", "3", "added_tokens holds 3"},
      {"/added_tokens/0/content", R"("")", "which has no content"},
      {"/added_tokens/0/normalized", "true", R"(added_tokens "<a" normalized is true)"},
      {"/added_tokens/0/lstrip", "true", R"(added_tokens "<a" lstrip is true)"},
      {"/added_tokens/0/rstrip", "true", R"(added_tokens "<a" rstrip is true)"},
      {"/added_tokens/0/single_word", "true", R"(added_tokens "<a" single_word is true)"},
      {"/added_tokens/0/id", "9", R"("<a" the id 9, but its place is 5)"},
      {"/added_tokens/0/id", "null", R"(the id of "<a" is null)"},
      {"/added_tokens/1/content", R"("<a")", R"(added_tokens has "<a" twice)"},
  };
  for (const auto& [pointer, value, message] : kCases) {
    json file = Small();
    file[json::json_pointer(pointer)] = json::parse(value);
    EXPECT_STATUS(Tokenizer::FromJson(file.dump()), absl::StatusCode::kInvalidArgument, message);
  }
  EXPECT_STATUS(Tokenizer::FromJson("{"), absl::StatusCode::kInvalidArgument, "tokenizer.json is not valid JSON");
}

}  // namespace
}  // namespace grpo
