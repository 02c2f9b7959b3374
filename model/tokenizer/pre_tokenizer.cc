#include "model/tokenizer/pre_tokenizer.h"

#include <iterator>
#include <string>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "common/status_macros.h"
#include "common/utf8.h"
#include "model/tokenizer/fields.h"

namespace grpo {
namespace {

using nlohmann::json;

constexpr char kPlace[] = "pre_tokenizer";
// What ByteLevel's use_regex stands for.
constexpr char kGpt2Pattern[] = R"('s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+)";

absl::Status InPreTokenizer(const absl::Status& status) {
  return status.ok() ? status : Unusable(absl::StrCat(kPlace, ": ", status.message()));
}

}  // namespace

absl::StatusOr<PreTokenizer> PreTokenizer::FromJson(const json& pre_tokenizer) {
  PreTokenizer result;
  ASSIGN_OR_RETURN(const std::vector<json> components, Components(pre_tokenizer, kPlace, "pretokenizers"));
  for (const json& component : components) {
    // The library would go on in the byte alphabet.
    if (result.byte_level_) return Unexpected(kPlace, component, "nothing after ByteLevel");
    const std::string type = Field(component, "type").get<std::string>();
    Stage stage;
    if (type == "Split") {
      ASSIGN_OR_RETURN(stage, ParseSplit(component));
    } else if (type == "Digits") {
      ASSIGN_OR_RETURN(stage, ParseDigits(component));
    } else if (type == "ByteLevel") {
      ASSIGN_OR_RETURN(stage, ParseByteLevel(component));
      result.byte_level_ = true;
    } else {
      return Unexpected(kPlace, component, "Split, Digits, ByteLevel or a Sequence of them");
    }
    result.stages_.push_back(std::move(stage));
  }
  return result;
}

absl::StatusOr<PreTokenizer::Stage> PreTokenizer::ParseSplit(const json& component) {
  RETURN_IF_ERROR(ExpectKeys(component, kPlace, {"type", "pattern", "behavior", "invert"}));
  const json& pattern = Field(component, "pattern");
  const json &regex = Field(pattern, "Regex"), &text = Field(pattern, "String");
  if (!pattern.is_object() || pattern.size() != 1 || (!regex.is_string() && !text.is_string()))
    return Unexpected(absl::StrCat(kPlace, ".pattern"), pattern, R"({"Regex": ...} or {"String": ...})");
  constexpr const char* kBehaviors[] = {"Isolated", "Removed", "MergedWithPrevious", "MergedWithNext", "Contiguous"};
  Stage stage;
  ASSIGN_OR_RETURN(stage.invert, BoolField(component, kPlace, "invert", false));
  const json& behavior = Field(component, "behavior");
  size_t number = 0;
  while (number < std::size(kBehaviors) && behavior != kBehaviors[number]) ++number;
  if (number == std::size(kBehaviors)) {
    return Unexpected(absl::StrCat(kPlace, ".behavior"), behavior,
                      "Isolated, Removed, MergedWithPrevious, MergedWithNext or Contiguous");
  }
  stage.behavior = static_cast<Behavior>(number);
  absl::StatusOr<Regex> made = regex.is_string() ? Regex::FromPattern(regex.get_ref<const std::string&>())
                                                 : Regex::FromText(text.get_ref<const std::string&>());
  RETURN_IF_ERROR(InPreTokenizer(made.status()));
  stage.regex = *std::move(made);
  return stage;
}

absl::StatusOr<PreTokenizer::Stage> PreTokenizer::ParseDigits(const json& component) {
  RETURN_IF_ERROR(ExpectKeys(component, kPlace, {"type", "individual_digits"}));
  ASSIGN_OR_RETURN(const bool individual, BoolField(component, kPlace, "individual_digits", false));
  Stage stage;
  stage.behavior = individual ? Behavior::kIsolated : Behavior::kContiguous;
  ASSIGN_OR_RETURN(stage.regex, Regex::FromPattern("\\p{N}"));
  return stage;
}

absl::StatusOr<PreTokenizer::Stage> PreTokenizer::ParseByteLevel(const json& component) {
  // trim_offsets is about offsets, of which there are none here.
  RETURN_IF_ERROR(ExpectKeys(component, kPlace, {"type", "add_prefix_space", "trim_offsets", "use_regex"}));
  RETURN_IF_ERROR(BoolField(component, kPlace, "trim_offsets", true).status());
  Stage stage;
  ASSIGN_OR_RETURN(stage.add_prefix_space, BoolField(component, kPlace, "add_prefix_space", true));
  ASSIGN_OR_RETURN(const bool use_regex, BoolField(component, kPlace, "use_regex", true));
  if (use_regex) {
    ASSIGN_OR_RETURN(stage.regex, Regex::FromPattern(kGpt2Pattern));
  }
  return stage;
}

class PreTokenizer::Joiner {
 public:
  Joiner(absl::string_view text, const Stage& stage, Sink sink) : text_(text), stage_(stage), sink_(sink) {}

  absl::Status Add(size_t begin, size_t end, bool is_match) {
    is_match = is_match != stage_.invert;
    if (stage_.behavior == Behavior::kRemoved && is_match) {
      last_is_match_ = true;
      return Flush();
    }
    const bool joins = has_word_ && Joins(is_match);
    last_is_match_ = is_match;
    if (!joins) {
      RETURN_IF_ERROR(Flush());
      begin_ = begin;
      has_word_ = true;
    }
    end_ = end;
    return absl::OkStatus();
  }

  absl::Status Flush() {
    const bool has_word = std::exchange(has_word_, false) && end_ > begin_;
    return has_word ? sink_(text_.substr(begin_, end_ - begin_)) : absl::OkStatus();
  }

 private:
  // Whether a segment goes to the word that ends before it.
  bool Joins(bool is_match) const {
    switch (stage_.behavior) {
      case Behavior::kIsolated:
      case Behavior::kRemoved:
        return false;
      case Behavior::kMergedWithPrevious:
        return is_match && !last_is_match_;
      case Behavior::kMergedWithNext:
        return !is_match && last_is_match_;
      case Behavior::kContiguous:
        return is_match == last_is_match_;
    }
    return false;
  }

  const absl::string_view text_;
  const Stage& stage_;
  const Sink sink_;
  bool has_word_ = false;
  size_t begin_ = 0, end_ = 0;
  bool last_is_match_ = false;
};

absl::Status PreTokenizer::SplitFrom(size_t index, absl::string_view text, RegexScratch& scratch, Sink sink) const {
  if (text.empty()) return absl::OkStatus();
  if (index == stages_.size()) return sink(text);
  const Stage& stage = stages_[index];
  std::string prefixed;
  if (stage.add_prefix_space && text[0] != ' ') text = prefixed = absl::StrCat(" ", text);
  if (!stage.regex.has_value()) return SplitFrom(index + 1, text, scratch, sink);
  const bool last = index + 1 == stages_.size();
  const auto next = [&](absl::string_view part) { return SplitFrom(index + 1, part, scratch, sink); };
  Joiner joiner(text, stage, last ? sink : Sink(next));
  size_t between = 0;
  for (size_t position = 0; position <= text.size();) {
    ASSIGN_OR_RETURN(const int64_t match_end, stage.regex->MatchAt(text, position, scratch));
    const auto end = static_cast<size_t>(match_end);
    // An empty match right behind a match counts for nothing.
    const bool found = match_end >= 0 && (end > position || position == 0 || position > between);
    if (found) {
      if (position > between) RETURN_IF_ERROR(joiner.Add(between, position, /*is_match=*/false));
      RETURN_IF_ERROR(joiner.Add(position, end, /*is_match=*/true));
      between = end;
    }
    if (found && end > position) {
      position = end;
    } else if (position < text.size()) {
      position += FirstCharacter(text.substr(position)).num_bytes;
    } else {
      break;
    }
  }
  if (between < text.size()) RETURN_IF_ERROR(joiner.Add(between, text.size(), /*is_match=*/false));
  return joiner.Flush();
}

}  // namespace grpo
