#include "model/tokenizer/tokenizer.h"

#include <gtest/gtest.h>

#include <nlohmann/json.hpp>
#include <thread>

#include "absl/strings/str_cat.h"
#include "common/files.h"
#include "common/seeds.h"
#include "common/status_testing.h"
#include "model/tokenizer/byte_alphabet.h"
#include "model/tokenizer/prompt.h"

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

// Every byte has a token.
json ByteLevel() {
  json vocab = json::object();
  for (int byte = 0; byte < 256; ++byte) vocab[AlphabetOfBytes(std::string(1, static_cast<char>(byte)))] = byte;
  return {{"added_tokens", json::array()},
          {"pre_tokenizer", {{"type", "ByteLevel"}, {"add_prefix_space", false}, {"use_regex", true}}},
          {"decoder", {{"type", "ByteLevel"}}},
          {"model", {{"type", "BPE"}, {"vocab", vocab}, {"merges", json::array()}}}};
}

TEST(TokenizerTest, SaysWhatItIgnoresAndTakesTextsAsTheyAre) {
  const std::string text = "Hello world, this is a longer text of more than eight tokens";
  const auto plain = MustMake(ByteLevel().dump());
  EXPECT_TRUE(plain->ignored().empty());
  json file = ByteLevel();
  file["truncation"] = {{"direction", "Right"}, {"max_length", 8}, {"strategy", "LongestFirst"}, {"stride", 0}};
  file["padding"] = {{"strategy", "BatchLongest"}, {"direction", "Left"}, {"pad_id", 0}, {"pad_token", "!"}};
  file["model"]["unk_token"] = "!";
  const auto tokenizer = MustMake(file.dump());
  ASSERT_NE(tokenizer, nullptr);
  EXPECT_EQ(tokenizer->Encode(text).value_or(std::vector<uint32_t>()), *plain->Encode(text));
  EXPECT_EQ(tokenizer->Encode(text)->size(), text.size());
  ASSERT_EQ(tokenizer->ignored().size(), 3u);
  EXPECT_EQ(tokenizer->ignored()[0].rfind("tokenizer.json truncation {", 0), 0u);
  EXPECT_EQ(tokenizer->ignored()[1].rfind("tokenizer.json padding {", 0), 0u);
  EXPECT_EQ(tokenizer->ignored()[2], "tokenizer.json unk_token \"!\": every byte has a token");
  // Where a byte lacks its token, the unknown one would be written.
  file["model"]["vocab"].erase(AlphabetOfBytes("~"));
  EXPECT_STATUS(Tokenizer::FromJson(file.dump()), absl::StatusCode::kInvalidArgument, "model.unk_token is \"!\"");
}

TEST(TokenizerTest, AVocabularyLargerThanTheEmbeddingDoesNotFit) {
  const auto tokenizer = MustMake(ByteLevel().dump());
  EXPECT_OK(CheckVocabularyFits(*tokenizer, 256));
  EXPECT_OK(CheckVocabularyFits(*tokenizer, 320));
  EXPECT_STATUS(CheckVocabularyFits(*tokenizer, 255), absl::StatusCode::kInvalidArgument,
                "tokenizer.json has 256 tokens, and vocab_size of config.json is 255");
}

TEST(TokenizerTest, TheDigestIsOfWhatEveryIdStandsForAndOfNothingElse) {
  const std::string digest = VocabularyDigest(*MustMake(Small().dump()));
  json other = Small();
  other["normalizer"] = {{"type", "NFC"}};
  EXPECT_EQ(VocabularyDigest(*MustMake(other.dump())), digest);
  other = Small();
  other["model"]["vocab"] = {{"b", 0}, {"a", 1}, {"<", 2}, {"\xC3\xA9", 3}, {"\xF0\x9F\x90\x87", 4}};
  EXPECT_NE(VocabularyDigest(*MustMake(other.dump())), digest) << "two ids are exchanged";
  other = Small();
  other["added_tokens"].push_back(Added("<c>", 7));
  EXPECT_NE(VocabularyDigest(*MustMake(other.dump())), digest) << "one more token";
  // A byte that moves from one token to the next.
  const auto pair = [](const char* first, const char* second) {
    json file = Small();
    file["added_tokens"] = {Added(first, 5), Added(second, 6)};
    return VocabularyDigest(*MustMake(file.dump()));
  };
  EXPECT_NE(pair("<xy", "z>"), pair("<x", "yz>"));
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

TEST(TokenizerTest, SeveralThreadsEncodeAtOnce) {
  const auto tokenizer = MustMake(ShippedJson());
  std::vector<std::thread> threads;
  for (int thread = 0; thread < 4; ++thread) {
    threads.emplace_back([&, thread] {
      for (int i = 0; i < 500; ++i) {
        const std::string text = absl::StrCat("H", i, " L", thread, "\nA:");
        const auto ids = tokenizer->Encode(text);
        ASSERT_OK(ids);
        EXPECT_EQ(tokenizer->Decode(*ids), text);
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
}

TEST(TokenizerTest, RefusesByNameWhateverWouldChangeTokenization) {
  const struct {
    const char *pointer, *value, *message;
  } kCases[] = {
      {"/version", R"("2.0")", R"(version is "2.0")"},
      {"/extra", "1", "extra is 1, and no such key"},
      {"/normalizer", R"({"type":"Lowercase"})", R"(normalizer is {"type":"Lowercase"})"},
      {"/normalizer", R"({"type":"NFC","form":1})", "normalizer.form is 1, and no such key"},
      {"/normalizer", R"({"type":"Sequence","normalizers":[{"type":"NFC"},{"type":"Strip"}]})", "Strip"},
      {"/normalizer", R"({"type":"Sequence","normalizers":[{"type":"Sequence"}]})", "or a Sequence of such"},
      {"/pre_tokenizer", R"({"type":"Metaspace"})", R"(pre_tokenizer is {"type":"Metaspace"})"},
      {"/pre_tokenizer", R"({"type":"ByteLevel","use_regex":3})", "pre_tokenizer.use_regex is 3"},
      {"/pre_tokenizer", R"({"type":"ByteLevel","lower":true})", "pre_tokenizer.lower is true"},
      {"/pre_tokenizer", R"({"type":"Sequence","pretokenizers":[{"type":"ByteLevel"},{"type":"Digits"}]})",
       "nothing after ByteLevel"},
      {"/pre_tokenizer", R"({"type":"Split","pattern":{"Glob":"*"},"behavior":"Isolated"})", "pattern is {"},
      {"/pre_tokenizer", R"({"type":"Split","pattern":{"Regex":"a"},"behavior":"Chopped"})",
       R"(behavior is "Chopped")"},
      {"/pre_tokenizer", R"({"type":"Split","pattern":{"Regex":"(a"},"behavior":"Isolated"})", "missing closing"},
      {"/pre_tokenizer", R"({"type":"Split","pattern":{"Regex":"\\w"},"behavior":"Isolated"})", "not supported"},
      {"/post_processor", R"({"type":"BertProcessing"})", "post_processor is"},
      {"/post_processor", R"({"type":"TemplateProcessing"})", "post_processor.single is null"},
      {"/post_processor", R"({"type":"TemplateProcessing","single":[{"SpecialToken":{"id":"a"}}]})",
       R"(post_processor.special_tokens "a" ids is null)"},
      {"/post_processor", R"({"type":"TemplateProcessing","single":[{"Sequence":{"id":"B"}}]})",
       "post_processor.single"},
      {"/decoder", R"({"type":"ByteFallback"})", R"(decoder is {"type":"ByteFallback"})"},
      {"/decoder", R"({"type":"Sequence","decoders":[{"type":"Fuse"},{"type":"ByteLevel"}]})", "decoder is"},
      {"/decoder", "null", "decoder is null"},
      {"/model/type", R"("Unigram")", R"(model.type is "Unigram")"},
      {"/model", "7", "model.type is 7"},
      {"/model/merges", R"(["a b"])", R"(model.merges[0] is "a b", and the vocabulary lacks)"},
      {"/model/merges", R"(["ab"])", R"(model.merges[0] is "ab")"},
      {"/model/merges", R"(["a b c"])", R"(model.merges[0] is "a b c")"},
      {"/model/merges", R"([["a"]])", R"(model.merges[0] is ["a"])"},
      {"/model/merges", "{}", "model.merges is {}"},
      {"/model/language", R"("en")", R"(model.language is "en", and no such key)"},
      {"/model/dropout", "0.1", "model.dropout is 0.1"},
      {"/model/unk_token", R"("a")", R"(model.unk_token is "a")"},
      {"/model/continuing_subword_prefix", R"("##")", "model.continuing_subword_prefix"},
      {"/model/end_of_word_suffix", R"("</w>")", "model.end_of_word_suffix"},
      {"/model/byte_fallback", "true", "model.byte_fallback is true"},
      {"/model/ignore_merges", "3", "model.ignore_merges is 3"},
      {"/model/vocab", "{}", "model.vocab is missing, empty"},
      {"/model/vocab/a", "-1", R"(the id of "a" is -1)"},
      {"/model/vocab/a", "4294967296", R"(the id of "a" is 4294967296)"},
      {"/model/vocab/a", "1", R"("a" and "b" have the same id 1)"},
      {"/added_tokens", "{}", "added_tokens is not a list"},
      {"/added_tokens/0", "3", "added_tokens holds 3"},
      {"/added_tokens/0/content", R"("")", "which has no content"},
      {"/added_tokens/0/normalized", "1", R"(added_tokens "<a".normalized is 1)"},
      {"/added_tokens/0/color", "1", R"(added_tokens "<a".color is 1, and no such key)"},
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
  const std::string deep = absl::StrCat(R"({"a":)", std::string(100'000, '['), std::string(100'000, ']'), "}");
  EXPECT_STATUS(Tokenizer::FromJson(deep), absl::StatusCode::kInvalidArgument, "nested deeper than 100 levels");
}

// Two characters in NFC, of which the vocabulary has the composed one.
TEST(TokenizerTest, CutsAddedTokensOutOfTheTextOrOfTheNormalizedText) {
  json file = Small();
  file["normalizer"] = {{"type", "NFC"}};
  file["added_tokens"] = {Added("e\xCC\x81", 5), Added("<b", 6)};
  EXPECT_EQ(MustMake(file.dump())->Encode("e\xCC\x81\xC3\xA9").value_or(std::vector<uint32_t>()),
            (std::vector<uint32_t>{5, 3}));
  file["added_tokens"][0]["normalized"] = true;
  const auto tokenizer = MustMake(file.dump());
  EXPECT_EQ(tokenizer->Encode("e\xCC\x81\xC3\xA9").value_or(std::vector<uint32_t>()), (std::vector<uint32_t>{5, 5}));
  EXPECT_EQ(tokenizer->Decode({5}), "\xC3\xA9");
  file["added_tokens"][1] = {{"id", 6}, {"content", "\xC3\xA9"}, {"normalized", true}};
  file["model"]["vocab"].erase("\xC3\xA9");
  file["added_tokens"][0]["id"] = 4;
  file["model"]["vocab"]["\xF0\x9F\x90\x87"] = 3;
  file["added_tokens"][1]["id"] = 5;
  EXPECT_STATUS(Tokenizer::FromJson(file.dump()), absl::StatusCode::kInvalidArgument, "are the same when normalized");
}

TEST(TokenizerTest, NormalizesAMegabyteOfCombiningMarks) {
  json file = Small();
  file["normalizer"] = {{"type", "NFC"}};
  file["model"]["vocab"] = {{"a", 0}, {"\xCC\x95", 1}, {"\xCC\xA3", 2}};
  file["added_tokens"] = json::array();
  // Above, below, above, below ...: in order, all those below come first. "a" with a dot below is no token.
  std::string text = "aa";
  for (int i = 0; i < 250'000; ++i) text += "\xCC\x95\xCC\xA3";
  EXPECT_STATUS(MustMake(file.dump())->Encode(text), absl::StatusCode::kInvalidArgument,
                "no token for the character \"\\u1ea1\" of the normalized text");
}

TEST(TokenizerTest, PutsTheTemplatesTokensAroundTheTextWhenAsked) {
  json file = Small();
  const json special = {{"SpecialToken", {{"id", "b"}, {"type_id", 0}}}};
  file["post_processor"] = {{"type", "TemplateProcessing"},
                            {"single", {special, {{"Sequence", {{"id", "A"}, {"type_id", 0}}}}, special}},
                            {"special_tokens", {{"b", {{"id", "b"}, {"ids", {1, 2}}, {"tokens", {"b", "<"}}}}}}};
  const auto tokenizer = MustMake(file.dump());
  EXPECT_EQ(tokenizer->EncodeWithSpecialTokens("a").value_or(std::vector<uint32_t>()),
            (std::vector<uint32_t>{1, 2, 0, 1, 2}));
  EXPECT_EQ(tokenizer->Encode("a").value_or(std::vector<uint32_t>()), (std::vector<uint32_t>{0}));
  // A prompt has what stands in front, once, and goes on where the text ends.
  EXPECT_EQ(EncodePrompt(*tokenizer, "a").value_or(std::vector<uint32_t>()), (std::vector<uint32_t>{1, 2, 0}));
  EXPECT_EQ(EncodePrompt(*tokenizer, "b<b").value_or(std::vector<uint32_t>()), (std::vector<uint32_t>{1, 2, 1}));
  EXPECT_EQ(EncodePrompt(*tokenizer, "<").value_or(std::vector<uint32_t>()), (std::vector<uint32_t>{1, 2, 2}))
      << "a part of what stands in front";
  EXPECT_EQ(EncodePrompt(*tokenizer, "ba").value_or(std::vector<uint32_t>()), (std::vector<uint32_t>{1, 2, 1, 0}));
  file["post_processor"] = {{"type", "Sequence"}, {"processors", {file["post_processor"], file["post_processor"]}}};
  EXPECT_STATUS(Tokenizer::FromJson(file.dump()), absl::StatusCode::kInvalidArgument, "one TemplateProcessing");
}

}  // namespace
}  // namespace grpo
