#include "model/weights/tensor_bytes.h"

#include <ATen/Parallel.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/from_blob.h>

#include <algorithm>
#include <cstdint>
#include <cstring>

#include "model/simd.h"

namespace grpo {
namespace {

// A thread takes tens of microseconds to start; this many bytes are copied and hashed in milliseconds.
constexpr int64_t kBytesPerThread = int64_t{4} << 20;

// All lanes go through memory of their own where they are fewer than there are: nothing here needs an aligned address.
template <typename From, typename To>
GRPO_SIMD_INLINE void ConvertLanes(const char* from, char* to, int64_t count) {
  From in[simd::kLanes];
  To out[simd::kLanes];
  std::memcpy(in, from, count * sizeof(From));
  simd::Store(out, simd::Load(in, count), count);
  std::memcpy(to, out, count * sizeof(To));
}

template <typename From, typename To>
GRPO_SIMD_INLINE void Convert(const char* from, char* to, int64_t count) {
  for (; count >= simd::kLanes; count -= simd::kLanes) {
    ConvertLanes<From, To>(from, to, simd::kLanes);
    from += simd::kLanes * sizeof(From);
    to += simd::kLanes * sizeof(To);
  }
  if (count > 0) ConvertLanes<From, To>(from, to, count);
}

// Whether all bits of some value's exponent are set.
template <typename Bits>
bool AnyFullExponent(absl::string_view bytes, Bits exponent) {
  Bits found = 0;
  for (size_t i = 0; i + sizeof(Bits) <= bytes.size(); i += sizeof(Bits)) {
    Bits bits;
    std::memcpy(&bits, bytes.data() + i, sizeof(Bits));
    found |= static_cast<Bits>((bits & exponent) == exponent);
  }
  return found != 0;
}

GRPO_SIMD_CLONES void Round(const char* from, char* to, int64_t count) {
  Convert<float, c10::BFloat16>(from, to, count);
}

GRPO_SIMD_CLONES void Widen(const char* from, char* to, int64_t count) {
  Convert<c10::BFloat16, float>(from, to, count);
}

}  // namespace

bool AllFinite(absl::string_view bytes, at::ScalarType dtype) {
  if (dtype == at::kFloat) return !AnyFullExponent<uint32_t>(bytes, 0x7f800000);
  return !AnyFullExponent<uint16_t>(bytes, dtype == at::kHalf ? 0x7c00 : 0x7f80);
}

void CopyFromBytes(absl::string_view bytes, at::ScalarType dtype, const at::Tensor& target) {
  if (target.scalar_type() == dtype && target.is_contiguous() && target.is_cpu()) {
    std::memcpy(target.mutable_data_ptr(), bytes.data(), bytes.size());
    return;
  }
  if (reinterpret_cast<uintptr_t>(bytes.data()) % c10::elementSize(dtype) == 0) {
    target.copy_(at::from_blob(const_cast<char*>(bytes.data()), target.sizes(), dtype));
    return;
  }
  // Typed access needs an aligned address.
  const at::Tensor aligned = at::empty(target.sizes(), dtype);
  std::memcpy(aligned.mutable_data_ptr(), bytes.data(), bytes.size());
  target.copy_(aligned);
}

void CopyValues(const void* from, at::ScalarType from_dtype, void* to, at::ScalarType to_dtype, int64_t count) {
  if (from_dtype == to_dtype) {
    std::memcpy(to, from, static_cast<size_t>(count) * c10::elementSize(to_dtype));
  } else if (to_dtype == at::kBFloat16) {
    Round(static_cast<const char*>(from), static_cast<char*>(to), count);
  } else {
    Widen(static_cast<const char*>(from), static_cast<char*>(to), count);
  }
}

int64_t ThreadsForBytes(int64_t num_bytes) {
  return std::clamp<int64_t>(num_bytes / kBytesPerThread, 1, at::get_num_threads());
}

}  // namespace grpo
