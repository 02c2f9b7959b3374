#include "reward/language.h"

#include <map>

#include "absl/strings/str_cat.h"

namespace grpo {
namespace {

// The inside of a character class.
std::string ScriptsOf(const std::string& language) {
  static const auto* scripts =
      new std::map<std::string, std::string>{{"zh", "\\p{Han}"},      {"ja", "\\p{Han}\\p{Hiragana}\\p{Katakana}"},
                                             {"ko", "\\p{Hangul}"},   {"ru", "\\p{Cyrillic}"},
                                             {"uk", "\\p{Cyrillic}"}, {"ar", "\\p{Arabic}"},
                                             {"he", "\\p{Hebrew}"},   {"hi", "\\p{Devanagari}"},
                                             {"el", "\\p{Greek}"},    {"th", "\\p{Thai}"}};
  const auto found = scripts->find(language);
  return found == scripts->end() ? "\\p{Latin}" : found->second;
}

std::string Pattern(const std::string& language) {
  constexpr char kIdeograph[] = "\\p{Han}\\p{Hiragana}\\p{Katakana}";
  const std::string scripts = ScriptsOf(language);
  const bool by_character = language == "zh" || language == "ja";
  return absl::StrCat("\\\\[A-Za-z]+|</?(?:think|answer)>|([", scripts,
                      by_character ? "]" : "][\\p{M}" + scripts + "]+", ")|([", kIdeograph, "]|[^\\P{L}", kIdeograph,
                      "][^\\P{L}", kIdeograph, "]+)");
}

}  // namespace

std::vector<const char*> Languages() {
  return {"en", "de", "fr", "es", "it", "pt", "zh", "ja", "ko", "ru", "uk", "ar", "he", "hi", "el", "th"};
}

LanguageMeter::LanguageMeter(const std::string& language) : word_(Pattern(language)) {}

double LanguageMeter::Share(absl::string_view completion) const {
  const re2::StringPiece text(completion.data(), completion.size());
  re2::StringPiece groups[3];
  double target = 0, all = 0;
  for (size_t at = 0; word_.Match(text, at, text.size(), RE2::UNANCHORED, groups, 3);) {
    if (groups[1].data() != nullptr) ++target;
    if (groups[1].data() != nullptr || groups[2].data() != nullptr) ++all;
    at = groups[0].data() + groups[0].size() - text.data();
  }
  return all == 0 ? 0 : target / all;
}

}  // namespace grpo
