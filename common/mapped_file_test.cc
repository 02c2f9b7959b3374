#include "common/mapped_file.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <signal.h>
#include <sys/mman.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <filesystem>
#include <thread>
#include <vector>

#include "common/files.h"
#include "common/status_testing.h"

namespace grpo {
namespace {

namespace fs = std::filesystem;

constexpr size_t kPage = 4096, kNumPages = 64;

class MappedFileTest : public testing::Test {
 protected:
  void SetUp() override {
    ASSERT_OK(WriteFileSynced(path_, std::string(kPage * kNumPages, 'x')));
    // File systems tell times only to some milliseconds.
    fs::last_write_time(path_, fs::last_write_time(path_) - std::chrono::seconds(1));
  }
  const std::string path_ = testing::TempDir() + "/mapped." + std::to_string(::getpid());
};

int64_t CountX(const MappedFile& file) {
  return std::count(file.content().begin(), file.content().end(), 'x');
}

TEST_F(MappedFileTest, ShowsTheFile) {
  ASSERT_OK_AND_ASSIGN(const auto file, MappedFile::Open(path_));
  EXPECT_EQ(CountX(*file), kPage * kNumPages);
  EXPECT_OK(file->Check());
  ASSERT_OK(WriteFileSynced(path_ + ".empty", ""));
  ASSERT_OK_AND_ASSIGN(const auto empty, MappedFile::Open(path_ + ".empty"));
  EXPECT_EQ(empty->content(), "");
  EXPECT_OK(empty->Check());
}

TEST_F(MappedFileTest, NamesWhatCannotBeMapped) {
  EXPECT_STATUS(MappedFile::Open(path_ + ".nowhere"), absl::StatusCode::kNotFound, "nowhere: No such file");
  EXPECT_STATUS(MappedFile::Open(testing::TempDir()), absl::StatusCode::kInvalidArgument, "is not a regular file");
}

TEST_F(MappedFileTest, AFileTruncatedWhileItIsReadIsAnErrorAndNotTheEnd) {
  ASSERT_OK_AND_ASSIGN(const auto file, MappedFile::Open(path_));
  ASSERT_OK_AND_ASSIGN(const auto other, MappedFile::Open(path_));
  fs::resize_file(path_, kPage);
  // Several threads, as when torch converts a large tensor.
  std::vector<std::thread> readers;
  for (int i = 0; i < 4; ++i) readers.emplace_back([&] { EXPECT_LE(CountX(*file), kPage); });
  for (std::thread& reader : readers) reader.join();
  EXPECT_STATUS(file->Check(), absl::StatusCode::kDataLoss, "was truncated while it was read");
  EXPECT_STATUS(other->Check(), absl::StatusCode::kDataLoss, "was written to while it was read");
  EXPECT_LE(CountX(*other), kPage) << "up to the fault";
  EXPECT_EQ(CountX(*other), 0) << "the whole mapping is given up";
  // The place in the table serves again.
  ASSERT_OK_AND_ASSIGN(const auto again, MappedFile::Open(path_));
  EXPECT_EQ(CountX(*again), kPage);
  EXPECT_OK(again->Check());
}

TEST_F(MappedFileTest, AFileThatLosesPartOfAPageIsAnError) {
  ASSERT_OK_AND_ASSIGN(const auto file, MappedFile::Open(path_));
  fs::resize_file(path_, kPage * kNumPages - 1);
  EXPECT_EQ(CountX(*file), kPage * kNumPages - 1) << "a zero, and no signal";
  EXPECT_STATUS(file->Check(), absl::StatusCode::kDataLoss, "had 262144 bytes and has 262143");
}

TEST_F(MappedFileTest, AFileWrittenToIsAnError) {
  ASSERT_OK_AND_ASSIGN(const auto file, MappedFile::Open(path_));
  ASSERT_OK(WriteFileSynced(path_, std::string(kPage * kNumPages, 'y')));
  EXPECT_STATUS(file->Check(), absl::StatusCode::kDataLoss, "was written to");
}

using MappedFileDeathTest = MappedFileTest;

TEST_F(MappedFileDeathTest, OtherBusErrorsStillEndTheProcess) {
  GTEST_FLAG_SET(death_test_style, "threadsafe");
  EXPECT_EXIT(
      {
        const auto file = MappedFile::Open(path_);
        ::raise(SIGBUS);
      },
      testing::KilledBySignal(SIGBUS), "");
}

TEST_F(MappedFileDeathTest, AnotherPageThatCannotBeReadIsNamedByItsFile) {
  GTEST_FLAG_SET(death_test_style, "threadsafe");
  const auto read_behind_the_end = [this] {
    InstallSigbusHandler();
    const int fd = ::open(path_.c_str(), O_RDWR);
    const auto* const bytes = static_cast<const volatile char*>(::mmap(nullptr, kPage, PROT_READ, MAP_SHARED, fd, 0));
    if (::ftruncate(fd, 0) == 0 && bytes[0] == 'x') ::_exit(0);
  };
  EXPECT_DEATH(read_behind_the_end(), "SIGBUS: a page of .*/mapped\\.[0-9]+ cannot be read or written");
}

}  // namespace
}  // namespace grpo
