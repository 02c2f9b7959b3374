// The post-processor of a tokenizer.json: the tokens put around those of a text, such as Llama 3's <|begin_of_text|>.
#ifndef GRPO_MODEL_TOKENIZER_POST_PROCESSOR_H_
#define GRPO_MODEL_TOKENIZER_POST_PROCESSOR_H_

#include <cstdint>
#include <nlohmann/json.hpp>
#include <vector>

#include "absl/status/statusor.h"

namespace grpo {

// Thread-safe.
class PostProcessor {
 public:
  // null, ByteLevel (which does nothing to ids), TemplateProcessing or a Sequence of them; others are InvalidArgument
  // by name. So is a second TemplateProcessing. The template for pairs is not read: nobody encodes two texts at once.
  static absl::StatusOr<PostProcessor> FromJson(const nlohmann::json& post_processor);

  // The ids of a text with before() in front and what the template puts behind.
  std::vector<uint32_t> AddSpecialTokens(std::vector<uint32_t> ids) const;
  // What stands before the text.
  const std::vector<uint32_t>& before() const { return before_; }

 private:
  absl::Status LoadTemplate(const nlohmann::json& component);

  bool has_template_ = false;
  std::vector<uint32_t> before_, behind_;
};

}  // namespace grpo

#endif  // GRPO_MODEL_TOKENIZER_POST_PROCESSOR_H_
