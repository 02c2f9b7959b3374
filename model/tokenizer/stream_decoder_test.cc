#include "model/tokenizer/stream_decoder.h"

#include <gtest/gtest.h>

#include <nlohmann/json.hpp>

#include "absl/strings/str_cat.h"
#include "common/seeds.h"
#include "common/status_testing.h"
#include "common/utf8.h"
#include "model/tokenizer/byte_alphabet.h"

namespace grpo {
namespace {

// Ids 0 to 255 are the bytes, 256 on a few tokens that cut characters.
std::unique_ptr<Tokenizer> ByteTokenizer() {
  nlohmann::json vocab;
  for (int byte = 0; byte < 256; ++byte) vocab[AlphabetOfBytes(std::string(1, static_cast<char>(byte)))] = byte;
  for (const char* token : {"a\xE2", "\x82\xAC", "\xF0\x9F",
                            "\x90\x87"
                            "b",
                            "\xC3\xA9\xC3"})
    vocab[AlphabetOfBytes(token)] = vocab.size();
  const nlohmann::json file = {{"model", {{"type", "BPE"}, {"vocab", vocab}}},
                               {"pre_tokenizer", {{"type", "ByteLevel"}}},
                               {"decoder", {{"type", "ByteLevel"}}}};
  auto tokenizer = Tokenizer::FromJson(file.dump());
  EXPECT_OK(tokenizer);
  return *std::move(tokenizer);
}

TEST(StreamDecoderTest, HoldsTheBeginningOfACharacterBack) {
  const auto tokenizer = ByteTokenizer();
  StreamDecoder decoder(tokenizer.get());
  EXPECT_EQ(decoder.Push(256), "a");
  EXPECT_EQ(decoder.Push(257), "\u20AC");
  EXPECT_EQ(decoder.Push(258), "");
  EXPECT_EQ(decoder.Push(259),
            "\U0001F407"
            "b");
  EXPECT_EQ(decoder.Push(260), "\u00E9");
  EXPECT_EQ(decoder.Push(9999), "") << "an unknown id";
  EXPECT_EQ(decoder.Finish(), "\xC3");
  EXPECT_EQ(decoder.Finish(), "");
  EXPECT_EQ(decoder.Push(0xFF), "\xFF") << "no character begins with this byte";
}

TEST(StreamDecoderTest, NeverCutsACharacterAndLosesNoByte) {
  const auto tokenizer = ByteTokenizer();
  const uint32_t kBytes[] = {'a',  0xC3, 0xA9, 0xE2, 0x82, 0xAC, 0xF0, 0x9F,
                             0x90, 0x87, 0xED, 0xA0, 0xF4, 0x8F, 0xBF, 0xE0};
  for (uint64_t seed = 0; seed < 20'000; ++seed) {
    Rng rng(seed);
    std::vector<uint32_t> ids(1 + rng.Below(12));
    // Mostly bytes that characters are made of, in an order that makes some of them.
    for (size_t i = 0; i < ids.size(); ++i) {
      const int64_t kind = rng.Below(8);
      ids[i] = kind == 0   ? 256 + rng.Below(5)
               : kind == 1 ? rng.Below(256)
                           : kBytes[kind < 5 ? (seed + i) % 16 : rng.Below(16)];
    }
    const std::string whole = tokenizer->Decode(ids);
    // Where no character may be cut.
    std::vector<bool> within(whole.size() + 1, false);
    for (size_t i = 0; i < whole.size();) {
      const size_t num_bytes = std::max<size_t>(1, FirstCharacter(absl::string_view(whole).substr(i)).num_bytes);
      for (size_t k = 1; k < num_bytes; ++k) within[i + k] = true;
      i += num_bytes;
    }
    StreamDecoder decoder(tokenizer.get());
    std::string streamed;
    for (const uint32_t id : ids) {
      absl::StrAppend(&streamed, decoder.Push(id));
      ASSERT_FALSE(within[streamed.size()]) << seed;
    }
    EXPECT_LE(whole.size() - streamed.size(), 3u);
    EXPECT_EQ(absl::StrCat(streamed, decoder.Finish()), whole);
  }
}

}  // namespace
}  // namespace grpo
