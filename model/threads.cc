#include "model/threads.h"

#include <ATen/Parallel.h>
#include <link.h>

#include <algorithm>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "absl/strings/string_view.h"

namespace grpo {
namespace {

// GNU's, LLVM's and Intel's.
bool IsOpenMp(absl::string_view path) {
  const absl::string_view name = path.substr(path.rfind('/') + 1);
  return absl::StartsWith(name, "libgomp") || absl::StartsWith(name, "libomp") || absl::StartsWith(name, "libiomp");
}

int Note(dl_phdr_info* info, size_t, void* found) {
  if (IsOpenMp(info->dlpi_name)) static_cast<std::vector<std::string>*>(found)->push_back(info->dlpi_name);
  return 0;
}

}  // namespace

std::vector<std::string> LoadedOpenMp() {
  std::vector<std::string> found;
  ::dl_iterate_phdr(Note, &found);
  return found;
}

absl::Status UseThreads(int64_t num_threads) {
  if (const std::vector<std::string> loaded = LoadedOpenMp(); loaded.size() > 1) {
    return absl::FailedPreconditionError(
        absl::StrCat("two OpenMP run times are loaded (", absl::StrJoin(loaded, ", "),
                     "); start without LD_PRELOAD and LD_LIBRARY_PATH, or set up anew with tools/setup"));
  }
  at::set_num_threads(static_cast<int>(std::max<int64_t>(1, num_threads)));
  return absl::OkStatus();
}

}  // namespace grpo
