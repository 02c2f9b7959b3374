// A model family: how one `model_type` of Hugging Face's config.json is read into a ModelConfig and written back. The
// forward pass itself is model/transformer.h, steered by ModelConfig. A family is one file in families/ and one line in
// families.inc.
#ifndef GRPO_MODEL_FAMILY_H_
#define GRPO_MODEL_FAMILY_H_

#include <cstdint>
#include <initializer_list>
#include <nlohmann/json.hpp>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "model/config.h"

namespace grpo {

// Reads fields of config.json, remembers which, and keeps the first error, so that a family lists its fields without a
// branch after each. One thread.
class ConfigReader {
 public:
  // `place` begins every message ("config.json"). The object must outlive the reader.
  ConfigReader(const nlohmann::json& object, std::string place) : object_(object), place_(std::move(place)) {}

  // A field that must be there, with this type. A missing one reads as zero and is an error. So is one that does not
  // fit int64.
  int64_t Int(const char* field);
  double Number(const char* field);
  // `fallback` when the field is absent or null. A value of another type is an error, and reads as `fallback` too.
  int64_t IntOr(const char* field, int64_t fallback);
  double NumberOr(const char* field, double fallback);
  bool BoolOr(const char* field, bool fallback);
  std::string TextOr(const char* field, const std::string& fallback);
  // An integer or a list of them; empty when absent or null. Elements of another type are left out, and are an error.
  std::vector<int64_t> IntList(const char* field);
  // The field's value, null when absent. It counts as asked for. Lives as long as the object.
  const nlohmann::json& Value(const char* field);

  // For a field of which only one value is supported: an error unless it is absent, null or this value.
  void MustBe(const char* field, const nlohmann::json& supported);
  // The same for every element of a list.
  void EachMustBe(const char* field, const nlohmann::json& supported);
  // For fields that change nothing in the forward pass.
  void Ignore(std::initializer_list<const char*> fields) { known_.insert(fields.begin(), fields.end()); }
  // For a field whose value is not honoured: unless it is absent, null or `neutral`, it is kept for ignored(), with the
  // reason.
  void IgnoreUnless(const char* field, const nlohmann::json& neutral, const char* reason);
  // For fields of other programs, all of which begin so.
  void IgnorePrefix(const char* prefix, const char* reason);
  // The error of a field that nobody asked for. After all others.
  void RefuseUnknown();

  // InvalidArgument with the place before the message, unless there was an error before.
  void Fail(const std::string& message);
  // The first error.
  const absl::Status& status() const { return status_; }
  // "FIELD VALUE: REASON"
  const std::vector<std::string>& ignored() const { return ignored_; }

 private:
  const nlohmann::json& object_;
  const std::string place_;
  // Fields that were asked for or may be ignored.
  std::set<std::string> known_;
  absl::Status status_;
  std::vector<std::string> ignored_;
};

// What the decoders of all families have in common, their rotary embedding included, with `architecture` as the class
// that transformers loads ("Qwen2ForCausalLM"). Errors go to the reader; what is not honoured and harmless goes to its
// ignored(). Calls everything but RefuseUnknown.
void ReadDecoder(ConfigReader& reader, const char* architecture, ModelConfig& config);
// The fields that ReadDecoder reads, of a configuration that passes Validate.
nlohmann::json WriteDecoder(const ModelConfig& config, const char* architecture);

// Stateless functions; any thread.
struct ModelFamily {
  // `model_type` in config.json.
  const char* name;
  // Fills what config.json says beyond `family`. Errors go to the reader.
  void (*read)(ConfigReader& reader, ModelConfig& config);
  // config.json as transformers 4 and 5 load it, without `model_type`.
  nlohmann::json (*write)(const ModelConfig& config);
};

}  // namespace grpo

#endif  // GRPO_MODEL_FAMILY_H_
