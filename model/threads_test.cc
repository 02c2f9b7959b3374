#include "model/threads.h"

#include <ATen/Parallel.h>
#include <dlfcn.h>

#include <atomic>
#include <set>
#include <thread>

#include "absl/synchronization/mutex.h"
#include "common/status_testing.h"

namespace grpo {
namespace {

// What at::parallel_for computes on, in a target that is compiled as the kernels are.
size_t NumThreadsUsed() {
  absl::Mutex mutex;
  std::set<std::thread::id> threads;
  at::parallel_for(0, 64, 1, [&](int64_t, int64_t) {
    const absl::MutexLock lock(&mutex);
    threads.insert(std::this_thread::get_id());
  });
  return threads.size();
}

TEST(UseThreads, KernelsRunOnAsManyThreadsAsAreAskedFor) {
  for (const int64_t num_threads : {1, 2, 4}) {
    ASSERT_OK(UseThreads(num_threads));
    EXPECT_EQ(NumThreadsUsed(), static_cast<size_t>(num_threads));
  }
}

TEST(UseThreads, OneOpenMpRunTimeIsLoadedAndItIsLibTorchs) {
  const std::vector<std::string> loaded = LoadedOpenMp();
  ASSERT_EQ(loaded.size(), 1u);
  Dl_info torch = {};
  ASSERT_NE(::dladdr(reinterpret_cast<void*>(&at::get_num_threads), &torch), 0);
  const std::string path = torch.dli_fname;
  EXPECT_EQ(loaded[0].substr(0, loaded[0].rfind('/')), path.substr(0, path.rfind('/')));
}

}  // namespace
}  // namespace grpo
