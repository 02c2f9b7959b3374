#include "trainer/batch/packer.h"

#include <ATen/ops/empty.h>
#include <ATen/ops/tensor.h>

#include <utility>

#include "absl/strings/str_cat.h"
#include "common/status_macros.h"

namespace grpo {
namespace {

template <typename T>
at::Tensor ToTensor(const std::vector<T>& values, at::ScalarType type) {
  at::Tensor tensor = at::empty({static_cast<int64_t>(values.size())}, type);
  std::copy(values.begin(), values.end(), tensor.data_ptr<T>());
  return tensor;
}

// A micro-batch while it is being filled.
struct Draft {
  std::vector<int64_t> ids, positions, lengths, predictor_rows, target_ids;
  std::map<std::string, std::vector<float>> streams;

  void Append(const TokenStreams& sequence) {
    const int64_t start = static_cast<int64_t>(ids.size());
    const int64_t length = static_cast<int64_t>(sequence.ids.size()) - 1;
    ids.insert(ids.end(), sequence.ids.begin(), sequence.ids.end() - 1);
    for (int64_t t = 0; t < length; ++t) positions.push_back(t);
    lengths.push_back(length);
    for (int64_t t = 1; t <= length; ++t) {
      if (!sequence.trainable_mask[t]) continue;
      predictor_rows.push_back(start + t - 1);
      target_ids.push_back(sequence.ids[t]);
      for (const auto& [name, values] : sequence.streams) streams[name].push_back(values[t]);
    }
  }

  Microbatch Finish() && {
    Microbatch batch;
    batch.ids = ToTensor(ids, at::kLong);
    batch.positions = ToTensor(positions, at::kLong);
    batch.lengths = std::move(lengths);
    batch.predictor_rows = ToTensor(predictor_rows, at::kLong);
    batch.target_ids = ToTensor(target_ids, at::kLong);
    for (const auto& [name, values] : streams) batch.streams[name] = ToTensor(values, at::kFloat);
    return batch;
  }
};

bool HasTarget(const TokenStreams& sequence) {
  for (const bool trainable : sequence.trainable_mask) {
    if (trainable) return true;
  }
  return false;
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
  for (const auto& [name, values] : sequence.streams) {
    if (values.size() != size || !first.streams.contains(name)) {
      return absl::InvalidArgumentError(absl::StrCat("stream ", name, " has ", values.size(), " entries for ", size,
                                                     " ids, or is missing elsewhere in the batch"));
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
