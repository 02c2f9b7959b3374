#include "rollout/cpu_decoder.h"

#include <ATen/ops/from_blob.h>

#include <algorithm>
#include <utility>

#include "common/status_macros.h"

namespace grpo {
namespace {

// A view: `values` must outlive it.
at::Tensor Int64View(std::vector<int64_t>& values) {
  return at::from_blob(values.data(), {static_cast<int64_t>(values.size())}, at::kLong);
}

}  // namespace

CpuDecoder::CpuDecoder(std::shared_ptr<const Transformer> model, int64_t number, int64_t num_slots, int64_t max_tokens,
                       LapTimes* times)
    : model_(std::move(model)),
      packed_(num_slots),
      number_(number),
      cache_(model_->config(), model_->placement(), num_slots, max_tokens),
      times_(*times),
      prompts_together_(model_->RowsAreIndependent()),
      draws_(num_slots),
      left_(num_slots, 0),
      lengths_(num_slots, -1),
      next_ids_(num_slots, 0) {
  packed_.Fill(*model_);
}

void CpuDecoder::SwapWeights(std::shared_ptr<const Transformer> model, int64_t number) {
  model_ = std::move(model);
  packed_.Fill(*model_);
  number_ = number;
}

absl::StatusOr<std::vector<DrawnToken>> CpuDecoder::Prefill(const std::vector<PromptStart>& prompts) {
  std::vector<int64_t> ids, positions, lengths, first_slots, last_rows, rows, slots;
  for (const PromptStart& prompt : prompts) {
    ids.insert(ids.end(), prompt.ids.begin(), prompt.ids.end());
    for (size_t t = 0; t < prompt.ids.size(); ++t) positions.push_back(static_cast<int64_t>(t));
    lengths.push_back(static_cast<int64_t>(prompt.ids.size()));
    first_slots.push_back(prompt.slots[0].slot);
    rows.insert(rows.end(), prompt.slots.size(), static_cast<int64_t>(last_rows.size()));
    last_rows.push_back(static_cast<int64_t>(ids.size()) - 1);
    for (const SlotStart& start : prompt.slots) slots.push_back(start.slot);
  }
  PrefillAttention attention(&cache_, lengths, first_slots);
  const at::Tensor hidden = model_->Forward(Int64View(ids), Int64View(positions), attention);  // [P of all, D]
  auto slot = slots.begin();
  for (size_t i = 0; i < prompts.size(); ++i) {
    const auto end = slot + static_cast<int64_t>(prompts[i].slots.size());
    cache_.CopyPrefix(first_slots[i], {slot, end}, lengths[i]);
    for (const SlotStart& start : prompts[i].slots) {
      draws_[start.slot] = start.draw;
      draws_[start.slot].token_index = 0;
      left_[start.slot] = start.max_new_tokens;
      lengths_[start.slot] = lengths[i];
    }
    slot = end;
  }
  times_.Lap("prefill");
  // The last token of a prompt predicts the first of every completion.
  const at::Tensor logits = model_->Logits(hidden.index_select(0, Int64View(last_rows)));  // [number of prompts, V]
  times_.Lap("head");
  return DrawInto(logits, rows, slots);
}

absl::StatusOr<std::vector<DrawnToken>> CpuDecoder::Decode() {
  std::vector<int64_t> running;
  for (int64_t slot = 0; slot < cache_.num_slots(); ++slot) {
    if (left_[slot] > 0) running.push_back(slot);
  }
  if (running.empty()) return std::vector<DrawnToken>();
  std::vector<int64_t> positions = lengths_;
  for (int64_t& position : positions) position = std::max<int64_t>(position, 0);  // idle slots
  DecodeAttention attention(&cache_, &lengths_);
  const at::Tensor hidden = model_->Forward(Int64View(next_ids_), Int64View(positions), attention, &packed_);  // [S, D]
  times_.Lap("decode");
  const at::Tensor logits = model_->Logits(hidden, &packed_);  // [S, V]
  times_.Lap("head");
  for (const int64_t slot : running) ++lengths_[slot];
  return DrawInto(logits, running, running);
}

absl::StatusOr<std::vector<DrawnToken>> CpuDecoder::DrawInto(const at::Tensor& logits, const std::vector<int64_t>& rows,
                                                             const std::vector<int64_t>& slots) {
  std::vector<Draw> draws(slots.size());
  for (size_t i = 0; i < slots.size(); ++i) {
    draws[i] = draws_[slots[i]];
    draws[i].row = rows[i];
  }
  ASSIGN_OR_RETURN(const std::vector<SampledToken> tokens, Sample(logits, draws));
  std::vector<DrawnToken> drawn(slots.size());
  for (size_t i = 0; i < slots.size(); ++i) {
    const int64_t slot = slots[i];
    drawn[i] = {.slot = slot, .number = number_, .token = tokens[i]};
    next_ids_[slot] = tokens[i].id;
    ++draws_[slot].token_index;
    --left_[slot];
  }
  return drawn;
}

void CpuDecoder::Release(int64_t slot) {
  left_[slot] = 0;
  lengths_[slot] = -1;
  next_ids_[slot] = 0;
}

}  // namespace grpo
