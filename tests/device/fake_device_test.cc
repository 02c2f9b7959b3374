// The fake device shows what it is there to show: planted faults are caught, what is right passes.
#include "tests/device/fake_device.h"

#include <ATen/Parallel.h>
#include <ATen/TensorOperators.h>
#include <ATen/ops/arange.h>
#include <ATen/ops/cat.h>
#include <ATen/ops/embedding.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/from_blob.h>
#include <ATen/ops/full.h>
#include <ATen/ops/ones.h>
#include <ATen/ops/zeros.h>
#include <c10/core/DeviceGuard.h>
#include <c10/core/Event.h>
#include <gtest/gtest.h>

#include <csignal>
#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "model/device.h"

namespace grpo {
namespace {

using fake::Counters;
using fake::CountersNow;

at::TensorOptions On(int index = 0) {
  return at::TensorOptions(fake::Device(index));
}

at::Tensor Pinned(int64_t size) {
  return at::empty({size}, at::TensorOptions(at::kFloat).pinned_memory(true));
}

float First(const at::Tensor& host) {
  return host.const_data_ptr<float>()[0];
}

// What `work` made of the counters.
Counters Count(const std::function<void()>& work) {
  const Counters before = CountersNow();
  work();
  return CountersNow() - before;
}

std::string Thrown(const std::function<void()>& work) {
  try {
    work();
  } catch (const std::exception& error) {
    return error.what();
  }
  return "";
}

// --- Planted faults ---

class HostAccessDeathTest : public testing::Test {
 protected:
  // Each death begins from a process of its own: this one has threads.
  HostAccessDeathTest() { GTEST_FLAG_SET(death_test_style, "threadsafe"); }
};

TEST_F(HostAccessDeathTest, ReadingDeviceMemoryOnTheHostEndsTheProcessAndNamesTheRegion) {
  const at::Tensor tensor = at::ones({3000}, On()) + 1;
  EXPECT_EXIT(std::printf("%f\n", tensor.const_data_ptr<float>()[2]), testing::KilledBySignal(SIGSEGV),
              "the host touched memory of fake:0: byte 8 of a region of 12288 bytes, last written by aten::add");
}

TEST_F(HostAccessDeathTest, WritingDeviceMemoryOnTheHostEndsTheProcess) {
  const at::Tensor tensor = at::ones({8}, On(1));
  EXPECT_EXIT(tensor.data_ptr<float>()[3] = 1, testing::KilledBySignal(SIGSEGV), "memory of fake:1: byte 12");
}

TEST_F(HostAccessDeathTest, ATensorOfTheHostOverDeviceMemoryEndsTheProcess) {
  const at::Tensor tensor = at::ones({8}, On());
  at::Tensor alias = at::from_blob(tensor.data_ptr(), {8}, at::kFloat);
  EXPECT_EXIT(alias.add_(1), testing::KilledBySignal(SIGSEGV), "the host touched memory");
}

TEST_F(HostAccessDeathTest, AKernelOfTheHostsThreadsEndsTheProcess) {
  const at::Tensor tensor = at::ones({64}, On());
  float* const numbers = tensor.data_ptr<float>();
  const auto kernel = [&] { at::parallel_for(0, 64, 1, [&](int64_t begin, int64_t) { numbers[begin] = 1; }); };
  EXPECT_EXIT(kernel(), testing::KilledBySignal(SIGSEGV), "the host touched memory");
}

TEST(MixedDevicesTest, OperatorsThrow) {
  const at::Tensor there = at::ones({8, 2}, On()), here = at::ones({8, 2}), other = at::ones({8, 2}, On(1));
  const at::Tensor ids = at::arange(3);
  const std::vector<std::pair<const char*, std::function<void()>>> faults = {
      {"device + host", [&] { there + here; }},
      {"host + device", [&] { here + there; }},
      {"two devices", [&] { there + other; }},
      {"ids of the host", [&] { there.index_select(0, ids); }},
      {"embedding of ids of the host", [&] { at::embedding(there, ids); }},
      {"a list",
       [&] {
         at::cat({there, here});
       }},
      {"in place",
       [&] {
         at::ones({8, 2}, On()).mul_(here);
       }},
  };
  for (const auto& [what, fault] : faults) {
    EXPECT_NE(Thrown(fault).find("Expected all tensors to be on the same device"), std::string::npos) << what;
  }
}

TEST(MixedDevicesTest, NumbersAndCopiesMayCross) {
  const at::Tensor there = at::ones({4}, On());
  EXPECT_EQ(First((there * at::full({}, 3.0f)).cpu()), 3);
  at::Tensor here = at::zeros({4}), other = at::zeros({4}, On(1));
  here.copy_(there);
  other.copy_(there);
  EXPECT_TRUE(here.equal(at::ones({4})));
  EXPECT_TRUE(other.cpu().equal(here));
}

TEST(MissingWaitTest, ACopyToTheHostHasNotArrivedBeforeSomebodyWaits) {
  const at::Tensor there = at::full({8}, 5.0f, On()), here = Pinned(8);
  ASSERT_TRUE(here.is_pinned());
  here.copy_(there, /*non_blocking=*/true);
  EXPECT_NE(First(here), 5);
  c10::Event event(fake::Device().type());
  event.record(c10::Stream(c10::Stream::DEFAULT, fake::Device()));
  event.synchronize();
  EXPECT_EQ(First(here), 5);
}

TEST(MissingWaitTest, AnEventWaitsForWhatCameBeforeItOnly) {
  const at::Tensor there = at::full({8}, 5.0f, On());
  HostCopy early(there);
  const at::Tensor late = Pinned(8);
  late.copy_(there, /*non_blocking=*/true);
  EXPECT_EQ(First(early.Wait()), 5);
  EXPECT_NE(First(late), 5);
}

TEST(MissingWaitTest, TheCopyHasTheNumbersOfItsPlaceInTheStream) {
  const at::Tensor there = at::full({8}, 5.0f, On());
  HostCopy copy(there);
  there.fill_(7);
  EXPECT_EQ(First(copy.Wait()), 5);
}

TEST(MissingWaitTest, WritingIntoWhatIsStillBeingSentIsCaught) {
  const at::Tensor here = Pinned(8), there = at::zeros({8}, On());
  here.fill_(1);
  there.copy_(here, /*non_blocking=*/true);
  here.fill_(2);
  EXPECT_NE(Thrown([&] { HostCopy(there).Wait(); }).find("the host wrote into pinned memory"), std::string::npos);
  // Once somebody has waited it may.
  there.copy_(here, /*non_blocking=*/true);
  HostCopy(there).Wait();
  here.fill_(3);
  EXPECT_EQ(Thrown([&] { EXPECT_EQ(First(HostCopy(there).Wait()), 2); }), "");
}

// --- What is counted ---

TEST(CountersTest, WhatGivesTheHostANumberWaits) {
  const at::Tensor there = at::ones({8}, On()), mask = there > 0;
  EXPECT_EQ(Count([&] { there.sum().item<float>(); }).waits, 1);
  EXPECT_EQ(Count([&] { there.equal(there); }).waits, 1);
  EXPECT_EQ(Count([&] { there.nonzero(); }).waits, 1);
  c10::List<std::optional<at::Tensor>> by_mask;
  by_mask.push_back(mask);
  EXPECT_EQ(Count([&] { there.index(by_mask); }).waits, 1);
  EXPECT_EQ(Count([&] { there.cpu(); }).waits, 1);
  EXPECT_EQ(Count([&] { there.copy_(at::zeros({8})); }).waits, 1);
}

TEST(CountersTest, WhatStaysThereDoesNot) {
  const at::Tensor there = at::ones({8, 8}, On());
  const at::Tensor ids = ToDevice(std::vector<int64_t>{3, 1}, fake::Device());
  const Counters counters = Count([&] {
    at::Tensor x = there.matmul(there).softmax(1).index_select(0, ids).clone();
    x.copy_(there.narrow(0, 0, 2));
    ToDevice(std::vector<int64_t>{1, 2, 3}, fake::Device());
    HostCopy copy(x);
  });
  EXPECT_EQ(counters.waits, 0);
  EXPECT_EQ(counters.copies_to_device, 1);
  EXPECT_EQ(counters.copies_to_host, 1);
  EXPECT_GE(counters.operators, 5);
}

TEST(CountersTest, AWaitWithFurtherWorkGivenLeavesTheDeviceBusy) {
  const at::Tensor there = at::ones({8}, On());
  HostCopy newest(there), older(there);
  Counters counters = Count([&] { newest.Wait(); });
  EXPECT_EQ(counters.waits, 1);
  EXPECT_EQ(counters.drains, 1);
  there.add_(1);
  counters = Count([&] { older.Wait(); });
  EXPECT_EQ(counters.waits, 1);
  EXPECT_EQ(counters.drains, 0);
  EXPECT_EQ(Count([&] { older.Wait(); }).waits, 0) << "once is enough";
}

// --- Memory and views ---

TEST(MemoryTest, IsGivenBackWithTheTensor) {
  const DeviceMemory before = MemoryOf(fake::Device(2));
  {
    const at::Tensor tensor = at::zeros({5000}, On(2));
    EXPECT_EQ(MemoryOf(fake::Device(2)).allocated_bytes - before.allocated_bytes, 20480);
    EXPECT_EQ(fake::AllocatedBytes(2), MemoryOf(fake::Device(2)).allocated_bytes);
  }
  const DeviceMemory after = MemoryOf(fake::Device(2));
  EXPECT_EQ(after.allocated_bytes, before.allocated_bytes);
  EXPECT_GE(after.peak_bytes, before.allocated_bytes + 20480);
}

TEST(MemoryTest, WhatNobodyWroteIsNotZero) {
  const at::Tensor host = at::empty({4}, On()).cpu();
  EXPECT_GT(First(host), 1e38);
}

TEST(MemoryTest, LiesOnTheCurrentDeviceUnlessToldOtherwise) {
  const c10::DeviceGuard guard(fake::Device(3));
  EXPECT_EQ(at::zeros({4}, at::TensorOptions(at::Device(fake::Device().type()))).device(), fake::Device(3));
  EXPECT_EQ((at::zeros({4}, On(1)) + 1).device(), fake::Device(1));
}

TEST(ViewsTest, WhatIsWrittenThroughThemReachesTheTensor) {
  const at::Tensor cache = at::zeros({2, 8, 4}, On());
  const at::Tensor rows = ToDevice(std::vector<int64_t>{3, 9}, fake::Device());
  cache.view({16, 4}).index_copy_(0, rows, at::ones({2, 4}, On()));
  EXPECT_EQ(cache.sum().item<float>(), 8);
  cache.select(0, 1).narrow(0, 2, 3).copy_(at::full({3, 4}, 2.0f, On()));
  EXPECT_EQ(cache.sum().item<float>(), 8 + 24);
  cache.transpose(0, 1).select(0, 0).add_(1);
  EXPECT_EQ(cache.sum().item<float>(), 8 + 24 + 8);
}

}  // namespace
}  // namespace grpo
