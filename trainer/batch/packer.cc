#include "trainer/batch/packer.h"

#include <ATen/ops/empty.h>
#include <ATen/ops/tensor.h>

#include <algorithm>
#include <type_traits>
#include <utility>
#include <variant>

#include "absl/strings/str_cat.h"
#include "common/status_macros.h"
#include "trainer/batch/shared_prefix.h"

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
  std::vector<int64_t> ids, positions, predictor_rows, target_ids, sequence_of_target, group_of_target;
  PackedLayout layout;
  // Of the targets.
  std::map<std::string, Stream> streams;
  int64_t num_sequences = 0;
  // Where the ids that the run's sequences share begin: in the layout, and in ids.
  int64_t prefix = -1, prefix_begin = 0;

  int64_t num_rows() const { return static_cast<int64_t>(ids.size()); }

  void AppendRows(const TokenStreams& sequence, int64_t begin, int64_t end, int64_t goes_on_from) {
    ids.insert(ids.end(), sequence.ids.begin() + begin, sequence.ids.begin() + end);
    for (int64_t t = begin; t < end; ++t) positions.push_back(t);
    layout.lengths.push_back(end - begin);
    layout.prefixes.push_back(goes_on_from);
  }

  // The first num_shared ids of the sequence, of which none is a target, for those that are appended next.
  void BeginRun(const TokenStreams& sequence, int64_t num_shared) {
    prefix = num_shared > 0 ? static_cast<int64_t>(layout.lengths.size()) : -1;
    prefix_begin = num_rows();
    if (num_shared > 0) AppendRows(sequence, 0, num_shared, -1);
  }

  // The rest of a sequence of the run.
  void Append(const TokenStreams& sequence, int64_t num_shared) {
    const int64_t length = static_cast<int64_t>(sequence.ids.size()) - 1, begin = num_rows();
    AppendRows(sequence, num_shared, length, prefix);
    for (int64_t t = 1; t <= length; ++t) {
      if (!sequence.trainable_mask[t]) continue;
      const int64_t predictor = t - 1;
      predictor_rows.push_back(predictor < num_shared ? prefix_begin + predictor : begin + predictor - num_shared);
      target_ids.push_back(sequence.ids[t]);
      sequence_of_target.push_back(num_sequences);
      group_of_target.push_back(sequence.group);
    }
    ++num_sequences;
    for (const auto& [name, stream] : sequence.streams) AppendTargets(stream, sequence.trainable_mask, &streams[name]);
  }

  Microbatch Finish() && {
    Microbatch batch;
    batch.ids = ToTensor(ids);
    batch.positions = ToTensor(positions);
    batch.layout = std::move(layout);
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

// Rows that a sequence adds to those that its run shares.
int64_t OwnRows(const TokenStreams& sequence, const SharedRun& run) {
  return static_cast<int64_t>(sequence.ids.size()) - 1 - run.num_shared;
}

// Fills micro-batches of at most max_tokens rows.
class Filling {
 public:
  explicit Filling(int64_t max_tokens) : max_tokens_(max_tokens) {}

  // Sequences of a run, each with a target. A run that fits into one micro-batch stays whole.
  void AddRun(const std::vector<const TokenStreams*>& sequences, const SharedRun& run) {
    if (sequences.empty()) return;
    int64_t rows = run.num_shared;
    for (const TokenStreams* const sequence : sequences) rows += OwnRows(*sequence, run);
    if (rows <= max_tokens_ && draft_.num_rows() + rows > max_tokens_) Flush();
    bool begun = false;
    for (const TokenStreams* const sequence : sequences) {
      const int64_t added = OwnRows(*sequence, run) + (begun ? 0 : run.num_shared);
      if (draft_.num_rows() > 0 && draft_.num_rows() + added > max_tokens_) {
        Flush();
        begun = false;
      }
      if (!begun) draft_.BeginRun(*sequence, run.num_shared);
      begun = true;
      draft_.Append(*sequence, run.num_shared);
    }
  }

  std::vector<Microbatch> Finish() && {
    Flush();
    return std::move(batches_);
  }

 private:
  void Flush() {
    if (draft_.num_rows() > 0) batches_.push_back(std::exchange(draft_, {}).Finish());
  }

  const int64_t max_tokens_;
  Draft draft_;
  std::vector<Microbatch> batches_;
};

}  // namespace

absl::StatusOr<std::vector<Microbatch>> Pack(const std::vector<TokenStreams>& sequences, int64_t max_tokens) {
  for (const TokenStreams& sequence : sequences) RETURN_IF_ERROR(Check(sequence, sequences.front()));
  Filling filling(max_tokens);
  for (const SharedRun& run : SharedRuns(sequences)) {
    std::vector<const TokenStreams*> with_target;
    for (size_t i = run.first; i < run.end; ++i) {
      if (HasTarget(sequences[i])) with_target.push_back(&sequences[i]);
    }
    filling.AddRun(with_target, run);
  }
  return std::move(filling).Finish();
}

}  // namespace grpo
