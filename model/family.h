// A model family: how one `model_type` of Hugging Face's config.json is read into a ModelConfig and written back. The
// forward pass itself is model/transformer.h, steered by ModelConfig. A family is one file in families/ and one line in
// families.inc.
#ifndef GRPO_MODEL_FAMILY_H_
#define GRPO_MODEL_FAMILY_H_

#include <cstdint>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "model/config.h"

namespace grpo {

// Reads fields of config.json and keeps the first error, so that a family lists its fields without a branch after each.
// One thread.
class ConfigReader {
 public:
  // The object must outlive the reader.
  explicit ConfigReader(const nlohmann::json& object) : object_(object) {}

  // A field that must be there, with this type. A missing one reads as zero and is an error.
  int64_t Int(const char* field);
  double Number(const char* field);
  // `fallback` when the field is absent or null.
  int64_t IntOr(const char* field, int64_t fallback);
  bool BoolOr(const char* field, bool fallback);
  // An integer or a list of them; empty when absent or null.
  std::vector<int64_t> IntList(const char* field);
  // The base of the rotary embedding, as transformers 4 (`rope_theta`, `rope_scaling`) or 5 (`rope_parameters`) writes
  // it; an error for any kind of rotary embedding but the default.
  double RopeTheta();

  // For a field that changes the forward pass where only one value is supported: an error unless it is absent, null or
  // this value.
  void MustBe(const char* field, const nlohmann::json& supported);
  // The same for every element of a list.
  void EachMustBe(const char* field, const nlohmann::json& supported);

  void Fail(const std::string& message);
  const absl::Status& status() const { return status_; }

 private:
  // The field's value, null when absent.
  const nlohmann::json& Value(const char* field) const;

  const nlohmann::json& object_;
  absl::Status status_;
};

// Stateless functions; any thread.
struct ModelFamily {
  // `model_type` in config.json.
  const char* name;
  // Fills what config.json says beyond `family`. Errors go to the reader.
  void (*read)(ConfigReader& reader, ModelConfig& config);
  // config.json as transformers loads it, `model_type` included.
  nlohmann::json (*write)(const ModelConfig& config);
};

// The families of families.inc, in its order.
const std::vector<const ModelFamily*>& ModelFamilies();

}  // namespace grpo

#endif  // GRPO_MODEL_FAMILY_H_
