// Token ids and decoded texts against the library `tokenizers` 0.23.3: tokenizer_goldens.json holds hashes of what it
// makes of 20,000 strings and of every character of Unicode 14 (tools/parity/make_tokenizer_goldens).
//
//   tokenizer_test NAME=FILE...   compares tokenizer FILE with the goldens of NAME
//
// Departures, by intent: text that a vocabulary cannot write (SmolLM2's lacks some bytes) is an error here and vanishes
// there; characters younger than Unicode 14 have the class that PCRE2 gives them, none.
#include "model/tokenizer/tokenizer.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cstring>
#include <functional>
#include <map>
#include <nlohmann/json.hpp>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "common/files.h"
#include "common/seeds.h"
#include "common/sha256.h"
#include "common/status_testing.h"
#include "common/utf8.h"
#include "tests/parity/tokenizer_strings.h"

namespace grpo {
namespace {

using nlohmann::json;

std::map<std::string, std::string>& Files() {
  static auto* files = new std::map<std::string, std::string>();
  return *files;
}

const json& Goldens() {
  static const auto* goldens =
      new json(json::parse(ReadFile("tests/parity/tokenizer_goldens.json").value_or(""), nullptr, false));
  return *goldens;
}

const TokenizerStrings& Strings() {
  static const auto* strings =
      new TokenizerStrings(Goldens().at("strings"), ReadFile("tests/parity/tokenizer_snippets.txt").value_or(""));
  return *strings;
}

// The count and the ids, four bytes each.
void Pack(const std::vector<uint32_t>& ids, std::string* packed) {
  const auto count = static_cast<uint32_t>(ids.size());
  packed->append(reinterpret_cast<const char*>(&count), sizeof(count));
  packed->append(reinterpret_cast<const char*>(ids.data()), ids.size() * sizeof(uint32_t));
}

std::string Digest(const std::string& bytes) {
  return Sha256Hex(bytes).substr(0, 16);
}

// As Rust's from_utf8_lossy: U+FFFD for each longest beginning of a character that does not go on.
std::string Lossy(absl::string_view bytes) {
  std::string text;
  while (!bytes.empty()) {
    size_t num_bytes = FirstCharacter(bytes).num_bytes;
    if (num_bytes > 0) {
      absl::StrAppend(&text, bytes.substr(0, num_bytes));
    } else {
      const auto begins = [&](size_t n) {
        return FirstCharacter(absl::StrCat(bytes.substr(0, n), "\x80\x80\x80")).num_bytes > n ||
               FirstCharacter(absl::StrCat(bytes.substr(0, n), "\xBF\xBF\xBF")).num_bytes > n;
      };
      num_bytes = 1;
      while (num_bytes < std::min<size_t>(3, bytes.size()) && begins(num_bytes + 1)) ++num_bytes;
      absl::StrAppend(&text, "\xEF\xBF\xBD");
    }
    bytes.remove_prefix(num_bytes);
  }
  return text;
}

struct Comparison {
  const Tokenizer& tokenizer;
  const json& golden;
  size_t num_blocks = 0, num_come_back = 0, num_cannot_be_written = 0;

  void Check(const char* what, const std::string& bytes, const std::string& range) const {
    EXPECT_EQ(Digest(bytes), golden.at(what).get<std::string>().substr(num_blocks * 16, 16))
        << what << " of " << range << " differ; tools/parity/make_tokenizer_goldens --show prints the reference's";
  }

  void Block(const std::string& kind, size_t begin, size_t end, const std::function<std::string(size_t)>& string) {
    std::string plain, special, decoded;
    for (size_t i = begin; i < end; ++i) {
      const std::string text = string(i);
      const auto encoded = tokenizer.Encode(text);
      if (absl::StrContains(encoded.status().message(), "has no token for the byte")) {
        ++num_cannot_be_written;
        continue;
      }
      ASSERT_OK_AND_ASSIGN(const std::vector<uint32_t> ids, encoded);
      ASSERT_OK_AND_ASSIGN(const std::vector<uint32_t> ids_with_special, tokenizer.EncodeWithSpecialTokens(text));
      Pack(ids, &plain);
      Pack(ids_with_special, &special);
      const std::string back = Lossy(tokenizer.Decode(ids));
      absl::StrAppend(&decoded, back, absl::string_view("\0", 1));
      num_come_back += kind == "string" && back == text;
    }
    const std::string range = absl::StrCat(kind, " ", begin, " to ", end - 1);
    Check("ids", plain, range);
    Check("with_special_tokens", special, range);
    Check("decoded", decoded, range);
    ++num_blocks;
  }
};

void CheckDecodedIds(const Tokenizer& tokenizer, const json& golden) {
  std::string decoded;
  const auto add = [&](const std::vector<uint32_t>& ids) {
    absl::StrAppend(&decoded, Lossy(tokenizer.Decode(ids)), absl::string_view("\0", 1));
  };
  const auto size = static_cast<uint32_t>(tokenizer.vocab_size());
  for (uint32_t id = 0; id < size; ++id) add({id});
  for (uint64_t seed = 0; seed < Goldens().at("num_decoded"); ++seed) {
    Rng rng(seed);
    std::vector<uint32_t> ids(1 + rng.Below(12));
    for (uint32_t& id : ids) id = static_cast<uint32_t>(rng.Below(size));
    add(ids);
  }
  EXPECT_EQ(Digest(decoded), golden.at("decoded_ids"));
}

void Compare(const std::string& name, const std::string& content) {
  SCOPED_TRACE(name);
  const json& golden = Goldens().at("tokenizers").at(name);
  ASSERT_OK_AND_ASSIGN(const std::unique_ptr<Tokenizer> tokenizer, Tokenizer::FromJson(content));
  Comparison comparison{.tokenizer = *tokenizer, .golden = golden};
  const size_t block = Goldens().at("block"), num_strings = golden.at("strings");
  for (size_t begin = 0; begin < num_strings; begin += block)
    comparison.Block("string", begin, begin + block, [](size_t i) { return Strings().String(i); });
  if (!golden.contains("patch")) {
    const size_t step = Goldens().at("character_block"), count = Strings().num_characters();
    for (size_t begin = 0; begin < count; begin += step) {
      comparison.Block("character", begin, std::min(begin + step, count),
                       [](size_t i) { return Strings().OfCharacter(i); });
    }
  }
  EXPECT_EQ(comparison.num_blocks * 16, golden.at("ids").get_ref<const std::string&>().size());
  EXPECT_EQ(comparison.num_come_back, golden.at("come_back"));
  EXPECT_EQ(comparison.num_cannot_be_written, golden.at("cannot_be_written"));
  CheckDecodedIds(*tokenizer, golden);
  std::printf("%s: %zu strings, %zu of them decode to themselves\n", name.c_str(), num_strings,
              comparison.num_come_back);
}

TEST(TokenizerParityTest, IdsAndTextsAreTheLibrarys) {
  ASSERT_FALSE(Files().empty()) << "usage: tokenizer_test NAME=FILE...";
  for (const auto& [name, path] : Files()) {
    ASSERT_OK_AND_ASSIGN(const std::string content, ReadFile(path));
    ASSERT_EQ(Sha256Hex(content), Goldens().at("tokenizers").at(name).at("sha256"))
        << path << " is not the file that the goldens of " << name << " were made with";
    Compare(name, content);
  }
}

TEST(TokenizerParityTest, SoAreThoseOfEveryStageInItsVariants) {
  if (Files().count("gpt2") == 0) GTEST_SKIP() << "they change gpt2's file, which is not among the arguments";
  const json file = json::parse(ReadFile(Files()["gpt2"]).value_or(""));
  int num_variants = 0;
  for (const auto& [name, golden] : Goldens().at("tokenizers").items()) {
    if (!golden.contains("patch")) continue;
    json patched = file;
    patched.merge_patch(golden.at("patch"));
    Compare(name, patched.dump());
    ++num_variants;
  }
  EXPECT_GE(num_variants, 20);
}

}  // namespace
}  // namespace grpo

int main(int argc, char** argv) {
  testing::InitGoogleTest(&argc, argv);
  for (int i = 1; i < argc; ++i) {
    const std::pair<std::string, std::string> file = absl::StrSplit(argv[i], absl::MaxSplits('=', 1));
    grpo::Files().insert(file);
  }
  return RUN_ALL_TESTS();
}
