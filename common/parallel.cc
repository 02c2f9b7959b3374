#include "common/parallel.h"

#include <algorithm>
#include <atomic>
#include <system_error>
#include <thread>
#include <utility>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/synchronization/mutex.h"
#include "common/thread.h"

namespace grpo {
namespace {

// What the threads share.
struct Shared {
  std::atomic<int64_t> next = 0;
  std::atomic<bool> failed = false;
  absl::Mutex mutex;
  // The first error in order so far, and where it was.
  absl::Status status ABSL_GUARDED_BY(mutex);
  int64_t failed_index ABSL_GUARDED_BY(mutex) = -1;
};

absl::Status StatusOf(absl::FunctionRef<absl::Status(int64_t)> work, int64_t index) {
  try {
    return work(index);
  } catch (...) {
    return absl::InternalError(WhatWasThrown());
  }
}

void Work(Shared& shared, int64_t count, absl::FunctionRef<absl::Status(int64_t)> work) {
  while (!shared.failed.load()) {
    const int64_t index = shared.next.fetch_add(1);
    if (index >= count) return;
    absl::Status status = StatusOf(work, index);
    if (status.ok()) continue;
    shared.failed.store(true);
    absl::MutexLock lock(&shared.mutex);
    if (shared.failed_index >= 0 && shared.failed_index < index) return;
    shared.failed_index = index;
    shared.status = std::move(status);
  }
}

}  // namespace

absl::Status RunParallel(int64_t num_threads, int64_t count, absl::FunctionRef<absl::Status(int64_t)> work) {
  Shared shared;
  std::vector<std::thread> threads;
  for (int64_t i = 1; i < std::min(num_threads, count); ++i) {
    try {
      threads.emplace_back([&] { Work(shared, count, work); });
    } catch (const std::system_error&) {
      break;
    }
  }
  Work(shared, count, work);
  for (std::thread& thread : threads) thread.join();
  absl::MutexLock lock(&shared.mutex);
  return shared.status;
}

}  // namespace grpo
