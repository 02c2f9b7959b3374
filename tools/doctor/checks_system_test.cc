#include <sys/resource.h>

#include "absl/strings/str_cat.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tools/doctor/machine_testing.h"

namespace grpo {
namespace {

using ::testing::AllOf;
using ::testing::HasSubstr;
using ::testing::Not;
using ::testing::StartsWith;

TEST(LibrariesTest, AMissingOneIsNamedAndLibTorchsPlaceIsSaid) {
  FakeMachine machine;
  machine.said_by["ldd /b/trainer"] =
      "\tlinux-vdso.so.1 (0x1)\n\tlibtorch_cpu.so => /venv/torch/lib/libtorch_cpu.so (0x1)\n\tlibc.so.6 => "
      "/lib/libc.so.6 "
      "(0x1)\n";
  machine.said_by["ldd /b/reward_server"] = "\tlibre2.so.9 => not found\n\tlibc.so.6 => /lib/libc.so.6 (0x1)\n";
  const std::string found =
      Found(&CheckLibraries, {.machine = machine, .programs = {"/b/trainer", "/b/reward_server", "/b/rollout_worker"}});
  EXPECT_THAT(found, AllOf(HasSubstr("ok: trainer: all 2 libraries are found, LibTorch in /venv/torch/lib\n"),
                           HasSubstr("problem 69: reward_server lacks libre2.so.9"),
                           HasSubstr("warning: what rollout_worker links is not known: there is no ldd")));
  EXPECT_THAT(Found(&CheckLibraries, {.machine = machine}), StartsWith("problem 66: the programs of a run are not"));
}

TEST(LimitsTest, OpenFilesAreCountedAgainstTheRun) {
  FakeMachine machine;
  EXPECT_THAT(Found(&CheckLimits, {.machine = machine}), HasSubstr("ok: open files are not limited"));
  machine.limits[RLIMIT_NOFILE] = 1024;
  RunConfig config;
  config.rewards["p"] = {};
  EXPECT_THAT(Found(&CheckLimits, {.machine = machine, .config = &config}), HasSubstr("ok: 1024 open files"));
  config.rollout_worker.workers = 1000;
  EXPECT_THAT(Found(&CheckLimits, {.machine = machine, .config = &config}),
              HasSubstr("problem 73: 1024 open files, and rank 0 may need 4132"));
  machine.limits[RLIMIT_NOFILE] = 256;
  EXPECT_THAT(Found(&CheckLimits, {.machine = machine}), HasSubstr("warning: 256 open files"));
}

TEST(LimitsTest, SizesThatEndARunAreWarnings) {
  FakeMachine machine;
  EXPECT_THAT(Found(&CheckLimits, {.machine = machine}), Not(HasSubstr("warning")));
  machine.limits = {{RLIMIT_FSIZE, 1000}, {RLIMIT_AS, 1 << 30}, {RLIMIT_NPROC, 100}, {RLIMIT_MEMLOCK, 8 << 20}};
  EXPECT_THAT(Found(&CheckLimits, {.machine = machine}), AllOf(HasSubstr("ulimit -f"), HasSubstr("ulimit -v"),
                                                               HasSubstr("ulimit -u"), Not(HasSubstr("ulimit -l"))));
  machine.folders["/dev"] = {"nvidia0"};
  EXPECT_THAT(Found(&CheckLimits, {.machine = machine}), HasSubstr("8192 KiB of memory may be locked"));
}

TEST(KernelTest, AnOldOneIsAWarningAndCoreDumpsAreFound) {
  FakeMachine machine;
  machine.files = {{"/proc/sys/kernel/osrelease", "6.1.0-27-amd64"},
                   {"/proc/sys/kernel/core_pattern", "core"},
                   {"/proc/sys/kernel/sched_autogroup_enabled", "1"}};
  machine.limits[RLIMIT_CORE] = 0;
  EXPECT_THAT(Found(&CheckKernel, {.machine = machine}),
              AllOf(HasSubstr("ok: Linux 6.1.0-27-amd64"), HasSubstr("ok: autogroup"), HasSubstr("ok: no core dumps")));
  machine.limits.clear();
  EXPECT_THAT(Found(&CheckKernel, {.machine = machine}),
              HasSubstr("warning: a crash writes all memory of its process to core in its working folder"));
  machine.files["/proc/sys/kernel/core_pattern"] = "|/usr/lib/systemd/systemd-coredump %P";
  machine.files["/proc/sys/kernel/osrelease"] = "5.10.0";
  EXPECT_THAT(Found(&CheckKernel, {.machine = machine}),
              AllOf(HasSubstr("warning: Linux 5.10.0"), HasSubstr("ok: core dumps go to a program")));
}

TEST(SandboxTest, WhatIsLackingCountsWhereProgramsScore) {
  FakeMachine machine;
  RunConfig config;
  EXPECT_THAT(Found(&CheckSandbox, {.machine = machine}), HasSubstr("ok: reward programs get all of it"));
  machine.sandbox_shortfall = "no Landlock";
  EXPECT_THAT(Found(&CheckSandbox, {.machine = machine}), StartsWith("warning"));
  EXPECT_THAT(Found(&CheckSandbox, {.machine = machine, .config = &config}), StartsWith("ok"));
  config.rewards["p"].rules["mine"].type = "program";
  EXPECT_THAT(Found(&CheckSandbox, {.machine = machine, .config = &config}), StartsWith("warning"));
  config.reward_server.sandbox = "required";
  EXPECT_THAT(Found(&CheckSandbox, {.machine = machine, .config = &config}), StartsWith("problem 78"));
}

TEST(LaunchersTest, ThoseThatAreHereSayTheirVersionAndAnOldRayIsAWarning) {
  FakeMachine machine;
  EXPECT_EQ(Found(&CheckLaunchers, {.machine = machine}), "ok: not here: sbatch, kubectl, ray, torchrun\n");
  machine.programs = {"sbatch", "kubectl", "ray", "torchrun"};
  machine.said_by = {{"sbatch --version", "slurm 22.05.8\n"},
                     {"kubectl version --client", "Client Version: v1.20.2\nKustomize: x\n"},
                     {"ray --version", "ray, version 2.51.1\n"}};
  EXPECT_THAT(Found(&CheckLaunchers, {.machine = machine}),
              AllOf(HasSubstr("ok: sbatch: slurm 22.05.8\n"), HasSubstr("ok: kubectl: Client Version: v1.20.2\n"),
                    HasSubstr("warning: ray: ray, version 2.51.1"), HasSubstr("ok: torchrun is here")));
  machine.said_by["ray --version"] = "a warning of Python's\nray, version 2.52.0\n";
  machine.said_by.erase("sbatch --version");
  EXPECT_THAT(Found(&CheckLaunchers, {.machine = machine}),
              AllOf(HasSubstr("ok: ray: ray, version 2.52.0"), HasSubstr("warning: sbatch is here and does not say")));
}

}  // namespace
}  // namespace grpo
