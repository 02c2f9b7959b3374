// model/device.h on a device: there and back, and what is waited for.
#include <ATen/Context.h>
#include <ATen/TensorOperators.h>
#include <ATen/ops/arange.h>
#include <ATen/ops/equal.h>
#include <ATen/ops/rand.h>

#include <vector>

#include "common/status_testing.h"
#include "model/device.h"
#include "model/placement.h"
#include "tests/device/deterministic.h"
#include "tests/device/device_under_test.h"
#include "tests/device/fake_device.h"

namespace grpo {
namespace {

TEST(SeamTest, ItsNameAndAutoTakeTheDeviceOfTheLocalRank) {
  for (const std::string& name : {NameOfDeviceUnderTest(), std::string("auto")}) {
    ASSERT_OK_AND_ASSIGN(const c10::Device device, ResolveDevice(name, 0));
    EXPECT_EQ(device, DeviceUnderTest(0));
  }
  const auto count = static_cast<int>(NumDevices(DeviceUnderTest().type()));
  ASSERT_GE(count, 1);
  ASSERT_OK_AND_ASSIGN(const c10::Device last, ResolveDevice(NameOfDeviceUnderTest(), count - 1));
  EXPECT_EQ(last, DeviceUnderTest(count - 1));
  EXPECT_EQ(DeviceName(last), NameOfDeviceUnderTest());
  if (!OnFakeDevice()) return;
  ASSERT_OK_AND_ASSIGN(const c10::Device anew, ResolveDevice("fake", count));
  EXPECT_EQ(anew, DeviceUnderTest(0)) << "each process has devices of its own";
  EXPECT_STATUS(ResolveDevice("cuda", 0), absl::StatusCode::kFailedPrecondition, "this build computes on fake alone");
}

TEST(SeamTest, ModelsAreTakenThereAHeadInTf32Too) {
  EXPECT_OK(CheckPlacement({.device = DeviceUnderTest()}));
  EXPECT_OK(CheckPlacement({.device = DeviceUnderTest(), .head_tf32 = true}));
  EXPECT_STATUS(CheckPlacement({.device = DeviceUnderTest(), .head = at::kBFloat16, .head_tf32 = true}),
                absl::StatusCode::kInvalidArgument, "not of bfloat16");
  const auto beyond = static_cast<c10::DeviceIndex>(NumDevices(DeviceUnderTest().type()));
  EXPECT_STATUS(CheckPlacement({.device = c10::Device(DeviceUnderTest().type(), beyond)}),
                absl::StatusCode::kFailedPrecondition, "numbered from 0");
}

TEST(SeamTest, DeterministicKernelsAreAskedFor) {
  EXPECT_TRUE(at::globalContext().deterministicAlgorithms());
}

TEST(SeamTest, NumbersGoThereWithoutAWaitAndComeBackByOne) {
  const at::Tensor numbers = at::rand({3, 5});
  const std::vector<int64_t> ids = {7, 0, 3};
  const fake::Counters before = fake::CountersNow();
  const at::Tensor there = ToDevice(numbers.t(), DeviceUnderTest()), ids_there = ToDevice(ids, DeviceUnderTest());
  EXPECT_EQ(there.device(), DeviceUnderTest());
  EXPECT_EQ(ids_there.scalar_type(), at::kLong);
  HostCopy doubled(there * 2), back(ids_there);
  if (OnFakeDevice()) {
    EXPECT_EQ((fake::CountersNow() - before).waits, 0);
  }
  EXPECT_TRUE(at::equal(doubled.Wait(), numbers.t() * 2));
  EXPECT_TRUE(at::equal(doubled.Wait(), numbers.t() * 2)) << "the second time nothing is waited for";
  if (OnFakeDevice()) {
    EXPECT_EQ((fake::CountersNow() - before).waits, 1);
    EXPECT_EQ((fake::CountersNow() - before).copies_to_device, 2);
    EXPECT_EQ((fake::CountersNow() - before).copies_to_host, 2);
  }
  for (int64_t i = 0; i < 3; ++i) EXPECT_EQ(back.Wait()[i].item<int64_t>(), ids[i]);
  EXPECT_EQ(ToDevice(std::vector<int64_t>(), DeviceUnderTest()).numel(), 0);
}

TEST(SeamTest, MemoryIsCountedAsLongAsATensorLives) {
  const int64_t before = MemoryOf(DeviceUnderTest()).allocated_bytes;
  {
    const at::Tensor there = ToDevice(at::rand({1 << 18}), DeviceUnderTest());
    const DeviceMemory with = MemoryOf(DeviceUnderTest());
    EXPECT_GE(with.allocated_bytes, before + (1 << 20));
    EXPECT_GE(with.peak_bytes, with.allocated_bytes);
    // What was sent has arrived.
    HostCopy(there).Wait();
  }
  EXPECT_EQ(MemoryOf(DeviceUnderTest()).allocated_bytes, before);
}

}  // namespace
}  // namespace grpo
