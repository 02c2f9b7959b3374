#include "common/files.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <atomic>
#include <cerrno>
#include <filesystem>
#include <string>
#include <thread>
#include <utility>

#include "common/failpoint_on.h"
#include "common/status_testing.h"

namespace grpo {
namespace {

namespace fs = std::filesystem;

// A fresh folder per test.
class FilesTest : public ::testing::Test {
 protected:
  FilesTest() : folder_(::testing::TempDir() + "/files_test." + std::to_string(::getpid())) {
    fs::remove_all(folder_);
    fs::create_directories(folder_);
  }
  ~FilesTest() override { fs::remove_all(folder_); }

  int NumFiles() const {
    return static_cast<int>(std::distance(fs::directory_iterator(folder_), fs::directory_iterator()));
  }

  const std::string folder_;
};

TEST_F(FilesTest, WritesAndReadsAnyBytes) {
  std::string content;
  for (int i = 0; i < 300'000; ++i) content += static_cast<char>(i * 31);
  ASSERT_OK(WriteFileAtomically(folder_ + "/a", content));
  ASSERT_OK_AND_ASSIGN(const std::string read, ReadFile(folder_ + "/a"));
  EXPECT_EQ(read, content);
  EXPECT_EQ(NumFiles(), 1) << "the temporary file must be gone";
}

TEST_F(FilesTest, ReadFileNamesWhatIsWrong) {
  EXPECT_STATUS(ReadFile(folder_ + "/none"), absl::StatusCode::kNotFound, folder_ + "/none: No such file");
  ASSERT_OK(WriteFileSynced(folder_ + "/five", "12345"));
  EXPECT_OK(ReadFile(folder_ + "/five", 5));
  EXPECT_STATUS(ReadFile(folder_ + "/five", 4), absl::StatusCode::kInvalidArgument, "longer than 4 bytes");
}

// One without a writer was waited for, one without an end read until memory was full.
TEST_F(FilesTest, PipesAndDevicesAreNamedAndNotRead) {
  const std::string pipe = folder_ + "/pipe";
  ASSERT_EQ(::mkfifo(pipe.c_str(), 0600), 0);
  for (const auto& [path, what] : {std::pair<std::string, std::string>{pipe, "a pipe"}, {"/dev/zero", "a device"}}) {
    const std::string message = path + " is " + what + ", not a file";
    EXPECT_STATUS(ReadFile(path), absl::StatusCode::kInvalidArgument, message);
    EXPECT_STATUS(ExpectFile(path), absl::StatusCode::kInvalidArgument, message);
  }
  EXPECT_STATUS(ExpectFile(folder_), absl::StatusCode::kInvalidArgument, "is a folder");
  EXPECT_STATUS(ExpectFile(folder_ + "/none"), absl::StatusCode::kNotFound, "none");
  ASSERT_OK(WriteFileSynced(folder_ + "/file", "1"));
  EXPECT_OK(ExpectFile(folder_ + "/file"));
}

TEST_F(FilesTest, WhatAUserDidIsNoInternalError) {
  ASSERT_OK(WriteFileSynced(folder_ + "/file", ""));
  EXPECT_STATUS(MakeFolders(folder_ + "/file"), absl::StatusCode::kAlreadyExists, "/file: ");
  EXPECT_STATUS(MakeFolders(folder_ + "/file/below"), absl::StatusCode::kAlreadyExists, "/file/below: Not a directory");
  EXPECT_STATUS(WriteFileSynced(folder_ + "/file/x", ""), absl::StatusCode::kAlreadyExists, "/file/x: Not a directory");
  EXPECT_STATUS(ReadFile(folder_), absl::StatusCode::kAlreadyExists, "Is a directory");
  EXPECT_STATUS(WriteFileSynced(folder_ + "/" + std::string(300, 'x'), ""), absl::StatusCode::kAlreadyExists,
                "File name too long");
  EXPECT_STATUS(ErrnoStatus(EROFS, "create", "x"), absl::StatusCode::kPermissionDenied, "create x: Read-only");
  EXPECT_STATUS(ErrnoStatus(EFBIG, "write", "x"), absl::StatusCode::kResourceExhausted, "write x: File too large");
  EXPECT_STATUS(ErrnoStatus(EIO, "read", "x"), absl::StatusCode::kInternal, "read x: Input/output error");
}

TEST_F(FilesTest, AFailedWriteLeavesTheOldContentAndNoTemporaryFile) {
  // The target is a folder: the rename fails after the temporary file was written.
  fs::create_directories(folder_ + "/target");
  ASSERT_OK(WriteFileSynced(folder_ + "/target/old", "old"));
  EXPECT_FALSE(WriteFileAtomically(folder_ + "/target", "new").ok());
  ASSERT_OK_AND_ASSIGN(const std::string old, ReadFile(folder_ + "/target/old"));
  EXPECT_EQ(old, "old");
  EXPECT_EQ(NumFiles(), 1);
  EXPECT_STATUS(WriteFileAtomically(folder_ + "/no/such/folder", "x"), absl::StatusCode::kNotFound, "/no/such/folder");
}

TEST_F(FilesTest, WhicheverSystemCallFailsTheOldContentStays) {
  const std::string marks = folder_ + "/marks", path = folder_ + "/file";
  for (const char* call : {"files.open", "files.write", "files.fsync", "files.rename"}) {
    fs::remove_all(marks);
    fs::create_directories(marks);
    ASSERT_OK(WriteFileAtomically(path, "old"));
    ArmFailpoints(std::string(call) + "=error:ENOSPC@1", marks);
    EXPECT_STATUS(WriteFileAtomically(path, "new"), absl::StatusCode::kResourceExhausted, "file");
    EXPECT_TRUE(fs::exists(marks + "/" + call + ".0")) << call;
    ASSERT_OK_AND_ASSIGN(const std::string content, ReadFile(path));
    EXPECT_EQ(content, "old") << call;
    EXPECT_EQ(NumFiles(), 2) << "the temporary file must be gone after " << call;
    EXPECT_OK(WriteFileAtomically(path, "new")) << "the next try";
  }
  ArmFailpoints("", "");
}

TEST_F(FilesTest, RemoveAllRemovesFoldersAndMissesNothing) {
  ASSERT_OK(MakeFolders(folder_ + "/a/b"));
  ASSERT_OK(RemoveAll(folder_ + "/a"));
  ASSERT_OK(RemoveAll(folder_ + "/a"));
  EXPECT_EQ(NumFiles(), 0);
}

TEST_F(FilesTest, AReaderSeesTheOldContentOrTheNewNeverAPart) {
  const std::string path = folder_ + "/shared";
  const std::string old_content(100'000, 'o'), new_content(150'000, 'n');
  ASSERT_OK(WriteFileAtomically(path, old_content));
  std::atomic<bool> done{false};
  std::thread writer([&] {
    for (int i = 0; i < 20; ++i) EXPECT_OK(WriteFileAtomically(path, i % 2 == 0 ? new_content : old_content));
    done = true;
  });
  while (!done) {
    const absl::StatusOr<std::string> read = ReadFile(path);
    EXPECT_OK(read);
    if (!read.ok()) break;
    // Not EXPECT_EQ, which would print it all.
    EXPECT_TRUE(*read == old_content || *read == new_content) << read->size();
  }
  writer.join();
}

TEST_F(FilesTest, WhereIsTellsADeletedFileFromOneThatWasReplaced) {
  const std::string path = folder_ + "/a/file";
  ASSERT_OK(MakeFolders(folder_ + "/a"));
  ASSERT_OK(WriteFileSynced(path, "1"));
  const int fd = ::open(path.c_str(), O_RDONLY | O_CLOEXEC);
  ASSERT_GE(fd, 0);
  EXPECT_EQ(WhereIs(fd, path), PlaceOfFile::kSame);
  ASSERT_OK(WriteFileAtomically(path, "2"));
  EXPECT_EQ(WhereIs(fd, path), PlaceOfFile::kAnother);
  ASSERT_OK(RemoveAll(path));
  EXPECT_EQ(WhereIs(fd, path), PlaceOfFile::kGone);
  ASSERT_OK(RemoveAll(folder_ + "/a"));
  EXPECT_EQ(WhereIs(fd, path), PlaceOfFile::kGone);
  ASSERT_OK(WriteFileSynced(folder_ + "/a", "a file in the folder's place"));
  EXPECT_EQ(WhereIs(fd, path), PlaceOfFile::kGone);
  ::close(fd);
}

TEST_F(FilesTest, MakeFoldersMakesAllAndRefusesAFileInTheWay) {
  ASSERT_OK(MakeFolders(folder_ + "/a/b/c"));
  ASSERT_OK(MakeFolders(folder_ + "/a/b/c"));
  EXPECT_TRUE(fs::is_directory(folder_ + "/a/b/c"));
  ASSERT_OK(WriteFileSynced(folder_ + "/file", ""));
  EXPECT_FALSE(MakeFolders(folder_ + "/file/x").ok());
}

// Row 24 of the attacks: what no JSON holds is refused before anything is written.
TEST_F(FilesTest, PathsThatNoMessageCouldNameAreRefused) {
  EXPECT_OK(CheckUtf8Path("--run-dir", "runs/w\xc3\xb6rker \xf0\x9f\x90\x87"));
  EXPECT_STATUS(CheckUtf8Path("--run-dir", folder_ + "/b\xff"), absl::StatusCode::kInvalidArgument,
                "/b\\xff is not UTF-8");
  // Relative to a folder that is not.
  const fs::path before = fs::current_path();
  ASSERT_OK(MakeFolders(folder_ + "/b\xff"));
  fs::current_path(folder_ + "/b\xff");
  EXPECT_STATUS(CheckUtf8Path("--run-dir", "run"), absl::StatusCode::kInvalidArgument, "--run-dir ");
  fs::current_path(before);
}

}  // namespace
}  // namespace grpo
