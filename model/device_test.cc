// In a build without accelerators; tests/device holds what needs one.
#include "model/device.h"

#include <ATen/Context.h>
#include <ATen/TensorOperators.h>
#include <ATen/ops/arange.h>
#include <ATen/ops/equal.h>
#include <stdlib.h>

#include "common/status_testing.h"
#include "gmock/gmock.h"
#include "model/tf32.h"

namespace grpo {
namespace {

using ::testing::HasSubstr;

const c10::Device kCpu(c10::kCPU);

TEST(DeviceTest, TheCpuIsAlwaysThereAndWhatAutoFallsBackTo) {
  ASSERT_OK_AND_ASSIGN(const c10::Device cpu, ResolveDevice("cpu", 3));
  EXPECT_EQ(cpu, kCpu);
  EXPECT_GE(NumDevices(c10::kCPU), 1);
  // No machine has a GPU of this number.
  ASSERT_OK_AND_ASSIGN(const c10::Device without, ResolveDevice("auto", 100));
  EXPECT_EQ(without, kCpu);
}

TEST(DeviceTest, AGpuThatIsNotThereIsRefusedWithWhatToDo) {
  const absl::Status refused = ResolveDevice("cuda", 100).status();
  EXPECT_STATUS(refused, absl::StatusCode::kFailedPrecondition, "device cuda: ");
  if (NumDevices(c10::kCUDA) > 0) {
    EXPECT_THAT(std::string(refused.message()), HasSubstr("no number 100"));
  } else {
    EXPECT_THAT(std::string(refused.message()),
                ::testing::AnyOf(HasSubstr("build with --config=cuda"), HasSubstr("CUDA_VISIBLE_DEVICES")));
  }
}

TEST(DeviceTest, OtherNamesAreRefusedWithThoseThatThereAre) {
  for (const char* name : {"", "gpu", "cuda:0", "fake", "CPU"})
    EXPECT_STATUS(ResolveDevice(name, 0), absl::StatusCode::kInvalidArgument, "there are auto, cpu and cuda");
}

TEST(DeviceTest, TheLocalRankIsTheEnvironments) {
  ::unsetenv("LOCAL_RANK");
  ASSERT_OK_AND_ASSIGN(const int not_set, LocalRank());
  EXPECT_EQ(not_set, 0);
  ::setenv("LOCAL_RANK", "3", 1);
  ASSERT_OK_AND_ASSIGN(const int third, LocalRank());
  EXPECT_EQ(third, 3);
  ::setenv("LOCAL_RANK", "", 1);
  ASSERT_OK_AND_ASSIGN(const int empty, LocalRank());
  EXPECT_EQ(empty, 0);
  for (const char* wrong : {"-1", "x", "1.5"}) {
    ::setenv("LOCAL_RANK", wrong, 1);
    EXPECT_STATUS(LocalRank(), absl::StatusCode::kInvalidArgument, wrong);
  }
  ::unsetenv("LOCAL_RANK");
}

TEST(DeviceTest, OnTheCpuNothingIsSetCopiedOrWaitedFor) {
  ::unsetenv("CUBLAS_WORKSPACE_CONFIG");
  ASSERT_OK(UseDevice(kCpu, /*deterministic=*/true));
  EXPECT_EQ(::getenv("CUBLAS_WORKSPACE_CONFIG"), nullptr);
  EXPECT_FALSE(at::globalContext().deterministicAlgorithms());
  const at::Tensor numbers = at::arange(6, at::kLong).view({2, 3});
  EXPECT_TRUE(ToDevice(numbers, kCpu).is_same(numbers));
  EXPECT_TRUE(HostCopy(numbers).Wait().is_same(numbers));
  const std::vector<int64_t> ids = {5, 0, 7};
  const at::Tensor sent = ToDevice(ids, kCpu);
  EXPECT_EQ(sent.scalar_type(), at::kLong);
  ASSERT_EQ(sent.sizes(), at::IntArrayRef({3}));
  for (int64_t i = 0; i < 3; ++i) EXPECT_EQ(sent[i].item<int64_t>(), ids[i]);
  EXPECT_EQ(ToDevice(std::vector<int64_t>(), kCpu).numel(), 0);
  const DeviceMemory memory = MemoryOf(kCpu);
  EXPECT_EQ(memory.peak_bytes + memory.reserved_bytes + memory.total_bytes, 0);
}

TEST(DeviceTest, TheCpuIsCalledByItsName) {
  EXPECT_EQ(DeviceName(kCpu), "cpu");
  EXPECT_EQ(DeviceModel(kCpu), "cpu");
  EXPECT_EQ(DeviceText(kCpu), "cpu");
}

TEST(Tf32ScopeTest, ProductsAreRoundedInsideTheOutermostScopeOnly) {
  const auto precision = [] { return at::globalContext().float32MatmulPrecision(); };
  ASSERT_EQ(precision(), at::Float32MatmulPrecision::HIGHEST);
  {
    const Tf32Scope off(false);
    EXPECT_EQ(precision(), at::Float32MatmulPrecision::HIGHEST);
    const Tf32Scope on(true);
    EXPECT_EQ(precision(), at::Float32MatmulPrecision::HIGH);
    { const Tf32Scope inner(true); }
    EXPECT_EQ(precision(), at::Float32MatmulPrecision::HIGH);
  }
  EXPECT_EQ(precision(), at::Float32MatmulPrecision::HIGHEST);
}

}  // namespace
}  // namespace grpo
