#include "model/family.h"

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "model/strict_json.h"

namespace grpo {

const nlohmann::json& ConfigReader::Value(const char* field) {
  static const nlohmann::json kNull;
  known_.insert(field);
  const auto found = object_.find(field);
  return found == object_.end() ? kNull : *found;
}

void ConfigReader::Fail(const std::string& message) {
  if (status_.ok()) status_ = absl::InvalidArgumentError(absl::StrCat(place_, ": ", message));
}

int64_t ConfigReader::Int(const char* field) {
  if (Value(field).is_null()) Fail(absl::StrCat(field, " is missing"));
  return IntOr(field, 0);
}

int64_t ConfigReader::IntOr(const char* field, int64_t fallback) {
  const nlohmann::json& value = Value(field);
  if (value.is_null()) return fallback;
  // An unsigned value above INT64_MAX would wrap.
  if (value.is_number_integer() && (!value.is_number_unsigned() || value.get<uint64_t>() <= INT64_MAX))
    return value.get<int64_t>();
  Fail(absl::StrCat(field, " is ", ShowJson(value), ", expected an integer"));
  return fallback;
}

double ConfigReader::Number(const char* field) {
  if (Value(field).is_null()) Fail(absl::StrCat(field, " is missing"));
  return NumberOr(field, 0);
}

double ConfigReader::NumberOr(const char* field, double fallback) {
  const nlohmann::json& value = Value(field);
  if (value.is_null()) return fallback;
  if (value.is_number()) return value.get<double>();
  Fail(absl::StrCat(field, " is ", ShowJson(value), ", expected a number"));
  return fallback;
}

bool ConfigReader::BoolOr(const char* field, bool fallback) {
  const nlohmann::json& value = Value(field);
  if (value.is_null()) return fallback;
  if (value.is_boolean()) return value.get<bool>();
  Fail(absl::StrCat(field, " is ", ShowJson(value), ", expected true or false"));
  return fallback;
}

std::string ConfigReader::TextOr(const char* field, const std::string& fallback) {
  const nlohmann::json& value = Value(field);
  if (value.is_null()) return fallback;
  if (value.is_string()) return value.get<std::string>();
  Fail(absl::StrCat(field, " is ", ShowJson(value), ", expected a text"));
  return fallback;
}

std::vector<int64_t> ConfigReader::IntList(const char* field) {
  const nlohmann::json& value = Value(field);
  if (value.is_null()) return {};
  if (!value.is_array()) return {Int(field)};
  std::vector<int64_t> result;
  for (const nlohmann::json& element : value) {
    if (element.is_number_integer()) {
      result.push_back(element.get<int64_t>());
    } else {
      Fail(absl::StrCat(field, " holds ", ShowJson(element), ", expected integers"));
    }
  }
  return result;
}

void ConfigReader::MustBe(const char* field, const nlohmann::json& supported) {
  const nlohmann::json& value = Value(field);
  if (value.is_null() || value == supported) return;
  Fail(absl::StrCat(field, " is ", ShowJson(value), ", and only ", ShowJson(supported), " is supported"));
}

void ConfigReader::EachMustBe(const char* field, const nlohmann::json& supported) {
  const nlohmann::json& value = Value(field);
  if (value.is_null()) return;
  if (!value.is_array()) return Fail(absl::StrCat(field, " is ", ShowJson(value), ", expected a list"));
  for (const nlohmann::json& element : value) {
    if (element != supported) {
      Fail(absl::StrCat(field, " holds ", ShowJson(element), ", and only ", ShowJson(supported), " is supported"));
    }
  }
}

void ConfigReader::IgnoreUnless(const char* field, const nlohmann::json& neutral, const char* reason) {
  const nlohmann::json& value = Value(field);
  if (!value.is_null() && value != neutral) ignored_.push_back(absl::StrCat(field, " ", ShowJson(value), ": ", reason));
}

void ConfigReader::IgnorePrefix(const char* prefix, const char* reason) {
  for (const auto& [field, value] : object_.items()) {
    if (absl::StartsWith(field, prefix)) IgnoreUnless(field.c_str(), nullptr, reason);
  }
}

void ConfigReader::RefuseUnknown() {
  for (const auto& [field, value] : object_.items()) {
    if (known_.contains(field)) continue;
    Fail(absl::StrCat(field, " is ", ShowJson(value), ", and this field is not known: it might change what the model ",
                      "computes. Take it out if it does not"));
  }
}

namespace {

// rope_scaling of transformers 4, or rope_parameters of 5, which holds rope_theta too.
void ReadRope(ConfigReader& reader, ModelConfig& config) {
  constexpr double kDefaultTheta = 10000;  // transformers' own
  config.rope_theta = reader.NumberOr("rope_theta", kDefaultTheta);
  const bool version_5 = !reader.Value("rope_parameters").is_null();
  const char* const field = version_5 ? "rope_parameters" : "rope_scaling";
  const nlohmann::json& parameters = reader.Value(field);
  if (version_5 && !reader.Value("rope_scaling").is_null() && reader.Value("rope_scaling") != parameters) {
    return reader.Fail("both rope_parameters and rope_scaling are there, and they differ");
  }
  if (parameters.is_null()) return;
  if (!parameters.is_object()) {
    return reader.Fail(absl::StrCat(field, " is ", ShowJson(parameters), ", expected an object"));
  }
  ConfigReader nested(parameters, field);
  const bool theta_twice = !reader.Value("rope_theta").is_null() && !nested.Value("rope_theta").is_null();
  const double theta = nested.NumberOr("rope_theta", config.rope_theta);
  if (theta_twice && theta != config.rope_theta) nested.Fail("rope_theta differs from the one outside");
  config.rope_theta = theta;
  // Its older name.
  const std::string type = nested.TextOr("rope_type", nested.TextOr("type", "default"));
  nested.MustBe("type", type);
  nested.MustBe("partial_rotary_factor", 1.0);
  RopeScaling& scaling = config.rope_scaling;
  if (type == "linear") {
    scaling = {.type = RopeScaling::Type::kLinear, .factor = nested.Number("factor")};
  } else if (type == "llama3") {
    scaling = {.type = RopeScaling::Type::kLlama3,
               .factor = nested.Number("factor"),
               .low_freq_factor = nested.Number("low_freq_factor"),
               .high_freq_factor = nested.Number("high_freq_factor"),
               .original_max_positions = nested.Int("original_max_position_embeddings")};
  } else if (type != "default") {
    nested.Fail(absl::StrCat("rope_type is \"", type, "\"; supported: default, linear, llama3"));
  }
  nested.RefuseUnknown();
  if (!nested.status().ok()) reader.Fail(std::string(nested.status().message()));
}

nlohmann::json WriteRopeScaling(const RopeScaling& scaling) {
  switch (scaling.type) {
    case RopeScaling::Type::kDefault:
      return nullptr;
    case RopeScaling::Type::kLinear:
      return {{"rope_type", "linear"}, {"factor", scaling.factor}};
    case RopeScaling::Type::kLlama3:
      return {{"rope_type", "llama3"},
              {"factor", scaling.factor},
              {"low_freq_factor", scaling.low_freq_factor},
              {"high_freq_factor", scaling.high_freq_factor},
              {"original_max_position_embeddings", scaling.original_max_positions}};
  }
  return nullptr;
}

// What every configuration of transformers 4 and 5 may hold and no forward pass of a decoder reads: bookkeeping,
// outputs asked for by default, heads of other tasks, and the sampling defaults that older files kept here.
void IgnoreBookkeeping(ConfigReader& reader) {
  reader.Ignore({"_attn_implementation_autoset",
                 "_name_or_path",
                 "add_cross_attention",
                 "begin_suppress_tokens",
                 "chunk_size_feed_forward",
                 "cross_attention_hidden_size",
                 "decoder_start_token_id",
                 "dtype",
                 "finetuning_task",
                 "id2label",
                 "initializer_range",
                 "is_decoder",
                 "label2id",
                 "model_type",
                 "output_attentions",
                 "output_hidden_states",
                 "prefix",
                 "problem_type",
                 "return_dict",
                 "sep_token_id",
                 "task_specific_params",
                 "tf_legacy_loss",
                 "tie_encoder_decoder",
                 "tokenizer_class",
                 "torch_dtype",
                 "torchscript",
                 "transformers.js_config",
                 "transformers_version",
                 "use_bfloat16",
                 "use_cache"});
  reader.Ignore({"bad_words_ids",
                 "diversity_penalty",
                 "do_sample",
                 "early_stopping",
                 "encoder_no_repeat_ngram_size",
                 "exponential_decay_length_penalty",
                 "forced_bos_token_id",
                 "forced_eos_token_id",
                 "length_penalty",
                 "max_length",
                 "min_length",
                 "no_repeat_ngram_size",
                 "num_beam_groups",
                 "num_beams",
                 "num_return_sequences",
                 "output_scores",
                 "remove_invalid_values",
                 "repetition_penalty",
                 "return_dict_in_generate",
                 "suppress_tokens",
                 "temperature",
                 "top_k",
                 "top_p",
                 "typical_p"});
}

// What asks for something that a model for generation does not do, or says how others computed the same.
void IgnoreAloud(ConfigReader& reader) {
  for (const char* field : {"attention_dropout", "attn_pdrop", "embd_pdrop", "hidden_dropout", "resid_pdrop"}) {
    reader.IgnoreUnless(field, 0.0, "dropout is not applied");
  }
  reader.IgnorePrefix("unsloth_", "a note of the program that wrote the folder");
  reader.IgnoreUnless("auto_map", nullptr, "code that comes with a folder is not run");
  reader.IgnoreUnless("gradient_checkpointing", false, "trainer.activation_checkpointing says it here");
  for (const char* field : {"_attn_implementation", "_flash_attn_2_enabled", "attn_implementation",
                            "use_flash_attention_2", "use_flash_attn"}) {
    reader.IgnoreUnless(field, false, "another way to compute the same attention");
  }
  if (reader.IntOr("pad_token_id", 0) == -1) reader.IgnoreUnless("pad_token_id", nullptr, "there is no such token");
}

}  // namespace

void ReadDecoder(ConfigReader& reader, const char* architecture, ModelConfig& config) {
  config.vocab_size = reader.Int("vocab_size");
  config.hidden_size = reader.Int("hidden_size");
  config.intermediate_size = reader.Int("intermediate_size");
  config.num_layers = reader.Int("num_hidden_layers");
  config.num_heads = reader.Int("num_attention_heads");
  config.num_kv_heads = reader.IntOr("num_key_value_heads", config.num_heads);
  config.head_dim = reader.IntOr("head_dim", config.num_heads > 0 ? config.hidden_size / config.num_heads : 0);
  config.max_positions = reader.Int("max_position_embeddings");
  config.rms_norm_eps = reader.NumberOr("rms_norm_eps", 1e-6);  // transformers' own default
  config.tie_word_embeddings = reader.BoolOr("tie_word_embeddings", false);
  config.eos_token_ids = reader.IntList("eos_token_id");
  config.pad_token_id = reader.IntOr("pad_token_id", -1);
  config.bos_token_id = reader.IntOr("bos_token_id", -1);
  ReadRope(reader, config);
  reader.EachMustBe("architectures", architecture);
  reader.MustBe("hidden_act", "silu");
  reader.MustBe("partial_rotary_factor", 1.0);
  reader.MustBe("is_encoder_decoder", false);
  reader.MustBe("pruned_heads", nlohmann::json::object());
  reader.MustBe("quantization_config", nullptr);
  reader.EachMustBe("layer_types", "full_attention");
  IgnoreBookkeeping(reader);
  IgnoreAloud(reader);
}

nlohmann::json WriteDecoder(const ModelConfig& config, const char* architecture) {
  const bool one_end = config.eos_token_ids.size() == 1;
  nlohmann::json object = {
      {"architectures", {architecture}},
      {"vocab_size", config.vocab_size},
      {"hidden_size", config.hidden_size},
      {"intermediate_size", config.intermediate_size},
      {"num_hidden_layers", config.num_layers},
      {"num_attention_heads", config.num_heads},
      {"num_key_value_heads", config.num_kv_heads},
      {"head_dim", config.head_dim},
      {"hidden_act", "silu"},
      {"max_position_embeddings", config.max_positions},
      {"rope_theta", config.rope_theta},
      {"rms_norm_eps", config.rms_norm_eps},
      {"attention_dropout", 0.0},
      {"tie_word_embeddings", config.tie_word_embeddings},
      {"eos_token_id", one_end ? nlohmann::json(config.eos_token_ids.front()) : nlohmann::json(config.eos_token_ids)},
      {"pad_token_id", config.pad_token_id},
      {"torch_dtype", "float32"}};
  if (const nlohmann::json scaling = WriteRopeScaling(config.rope_scaling); !scaling.is_null()) {
    object["rope_scaling"] = scaling;
  }
  if (config.bos_token_id >= 0) object["bos_token_id"] = config.bos_token_id;
  return object;
}

}  // namespace grpo
