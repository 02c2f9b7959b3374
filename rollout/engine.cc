#include "rollout/engine.h"

#include <ATen/ops/from_blob.h>
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

// A view: `values` must outlive it.
at::Tensor Int64View(std::vector<int64_t>& values) {
  return at::from_blob(values.data(), {static_cast<int64_t>(values.size())}, at::kLong);
}

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
    : model_(std::move(model)),
      packed_(options.num_slots),
      number_(number),
      options_(options),
      clock_(clock),
      cache_(model_->config(), model_->placement(), options.num_slots, options.max_tokens),
      slots_(options.num_slots),
      lengths_(options.num_slots, -1),
      next_ids_(options.num_slots, 0),
      prompts_together_(model_->RowsAreIndependent()),
      times_(clock) {
  packed_.Fill(*model_);
}

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
        "(at most the policy's max_positions, ", model_->config().max_positions, ")"));
  }
  for (const uint32_t id : request.prompt_ids) {
    if (id >= model_->config().vocab_size) {
      return absl::InvalidArgumentError(absl::StrCat(
          "the prompt holds token ", id, ", but the policy's vocabulary has ", model_->config().vocab_size));
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
  model_ = std::move(model);
  packed_.Fill(*model_);
  number_ = number;
}

absl::StatusOr<std::vector<GenerateResult>> Engine::Step() {
  return TorchGuard([&]() -> absl::StatusOr<std::vector<GenerateResult>> {
    const c10::InferenceMode without_autograd;
    times_.Start();
    absl::Status status = Admit();
    if (status.ok()) status = DecodeStep();
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
    if (!together.empty() && (!prompts_together_ || num_tokens + prompt_tokens > kPrefillTokens)) {
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
  std::vector<int64_t> ids, positions, lengths, first_slots, last_rows, rows, slots;
  for (const auto& [group, group_slots] : admissions) {
    if (group->num_admitted == 0) group->started = clock_.Now();
    const std::vector<uint32_t>& prompt = group->request.prompt_ids;
    ids.insert(ids.end(), prompt.begin(), prompt.end());
    for (size_t t = 0; t < prompt.size(); ++t) positions.push_back(static_cast<int64_t>(t));
    lengths.push_back(static_cast<int64_t>(prompt.size()));
    first_slots.push_back(group_slots[0]);
    rows.insert(rows.end(), group_slots.size(), static_cast<int64_t>(last_rows.size()));
    last_rows.push_back(static_cast<int64_t>(ids.size()) - 1);
    slots.insert(slots.end(), group_slots.begin(), group_slots.end());
  }
  PrefillAttention attention(&cache_, lengths, first_slots);
  const at::Tensor hidden = model_->Forward(Int64View(ids), Int64View(positions), attention);  // [P of all, D]
  for (size_t i = 0; i < admissions.size(); ++i) {
    const auto& [group, group_slots] = admissions[i];
    cache_.CopyPrefix(group_slots[0], group_slots, lengths[i]);
    for (const int64_t slot : group_slots) {
      slots_[slot] = {.group = group, .index = group->num_admitted++};
      lengths_[slot] = lengths[i];
    }
  }
  times_.Lap("prefill");
  // The last token of a prompt predicts the first of every completion.
  const at::Tensor logits = model_->Logits(hidden.index_select(0, Int64View(last_rows)));  // [number of prompts, V]
  times_.Lap("head");
  return SampleInto(logits, rows, slots);
}

absl::Status Engine::DecodeStep() {
  std::vector<int64_t> running;
  for (int64_t slot = 0; slot < options_.num_slots; ++slot) {
    if (slots_[slot].group != nullptr) running.push_back(slot);
  }
  if (running.empty()) return absl::OkStatus();
  std::vector<int64_t> positions = lengths_;
  for (int64_t& position : positions) position = std::max<int64_t>(position, 0);  // idle slots
  DecodeAttention attention(&cache_, &lengths_);
  const at::Tensor hidden = model_->Forward(Int64View(next_ids_), Int64View(positions), attention, &packed_);  // [S, D]
  times_.Lap("decode");
  const at::Tensor logits = model_->Logits(hidden, &packed_);  // [S, V]
  times_.Lap("head");
  for (const int64_t slot : running) ++lengths_[slot];
  return SampleInto(logits, running, running);
}

absl::Status Engine::SampleInto(const at::Tensor& logits, const std::vector<int64_t>& rows,
                                const std::vector<int64_t>& slots) {
  std::vector<Draw> draws(slots.size());
  for (size_t i = 0; i < slots.size(); ++i) {
    const auto& [group, index] = slots_[slots[i]];
    draws[i] = {.row = rows[i],
                .temperature = group->request.sampling.temperature(),
                .cut = CutOf(group->request.sampling),
                .seed = SampleSeed(group->request.seed, index),
                .token_index = static_cast<uint64_t>(group->completions[index].ids_size())};
  }
  ASSIGN_OR_RETURN(const std::vector<SampledToken> tokens, Sample(logits, draws));
  num_tokens_generated_ += tokens.size();
  for (size_t i = 0; i < slots.size(); ++i) {
    const auto& [group, index] = slots_[slots[i]];
    next_ids_[slots[i]] = tokens[i].id;
    if (Append(*group, index, tokens[i])) {
      ++group->num_finished;
      Release(slots[i]);
    }
  }
  times_.Lap("sample");
  return absl::OkStatus();
}

bool Engine::Append(Group& group, int32_t index, const SampledToken& token) const {
  v1::Completion& completion = group.completions[index];
  completion.add_ids(token.id);
  completion.add_sample_logprob(token.sample_logprob);
  if (completion.spans().empty() || completion.spans().rbegin()->policy_number() != number_) {
    v1::Span* span = completion.add_spans();
    span->set_policy_number(number_);
    span->set_source(v1::SPAN_SOURCE_POLICY);
    span->set_trainable(true);
  }
  v1::Span& span = *completion.mutable_spans()->rbegin();
  span.set_num_tokens(span.num_tokens() + 1);

  const std::vector<int64_t>& ends = model_->config().eos_token_ids;
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
  lengths_[slot] = -1;
  next_ids_[slot] = 0;
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
