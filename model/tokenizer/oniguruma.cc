// OnigurumaToPcre2: copies what both read alike, translates what differs, refuses the rest by name.
#include <algorithm>
#include <iterator>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/ascii.h"
#include "absl/strings/match.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/strip.h"
#include "common/status_macros.h"
#include "model/strict_json.h"
#include "model/tokenizer/regex.h"

namespace grpo {
namespace {

constexpr absl::string_view kGroups[] = {"(?:", "(?=", "(?!", "(?>", "(?<=", "(?<!", "(?i:"};
// What Oniguruma's (?i:...) also finds as one character: long s with t, sharp s, the ligatures of f.
constexpr absl::string_view kFoldedPairs[] = {"ff", "fi", "fl", "ss", "st"};
constexpr absl::string_view kCategories[] = {"C",  "Cc", "Cf", "Co", "L",  "Ll", "Lm", "Lo", "Lt", "Lu", "M",  "Mc",
                                             "Me", "Mn", "N",  "Nd", "Nl", "No", "P",  "Pc", "Pd", "Pe", "Pf", "Pi",
                                             "Po", "Ps", "S",  "Sc", "Sk", "Sm", "So", "Z",  "Zl", "Zp", "Zs"};

class Translator {
 public:
  explicit Translator(absl::string_view pattern) : rest_(pattern) {}

  absl::StatusOr<std::string> Translate() {
    while (!rest_.empty()) RETURN_IF_ERROR(Item());
    return std::move(out_);
  }

 private:
  absl::Status Refuse(absl::string_view what) const {
    return absl::InvalidArgumentError(absl::StrCat("has ", ShowJson(std::string(what)), ", which is not supported"));
  }
  void Copy(size_t num_bytes) {
    absl::StrAppend(&out_, rest_.substr(0, num_bytes));
    rest_.remove_prefix(num_bytes);
  }
  void Replace(size_t num_bytes, absl::string_view by) {
    absl::StrAppend(&out_, by);
    rest_.remove_prefix(num_bytes);
  }

  absl::Status Item() {
    const char c = rest_[0];
    const std::string before = std::exchange(previous_literal_, "");
    switch (c) {
      case '\\':
        return Escape(/*in_class=*/false).status();
      case '[':
        return Class();
      case '(':
        return OpenGroup();
      case ')':
        if (!ignores_case_.empty()) ignores_case_.pop_back();
        Copy(1);
        return absl::OkStatus();
      case '?':
      case '*':
      case '+':
        Copy(1);
        // Lazy and possessive.
        if (absl::StartsWith(rest_, "?") || absl::StartsWith(rest_, "+")) Copy(1);
        return absl::OkStatus();
      case '{':
        return Interval();
      case ']':
        Replace(1, "\\]");
        return absl::OkStatus();
      default:
        if (IgnoresCase()) RETURN_IF_ERROR(CheckFolding(before));
        Copy(1);
        return absl::OkStatus();
    }
  }

  bool IgnoresCase() const { return !ignores_case_.empty() && ignores_case_.back(); }

  absl::Status CheckFolding(const std::string& before) {
    if (!absl::ascii_isascii(rest_[0])) return Refuse("(?i:...) around characters beyond ASCII");
    previous_literal_ = std::string(1, absl::ascii_tolower(rest_[0]));
    const std::string pair = before + previous_literal_;
    if (std::count(std::begin(kFoldedPairs), std::end(kFoldedPairs), pair) > 0)
      return Refuse(absl::StrCat("(?i:", pair, ")"));
    return absl::OkStatus();
  }

  absl::Status OpenGroup() {
    bool ignores_case = IgnoresCase();
    size_t num_bytes = 1;
    if (absl::StartsWith(rest_, "(?") || absl::StartsWith(rest_, "(*")) {
      num_bytes = 0;
      for (const absl::string_view group : kGroups) {
        if (absl::StartsWith(rest_, group)) num_bytes = group.size();
      }
      if (num_bytes == 0) return Refuse(rest_.substr(0, 4));
      if (absl::StartsWith(rest_, "(?i:")) ignores_case = true;
    }
    ignores_case_.push_back(ignores_case);
    Copy(num_bytes);
    return absl::OkStatus();
  }

  // {n}, {n,} and {n,m}, the latter two also lazy. Oniguruma reads {n}? as (?:{n})? and {n,m}+ as (?:{n,m})+.
  absl::Status Interval() {
    const absl::string_view interval = rest_.substr(0, rest_.find('}') + 1);
    const bool numbers_only = std::all_of(interval.begin(), interval.end(), [](char c) {
      return absl::ascii_isdigit(c) || c == ',' || c == '{' || c == '}';
    });
    const auto num_commas = std::count(interval.begin(), interval.end(), ',');
    if (interval.size() < 3 || !numbers_only || !absl::ascii_isdigit(interval[1]) || num_commas > 1)
      return Refuse(rest_.substr(0, 8));
    Copy(interval.size());
    if (absl::StartsWith(rest_, "+") || (num_commas == 0 && absl::StartsWith(rest_, "?")))
      return Refuse(absl::StrCat(interval, rest_.substr(0, 1)));
    if (absl::StartsWith(rest_, "?")) Copy(1);
    return absl::OkStatus();
  }

  // Whether the escape stands for a class of characters.
  absl::StatusOr<bool> Escape(bool in_class) {
    const absl::string_view escape = rest_.substr(0, 2);
    if (escape == "\\s" || escape == "\\S") {
      Replace(2, escape == "\\s" ? "\\p{White_Space}" : "\\P{White_Space}");
      return true;
    }
    if (escape == "\\d" || escape == "\\D") {
      Replace(2, escape == "\\d" ? "\\p{Nd}" : "\\P{Nd}");
      return true;
    }
    if (escape == "\\p" || escape == "\\P") return Property();
    if (escape == "\\x" || escape == "\\u") return CodePoint();
    // PCRE2's \v is a class.
    if (escape == "\\v") {
      Replace(2, "\\x0b");
      return false;
    }
    const bool control = escape == "\\n" || escape == "\\r" || escape == "\\t" || escape == "\\f";
    if (!control && (escape.size() < 2 || !absl::ascii_ispunct(escape[1]))) return Refuse(escape);
    Copy(2);
    return false;
  }

  absl::StatusOr<bool> Property() {
    const absl::string_view whole = rest_.substr(0, rest_.find('}') + 1);
    if (whole.size() < 5 || whole[2] != '{') return Refuse(rest_.substr(0, 4));
    absl::string_view name = whole.substr(3, whole.size() - 4);
    const bool negated = absl::ConsumePrefix(&name, "^");
    if (!std::all_of(name.begin(), name.end(), [](char c) { return absl::ascii_isalpha(c) || c == '_'; }))
      return Refuse(whole);
    // Other names are taken for scripts; PCRE2 refuses those that are none.
    const bool category = std::count(std::begin(kCategories), std::end(kCategories), name) > 0;
    Replace(whole.size(), absl::StrCat(whole.substr(0, 3), negated ? "^" : "", category ? "" : "sc:", name, "}"));
    return true;
  }

  // \xHH below 80 (above, it is a byte of a character), \x{H...} and \uHHHH.
  absl::StatusOr<bool> CodePoint() {
    const bool braces = absl::StartsWith(rest_, "\\x{");
    const size_t num_digits = braces ? rest_.find('}') - 3 : rest_[1] == 'x' ? 2 : 4;
    const absl::string_view digits = rest_.substr(braces ? 3 : 2, num_digits);
    uint32_t value = 0;
    if (rest_.size() < num_digits || digits.size() != num_digits || digits.size() > 6 ||
        !std::all_of(digits.begin(), digits.end(), absl::ascii_isxdigit) || !absl::SimpleHexAtoi(digits, &value) ||
        (!braces && rest_[1] == 'x' && value >= 0x80)) {
      return Refuse(rest_.substr(0, 6));
    }
    Replace(num_digits + (braces ? 4 : 2), absl::StrCat("\\x{", digits, "}"));
    return false;
  }

  absl::Status Class() {
    const absl::string_view whole = rest_;
    Copy(absl::StartsWith(rest_, "[^") ? 2 : 1);
    if (absl::StartsWith(rest_, "]")) return Refuse("an empty class");
    // Whether what stands before can begin a range.
    bool single = false;
    while (!absl::StartsWith(rest_, "]")) {
      if (rest_.empty()) return Refuse(whole.substr(0, 8));
      if (rest_[0] == '[' || absl::StartsWith(rest_, "&&"))
        return Refuse(absl::StrCat("a class with ", rest_.substr(0, 2)));
      if (rest_[0] == '\\') {
        ASSIGN_OR_RETURN(const bool class_of_characters, Escape(/*in_class=*/true));
        single = !class_of_characters;
        continue;
      }
      if (rest_[0] == '-' && !absl::StartsWith(rest_, "-]")) {
        RETURN_IF_ERROR(RangeEnd(single));
        single = false;
        continue;
      }
      if (IgnoresCase() && !absl::ascii_isascii(rest_[0])) return Refuse("(?i:...) around characters beyond ASCII");
      single = true;
      Copy(1);
    }
    Copy(1);
    return absl::OkStatus();
  }

  absl::Status RangeEnd(bool has_begin) {
    const bool first = out_.back() == '[' || absl::EndsWith(out_, "[^");
    if (!has_begin && !first) return Refuse(absl::StrCat("a class with ", rest_.substr(0, 2), " after a class"));
    Copy(1);
    if (first || !absl::StartsWith(rest_, "\\")) return absl::OkStatus();
    ASSIGN_OR_RETURN(const bool class_of_characters, Escape(/*in_class=*/true));
    return class_of_characters ? Refuse("a range that ends in a class") : absl::OkStatus();
  }

  absl::string_view rest_;
  std::string out_;
  // For each open group.
  std::vector<bool> ignores_case_;
  // Where case is ignored, the letter just copied.
  std::string previous_literal_;
};

}  // namespace

absl::StatusOr<std::string> OnigurumaToPcre2(absl::string_view pattern) {
  return Translator(pattern).Translate();
}

}  // namespace grpo
