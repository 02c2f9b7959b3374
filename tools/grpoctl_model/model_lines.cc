#include "tools/grpoctl_model/model_lines.h"

#include <c10/core/InferenceMode.h>

#include <algorithm>
#include <optional>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "common/seeds.h"
#include "common/status_macros.h"
#include "model/sequence_logprobs.h"
#include "model/tensor.h"
#include "model/tokenizer/prompt.h"
#include "rollout/completion_text.h"
#include "rollout/engine.h"
#include "tools/grpoctl/json_lines.h"

namespace grpo {
namespace {

using nlohmann::json;
using nlohmann::ordered_json;

absl::StatusOr<ordered_json> Logprobs(const Transformer& model, const json& line) {
  ASSIGN_OR_RETURN(const std::vector<uint32_t> given, RequiredIds(line, "ids", model.config().vocab_size));
  if (given.size() < 2) return ordered_json{{"logprobs", json::array()}};
  const std::vector<int64_t> ids(given.begin(), given.end());
  const int64_t length = static_cast<int64_t>(ids.size()) - 1;
  if (length > model.config().max_positions) {
    return absl::InvalidArgumentError(absl::StrCat("\"ids\" holds ", ids.size(), " tokens, and the model reads ",
                                                   model.config().max_positions, " at most"));
  }
  return TorchGuard([&]() -> absl::StatusOr<ordered_json> {
    const c10::InferenceMode without_autograd;
    const at::Tensor logprobs = SequenceLogprobs(model, ids);
    const float* const data = logprobs.const_data_ptr<float>();
    return ordered_json{{"logprobs", std::vector<float>(data, data + length)}};
  });
}

// A line on its way through the engine.
struct Pending {
  JsonLine line;
  absl::StatusOr<GenerateRequest> request;
  std::vector<v1::Completion> completions;
};

absl::StatusOr<GenerateRequest> MakeRequest(const JsonLine& line, const Transformer& model, const Tokenizer& tokenizer,
                                            const GenerateOptions& options) {
  RETURN_IF_ERROR(line.object.status());
  GenerateRequest request;
  request.seed = GroupSeed(options.seed, "generate", line.number);
  if (line.object->contains("ids")) {
    ASSIGN_OR_RETURN(request.prompt_ids, RequiredIds(*line.object, "ids", model.config().vocab_size));
  } else {
    ASSIGN_OR_RETURN(const std::string prompt, RequiredText(*line.object, "prompt"));
    ASSIGN_OR_RETURN(request.prompt_ids, EncodePrompt(tokenizer, prompt));
  }
  if (request.prompt_ids.empty()) return absl::InvalidArgumentError("the prompt has no tokens");
  const int64_t needed = static_cast<int64_t>(request.prompt_ids.size()) + options.max_new_tokens;
  if (needed > model.config().max_positions) {
    return absl::InvalidArgumentError(absl::StrCat("prompt and --max-new-tokens are ", needed,
                                                   " tokens, and the model reads ", model.config().max_positions,
                                                   " at most"));
  }
  request.sampling.set_num_completions(static_cast<int32_t>(options.num_completions));
  request.sampling.set_max_new_tokens(static_cast<int32_t>(options.max_new_tokens));
  request.sampling.set_temperature(options.temperature);
  request.sampling.set_top_p(options.top_p);
  request.sampling.set_top_k(static_cast<int32_t>(options.top_k));
  request.sampling.set_min_p(options.min_p);
  for (const std::string& stop : options.stop) request.sampling.add_stop(stop);
  request.tokenizer = &tokenizer;
  return request;
}

const char* FinishName(v1::FinishReason reason) {
  switch (reason) {
    case v1::FINISH_REASON_STOP:
      return "stop";
    case v1::FINISH_REASON_STOP_STRING:
      return "stop_string";
    default:
      return "length";
  }
}

ordered_json CompletionsJson(const std::vector<v1::Completion>& completions, const Tokenizer& tokenizer,
                             const v1::SamplingParams& sampling) {
  ordered_json list = ordered_json::array();
  for (const v1::Completion& completion : completions) {
    list.push_back(
        {{"text", CompletionText(tokenizer, completion, sampling)},
         {"ids", std::vector<uint32_t>(completion.ids().begin(), completion.ids().end())},
         {"logprobs", std::vector<float>(completion.sample_logprob().begin(), completion.sample_logprob().end())},
         {"finish_reason", FinishName(completion.finish_reason())}});
  }
  return {{"completions", list}};
}

// Fills the completions of all whose request is good.
absl::Status Generate(std::shared_ptr<const Transformer> model, const GenerateOptions& options,
                      std::vector<Pending>& all) {
  int64_t longest = 0, num_completions = 0;
  for (const Pending& pending : all) {
    if (!pending.request.ok()) continue;
    longest = std::max(longest, static_cast<int64_t>(pending.request->prompt_ids.size()));
    num_completions += options.num_completions;
  }
  if (num_completions == 0) return absl::OkStatus();
  std::optional<Engine> engine;
  RETURN_IF_ERROR(TorchGuard([&] {
    const c10::InferenceMode without_autograd;
    engine.emplace(std::move(model), /*number=*/0,
                   Engine::Options{.num_slots = std::min(options.slots, num_completions),
                                   .max_tokens = longest + options.max_new_tokens});
    return absl::OkStatus();
  }));
  for (size_t i = 0; i < all.size(); ++i) {
    if (!all[i].request.ok()) continue;
    all[i].request->id = static_cast<int64_t>(i);
    if (absl::Status added = engine->Add(*all[i].request); !added.ok()) all[i].request = added;
  }
  while (!engine->idle()) {
    ASSIGN_OR_RETURN(std::vector<GenerateResult> whole, engine->Step());
    for (GenerateResult& result : whole) all[result.id].completions = std::move(result.completions);
  }
  return absl::OkStatus();
}

}  // namespace

int64_t TokenizeLines(std::istream& in, std::ostream& out, const Tokenizer& tokenizer) {
  return MapJsonLines(in, out, [&](const json& line) -> absl::StatusOr<ordered_json> {
    ASSIGN_OR_RETURN(const std::string text, RequiredText(line, "text"));
    ASSIGN_OR_RETURN(const std::vector<uint32_t> ids, tokenizer.EncodeWithSpecialTokens(text));
    ASSIGN_OR_RETURN(const std::vector<uint32_t> of_text, tokenizer.Encode(text));
    return ordered_json{{"ids", ids}, {"decoded", tokenizer.Decode(of_text)}};
  });
}

int64_t LogprobLines(std::istream& in, std::ostream& out, const Transformer& model) {
  return MapJsonLines(in, out, [&](const json& line) { return Logprobs(model, line); });
}

int64_t GenerateLines(std::istream& in, std::ostream& out, std::shared_ptr<const Transformer> model,
                      const Tokenizer& tokenizer, const GenerateOptions& options) {
  std::vector<Pending> all;
  int64_t number = 0, num_errors = 0;
  while (std::optional<JsonLine> line = NextJsonLine(in, &number)) {
    absl::StatusOr<GenerateRequest> request = MakeRequest(*line, *model, tokenizer, options);
    all.push_back({.line = *std::move(line), .request = std::move(request), .completions = {}});
  }
  const absl::Status generated = Generate(std::move(model), options, all);
  for (const Pending& pending : all) {
    absl::Status status = pending.request.status();
    if (status.ok()) status = generated;
    num_errors += !WriteJsonLine(out, pending.line,
                                 status.ok() ? absl::StatusOr<ordered_json>(CompletionsJson(
                                                   pending.completions, tokenizer, pending.request->sampling))
                                             : absl::StatusOr<ordered_json>(status));
  }
  out << std::flush;
  return num_errors;
}

}  // namespace grpo
