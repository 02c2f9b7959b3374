#include "trainer/batch/on_device.h"

#include <ATen/ops/zeros.h>

#include <algorithm>
#include <cstdint>
#include <cstring>
#include <vector>

#include "absl/strings/str_cat.h"
#include "common/status_macros.h"
#include "model/device.h"

namespace grpo {
namespace {

// Where a tensor may begin in the memory that it shares with the others: at what kernels like to read at once.
constexpr int64_t kAlignmentBytes = 64;

int64_t RoomFor(const at::Tensor& tensor) {
  const int64_t num_bytes = static_cast<int64_t>(tensor.nbytes());
  return (num_bytes + kAlignmentBytes - 1) / kAlignmentBytes * kAlignmentBytes;
}

std::vector<at::Tensor*> TensorsOf(Microbatch& batch) {
  std::vector<at::Tensor*> tensors = {&batch.ids,        &batch.positions,          &batch.predictor_rows,
                                      &batch.target_ids, &batch.sequence_of_target, &batch.group_of_target};
  for (auto& [name, stream] : batch.streams) tensors.push_back(&stream);
  return tensors;
}

// `values`: int64 on the CPU.
absl::Status ExpectBelow(const at::Tensor& values, int64_t bound, const char* what, const char* bound_is) {
  const int64_t* const begin = values.const_data_ptr<int64_t>();
  for (int64_t i = 0; i < values.numel(); ++i) {
    if (begin[i] >= 0 && begin[i] < bound) continue;
    return absl::InvalidArgumentError(
        absl::StrCat("a sequence has the ", what, " ", begin[i], ", and the policy's ", bound_is, " is ", bound));
  }
  return absl::OkStatus();
}

}  // namespace

Microbatch OnDevice(Microbatch batch, c10::Device device) {
  if (device.is_cpu()) return batch;
  const std::vector<at::Tensor*> tensors = TensorsOf(batch);
  int64_t num_bytes = 0;
  for (const at::Tensor* const tensor : tensors) num_bytes += RoomFor(*tensor);
  const at::Tensor host = at::zeros({num_bytes}, at::kByte);
  int64_t offset = 0;
  for (const at::Tensor* const tensor : tensors) {
    std::memcpy(host.data_ptr<uint8_t>() + offset, tensor->const_data_ptr(), tensor->nbytes());
    offset += RoomFor(*tensor);
  }
  const at::Tensor all = ToDevice(host, device);
  offset = 0;
  for (at::Tensor* const tensor : tensors) {
    const int64_t room = RoomFor(*tensor);
    const at::Tensor bytes = all.narrow(0, offset, static_cast<int64_t>(tensor->nbytes()));
    *tensor = bytes.view(tensor->scalar_type()).view(tensor->sizes());
    offset += room;
  }
  return batch;
}

absl::Status ExpectInRange(const Microbatch& batch, const ModelConfig& config) {
  RETURN_IF_ERROR(ExpectBelow(batch.ids, config.vocab_size, "token id", "vocabulary"));
  RETURN_IF_ERROR(ExpectBelow(batch.target_ids, config.vocab_size, "token id", "vocabulary"));
  RETURN_IF_ERROR(ExpectBelow(batch.positions, config.max_positions, "position", "number of positions"));
  const auto stored = batch.streams.find(stream::kTeacherTopIds);
  if (stored == batch.streams.end()) return absl::OkStatus();
  return ExpectBelow(stored->second, config.vocab_size, "stored teacher's token id", "vocabulary");
}

}  // namespace grpo
