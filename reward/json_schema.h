// A part of JSON Schema (draft 2020-12): type, enum, const, properties, required, additionalProperties, items,
// minItems, maxItems, minLength, maxLength, pattern, minimum, maximum, exclusiveMinimum, exclusiveMaximum, anyOf,
// allOf, not; title, description, $schema and default are ignored. Any other keyword is refused, so that a schema never
// means less than it says. Own code, because validators that Debian has match patterns by backtracking, which an answer
// could stall.
#ifndef GRPO_REWARD_JSON_SCHEMA_H_
#define GRPO_REWARD_JSON_SCHEMA_H_

#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "nlohmann/json.hpp"
#include "re2/re2.h"

namespace grpo {

// Thread-safe.
class JsonSchema {
 public:
  // InvalidArgument with the place in the schema ("properties.age.minimum") for what is no schema of these keywords, or
  // is nested deeper than 32. true and false are schemas too. A pattern is one of RE2's, of a bounded size.
  static absl::StatusOr<std::unique_ptr<JsonSchema>> Make(const nlohmann::json& schema);

  // Where and how the value does not fit ("$.age: is below the minimum 0"); empty when it fits. The first reason that
  // is found. Recursion goes no deeper than the schema.
  std::string WhyNot(const nlohmann::json& value) const { return WhyNot(value, "$"); }

 private:
  using Json = nlohmann::json;
  using Pointer = std::unique_ptr<JsonSchema>;

  JsonSchema() = default;
  // The schema at `place`, which messages name.
  static absl::StatusOr<Pointer> Make(const Json& schema, const std::string& place, int depth);
  // Takes in one keyword.
  absl::Status Read(const std::string& keyword, const Json& value, const std::string& place, int depth);
  // As above; `place` is where the value stands, such as "$.items[2]". The next four look at what one type's keywords
  // say.
  std::string WhyNot(const Json& value, const std::string& place) const;
  std::string WhyNotNumber(const Json& value) const;
  std::string WhyNotText(const std::string& text) const;
  std::string WhyNotArray(const Json& value, const std::string& place) const;
  std::string WhyNotObject(const Json& value, const std::string& place) const;

  // `false` as a schema: nothing fits.
  bool never_ = false;
  // Empty: any.
  std::vector<std::string> types_;
  // Of enum or const: one of these, compared as JSON.
  std::optional<std::vector<Json>> choices_;
  // Schemas of the named members; names of those that must be there.
  std::map<std::string, Pointer> properties_;
  std::vector<std::string> required_;
  // Null: not asked for.
  Pointer additional_, items_, not_;
  // Empty: not asked for.
  std::vector<Pointer> any_of_, all_of_;
  // Absent: no bound. Counts are of items, and of characters of a text.
  std::optional<double> minimum_, maximum_, exclusive_minimum_, exclusive_maximum_;
  std::optional<size_t> min_items_, max_items_, min_length_, max_length_;
  // Null: any text. It may match anywhere in the text.
  std::unique_ptr<RE2> pattern_;
};

}  // namespace grpo

#endif  // GRPO_REWARD_JSON_SCHEMA_H_
