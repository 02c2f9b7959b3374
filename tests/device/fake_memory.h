// The memory of the fake device, where the host may not go, and the one way in. For the fake device's own files.
#ifndef GRPO_TESTS_DEVICE_FAKE_MEMORY_H_
#define GRPO_TESTS_DEVICE_FAKE_MEMORY_H_

#include <ATen/core/Tensor.h>
#include <c10/core/Allocator.h>
#include <c10/core/CachingDeviceAllocator.h>

namespace grpo::fake {

// Pages of their own for each tensor, filled with 0x7f bytes, closed to the host, given back when the tensor goes. On
// the thread's current device. Any thread.
c10::DeviceAllocator& DeviceMemory();
// Memory of the host that copies need not wait for.
c10::Allocator& PinnedMemory();
bool IsPinned(const void* data);

// Of this thread.
c10::DeviceIndex CurrentDevice();
void SetCurrentDevice(c10::DeviceIndex index);

// While one lives, what its thread allocates lies on this device.
class OnDevice {
 public:
  explicit OnDevice(c10::DeviceIndex index) : before_(CurrentDevice()) {
    SetCurrentDevice(index < 0 ? before_ : index);
  }
  ~OnDevice() { SetCurrentDevice(before_); }
  OnDevice(const OnDevice&) = delete;
  OnDevice& operator=(const OnDevice&) = delete;

 private:
  const c10::DeviceIndex before_;
};

// What this thread writes from now on is said to be written by an operator of this name, which lives as long as the
// process. Returns the one before.
const char* ExchangeWriter(const char* name);

// from -> to, of one shape, whatever their devices, types and strides; at once. The only code that opens the memory.
// Any thread, one after the other.
void CopyNow(const at::Tensor& from, const at::Tensor& to);

// From now on a host that touches the memory says which region it was on standard error before it dies of SIGSEGV.
void ReportHostAccess();

}  // namespace grpo::fake

#endif  // GRPO_TESTS_DEVICE_FAKE_MEMORY_H_
