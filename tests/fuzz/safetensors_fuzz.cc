// libFuzzer target of the safetensors reader (tools/fuzz safetensors). A file that is read tiles its data with its
// tensors, and is read alike after it was written anew.
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <map>
#include <string>

#include "model/weights/safetensors.h"
#include "tests/fuzz/allocation_limit.h"

namespace {

void Expect(bool condition, const char* what) {
  if (condition) return;
  std::fprintf(stderr, "%s\n", what);
  std::abort();
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const absl::string_view file(reinterpret_cast<const char*>(data), size);
  const grpo::AllocationLimit limit(size);
  std::map<std::string, std::string> metadata;
  const auto entries = grpo::ParseSafetensors(file, &metadata);
  if (!entries.ok()) {
    Expect(!entries.status().message().empty(), "an error without a message");
    return 0;
  }
  int64_t covered = 0;
  for (const grpo::SafetensorsEntry& entry : *entries) {
    Expect(entry.bytes.data() >= file.data() && entry.bytes.end() <= file.end(), "bytes outside of the file");
    Expect(grpo::SafetensorsBytes(entry.dtype, entry.shape).value() == static_cast<int64_t>(entry.bytes.size()),
           "another size than dtype and shape have");
    covered += entry.bytes.size();
  }
  uint64_t header_bytes = 0;
  for (int i = 7; i >= 0; --i) header_bytes = header_bytes << 8 | data[i];
  Expect(covered == static_cast<int64_t>(size - 8 - header_bytes), "tensors do not tile the data");
  const std::string again = grpo::WriteSafetensors(*entries, metadata);
  const auto reread = grpo::ParseSafetensors(again);
  Expect(reread.ok() && reread->size() == entries->size(), "what was written is not read");
  for (size_t i = 0; i < reread->size(); ++i) {
    Expect((*reread)[i].name == (*entries)[i].name && (*reread)[i].bytes == (*entries)[i].bytes, "read otherwise");
  }
  return 0;
}
