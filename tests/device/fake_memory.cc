#include "tests/device/fake_memory.h"

#include <ATen/ops/from_blob.h>
#include <c10/core/CachingDeviceAllocator.h>
#include <sys/mman.h>
#include <unistd.h>

#include <algorithm>
#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <map>
#include <utility>

#include "absl/base/thread_annotations.h"
#include "common/mutex.h"
#include "tests/device/fake_device.h"

namespace grpo::fake {
namespace {

constexpr size_t kPage = 4096;
// Of each device, as far as its memory statistics say.
constexpr size_t kTotalBytes = size_t{16} << 30;

struct Region {
  size_t num_bytes;
  int device;
  const char* written_by;
};

struct Usage {
  size_t allocated = 0, peak = 0;
};

struct State {
  Mutex mutex;
  // By where they begin.
  std::map<char*, Region> regions ABSL_GUARDED_BY(mutex);
  std::map<char*, size_t> pinned ABSL_GUARDED_BY(mutex);
  Usage usage[kNumDevices] ABSL_GUARDED_BY(mutex);
};

// Never destroyed: tensors outlive static objects.
State& TheState() {
  static State& state = *new State;
  return state;
}

thread_local c10::DeviceIndex current_device = 0;
thread_local const char* writer = "a copy";

size_t WholePages(size_t num_bytes) {
  return (std::max<size_t>(num_bytes, 1) + kPage - 1) / kPage * kPage;
}

void FreeDeviceMemory(void* data) {
  if (data == nullptr) return;
  State& state = TheState();
  MutexLock lock(&state.mutex);
  const auto region = state.regions.find(static_cast<char*>(data));
  state.usage[region->second.device].allocated -= region->second.num_bytes;
  munmap(data, region->second.num_bytes);
  state.regions.erase(region);
}

class DeviceAllocator final : public c10::DeviceAllocator {
 public:
  c10::DataPtr allocate(size_t num_bytes) override {
    const c10::Device device = Device(current_device);
    if (num_bytes == 0) return {nullptr, nullptr, &FreeDeviceMemory, device};
    const size_t size = WholePages(num_bytes);
    void* const data = mmap(nullptr, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    TORCH_CHECK(data != MAP_FAILED, "the fake device is out of memory: ", size, " bytes");
    // Zeros would hide that nobody wrote them.
    std::memset(data, 0x7f, size);
    TORCH_CHECK(mprotect(data, size, PROT_NONE) == 0, "mprotect of ", size, " bytes failed");
    State& state = TheState();
    MutexLock lock(&state.mutex);
    state.regions[static_cast<char*>(data)] = {.num_bytes = size, .device = current_device, .written_by = "nobody"};
    Usage& usage = state.usage[current_device];
    usage.allocated += size;
    usage.peak = std::max(usage.peak, usage.allocated);
    return {data, data, &FreeDeviceMemory, device};
  }
  c10::DeleterFnPtr raw_deleter() const override { return &FreeDeviceMemory; }
  void copy_data(void*, const void*, std::size_t) const override {
    TORCH_CHECK(false, "the fake device copies tensors only");
  }
  bool initialized() override { return true; }
  void emptyCache(c10::MempoolId_t) override {}
  void recordStream(const c10::DataPtr&, c10::Stream) override {}
  c10::CachingDeviceAllocator::DeviceStats getDeviceStats(c10::DeviceIndex index) override {
    State& state = TheState();
    MutexLock lock(&state.mutex);
    c10::CachingDeviceAllocator::DeviceStats stats;
    for (auto* const bytes : {&stats.allocated_bytes[0], &stats.reserved_bytes[0]}) {
      bytes->current = static_cast<int64_t>(state.usage[index].allocated);
      bytes->peak = static_cast<int64_t>(state.usage[index].peak);
    }
    return stats;
  }
  void resetAccumulatedStats(c10::DeviceIndex) override {}
  void resetPeakStats(c10::DeviceIndex index) override {
    State& state = TheState();
    MutexLock lock(&state.mutex);
    state.usage[index].peak = state.usage[index].allocated;
  }
  // Free, in all.
  std::pair<size_t, size_t> getMemoryInfo(c10::DeviceIndex index) override {
    State& state = TheState();
    MutexLock lock(&state.mutex);
    return {kTotalBytes - std::min(kTotalBytes, state.usage[index].allocated), kTotalBytes};
  }
};

void FreePinnedMemory(void* data) {
  State& state = TheState();
  {
    MutexLock lock(&state.mutex);
    state.pinned.erase(static_cast<char*>(data));
  }
  std::free(data);
}

class PinnedAllocator final : public c10::Allocator {
 public:
  c10::DataPtr allocate(size_t num_bytes) override {
    void* const data = std::aligned_alloc(kPage, WholePages(num_bytes));
    TORCH_CHECK(data != nullptr, "no pinned memory of ", num_bytes, " bytes");
    State& state = TheState();
    MutexLock lock(&state.mutex);
    state.pinned[static_cast<char*>(data)] = num_bytes;
    return {data, data, &FreePinnedMemory, c10::kCPU};
  }
  c10::DeleterFnPtr raw_deleter() const override { return &FreePinnedMemory; }
  void copy_data(void* to, const void* from, std::size_t num_bytes) const override { std::memcpy(to, from, num_bytes); }
};

// The tensor's memory is open while one lives.
class Opened {
 public:
  Opened(const at::Tensor& tensor, bool to_write) {
    if (tensor.is_cpu() || tensor.storage().nbytes() == 0) return;
    State& state = TheState();
    MutexLock lock(&state.mutex);
    const auto region = state.regions.find(static_cast<char*>(tensor.storage().mutable_data()));
    TORCH_CHECK(region != state.regions.end(), "a tensor of the fake device lies elsewhere");
    begin_ = region->first;
    num_bytes_ = region->second.num_bytes;
    if (to_write) region->second.written_by = writer;
    TORCH_CHECK(mprotect(begin_, num_bytes_, PROT_READ | PROT_WRITE) == 0, "mprotect failed");
  }
  ~Opened() {
    if (begin_ != nullptr) mprotect(begin_, num_bytes_, PROT_NONE);
  }
  Opened(const Opened&) = delete;
  Opened& operator=(const Opened&) = delete;

 private:
  char* begin_ = nullptr;
  size_t num_bytes_ = 0;
};

// The same numbers as a tensor of the host.
at::Tensor HostView(const at::Tensor& tensor) {
  if (tensor.is_cpu()) return tensor;
  return at::from_blob(
      const_cast<void*>(tensor.const_data_ptr()), tensor.sizes(), tensor.strides(), [](void*) {},
      tensor.options().device(c10::kCPU));
}

// What was there before us: a sanitizer's, or the default.
struct sigaction previous_action;

// Looks without the lock, which another thread may hold: the process ends in any case.
void OnSegmentationFault(int, siginfo_t* info, void*) ABSL_NO_THREAD_SAFETY_ANALYSIS {
  const auto& regions = TheState().regions;
  char* const address = static_cast<char*>(info->si_addr);
  auto region = regions.upper_bound(address);
  if (region != regions.begin() && address < std::prev(region)->first + std::prev(region)->second.num_bytes) {
    --region;
    char line[256];
    const int length = std::snprintf(
        line, sizeof(line),
        "fake device: the host touched memory of fake:%d: byte %td of a region of %zu bytes, last written by %s\n",
        region->second.device, address - region->first, region->second.num_bytes, region->second.written_by);
    if (write(STDERR_FILENO, line, std::min<size_t>(length, sizeof(line) - 1)) < 0) std::abort();
  }
  // The access is tried again, and ends the process as it would have without us.
  sigaction(SIGSEGV, &previous_action, nullptr);
}

}  // namespace

c10::DeviceAllocator& DeviceMemory() {
  static DeviceAllocator& allocator = *new DeviceAllocator;
  return allocator;
}

c10::Allocator& PinnedMemory() {
  static PinnedAllocator& allocator = *new PinnedAllocator;
  return allocator;
}

bool IsPinned(const void* data) {
  State& state = TheState();
  MutexLock lock(&state.mutex);
  const auto after = state.pinned.upper_bound(static_cast<char*>(const_cast<void*>(data)));
  if (after == state.pinned.begin()) return false;
  const auto block = std::prev(after);
  return static_cast<const char*>(data) < block->first + block->second;
}

c10::DeviceIndex CurrentDevice() {
  return current_device;
}

void SetCurrentDevice(c10::DeviceIndex index) {
  current_device = index;
}

const char* ExchangeWriter(const char* name) {
  return std::exchange(writer, name);
}

void CopyNow(const at::Tensor& from, const at::Tensor& to) {
  static Mutex& mutex = *new Mutex;
  MutexLock lock(&mutex);
  const bool alike = from.storage().is_alias_of(to.storage());
  const Opened opened_from(from, /*to_write=*/alike);
  if (alike) {
    HostView(to).copy_(HostView(from));
    return;
  }
  const Opened opened_to(to, /*to_write=*/true);
  HostView(to).copy_(HostView(from));
}

void ReportHostAccess() {
  struct sigaction action = {};
  action.sa_sigaction = &OnSegmentationFault;
  action.sa_flags = SA_SIGINFO | SA_ONSTACK;
  sigaction(SIGSEGV, &action, &previous_action);
}

int64_t AllocatedBytes(int index) {
  State& state = TheState();
  MutexLock lock(&state.mutex);
  return static_cast<int64_t>(state.usage[index].allocated);
}

}  // namespace grpo::fake
