#include "common/shared_memory.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <unistd.h>

#include <cstring>
#include <string>

#include "common/status_testing.h"

namespace grpo {
namespace {

TEST(SharedMemoryTest, WhatIsWrittenIsReadByTheDescriptor) {
  ASSERT_OK_AND_ASSIGN(const auto memory, SharedMemory::Create(10000));
  EXPECT_EQ(memory->bytes().size(), 10000u);
  ASSERT_OK(CheckSharedMemory(memory->fd(), 10000));
  std::memcpy(memory->bytes().data() + 9990, "0123456789", 10);
  std::string read(10, '#');
  ASSERT_OK(ReadSharedMemory(memory->fd(), 9990, absl::MakeSpan(read)));
  EXPECT_EQ(read, "0123456789");
  std::memcpy(memory->bytes().data() + 9990, "abc", 3);
  ASSERT_OK(ReadSharedMemory(memory->fd(), 9988, absl::MakeSpan(read)));
  EXPECT_EQ(read, std::string("\0\0abc34567", 10)) << "it can still be written by whoever made it";
}

TEST(SharedMemoryTest, WhoeverHasTheDescriptorCanNeitherCutItOffNorWriteToIt) {
  ASSERT_OK_AND_ASSIGN(const auto memory, SharedMemory::Create(10000));
  EXPECT_NE(::ftruncate(memory->fd(), 100), 0);
  EXPECT_NE(::ftruncate(memory->fd(), 20000), 0);
  EXPECT_EQ(::pwrite(memory->fd(), "x", 1, 0), -1);
  EXPECT_EQ(::mmap(nullptr, 10000, PROT_READ | PROT_WRITE, MAP_SHARED, memory->fd(), 0), MAP_FAILED);
  EXPECT_NE(::fallocate(memory->fd(), FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, 0, 4096), 0);
  EXPECT_NE(::fcntl(memory->fd(), F_ADD_SEALS, F_SEAL_WRITE), 0) << "nor take it from its owner";
}

TEST(SharedMemoryTest, WhatWasPassedInItsPlaceIsRefused) {
  ASSERT_OK_AND_ASSIGN(const auto memory, SharedMemory::Create(10000));
  EXPECT_STATUS(CheckSharedMemory(memory->fd(), 10001), absl::StatusCode::kDataLoss,
                "has 10000 bytes, 10001 were announced");
  const Descriptor unsealed(::memfd_create("unsealed", MFD_CLOEXEC | MFD_ALLOW_SEALING));
  ASSERT_EQ(::ftruncate(unsealed.get(), 10000), 0);
  EXPECT_STATUS(CheckSharedMemory(unsealed.get(), 10000), absl::StatusCode::kDataLoss,
                "no memory whose size is sealed");
  const Descriptor pipe_like(::open("/dev/zero", O_RDONLY | O_CLOEXEC));
  EXPECT_STATUS(CheckSharedMemory(pipe_like.get(), 1), absl::StatusCode::kDataLoss, "no memory whose size is sealed");
  EXPECT_STATUS(CheckSharedMemory(-1, 1), absl::StatusCode::kInternal, "look at");
}

// Where a map would end the process.
TEST(SharedMemoryTest, MemoryThatWasCutOffIsAnError) {
  const Descriptor cut(::memfd_create("cut", MFD_CLOEXEC | MFD_ALLOW_SEALING));
  ASSERT_EQ(::ftruncate(cut.get(), 100), 0);
  std::string read(101, '#');
  EXPECT_STATUS(ReadSharedMemory(cut.get(), 0, absl::MakeSpan(read)), absl::StatusCode::kDataLoss, "ends at byte 100");
  EXPECT_STATUS(ReadSharedMemory(cut.get(), 500, absl::MakeSpan(read)), absl::StatusCode::kDataLoss,
                "ends at byte 500");
}

TEST(SharedMemoryTest, MoreThanThereIsIsAnErrorBeforeAnythingIsTaken) {
  EXPECT_STATUS(SharedMemory::Create(int64_t{1} << 50), absl::StatusCode::kResourceExhausted, "bytes are left");
}

}  // namespace
}  // namespace grpo
