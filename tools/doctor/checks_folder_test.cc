#include <filesystem>
#include <string>

#include "absl/strings/str_cat.h"
#include "common/files.h"
#include "common/status_testing.h"
#include "gmock/gmock.h"
#include "tools/doctor/machine.h"
#include "tools/doctor/machine_testing.h"

namespace grpo {
namespace {

using ::testing::AllOf, ::testing::HasSubstr, ::testing::Not;

class RunFolderCheckTest : public ::testing::Test {
 protected:
  RunFolderCheckTest() {
    std::filesystem::remove_all(folder_);
    EXPECT_OK(MakeFolders(folder_));
    // The files that are made are of this machine's time.
    machine_.now = ThisMachine().Now();
  }
  ~RunFolderCheckTest() override { std::filesystem::remove_all(folder_); }

  std::string Look(const std::string& type, const std::string& options) {
    machine_.files["/proc/self/mountinfo"] = absl::StrCat("27 1 254:0 / / rw - ", type, " x ", options, "\n");
    return Found(&CheckRunFolder, {.machine = machine_, .run_dir = folder_ + "/not/yet"});
  }

  const std::string folder_ =
      absl::StrCat(::testing::TempDir(), "/folder_", ::testing::UnitTest::GetInstance()->current_test_info()->name());
  FakeMachine machine_;
};

TEST_F(RunFolderCheckTest, IsTriedWhereItWillBeAndLeavesNothing) {
  EXPECT_THAT(Look("ext4", "rw"),
              AllOf(HasSubstr("is on ext4, mounted at /"), HasSubstr("ok: a rename replaces a file at once"),
                    HasSubstr("fsync of a file and its folder ("), HasSubstr("ok: what two processes append"),
                    HasSubstr("1024.0 of 2048.0 GiB are free"), Not(HasSubstr("problem"))));
  EXPECT_TRUE(std::filesystem::is_empty(folder_));
}

TEST_F(RunFolderCheckTest, MountsThatBreakPromisesAreSaid) {
  EXPECT_THAT(Look("nfs4", "rw,hard,local_lock=none"), Not(HasSubstr("warning: NFS")));
  EXPECT_THAT(Look("nfs4", "rw,soft,local_lock=all,nocto"),
              AllOf(HasSubstr("mounted soft"), HasSubstr("two machines can take the same run"), HasSubstr("nocto")));
  EXPECT_THAT(Look("tmpfs", "rw"), HasSubstr("gone with the machine's next start"));
  EXPECT_THAT(Look("overlay", "rw"), HasSubstr("gone with the container"));
  EXPECT_THAT(Look("lustre", "rw"), HasSubstr("-o flock"));
  EXPECT_THAT(Look("ext4", "ro"), HasSubstr("problem 77"));
}

TEST_F(RunFolderCheckTest, LittleRoomAndFewInodesAreWarnings) {
  machine_.space->bytes_free = 1 << 20;
  machine_.space->inodes_free = 10;
  EXPECT_THAT(Look("ext4", "rw"),
              AllOf(HasSubstr("warning: 0.0 of 2048.0 GiB are free"), HasSubstr("warning: room for 10 more files")));
}

TEST_F(RunFolderCheckTest, AServersClockThatIsBehindIsAWarning) {
  machine_.now += absl::Hours(1);
  EXPECT_THAT(Look("nfs4", "rw"), HasSubstr("behind this machine's"));
}

TEST_F(RunFolderCheckTest, APathThatIsTooLongForASocketIsAWarning) {
  machine_.files["/proc/self/mountinfo"] = "27 1 254:0 / / rw - ext4 x rw";
  const std::string run_dir = folder_ + "/" + std::string(120, 'x');
  EXPECT_THAT(Found(&CheckRunFolder, {.machine = machine_, .run_dir = run_dir}), HasSubstr("too long for a socket"));
}

TEST_F(RunFolderCheckTest, AFileInItsPlaceIsAProblem) {
  ASSERT_OK(WriteFileSynced(folder_ + "/file", "x"));
  EXPECT_THAT(Found(&CheckRunFolder, {.machine = machine_, .run_dir = folder_ + "/file"}), HasSubstr("problem 73"));
}

}  // namespace
}  // namespace grpo
