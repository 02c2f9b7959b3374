#include "model/weights/host_pieces.h"

#include <ATen/ops/empty.h>

#include <algorithm>
#include <cstdint>
#include <deque>

#include "common/status_macros.h"
#include "model/device.h"
#include "model/weights/tensor_bytes.h"

namespace grpo {
namespace {

// Large enough to hide what a copy costs beside its bytes, small enough for pinned memory.
constexpr int64_t kPieceBytes = int64_t{32} << 20;
// One is used while the next is on its way.
constexpr size_t kPiecesInFlight = 2;

}  // namespace

absl::Status ForEachHostPiece(const at::Tensor& tensor, absl::FunctionRef<absl::Status(absl::string_view bytes)> use) {
  if (tensor.is_cpu()) return use(BytesOf(tensor));
  const at::Tensor flat = tensor.detach().view({-1});
  const int64_t piece = kPieceBytes / static_cast<int64_t>(flat.element_size());
  std::deque<HostCopy> pieces;
  for (int64_t begin = 0; begin < flat.numel() || !pieces.empty();) {
    if (begin < flat.numel() && pieces.size() < kPiecesInFlight) {
      const int64_t count = std::min(piece, flat.numel() - begin);
      pieces.emplace_back(flat.narrow(0, begin, count));
      begin += count;
    } else {
      RETURN_IF_ERROR(use(BytesOf(pieces.front().Wait())));
      pieces.pop_front();
    }
  }
  return absl::OkStatus();
}

at::Tensor OnHost(const at::Tensor& tensor) {
  if (tensor.is_cpu()) return tensor;
  const at::Tensor host = at::empty(tensor.sizes(), tensor.scalar_type());
  char* to = static_cast<char*>(host.mutable_data_ptr());
  // It has no error of its own.
  ForEachHostPiece(tensor, [&to](absl::string_view bytes) {
    to = std::copy(bytes.begin(), bytes.end(), to);
    return absl::OkStatus();
  }).IgnoreError();
  return host;
}

}  // namespace grpo
