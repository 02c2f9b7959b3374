// libFuzzer target of config.json (tools/fuzz config). A configuration that is read has a size, and what is written of
// it is read as the same.
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <string>

#include "model/families.h"
#include "tests/fuzz/allocation_limit.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const grpo::AllocationLimit limit(size);
  const auto config = grpo::ParseModelConfig(absl::string_view(reinterpret_cast<const char*>(data), size));
  if (!config.ok()) return 0;
  const std::string written = grpo::ModelConfigJson(*config);
  const auto reread = grpo::ParseModelConfig(written);
  if (config->NumParameters() <= 0 || !reread.ok() || grpo::ModelConfigJson(*reread) != written) {
    std::fprintf(stderr, "%lld parameters, %s\n%s", static_cast<long long>(config->NumParameters()),
                 reread.status().ToString().c_str(), written.c_str());
    std::abort();
  }
  return 0;
}
