#include "absl/strings/str_cat.h"
#include "common/status_macros.h"
#include "configs/load.h"
#include "trainer/algorithm/algorithm.h"
#include "trainer/algorithm/grpo_options.h"
#include "trainer/algorithm/pretrain_options.h"
#include "trainer/algorithm/sft_options.h"

namespace grpo {

#define ALGORITHM(name, Options) std::unique_ptr<Algorithm> MakeAlgorithm_##name(const Options& options);
#include "trainer/algorithms.inc"
#undef ALGORITHM

absl::StatusOr<std::unique_ptr<Algorithm>> MakeAlgorithm(const std::string& name, const Section& section) {
#define ALGORITHM(algorithm_name, Options)           \
  if (name == #algorithm_name) {                     \
    Options options;                                 \
    RETURN_IF_ERROR(LoadOptions(section, &options)); \
    return MakeAlgorithm_##algorithm_name(options);  \
  }
#include "trainer/algorithms.inc"
#undef ALGORITHM
  return absl::InvalidArgumentError(
      absl::StrCat("there is no algorithm named ", name, "; trainer/algorithms.inc lists them"));
}

}  // namespace grpo
