// An accelerator for tests, behind ATen's PrivateUse1: whoever links //tests/device:fake_device has kNumDevices devices
// "fake:0", "fake:1", ... of it from the start of the process. What runs on a real one with the wrong placement fails
// here, on a machine without any:
//   - its memory lies behind mprotect: a host that touches it dies of SIGSEGV, after a line that names the region;
//   - an operator that is given tensors of the device and of the host, or of two devices, throws;
//   - a copy from pinned or into pinned memory that nobody waited for has not happened: the buffer on the host holds
//     0x7f bytes, and the wait throws when the host wrote into what it was still sending;
//   - waits for the device, copies and operators are counted.
// Operators compute by ATen's CPU kernels, on copies; fake_kernels.cc has those that only accelerators have. Memory
// that was not written holds 0x7f bytes. Not shown: kernels that differ, order between streams, nondeterminism, speed.
//
// With GRPO_TEST_DEVICE set to anything but "fake" nothing is registered (device_under_test.h).
#ifndef GRPO_TESTS_DEVICE_FAKE_DEVICE_H_
#define GRPO_TESTS_DEVICE_FAKE_DEVICE_H_

#include <c10/core/Device.h>

#include <cstdint>

namespace grpo::fake {

// So that ranks of one machine have one each.
inline constexpr int kNumDevices = 4;

// "fake:<index>".
c10::Device Device(int index = 0);

// Since the process's start, all threads and devices. Any thread.
struct Counters {
  // That a device ran: launches, roughly.
  int64_t operators = 0;
  // Of tensors, waited for or not; none of what an operator copies in order to compute on the host.
  int64_t copies_to_device = 0, copies_to_host = 0;
  // Times that a host thread waited for a device: copies in either direction that are not both pinned and non_blocking,
  // .item() and what else gives the host a number or a shape that depends on numbers, waits for events, streams,
  // devices.
  int64_t waits = 0;
  // Of these, the ones that leave the device with nothing to do: all but waits for an event after which further
  // operators had been given to the device. Waiting for the newest token is one.
  int64_t drains = 0;
};
Counters CountersNow();
// What happened between `before` and `after`.
Counters operator-(const Counters& after, const Counters& before);

// Of tensors that are alive, rounded up to pages. Any thread.
int64_t AllocatedBytes(int index = 0);

// While one lives, its thread is the device, at one of its operators: that one is counted, what it copies is not. For
// the kernels of the device.
class Computing {
 public:
  // The name lives as long as the process.
  explicit Computing(const char* operator_name);
  ~Computing();
  Computing(const Computing&) = delete;
  Computing& operator=(const Computing&) = delete;

 private:
  const char* const writer_before_;
};

}  // namespace grpo::fake

#endif  // GRPO_TESTS_DEVICE_FAKE_DEVICE_H_
