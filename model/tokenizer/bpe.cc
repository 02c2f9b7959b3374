#include "model/tokenizer/bpe.h"

#include <algorithm>
#include <functional>

#include "absl/hash/hash.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "common/status_macros.h"
#include "common/utf8.h"
#include "model/strict_json.h"
#include "model/tokenizer/byte_alphabet.h"
#include "model/tokenizer/fields.h"

namespace grpo {

using nlohmann::json;

absl::StatusOr<Bpe> Bpe::FromJson(const json& model, const Vocabulary& vocabulary, bool byte_level) {
  RETURN_IF_ERROR(ExpectNeutral(model, "model", "dropout", 0.0));
  RETURN_IF_ERROR(ExpectNeutral(model, "model", "continuing_subword_prefix", ""));
  RETURN_IF_ERROR(ExpectNeutral(model, "model", "end_of_word_suffix", ""));
  RETURN_IF_ERROR(ExpectNeutral(model, "model", "byte_fallback", false));
  // fuse_unk is about unk_token, which is never written.
  RETURN_IF_ERROR(ExpectKeys(model, "model",
                             {"type", "dropout", "unk_token", "continuing_subword_prefix", "end_of_word_suffix",
                              "fuse_unk", "byte_fallback", "ignore_merges", "vocab", "merges"}));
  RETURN_IF_ERROR(BoolField(model, "model", "fuse_unk", false).status());
  ASSIGN_OR_RETURN(const bool ignore_merges, BoolField(model, "model", "ignore_merges", false));
  Bpe bpe;
  bpe.byte_level_ = byte_level;
  bpe.LoadCharacters(vocabulary, ignore_merges);
  // Where every byte has its token, none is ever unknown.
  const auto& bytes = bpe.id_of_byte_;
  if (!byte_level || std::count(bytes.begin(), bytes.end(), kNone) > 0) {
    RETURN_IF_ERROR(ExpectNeutral(model, "model", "unk_token", nullptr));
  }
  RETURN_IF_ERROR(bpe.LoadMerges(Field(model, "merges"), vocabulary));
  return bpe;
}

void Bpe::LoadCharacters(const Vocabulary& vocabulary, bool whole_words) {
  id_of_byte_.fill(kNone);
  for (const auto& [token, id] : vocabulary.ids()) {
    if (byte_level_) {
      const std::optional<std::string> bytes = BytesOfAlphabet(token);
      // Others are added tokens, or cannot be reached.
      if (!bytes.has_value()) continue;
      if (bytes->size() == 1) id_of_byte_[static_cast<unsigned char>((*bytes)[0])] = id;
      if (whole_words) id_of_word_.emplace(*bytes, id);
    } else {
      const Utf8Character character = FirstCharacter(token);
      if (character.num_bytes > 0 && character.num_bytes == token.size()) id_of_character_[character.code_point] = id;
      if (whole_words) id_of_word_.emplace(token, id);
    }
  }
}

absl::Status Bpe::LoadMerges(const json& merges, const Vocabulary& vocabulary) {
  if (merges.is_null()) return absl::OkStatus();
  if (!merges.is_array()) return Unexpected("model.merges", merges, "a list");
  merged_id_.reserve(merges.size());
  rank_of_pair_.reserve(merges.size());
  const auto text = [](const json& value) { return absl::string_view(value.get_ref<const std::string&>()); };
  for (const json& merge : merges) {
    const auto bad = [&](absl::string_view what) {
      return Unusable(absl::StrCat("model.merges[", merged_id_.size(), "] is ", ShowJson(merge), what));
    };
    absl::string_view left, right;
    if (merge.is_string()) {
      const size_t space = text(merge).find(' ');
      if (space == absl::string_view::npos || absl::StrContains(text(merge).substr(space + 1), ' '))
        return bad(R"(, expected two tokens with one space between them)");
      left = text(merge).substr(0, space);
      right = text(merge).substr(space + 1);
    } else if (merge.is_array() && merge.size() == 2 && merge[0].is_string() && merge[1].is_string()) {
      left = text(merge[0]);
      right = text(merge[1]);
    } else {
      return bad(R"(, expected "left right" or ["left", "right"])");
    }
    const std::optional<uint32_t> left_id = vocabulary.Find(left), right_id = vocabulary.Find(right);
    const std::optional<uint32_t> merged = vocabulary.Find(absl::StrCat(left, right));
    if (!left_id || !right_id || !merged || left.empty() || right.empty())
      return bad(", and the vocabulary lacks one of the two tokens or what they make");
    // Of a pair given twice the later counts, as in the library.
    rank_of_pair_[Pair(*left_id, *right_id)] = static_cast<uint32_t>(merged_id_.size());
    merged_id_.push_back(*merged);
  }
  return absl::OkStatus();
}

std::optional<size_t> Bpe::Encode(absl::string_view word, BpeScratch& scratch, std::vector<uint32_t>* ids) const {
  const uint64_t hash = absl::HashOf(word);
  if (scratch.cache_.Find(word, hash, ids)) return std::nullopt;
  const size_t begin = ids->size();
  const auto whole = id_of_word_.empty() ? id_of_word_.end() : id_of_word_.find(word);
  if (whole != id_of_word_.end()) {
    ids->push_back(whole->second);
  } else {
    if (const std::optional<size_t> missing = Spell(word, scratch)) return missing;
    Merge(scratch);
    const auto& symbols = scratch.symbols_;
    for (int32_t place = symbols.empty() ? -1 : 0; place >= 0; place = symbols[place].next)
      ids->push_back(symbols[place].id);
  }
  scratch.cache_.Insert(word, hash, absl::MakeConstSpan(*ids).subspan(begin));
  return std::nullopt;
}

std::optional<size_t> Bpe::Spell(absl::string_view word, BpeScratch& scratch) const {
  auto& symbols = scratch.symbols_;
  symbols.clear();
  for (size_t position = 0; position < word.size();) {
    uint32_t id = kNone;
    size_t num_bytes = 1;
    if (byte_level_) {
      id = id_of_byte_[static_cast<unsigned char>(word[position])];
    } else {
      const Utf8Character character = FirstCharacter(word.substr(position));
      num_bytes = character.num_bytes;
      const auto found = id_of_character_.find(character.code_point);
      if (found != id_of_character_.end()) id = found->second;
    }
    if (id == kNone) return position;
    const auto place = static_cast<int32_t>(symbols.size());
    symbols.push_back({.id = id, .rank = kNone, .previous = place - 1, .next = place + 1});
    position += num_bytes;
  }
  if (!symbols.empty()) symbols.back().next = -1;
  return std::nullopt;
}

uint32_t Bpe::RankAt(const BpeScratch& scratch, int32_t place) const {
  const auto& symbols = scratch.symbols_;
  if (symbols[place].next < 0) return kNone;
  const auto found = rank_of_pair_.find(Pair(symbols[place].id, symbols[symbols[place].next].id));
  return found == rank_of_pair_.end() ? kNone : found->second;
}

void Bpe::Merge(BpeScratch& scratch) const {
  auto& symbols = scratch.symbols_;
  auto& heap = scratch.heap_;
  heap.clear();
  const auto entry = [](uint32_t rank, int32_t place) { return uint64_t{rank} << 32 | static_cast<uint32_t>(place); };
  for (size_t place = 0; place < symbols.size(); ++place) {
    symbols[place].rank = RankAt(scratch, static_cast<int32_t>(place));
    if (symbols[place].rank != kNone) heap.push_back(entry(symbols[place].rank, static_cast<int32_t>(place)));
  }
  std::make_heap(heap.begin(), heap.end(), std::greater<>());
  const auto update = [&](int32_t place) {
    symbols[place].rank = RankAt(scratch, place);
    if (symbols[place].rank == kNone) return;
    heap.push_back(entry(symbols[place].rank, place));
    std::push_heap(heap.begin(), heap.end(), std::greater<>());
  };
  while (!heap.empty()) {
    std::pop_heap(heap.begin(), heap.end(), std::greater<>());
    const auto rank = static_cast<uint32_t>(heap.back() >> 32);
    const auto place = static_cast<int32_t>(heap.back() & 0xFFFFFFFF);
    heap.pop_back();
    // Overtaken: one of the two was merged with another before.
    if (symbols[place].rank != rank) continue;
    BpeScratch::Symbol& left = symbols[place];
    BpeScratch::Symbol& right = symbols[left.next];
    left.id = merged_id_[rank];
    left.next = right.next;
    right.rank = kNone;
    if (left.next >= 0) symbols[left.next].previous = place;
    update(place);
    if (left.previous >= 0) update(left.previous);
  }
}

}  // namespace grpo
