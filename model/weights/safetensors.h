// The safetensors container: 8 bytes of header length, a JSON header, tensor bytes. Links no torch; nothing is
// executed.
#ifndef GRPO_MODEL_WEIGHTS_SAFETENSORS_H_
#define GRPO_MODEL_WEIGHTS_SAFETENSORS_H_

#include <cstdint>
#include <map>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"

namespace grpo {

// One tensor of a file.
struct SafetensorsEntry {
  // Unique in its file.
  std::string name;
  // "F32", "BF16", "I64", ... as in the file; all that the reference library knows.
  std::string dtype;
  std::vector<int64_t> shape;
  // Its bytes inside the buffer that was parsed.
  absl::string_view bytes;
};

// Views into `buffer`, which must outlive them, in the order of the data. InvalidArgument for every malformed file,
// named: header longer than 100 MB or than the buffer, JSON that is not an object of tensors or is nested without end,
// unknown dtype, negative or overflowing shape, bytes that do not match dtype and shape, overlaps, holes, trailing
// bytes, names given twice or with a NUL. Allocates no more than the header warrants.
//
// tests/parity/safetensors_test.cc compares the verdicts with the reference library's and lists where they differ.
// `metadata`, if not null, gets the texts of "__metadata__".
absl::StatusOr<std::vector<SafetensorsEntry>> ParseSafetensors(absl::string_view buffer,
                                                               std::map<std::string, std::string>* metadata = nullptr);

// Bytes of a tensor of this dtype and shape. InvalidArgument for an unknown dtype, a negative extent, a size that
// overflows, or one that is no whole number of bytes. An empty shape is a scalar's: one element.
absl::StatusOr<int64_t> SafetensorsBytes(absl::string_view dtype, const std::vector<int64_t>& shape);

// What precedes the data in the file for these tensors, in this order; `bytes` plays no part. REQUIRES: dtypes and
// shapes that SafetensorsBytes accepts, names and metadata in UTF-8. Padded to 8 bytes as the reference library does.
// The length that precedes the header is part of it.
std::string SafetensorsHeader(const std::vector<SafetensorsEntry>& entries,
                              const std::map<std::string, std::string>& metadata = {});

// The whole file, as one text. REQUIRES the same, and `bytes` of each entry's size.
std::string WriteSafetensors(const std::vector<SafetensorsEntry>& entries,
                             const std::map<std::string, std::string>& metadata = {});

}  // namespace grpo

#endif  // GRPO_MODEL_WEIGHTS_SAFETENSORS_H_
