// libFuzzer target of model.safetensors.index.json (tools/fuzz shard_index). Whatever it says, no file outside of its
// folder is named.
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <string>

#include "model/weights/weight_files.h"
#include "tests/fuzz/allocation_limit.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const grpo::AllocationLimit limit(size);
  const auto index = grpo::ParseShardIndex(absl::string_view(reinterpret_cast<const char*>(data), size));
  if (!index.ok()) return 0;
  for (const auto& [tensor, file] : index->weight_map) {
    const std::filesystem::path place = (std::filesystem::path("/model") / file).lexically_normal();
    if (place.parent_path() != "/model" || file.find('\0') != std::string::npos) {
      std::fprintf(stderr, "names %s\n", place.c_str());
      std::abort();
    }
  }
  return 0;
}
