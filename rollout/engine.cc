#include "rollout/engine.h"

#include <c10/core/InferenceMode.h>

#include <algorithm>
#include <cmath>
#include <utility>

#include "absl/strings/str_cat.h"
#include "common/seeds.h"
#include "common/status_macros.h"
#include "model/tensor.h"

namespace grpo {
namespace {

// Bounds what one request makes the engine allocate before anything is sampled.
constexpr int32_t kMaxCompletions = 1 << 20;

// Tokens of the prompts that are computed together: enough to keep the machine busy, and little memory.
constexpr int64_t kPrefillTokens = 4096;

absl::Status CheckSampling(const v1::SamplingParams& sampling) {
  if (sampling.num_completions() < 1 || sampling.num_completions() > kMaxCompletions) {
    return absl::InvalidArgumentError(
        absl::StrCat("num_completions is ", sampling.num_completions(), "; it must be 1 to ", kMaxCompletions));
  }
  if (sampling.max_new_tokens() < 1) {
    return absl::InvalidArgumentError(
        absl::StrCat("max_new_tokens is ", sampling.max_new_tokens(), "; it must be at least 1"));
  }
  const double temperature = sampling.temperature();
  if (!std::isfinite(temperature) || temperature < 0 || (temperature > 0 && temperature < kMinTemperature)) {
    return absl::InvalidArgumentError(
        absl::StrCat("temperature is ", temperature, "; it must be 0 (greedy) or at least ", kMinTemperature));
  }
  if (const double top_p = sampling.top_p(); !(top_p >= 0 && top_p <= 1)) {
    return absl::InvalidArgumentError(absl::StrCat("top_p is ", top_p, "; it must be above 0 and at most 1"));
  }
  if (sampling.top_k() < 0) {
    return absl::InvalidArgumentError(absl::StrCat("top_k is ", sampling.top_k(), "; it must be 0 (all) or more"));
  }
  if (const double min_p = sampling.min_p(); !(min_p >= 0 && min_p <= 1)) {
    return absl::InvalidArgumentError(absl::StrCat("min_p is ", min_p, "; it must be 0 to 1"));
  }
  return CheckStopStrings(sampling);
}

Cut CutOf(const v1::SamplingParams& sampling) {
  return {.top_p = sampling.top_p() == 0 ? 1 : sampling.top_p(), .top_k = sampling.top_k(), .min_p = sampling.min_p()};
}

}  // namespace

Engine::Engine(std::shared_ptr<const Transformer> model, int64_t number, Options options, const Clock& clock)
    : number_(number),
      options_(options),
      clock_(clock),
      times_(clock),
      decoder_(MakeDecoder(std::move(model), number, options.num_slots, options.max_tokens, &times_)),
      slots_(options.num_slots) {}

absl::Status Engine::Add(GenerateRequest request) {
  RETURN_IF_ERROR(CheckSampling(request.sampling));
  if (request.sampling.stop_size() > 0 && request.tokenizer == nullptr) {
    return absl::InvalidArgumentError("there are stop strings, and no tokenizer to read the text with");
  }
  const int64_t prompt_tokens = request.prompt_ids.size(), new_tokens = request.sampling.max_new_tokens();
  if (prompt_tokens == 0) return absl::InvalidArgumentError("the prompt is empty; give at least one token");
  if (prompt_tokens + new_tokens > options_.max_tokens) {
    return absl::InvalidArgumentError(absl::StrCat(
        "the prompt has ", prompt_tokens, " tokens and up to ", new_tokens, " new ones follow, but the context holds ",
        options_.max_tokens, "; shorten the prompt, lower max_new_tokens, or raise rollout_worker.context_tokens ",
        "(at most the policy's max_positions, ", decoder_->model().config().max_positions, ")"));
  }
  for (const uint32_t id : request.prompt_ids) {
    if (const int64_t vocab_size = decoder_->model().config().vocab_size; id >= vocab_size) {
      return absl::InvalidArgumentError(
          absl::StrCat("the prompt holds token ", id, ", but the policy's vocabulary has ", vocab_size));
    }
  }
  auto group = std::make_unique<Group>();
  group->request = std::move(request);
  group->completions.resize(group->request.sampling.num_completions());
  const v1::SamplingParams& params = group->request.sampling;
  const bool cut = CutOf(params).cuts() && params.temperature() > 0;
  if (params.stop_size() > 0) group->watches.resize(group->completions.size());
  for (int32_t i = 0; i < static_cast<int32_t>(group->completions.size()); ++i) {
    group->completions[i].set_index(i);
    group->completions[i].set_logprob_kind(cut ? v1::LOGPROB_KIND_RENORMALIZED : v1::LOGPROB_KIND_FULL);
  }
  groups_.push_back(std::move(group));
  return absl::OkStatus();
}

void Engine::Cancel(int64_t id) {
  for (int64_t slot = 0; slot < options_.num_slots; ++slot) {
    if (slots_[slot].group != nullptr && slots_[slot].group->request.id == id) Release(slot);
  }
  std::erase_if(groups_, [id](const std::unique_ptr<Group>& group) { return group->request.id == id; });
}

void Engine::SwapWeights(std::shared_ptr<const Transformer> model, int64_t number) {
  decoder_->SwapWeights(std::move(model), number);
  number_ = number;
}

absl::StatusOr<std::vector<GenerateResult>> Engine::Step() {
  return TorchGuard([&]() -> absl::StatusOr<std::vector<GenerateResult>> {
    const c10::InferenceMode without_autograd;
    times_.Start();
    absl::Status status = Admit();
    if (status.ok()) status = Take(decoder_->Decode());
    if (!status.ok()) return Annotate(status, absl::StrCat("sampling with version ", number_, " of the policy"));
    return TakeWhole();
  });
}

absl::Status Engine::Admit() {
  std::vector<int64_t> free;
  for (int64_t slot = 0; slot < options_.num_slots; ++slot) {
    if (slots_[slot].group == nullptr) free.push_back(slot);
  }
  size_t next = 0;
  int64_t num_tokens = 0;
  std::vector<Admission> together;
  for (const std::unique_ptr<Group>& group : groups_) {
    if (next == free.size()) break;
    const int64_t wanted = static_cast<int64_t>(group->completions.size()) - group->num_admitted;
    const int64_t count = std::min<int64_t>(wanted, free.size() - next);
    if (count == 0) continue;
    const int64_t prompt_tokens = static_cast<int64_t>(group->request.prompt_ids.size());
    if (!together.empty() && (!decoder_->prompts_together() || num_tokens + prompt_tokens > kPrefillTokens)) {
      RETURN_IF_ERROR(Prefill(together));
      together.clear();
      num_tokens = 0;
    }
    together.push_back({group.get(), {free.begin() + next, free.begin() + next + count}});
    num_tokens += prompt_tokens;
    next += count;
  }
  return together.empty() ? absl::OkStatus() : Prefill(together);
}

absl::Status Engine::Prefill(const std::vector<Admission>& admissions) {
  std::vector<PromptStart> prompts;
  for (const auto& [group, slots] : admissions) {
    if (group->num_admitted == 0) group->started = clock_.Now();
    const v1::SamplingParams& sampling = group->request.sampling;
    PromptStart& prompt = prompts.emplace_back();
    prompt.ids = group->request.prompt_ids;
    for (const int64_t slot : slots) {
      const int32_t index = group->num_admitted++;
      slots_[slot] = {.group = group, .index = index};
      prompt.slots.push_back({.slot = slot,
                              .draw = {.temperature = sampling.temperature(),
                                       .cut = CutOf(sampling),
                                       .seed = SampleSeed(group->request.seed, index)},
                              .max_new_tokens = sampling.max_new_tokens()});
    }
  }
  return Take(decoder_->Prefill(prompts));
}

absl::Status Engine::Take(const absl::StatusOr<std::vector<DrawnToken>>& drawn) {
  RETURN_IF_ERROR(drawn.status());
  for (const DrawnToken& token : *drawn) {
    const auto [group, index] = slots_[token.slot];
    // An earlier token of these has ended it.
    if (group == nullptr) continue;
    ++num_tokens_generated_;
    if (!Append(*group, index, token)) continue;
    ++group->num_finished;
    Release(token.slot);
  }
  times_.Lap("sample");
  return absl::OkStatus();
}

bool Engine::Append(Group& group, int32_t index, const DrawnToken& drawn) const {
  const SampledToken& token = drawn.token;
  v1::Completion& completion = group.completions[index];
  completion.add_ids(token.id);
  completion.add_sample_logprob(token.sample_logprob);
  if (completion.spans().empty() || completion.spans().rbegin()->policy_number() != drawn.number) {
    v1::Span* span = completion.add_spans();
    span->set_policy_number(drawn.number);
    span->set_source(v1::SPAN_SOURCE_POLICY);
    span->set_trainable(true);
  }
  v1::Span& span = *completion.mutable_spans()->rbegin();
  span.set_num_tokens(span.num_tokens() + 1);

  const std::vector<int64_t>& ends = decoder_->model().config().eos_token_ids;
  if (!options_.ignore_end_tokens && std::find(ends.begin(), ends.end(), int64_t{token.id}) != ends.end()) {
    completion.set_finish_reason(v1::FINISH_REASON_STOP);
    return true;
  }
  const v1::SamplingParams& sampling = group.request.sampling;
  if (!group.watches.empty() && group.watches[index].Push(group.request.tokenizer->TokenBytes(token.id), sampling)) {
    completion.set_finish_reason(v1::FINISH_REASON_STOP_STRING);
    return true;
  }
  if (completion.ids_size() == sampling.max_new_tokens()) {
    completion.set_finish_reason(v1::FINISH_REASON_LENGTH);
    return true;
  }
  return false;
}

void Engine::Release(int64_t slot) {
  slots_[slot] = {};
  decoder_->Release(slot);
}

std::vector<GenerateResult> Engine::TakeWhole() {
  std::vector<GenerateResult> whole;
  std::erase_if(groups_, [&](const std::unique_ptr<Group>& group) {
    if (group->num_finished < static_cast<int64_t>(group->completions.size())) return false;
    whole.push_back({.id = group->request.id,
                     .prompt_ids = std::move(group->request.prompt_ids),
                     .completions = std::move(group->completions),
                     .generate_seconds = absl::ToDoubleSeconds(clock_.Now() - group->started)});
    return true;
  });
  return whole;
}

int64_t Engine::num_free_slots() const {
  return std::count_if(slots_.begin(), slots_.end(), [](const Slot& slot) { return slot.group == nullptr; });
}

int64_t Engine::num_unfinished() const {
  int64_t count = 0;
  for (const std::unique_ptr<Group>& group : groups_) {
    count += static_cast<int64_t>(group->completions.size()) - group->num_finished;
  }
  return count;
}

}  // namespace grpo
