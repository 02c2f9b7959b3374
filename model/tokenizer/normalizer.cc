#include "model/tokenizer/normalizer.h"

#include <utf8proc.h>

#include <algorithm>

#include "common/status_macros.h"
#include "common/utf8.h"
#include "model/tokenizer/fields.h"

namespace grpo {
namespace {

int CombiningClass(utf8proc_int32_t code_point) {
  return code_point < 0x300 ? 0 : utf8proc_get_property(code_point)->combining_class;
}

// Canonical order: within a run of combining marks by class. utf8proc_map sorts by swapping neighbours, which takes
// minutes for a megabyte of marks.
void SortMarks(std::vector<utf8proc_int32_t>* code_points) {
  for (auto begin = code_points->begin(); begin != code_points->end();) {
    if (CombiningClass(*begin) == 0) {
      ++begin;
      continue;
    }
    const auto end = std::find_if(begin, code_points->end(), [](utf8proc_int32_t c) { return CombiningClass(c) == 0; });
    std::stable_sort(begin, end,
                     [](utf8proc_int32_t a, utf8proc_int32_t b) { return CombiningClass(a) < CombiningClass(b); });
    begin = end;
  }
}

}  // namespace

absl::StatusOr<Normalizer> Normalizer::FromJson(const nlohmann::json& json) {
  Normalizer normalizer;
  ASSIGN_OR_RETURN(const std::vector<nlohmann::json> components, Components(json, "normalizer", "normalizers"));
  for (const nlohmann::json& component : components) {
    const std::string type = Field(component, "type").get<std::string>();
    if (type != "NFC" && type != "NFD" && type != "NFKC" && type != "NFKD")
      return Unexpected("normalizer", component, "NFC, NFD, NFKC, NFKD or a Sequence of them");
    RETURN_IF_ERROR(ExpectKeys(component, "normalizer", {"type"}));
    normalizer.forms_.push_back({.compatibility = type[2] == 'K', .compose = type.back() == 'C'});
  }
  return normalizer;
}

std::string Normalizer::Normalize(absl::string_view text) const {
  std::string result(text);
  // ASCII is normalized in every form.
  if (IsAscii(text)) return result;
  for (const Form& form : forms_) result = Apply(form, result);
  return result;
}

std::string Normalizer::Apply(const Form& form, absl::string_view text) {
  const auto decompose =
      static_cast<utf8proc_option_t>(UTF8PROC_DECOMPOSE | (form.compatibility ? UTF8PROC_COMPAT : 0));
  std::vector<utf8proc_int32_t> code_points;
  code_points.reserve(text.size());
  while (!text.empty()) {
    const Utf8Character character = FirstCharacter(text);
    text.remove_prefix(character.num_bytes);
    const auto code_point = static_cast<utf8proc_int32_t>(character.code_point);
    if (code_point < 0xA0) {
      code_points.push_back(code_point);
      continue;
    }
    // The longest decomposition of a character, U+FDFA's, has 18.
    utf8proc_int32_t parts[32];
    int boundary_class = 0;
    const utf8proc_ssize_t num_parts =
        utf8proc_decompose_char(code_point, parts, std::size(parts), decompose, &boundary_class);
    code_points.insert(code_points.end(), parts, parts + num_parts);
  }
  SortMarks(&code_points);
  if (form.compose) {
    const utf8proc_ssize_t num_left =
        utf8proc_normalize_utf32(code_points.data(), static_cast<utf8proc_ssize_t>(code_points.size()),
                                 static_cast<utf8proc_option_t>(UTF8PROC_STABLE | UTF8PROC_COMPOSE));
    code_points.resize(static_cast<size_t>(num_left));
  }
  std::string result;
  for (const utf8proc_int32_t code_point : code_points) AppendCharacter(static_cast<uint32_t>(code_point), &result);
  return result;
}

}  // namespace grpo
