#include "common/run_lock.h"

#include <fcntl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <filesystem>
#include <functional>
#include <memory>
#include <string>
#include <thread>
#include <utility>

#include "absl/strings/str_cat.h"
#include "common/files.h"
#include "common/status_testing.h"
#include "gmock/gmock.h"

namespace grpo {
namespace {

namespace fs = std::filesystem;
using ::testing::HasSubstr;

class RunLockTest : public ::testing::Test {
 protected:
  RunLockTest() { fs::remove_all(root_); }
  // Another process: a file of its own at the path, as a run on another machine leaves it.
  void Put(const std::string& text) const { EXPECT_OK(WriteFileAtomically(path_, text)); }
  // Of a file system whose flock says `error`. Every look at another's lease calls `look`, without waiting.
  static RunLockOptions WithoutLocks(
      int error, std::function<void(absl::Duration)> look = [](absl::Duration) {}) {
    return {.lease = absl::Hours(1), .sleep = std::move(look), .flock = [error](int, int) {
              errno = error;
              return -1;
            }};
  }
  std::unique_ptr<RunLock> Take(RunLockOptions options = {}) const {
    auto lock = RunLock::Take(dir_, "run-1", std::move(options));
    EXPECT_OK(lock);
    return *std::move(lock);
  }

  const std::string root_ =
      absl::StrCat(::testing::TempDir(), "/lock_", ::testing::UnitTest::GetInstance()->current_test_info()->name());
  const std::string dir_ = root_ + "/run", path_ = dir_ + "/lock";
};

TEST_F(RunLockTest, ASecondHolderIsToldWhoTheFirstIs) {
  char host[256] = {};
  ASSERT_EQ(::gethostname(host, sizeof(host) - 1), 0);
  {
    const auto lock = Take();
    EXPECT_STATUS(RunLock::Take(dir_), absl::StatusCode::kAlreadyExists,
                  absl::StrCat("pid ", ::getpid(), " on host ", host, ", run run-1"));
    ASSERT_OK(lock->SetRunId("run-2"));
    EXPECT_STATUS(RunLock::Take(dir_), absl::StatusCode::kAlreadyExists, "run run-2)");
  }
  EXPECT_OK(RunLock::Take(dir_));
}

TEST_F(RunLockTest, TheFileSaysWhoHoldsItAndWhateverElseIsInItIsNobody) {
  EXPECT_EQ(RunLock::HolderOf(dir_).pid, 0);
  {
    const auto lock = Take();
    const RunHolder holder = RunLock::HolderOf(dir_);
    EXPECT_EQ(holder.pid, ::getpid());
    EXPECT_EQ(holder.run_id, "run-1");
    EXPECT_NE(holder.host, "");
  }
  for (const char* text : {"", "4711", "[1]", R"({"pid":"x","host":5,"run_id":null})"}) {
    Put(text);
    const RunHolder holder = RunLock::HolderOf(dir_);
    EXPECT_EQ(holder.pid, 0) << text;
    EXPECT_EQ(holder.host + holder.run_id, "") << text;
  }
}

TEST_F(RunLockTest, AChildHoldsItWithTheParentThatHandedItDown) {
  auto parent = Take();
  ASSERT_OK_AND_ASSIGN(auto child, RunLock::Inherit(dir_, ::dup(parent->fd()), "run-1"));
  EXPECT_OK(child->Check());
  parent.reset();
  EXPECT_STATUS(RunLock::Take(dir_), absl::StatusCode::kAlreadyExists, "a run is going on");
  child.reset();
  EXPECT_OK(RunLock::Take(dir_));
}

TEST_F(RunLockTest, ADescriptorOfSomebodyWhoDoesNotHoldItIsRefused) {
  const auto holder = Take();
  EXPECT_STATUS(RunLock::Inherit(dir_, ::open(path_.c_str(), O_RDWR | O_CLOEXEC)), absl::StatusCode::kAlreadyExists,
                "a run is going on");
  EXPECT_STATUS(RunLock::Inherit(dir_, 1'000'000), absl::StatusCode::kInvalidArgument, "descriptor 1000000");
}

// Whoever goes on at once with a run whose grpoctl was killed found the lock held by a trainer that was ending.
TEST_F(RunLockTest, WhatADeadHolderHandedDownIsWaitedFor) {
  const pid_t dead = ::fork();
  if (dead == 0) ::_exit(0);
  ASSERT_EQ(::waitpid(dead, nullptr, 0), dead);
  char host[256] = {};
  ASSERT_EQ(::gethostname(host, sizeof(host) - 1), 0);
  auto heir = Take();
  const std::string holder = absl::StrCat("{\"host\":\"", host, "\",\"pid\":", dead, ",\"run_id\":\"run-1\"}\n");
  // In place: the heir's lock is that of this file.
  ASSERT_OK(WriteFileSynced(path_, holder));
  int looks = 0;
  RunLockOptions options;
  options.sleep = [&](absl::Duration) { ++looks; };
  EXPECT_STATUS(RunLock::Take(dir_, "run-2", options), absl::StatusCode::kAlreadyExists, absl::StrCat("pid ", dead));
  EXPECT_GT(looks, 0) << "and not for ever";
  looks = 0;
  options.sleep = [&](absl::Duration) {
    if (++looks == 3) heir.reset();
  };
  EXPECT_OK(RunLock::Take(dir_, "run-2", options));
  EXPECT_EQ(looks, 3);
}

TEST_F(RunLockTest, ADeletedFolderIsMadeAnewAndStaysItsHolders) {
  auto parent = Take();
  ASSERT_OK_AND_ASSIGN(auto child, RunLock::Inherit(dir_, ::dup(parent->fd()), "run-1"));
  EXPECT_EQ(child->times_begun_anew(), 0);
  fs::remove_all(dir_);
  EXPECT_FALSE(child->IsOurs());
  EXPECT_FALSE(fs::exists(dir_)) << "a question changes nothing";
  EXPECT_OK(child->Check());
  EXPECT_TRUE(child->IsOurs());
  EXPECT_EQ(child->times_begun_anew(), 1);
  EXPECT_STATUS(RunLock::Take(dir_), absl::StatusCode::kAlreadyExists, "run run-1");
  // A child that is started again gets the descriptor of a file that is no more.
  child.reset();
  ASSERT_OK_AND_ASSIGN(child, RunLock::Inherit(dir_, ::dup(parent->fd()), "run-1"));
  EXPECT_TRUE(child->IsOurs());
  EXPECT_STATUS(RunLock::Take(dir_), absl::StatusCode::kAlreadyExists, "run run-1");
}

TEST_F(RunLockTest, WhoLosesTheFolderToAnotherIsToldAndWritesNothingMore) {
  const auto lock = Take();
  fs::remove_all(dir_);
  {
    ASSERT_OK_AND_ASSIGN(const auto other, RunLock::Take(dir_, "run-2"));
    EXPECT_STATUS(lock->Check(), absl::StatusCode::kFailedPrecondition, "run run-2");
  }
  // For good, also once the other has left and what it wrote is deleted.
  EXPECT_STATUS(lock->Check(), absl::StatusCode::kFailedPrecondition, "has taken");
  fs::remove_all(dir_);
  EXPECT_STATUS(lock->Check(), absl::StatusCode::kFailedPrecondition, "has taken");
  EXPECT_FALSE(lock->IsOurs());
  EXPECT_FALSE(fs::exists(dir_));
}

// --- File systems without locks ---

TEST_F(RunLockTest, WithoutKernelLocksTheFirstOwnsTheLeaseAndGivesItBack) {
  for (const int error : {ENOLCK, EOPNOTSUPP, ENOSYS}) {
    int looks = 0;
    const RunLockOptions options = WithoutLocks(error, [&](absl::Duration) { ++looks; });
    EXPECT_OK(RunLock::Take(dir_, "run-1", options));
    EXPECT_EQ(looks, 0);
    EXPECT_OK(RunLock::Take(dir_, "run-1", options));
    // Not for a lease that was given back: for somebody who comes at the same time.
    EXPECT_EQ(looks, 1);
    fs::remove_all(dir_);
  }
  EXPECT_STATUS(RunLock::Take(dir_, "run-1", WithoutLocks(EIO)), absl::StatusCode::kInternal, "lock " + path_);
}

TEST_F(RunLockTest, ALeaseThatIsRenewedIsNotTaken) {
  ASSERT_OK(MakeFolders(dir_));
  Put("{\"host\":\"h2\",\"pid\":17,\"run_id\":\"theirs\",\"renewals\":1}\n");
  int looks = 0;
  const auto renew = [&](absl::Duration) {
    if (++looks == 5) Put("{\"host\":\"h2\",\"pid\":17,\"run_id\":\"theirs\",\"renewals\":2}\n");
  };
  EXPECT_STATUS(RunLock::Take(dir_, "mine", WithoutLocks(ENOLCK, renew)), absl::StatusCode::kAlreadyExists,
                "pid 17 on host h2, run theirs");
  EXPECT_EQ(looks, 5);
  EXPECT_THAT(*ReadFile(path_), HasSubstr("theirs"));
}

TEST_F(RunLockTest, ALeaseThatNobodyRenewsIsTakenAndItsOwnerIsToldWhenItWakes) {
  // Renews every six minutes: as one that is asleep.
  const auto sleeper = Take(WithoutLocks(EOPNOTSUPP));
  {
    absl::Duration slept;
    ASSERT_OK_AND_ASSIGN(
        const auto lock,
        RunLock::Take(dir_, "run-2", WithoutLocks(EOPNOTSUPP, [&](absl::Duration time) { slept += time; })));
    EXPECT_GE(slept, absl::Hours(1));
    EXPECT_OK(lock->Check());
    EXPECT_STATUS(sleeper->Check(), absl::StatusCode::kFailedPrecondition, "run run-2");
    EXPECT_THAT(*ReadFile(path_), HasSubstr("run-2"));
  }
  EXPECT_STATUS(sleeper->Check(), absl::StatusCode::kFailedPrecondition, "has taken");
}

TEST_F(RunLockTest, OfTwoThatTakeALeaseAtTheSameTimeTheSecondHasIt) {
  ASSERT_OK(MakeFolders(dir_));
  Put("{\"released\":true}\n");
  // The only look comes when its own file is in place.
  const auto overtake = [&](absl::Duration) { Put("{\"host\":\"h2\",\"pid\":17,\"run_id\":\"theirs\"}\n"); };
  EXPECT_STATUS(RunLock::Take(dir_, "mine", WithoutLocks(ENOSYS, overtake)), absl::StatusCode::kAlreadyExists,
                "run theirs");
}

TEST_F(RunLockTest, ALeaseIsRenewedByItsOwnerAndHandedDown) {
  RunLockOptions options = WithoutLocks(ENOLCK);
  options.lease = absl::Milliseconds(20);
  const auto parent = Take(options);
  ASSERT_OK_AND_ASSIGN(const auto child, RunLock::Inherit(dir_, ::dup(parent->fd()), "run-1", options));
  const std::string before = *ReadFile(path_);
  while (*ReadFile(path_) == before) std::this_thread::yield();
  EXPECT_OK(child->Check());
  EXPECT_OK(parent->Check());
}

}  // namespace
}  // namespace grpo
