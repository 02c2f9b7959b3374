#include "trainer/batch/packer.h"

#include <ATen/ops/empty.h>
#include <ATen/ops/tensor.h>

#include <algorithm>
#include <type_traits>
#include <utility>
#include <variant>

#include "absl/strings/str_cat.h"
#include "common/status_macros.h"

namespace grpo {
namespace {

template <typename T>
at::Tensor ToTensor(const std::vector<T>& values) {
  constexpr at::ScalarType kType = std::is_same_v<T, float> ? at::kFloat : at::kLong;
  at::Tensor tensor = at::empty({static_cast<int64_t>(values.size())}, kType);
  std::copy(values.begin(), values.end(), tensor.data_ptr<T>());
  return tensor;
}

// [M], or [M, width].
at::Tensor ToTensor(const Stream& stream) {
  const at::Tensor flat = std::visit([](const auto& values) { return ToTensor(values); }, stream.values);
  return stream.width == 1 ? flat : flat.view({-1, stream.width});
}

// Appends what the stream says of the targets.
void AppendTargets(const Stream& stream, const std::vector<bool>& trainable_mask, Stream* targets) {
  targets->width = stream.width;
  std::visit(
      [&](const auto& values) {
        using Values = std::decay_t<decltype(values)>;
        if (targets->size() == 0) targets->values = Values();
        Values& taken = std::get<Values>(targets->values);
        for (size_t t = 0; t < trainable_mask.size(); ++t) {
          const auto first = values.begin() + static_cast<int64_t>(t) * stream.width;
          if (trainable_mask[t]) taken.insert(taken.end(), first, first + stream.width);
        }
      },
      stream.values);
}

// A micro-batch while it is being filled.
struct Draft {
  std::vector<int64_t> ids, positions, lengths, predictor_rows, target_ids, sequence_of_target, group_of_target;
  // Of the targets.
  std::map<std::string, Stream> streams;

  void Append(const TokenStreams& sequence) {
    const int64_t start = static_cast<int64_t>(ids.size());
    const int64_t length = static_cast<int64_t>(sequence.ids.size()) - 1;
    ids.insert(ids.end(), sequence.ids.begin(), sequence.ids.end() - 1);
    for (int64_t t = 0; t < length; ++t) positions.push_back(t);
    for (int64_t t = 1; t <= length; ++t) {
      if (!sequence.trainable_mask[t]) continue;
      predictor_rows.push_back(start + t - 1);
      target_ids.push_back(sequence.ids[t]);
      sequence_of_target.push_back(static_cast<int64_t>(lengths.size()));
      group_of_target.push_back(sequence.group);
    }
    lengths.push_back(length);
    for (const auto& [name, stream] : sequence.streams) AppendTargets(stream, sequence.trainable_mask, &streams[name]);
  }

  Microbatch Finish() && {
    Microbatch batch;
    batch.ids = ToTensor(ids);
    batch.positions = ToTensor(positions);
    batch.lengths = std::move(lengths);
    batch.predictor_rows = ToTensor(predictor_rows);
    batch.target_ids = ToTensor(target_ids);
    batch.sequence_of_target = ToTensor(sequence_of_target);
    batch.group_of_target = ToTensor(group_of_target);
    for (const auto& [name, stream] : streams) batch.streams[name] = ToTensor(stream);
    return batch;
  }
};

bool HasTarget(const TokenStreams& sequence) {
  return std::count(sequence.trainable_mask.begin(), sequence.trainable_mask.end(), true) > 0;
}

absl::Status Check(const TokenStreams& sequence, const TokenStreams& first) {
  const size_t size = sequence.ids.size();
  if (sequence.trainable_mask.size() != size || (size > 0 && sequence.trainable_mask[0])) {
    return absl::InvalidArgumentError(absl::StrCat("a sequence of ", size, " ids has a trainable_mask of ",
                                                   sequence.trainable_mask.size(),
                                                   " entries, or one that is true at 0"));
  }
  if (sequence.streams.size() != first.streams.size()) {
    return absl::InvalidArgumentError(
        absl::StrCat("sequences of a batch have ", sequence.streams.size(), " and ", first.streams.size(), " streams"));
  }
  for (const auto& [name, stream] : sequence.streams) {
    const auto other = first.streams.find(name);
    if (stream.width < 1 || stream.size() != static_cast<int64_t>(size) * stream.width ||
        other == first.streams.end()) {
      return absl::InvalidArgumentError(absl::StrCat("stream ", name, " has ", stream.size(), " entries for ", size,
                                                     " ids of width ", stream.width,
                                                     ", or is missing elsewhere in the batch"));
    }
    if (stream.width != other->second.width || stream.is_float() != other->second.is_float()) {
      return absl::InvalidArgumentError(absl::StrCat("stream ", name, " has width ", stream.width, " and ",
                                                     other->second.width,
                                                     " in two sequences of a batch, or numbers of two types"));
    }
  }
  return absl::OkStatus();
}

}  // namespace

absl::StatusOr<std::vector<Microbatch>> Pack(const std::vector<TokenStreams>& sequences, int64_t max_tokens) {
  std::vector<Microbatch> batches;
  Draft draft;
  for (const TokenStreams& sequence : sequences) {
    RETURN_IF_ERROR(Check(sequence, sequences.front()));
    if (!HasTarget(sequence)) continue;
    const int64_t length = static_cast<int64_t>(sequence.ids.size()) - 1;
    if (!draft.ids.empty() && static_cast<int64_t>(draft.ids.size()) + length > max_tokens) {
      batches.push_back(std::exchange(draft, {}).Finish());
    }
    draft.Append(sequence);
  }
  if (!draft.ids.empty()) batches.push_back(std::move(draft).Finish());
  return batches;
}

}  // namespace grpo
