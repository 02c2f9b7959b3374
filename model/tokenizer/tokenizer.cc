#include "model/tokenizer/tokenizer.h"

#include <functional>
#include <nlohmann/json.hpp>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/synchronization/mutex.h"
#include "common/sha256.h"
#include "common/status_macros.h"
#include "common/utf8.h"
#include "model/strict_json.h"
#include "model/tokenizer/added_tokens.h"
#include "model/tokenizer/bpe.h"
#include "model/tokenizer/decoder.h"
#include "model/tokenizer/fields.h"
#include "model/tokenizer/normalizer.h"
#include "model/tokenizer/post_processor.h"
#include "model/tokenizer/pre_tokenizer.h"
#include "model/tokenizer/vocabulary.h"

namespace grpo {
namespace {

using nlohmann::json;

// Places of a text and of what was cut out of it are counted in 32 bits.
constexpr size_t kMaxTextBytes = 1 << 30;

// What one thread needs while it encodes.
struct Scratch {
  RegexScratch regex;
  BpeScratch bpe;
};

// Scratches that no thread uses; there are as many as threads that ever encoded at once. Thread-safe.
class ScratchPool {
 public:
  std::unique_ptr<Scratch> Take() {
    {
      absl::MutexLock lock(&mutex_);
      if (!idle_.empty()) {
        std::unique_ptr<Scratch> scratch = std::move(idle_.back());
        idle_.pop_back();
        return scratch;
      }
    }
    return std::make_unique<Scratch>();
  }
  void Return(std::unique_ptr<Scratch> scratch) {
    absl::MutexLock lock(&mutex_);
    idle_.push_back(std::move(scratch));
  }

 private:
  absl::Mutex mutex_;
  std::vector<std::unique_ptr<Scratch>> idle_ ABSL_GUARDED_BY(mutex_);
};

class BpeTokenizer : public Tokenizer {
 public:
  // Each stage of the library's Tokenizer.encode and decode.
  struct Stages {
    AddedTokenCutter added, normalized_added;
    Normalizer normalizer;
    PreTokenizer pre_tokenizer;
    Bpe bpe;
    PostProcessor post_processor;
    Decoder decoder;
    Vocabulary vocabulary;
    std::vector<std::string> ignored;
  };

  explicit BpeTokenizer(Stages stages) : stages_(std::move(stages)) {}

  absl::StatusOr<std::vector<uint32_t>> Encode(absl::string_view text) const override {
    if (text.size() > kMaxTextBytes)
      return absl::InvalidArgumentError(absl::StrCat("the text is longer than ", kMaxTextBytes, " bytes"));
    if (const size_t valid = ValidPrefixBytes(text); valid < text.size())
      return absl::InvalidArgumentError(absl::StrCat("the text is not valid UTF-8 at byte ", valid));
    std::unique_ptr<Scratch> scratch = scratches_.Take();
    scratch->regex.Begin(text.size());
    std::vector<uint32_t> ids;
    ids.reserve(text.size() / 3);
    const absl::Status status = stages_.added.Cut(
        text, scratch->regex, [&](absl::string_view part) { return EncodePart(text, part, *scratch, &ids); },
        [&](uint32_t id) { ids.push_back(id); });
    scratches_.Return(std::move(scratch));
    RETURN_IF_ERROR(status);
    return ids;
  }

  absl::StatusOr<std::vector<uint32_t>> EncodeWithSpecialTokens(absl::string_view text) const override {
    ASSIGN_OR_RETURN(std::vector<uint32_t> ids, Encode(text));
    return stages_.post_processor.AddSpecialTokens(std::move(ids));
  }

  const std::vector<uint32_t>& PrefixTokens() const override { return stages_.post_processor.before(); }

  absl::string_view TokenBytes(uint32_t id) const override { return stages_.decoder.TokenBytes(id); }

  absl::StatusOr<uint32_t> TokenId(absl::string_view token) const override {
    const std::optional<uint32_t> id = stages_.vocabulary.Find(token);
    if (!id.has_value()) return absl::NotFoundError(absl::StrCat("the vocabulary has no token \"", token, "\""));
    return *id;
  }

  int64_t vocab_size() const override { return static_cast<int64_t>(stages_.decoder.num_ids()); }
  const std::vector<std::string>& ignored() const override { return stages_.ignored; }

 private:
  // What lies between added tokens.
  absl::Status EncodePart(absl::string_view whole, absl::string_view part, Scratch& scratch,
                          std::vector<uint32_t>* ids) const {
    std::string normalized;
    if (!stages_.normalizer.does_nothing()) part = normalized = stages_.normalizer.Normalize(part);
    const auto encode_word = [&](absl::string_view word) {
      const std::optional<size_t> missing = stages_.bpe.Encode(word, scratch.bpe, ids);
      return missing.has_value() ? CannotWrite(whole, word, *missing) : absl::OkStatus();
    };
    return stages_.normalized_added.Cut(
        part, scratch.regex,
        [&](absl::string_view rest) { return stages_.pre_tokenizer.Split(rest, scratch.regex, encode_word); },
        [&](uint32_t id) { ids->push_back(id); });
  }

  // The error for the character at `place` of a word.
  absl::Status CannotWrite(absl::string_view whole, absl::string_view word, size_t place) const {
    const absl::string_view rest = word.substr(place);
    const std::string character =
        stages_.bpe.byte_level()
            ? absl::StrFormat("byte 0x%02X", static_cast<unsigned char>(rest[0]))
            : absl::StrCat("character ", ShowJson(std::string(rest.substr(0, FirstCharacter(rest).num_bytes))));
    // The word lies in the text unless that was normalized or a space was put before it.
    const bool within =
        std::less_equal<>()(whole.data(), rest.data()) && std::less<>()(rest.data(), whole.data() + whole.size());
    return absl::InvalidArgumentError(
        absl::StrCat("the vocabulary has no token for the ", character,
                     within ? absl::StrCat(" at byte ", rest.data() - whole.data()) : " of the normalized text"));
  }

  const Stages stages_;
  mutable ScratchPool scratches_;
};

absl::Status CheckOutline(const json& file) {
  RETURN_IF_ERROR(ExpectKeys(file, "",
                             {"version", "truncation", "padding", "added_tokens", "normalizer", "pre_tokenizer",
                              "post_processor", "decoder", "model"}));
  RETURN_IF_ERROR(ExpectNeutral(file, "", "version", "1.0"));
  const json& model = Field(file, "model");
  // Old files of GPT-2 name no type.
  if (!model.is_object() || (model.contains("type") && model["type"] != "BPE")) {
    return Unusable(absl::StrCat("model.type is ", ShowJson(model.is_object() ? Field(model, "type") : model),
                                 ", and only \"BPE\" is supported"));
  }
  return absl::OkStatus();
}

// transformers sets both anew for each call, and so a file's own never hold there.
std::vector<std::string> Ignored(const json& file) {
  std::vector<std::string> ignored;
  for (const char* part : {"truncation", "padding"}) {
    if (const json& value = Field(file, part); !value.is_null()) {
      ignored.push_back(absl::StrCat("tokenizer.json ", part, " ", ShowJson(value), ": texts are taken as they are"));
    }
  }
  if (const json& unknown = Field(Field(file, "model"), "unk_token"); !unknown.is_null()) {
    ignored.push_back(absl::StrCat("tokenizer.json unk_token ", ShowJson(unknown), ": every byte has a token"));
  }
  return ignored;
}

}  // namespace

absl::Status CheckVocabularyFits(const Tokenizer& tokenizer, int64_t embedding_rows) {
  if (tokenizer.vocab_size() <= embedding_rows) return absl::OkStatus();
  return absl::InvalidArgumentError(absl::StrCat("tokenizer.json has ", tokenizer.vocab_size(),
                                                 " tokens, and vocab_size of config.json is ", embedding_rows));
}

std::string Tokenizer::Decode(const std::vector<uint32_t>& ids) const {
  std::string text;
  for (const uint32_t id : ids) absl::StrAppend(&text, TokenBytes(id));
  return text;
}

absl::StatusOr<std::unique_ptr<Tokenizer>> Tokenizer::FromJson(absl::string_view tokenizer_json) {
  ASSIGN_OR_RETURN(const json file, ParseJsonObject(tokenizer_json, "tokenizer.json"));
  RETURN_IF_ERROR(CheckOutline(file));
  const json& model = Field(file, "model");
  ASSIGN_OR_RETURN(Normalizer normalizer, Normalizer::FromJson(Field(file, "normalizer")));
  ASSIGN_OR_RETURN(PreTokenizer pre_tokenizer, PreTokenizer::FromJson(Field(file, "pre_tokenizer")));
  ASSIGN_OR_RETURN(PostProcessor post_processor, PostProcessor::FromJson(Field(file, "post_processor")));
  ASSIGN_OR_RETURN(Vocabulary vocabulary, Vocabulary::FromJson(Field(model, "vocab")));
  // Before the added tokens join: only what the model itself knows can be merged.
  ASSIGN_OR_RETURN(Bpe bpe, Bpe::FromJson(model, vocabulary, pre_tokenizer.byte_level()));
  ASSIGN_OR_RETURN(const std::vector<AddedToken> added,
                   ParseAddedTokens(Field(file, "added_tokens"), normalizer, &vocabulary));
  ASSIGN_OR_RETURN(AddedTokenCutter cutter, AddedTokenCutter::Make(added, /*normalized=*/false));
  ASSIGN_OR_RETURN(AddedTokenCutter normalized_cutter, AddedTokenCutter::Make(added, /*normalized=*/true));
  ASSIGN_OR_RETURN(Decoder decoder, Decoder::FromJson(Field(file, "decoder"), vocabulary, added));
  std::vector<std::string> ignored = Ignored(file);
  return std::make_unique<BpeTokenizer>(BpeTokenizer::Stages{
      .added = std::move(cutter),
      .normalized_added = std::move(normalized_cutter),
      .normalizer = std::move(normalizer),
      .pre_tokenizer = std::move(pre_tokenizer),
      .bpe = std::move(bpe),
      .post_processor = std::move(post_processor),
      .decoder = std::move(decoder),
      .vocabulary = std::move(vocabulary),
      .ignored = std::move(ignored),
  });
}

std::string VocabularyDigest(const Tokenizer& tokenizer) {
  const int64_t num_ids = tokenizer.vocab_size();
  Sha256 hash;
  hash.Update(absl::StrCat(num_ids));
  for (int64_t id = 0; id < num_ids; ++id) {
    const absl::string_view bytes = tokenizer.TokenBytes(static_cast<uint32_t>(id));
    // With their number, so that no byte changes its token unseen.
    hash.Update(absl::StrCat(" ", bytes.size(), ":", bytes));
  }
  return hash.Finish();
}

}  // namespace grpo
