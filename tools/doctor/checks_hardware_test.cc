#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tools/doctor/machine_testing.h"
#include "tools/doctor/programs.h"

namespace grpo {
namespace {

using ::testing::AllOf;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::Not;

constexpr char kSmi[] = "nvidia-smi --query-gpu=name,memory.total --format=csv,noheader";
constexpr char kSmiDriver[] = "nvidia-smi --query-gpu=driver_version --format=csv,noheader";

std::string CpuInfo(const std::string& flags) {
  return "processor\t: 0\nmodel name\t: Some CPU\nflags\t\t: fpu " + flags + " sse2\nbugs\t\t:\n";
}

TEST(ProcessorTest, SaysWhatItMultipliesAndWhatThePoliciesLack) {
  FakeMachine machine;
  RunConfig config;
  config.policies["base"].compute_dtype = "bfloat16";
  const Subject subject{.machine = machine, .config = &config};
  machine.files["/proc/cpuinfo"] = CpuInfo("avx2 avx512f avx512_bf16");
  EXPECT_THAT(Found(&CheckProcessor, subject),
              HasSubstr("ok: Some CPU with avx2, avx512f, avx512_bf16\nok: 8 processors may be used\n"));
  machine.files["/proc/cpuinfo"] = CpuInfo("avx2");
  EXPECT_THAT(Found(&CheckProcessor, subject),
              HasSubstr("warning: Some CPU with avx2: products in bfloat16 (policies base)"));
  EXPECT_THAT(Found(&CheckProcessor, {.machine = machine}), Not(HasSubstr("warning")));
  machine.files["/proc/cpuinfo"] = CpuInfo("");
  EXPECT_THAT(Found(&CheckProcessor, {.machine = machine}), HasSubstr("warning: Some CPU with none of AVX2"));
  machine.files.clear();
  EXPECT_THAT(Found(&CheckProcessor, {.machine = machine}), HasSubstr("ok: what instructions"));
}

TEST(ProcessorTest, TheLeastQuotaOfTheGroupsAroundCounts) {
  FakeMachine machine;
  machine.files["/proc/self/cgroup"] = "4:memory:/x\n0::/pods/one";
  machine.files["/sys/fs/cgroup/pods/one/cpu.max"] = "max 100000";
  EXPECT_THAT(Found(&CheckProcessor, {.machine = machine}), HasSubstr("8 processors may be used\n"));
  machine.files["/sys/fs/cgroup/pods/cpu.max"] = "150000 100000";
  EXPECT_THAT(Found(&CheckProcessor, {.machine = machine}),
              HasSubstr("1.5 processors may be used, by the group's quota (cpu.max); programs see 8"));
  machine.files["/sys/fs/cgroup/cpu/cpu.cfs_quota_us"] = "50000";
  machine.files["/sys/fs/cgroup/cpu/cpu.cfs_period_us"] = "100000";
  EXPECT_THAT(Found(&CheckProcessor, {.machine = machine}), HasSubstr("0.5 processors may be used"));
}

TEST(ProcessorTest, MoreThreadsThanTwiceTheProcessorsAreAWarning) {
  FakeMachine machine;
  RunConfig config;
  config.rewards["p"] = {};
  config.trainer.threads = 8;
  config.rollout_worker.threads = 8;
  EXPECT_THAT(Found(&CheckProcessor, {.machine = machine, .config = &config}), Not(HasSubstr("warning")));
  config.rollout_worker.workers = 2;
  EXPECT_THAT(Found(&CheckProcessor, {.machine = machine, .config = &config}),
              HasSubstr("warning: 8 processors may be used; trainer and workers have 24 threads together"));
}

TEST(MemoryTest, WhatIsLeftAndWhatLimitsIt) {
  FakeMachine machine;
  machine.files["/proc/meminfo"] = "MemTotal:       67108864 kB\nMemAvailable:   33554432 kB";
  EXPECT_THAT(Found(&CheckMemory, {.machine = machine}),
              AllOf(HasSubstr("ok: 32.0 GiB of 64.0 GiB is available"), Not(HasSubstr("warning"))));
  machine.files["/proc/meminfo"] = "MemAvailable:   1024 kB";
  machine.files["/proc/sys/vm/overcommit_memory"] = "2";
  machine.files["/sys/fs/cgroup/memory/memory.limit_in_bytes"] = "1073741824";
  EXPECT_THAT(Found(&CheckMemory, {.machine = machine}),
              AllOf(HasSubstr("warning: 0.0 GiB of 64.0 GiB are available"), HasSubstr("warning: vm.overcommit_memory"),
                    HasSubstr("warning: a memory limit of 1.0 GiB (cgroup v1)")));
}

TEST(MemoryTest, ASmallShmIsAWarningWhereThereAreGpus) {
  FakeMachine machine;
  machine.space->bytes_total = 64 << 20;
  EXPECT_THAT(Found(&CheckMemory, {.machine = machine}), Not(HasSubstr("warning")));
  machine.folders["/dev"] = {"nvidia0", "nvidiactl"};
  EXPECT_THAT(Found(&CheckMemory, {.machine = machine}), HasSubstr("--shm-size"));
  machine.space.reset();
  EXPECT_THAT(Found(&CheckMemory, {.machine = machine}), HasSubstr("warning: there is no /dev/shm"));
}

TEST(GpusTest, NoneIsFineForABuildThatComputesOnTheProcessor) {
  FakeMachine machine;
  machine.said_by["ldd /bin/trainer"] = "\tlibtorch_cpu.so => /t/libtorch_cpu.so (0x0)\n";
  const Subject subject{.machine = machine, .programs = {"/bin/trainer"}};
  EXPECT_EQ(Found(&CheckGpus, subject), "ok: there is none, and this build computes on the processor\n");
  machine.said_by[kSmi] = "NVIDIA H200, 143771 MiB\n";
  machine.said_by[kSmiDriver] = "550.54.15\n";
  EXPECT_THAT(Found(&CheckGpus, subject), HasSubstr("warning: NVIDIA H200, 143771 MiB, driver 550.54.15: this build"));
}

TEST(GpusTest, TheDriverMustBeNewEnoughForTheBuild) {
  FakeMachine machine;
  const Subject subject{.machine = machine, .programs = {"/bin/trainer"}};
  machine.said_by["ldd /bin/trainer"] =
      "\tlibtorch_cuda.so => /t/libtorch_cuda.so (0x0)\n\tlibcudart-d0da41ae.so.12 => /t/libcudart.so (0x0)\n";
  EXPECT_THAT(Found(&CheckGpus, subject), HasSubstr("warning: this build is for GPUs, and there is none"));
  machine.folders["/dev"] = {"nvidia0", "nvidia1", "nvidiactl", "null"};
  EXPECT_THAT(GpuNames(machine), ElementsAre("/dev/nvidia0", "/dev/nvidia1"));
  EXPECT_THAT(Found(&CheckGpus, subject), HasSubstr("problem 69: /dev/nvidia0; /dev/nvidia1: its driver does not"));
  machine.files["/proc/driver/nvidia/version"] =
      "NVRM version: NVIDIA UNIX x86_64 Kernel Module  470.57.02  Tue Jul 13 16:14:05 UTC 2021\nGCC version: gcc 9.3.0";
  EXPECT_THAT(Found(&CheckGpus, subject),
              HasSubstr("problem 69: /dev/nvidia0; /dev/nvidia1, driver 470.57.02 is too old "
                        "for CUDA 12, which asks for 525"));
  machine.said_by[kSmiDriver] = "550.54.15\n";
  EXPECT_THAT(Found(&CheckGpus, subject), HasSubstr("ok: /dev/nvidia0; /dev/nvidia1, driver 550.54.15, CUDA 12"));
}

}  // namespace
}  // namespace grpo
