#include "rollout/device_decoder.h"

#include <ATen/ops/arange.h>
#include <ATen/ops/cat.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/zeros.h>

#include <algorithm>
#include <cmath>
#include <utility>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "model/linear.h"

namespace grpo {
namespace {

// No slot's generation.
constexpr int64_t kNobody = -1;

// Numbers for the device, written on the host.
struct HostNumbers {
  HostNumbers(int64_t rows, int64_t columns)
      : tensor(at::zeros({rows, columns}, at::kDouble)),
        span(tensor.mutable_data_ptr<double>(), static_cast<size_t>(tensor.numel())) {}
  at::Tensor tensor;
  const absl::Span<double> span;
};

}  // namespace

DeviceDecoder::DeviceDecoder(std::shared_ptr<const Transformer> model, int64_t number, int64_t num_slots,
                             int64_t max_tokens, LapTimes* times)
    : model_(std::move(model)),
      number_(number),
      num_slots_(num_slots),
      vocab_size_(model_->config().vocab_size),
      device_(model_->placement().device),
      cache_(model_->config(), model_->placement(), num_slots, max_tokens),
      sampler_(vocab_size_, device_),
      times_(*times),
      slots_(num_slots),
      graph_(MakeDecodeGraph(device_)) {
  const at::TensorOptions integers = at::TensorOptions(at::kLong).device(device_),
                          doubles = integers.dtype(at::kDouble);
  positions_ = at::arange(cache_.capacity(), integers);
  ids_ = at::zeros({num_slots}, integers);
  numbers_ = at::zeros({1 + DeviceSampler::kNumbers, num_slots}, doubles);
  drawn_ = at::zeros({2, num_slots}, doubles);
  SwapWeights(model_, number);
}

void DeviceDecoder::SwapWeights(std::shared_ptr<const Transformer> model, int64_t number) {
  if (model != model_) graph_->Forget();
  model_ = std::move(model);
  number_ = number;
  const at::ScalarType dtype = model_->placement().head;
  const at::Tensor head = model_->head().detach();
  if (head.scalar_type() == dtype) {
    head_ = {};
  } else if (head_.defined()) {
    head_.copy_(head);
  } else {
    head_ = head.to(dtype);
  }
}

at::Tensor DeviceDecoder::Logits(const at::Tensor& hidden) const {
  return head_.defined() ? Float32Linear(hidden.to(head_.scalar_type()), head_) : model_->Logits(hidden);
}

void DeviceDecoder::Launch(int64_t index) {
  Slot& slot = slots_[index];
  const bool runs = slot.left > 0;
  launched_.push_back({.slot = index, .generation = runs ? slot.generation : kNobody, .number = number_});
  if (!runs) return;
  ++slot.draw.token_index;
  --slot.left;
}

absl::StatusOr<std::vector<DrawnToken>> DeviceDecoder::Prefill(const std::vector<PromptStart>& prompts) {
  for (const PromptStart& prompt : prompts) PrefillOne(prompt);
  return std::vector<DrawnToken>();
}

void DeviceDecoder::PrefillOne(const PromptStart& prompt) {
  const int64_t length = static_cast<int64_t>(prompt.ids.size()), count = static_cast<int64_t>(prompt.slots.size());
  const at::Tensor ids = ToDevice(std::vector<int64_t>(prompt.ids.begin(), prompt.ids.end()), device_);
  const int64_t first_slot = prompt.slots[0].slot;
  DevicePrefillAttention attention(&cache_, first_slot, length);
  const at::Tensor hidden = model_->Forward(ids, positions_.narrow(0, 0, length), attention);  // [P, D]
  std::vector<int64_t> slots;
  HostNumbers numbers(1 + DeviceSampler::kNumbers, count);  // the slot, then what it is drawn by
  int64_t num_ranked = 0;
  for (int64_t i = 0; i < count; ++i) {
    const SlotStart& start = prompt.slots[i];
    Slot& slot = slots_[start.slot];
    slot = {.draw = start.draw, .left = start.max_new_tokens, .length = length, .generation = slot.generation + 1};
    slot.draw.token_index = 0;
    numbers.span[i] = static_cast<double>(start.slot);
    DeviceSampler::Write(slot.draw, vocab_size_, i, count, numbers.span.subspan(count));
    num_ranked = std::max(num_ranked, DeviceSampler::NumRanked(slot.draw, vocab_size_));
    slots.push_back(start.slot);
    Launch(start.slot);
  }
  cache_.CopyPrefix(first_slot, slots, length);
  times_.Lap("prefill");
  // The last token of a prompt predicts the first of every completion.
  const at::Tensor logits = Logits(hidden.narrow(0, length - 1, 1));  // [1, V]
  times_.Lap("head");
  const at::Tensor given = ToDevice(numbers.tensor, device_);
  const at::Tensor drawn =
      sampler_.Sample(logits.expand({count, vocab_size_}), given.narrow(0, 1, DeviceSampler::kNumbers), num_ranked);
  ids_.index_copy_(0, given.select(0, 0).to(at::kLong), drawn.select(0, 0).to(at::kLong));
  parts_.push_back(drawn);
  times_.Lap("sample");
}

bool DeviceDecoder::PrepareStep(at::Tensor& numbers, int64_t& num_ranked) {
  HostNumbers host(1 + DeviceSampler::kNumbers, num_slots_);
  bool any = false;
  num_ranked = 0;
  for (int64_t s = 0; s < num_slots_; ++s) {
    Slot& slot = slots_[s];
    const bool runs = slot.left > 0;
    // A slot that does not run computes at position 0, where a prompt will be written to before anybody reads it.
    const Draw draw = runs ? slot.draw : Draw{};
    host.span[s] = runs ? static_cast<double>(slot.length) : 0;
    DeviceSampler::Write(draw, vocab_size_, s, num_slots_, host.span.subspan(num_slots_));
    if (!runs) continue;
    any = true;
    num_ranked = std::max(num_ranked, DeviceSampler::NumRanked(draw, vocab_size_));
    ++slot.length;
  }
  numbers = host.tensor;
  return any;
}

void DeviceDecoder::ComputeStep(int64_t num_ranked) {
  const at::Tensor positions = numbers_.select(0, 0).to(at::kLong);
  DeviceDecodeAttention attention(&cache_, positions);
  const at::Tensor hidden = model_->Forward(ids_, positions, attention);  // [S, D]
  times_.Lap("decode");
  const at::Tensor logits = Logits(hidden);  // [S, V]
  times_.Lap("head");
  drawn_.copy_(sampler_.Sample(logits, numbers_.narrow(0, 1, DeviceSampler::kNumbers), num_ranked));
  ids_.copy_(drawn_.select(0, 0));
  times_.Lap("sample");
}

absl::StatusOr<std::vector<DrawnToken>> DeviceDecoder::Decode() {
  at::Tensor numbers;
  int64_t num_ranked = 0;
  if (PrepareStep(numbers, num_ranked)) {
    numbers_.copy_(ToDevice(numbers, device_));
    graph_->Run(num_ranked, [&] { ComputeStep(num_ranked); });
    times_.Lap("decode");
    for (int64_t slot = 0; slot < num_slots_; ++slot) Launch(slot);
    parts_.push_back(drawn_);
  }
  std::optional<Round> before = std::exchange(round_, std::nullopt);
  if (!parts_.empty()) {
    // A copy of its own, since the next step draws into the same place.
    round_.emplace(Round{HostCopy(at::cat(parts_, 1)), std::exchange(launched_, {})});
    parts_.clear();
  }
  if (!before.has_value()) return std::vector<DrawnToken>();
  return Take(*std::move(before));
}

absl::StatusOr<std::vector<DrawnToken>> DeviceDecoder::Take(Round round) const {
  const at::Tensor numbers = round.numbers.Wait();
  const double* const ids = numbers.const_data_ptr<double>();
  const double* const logprobs = ids + round.launched.size();
  std::vector<DrawnToken> tokens;
  for (size_t i = 0; i < round.launched.size(); ++i) {
    const auto& [slot, generation, number] = round.launched[i];
    if (generation != slots_[slot].generation) continue;  // idle, or released since
    if (std::isnan(logprobs[i])) {
      return absl::InvalidArgumentError(absl::StrCat("slot ", slot, ": a logit is not finite"));
    }
    tokens.push_back(
        {.slot = slot,
         .number = number,
         .token = {.id = static_cast<uint32_t>(ids[i]), .sample_logprob = static_cast<float>(logprobs[i])}});
  }
  return tokens;
}

void DeviceDecoder::Release(int64_t slot) {
  slots_[slot].left = 0;
  ++slots_[slot].generation;
}

}  // namespace grpo
