#include "common/failpoint.h"

namespace grpo {

__attribute__((weak)) int FailpointErrno(absl::string_view name, absl::string_view detail) {
  return 0;
}

}  // namespace grpo
