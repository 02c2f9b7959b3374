#include "tools/doctor/mounts.h"

#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace grpo {
namespace {

using ::testing::Contains;

constexpr char kMounts[] =
    "27 1 254:0 / / rw,relatime - ext4 /dev/vda rw,discard\n"
    "30 27 0:27 / /dev/shm rw - tmpfs tmpfs rw,size=24k\n"
    "31 27 0:30 / /home rw,nosuid shared:5 master:2 - nfs4 server:/home rw,soft,local_lock=none\n"
    "32 31 0:31 / /home/with\\040blank ro - overlay overlay rw\n"
    "33 27 0:32 / /twice rw - ext4 /dev/vdb rw\n"
    "34 27 0:33 / /twice rw - xfs /dev/vdc rw\n"
    "torn line\n";

TEST(MountsTest, TheDeepestMountAroundAPathIsItsOwn) {
  EXPECT_EQ(MountOf(kMounts, "/").type, "ext4");
  EXPECT_EQ(MountOf(kMounts, "/data/runs").type, "ext4");
  EXPECT_EQ(MountOf(kMounts, "/home").type, "nfs4");
  EXPECT_EQ(MountOf(kMounts, "/home/me/runs").type, "nfs4");
  EXPECT_EQ(MountOf(kMounts, "/homestead").type, "ext4") << "another folder whose name begins alike";
  EXPECT_EQ(MountOf(kMounts, "/home/with blank/x").type, "overlay");
  EXPECT_EQ(MountOf(kMounts, "/twice/x").type, "xfs") << "the later one covers the other";
  EXPECT_EQ(MountOf("", "/").type, "");
}

TEST(MountsTest, OptionsAreThoseOfTheMountAndOfTheFileSystem) {
  const Mount mount = MountOf(kMounts, "/home/me");
  for (const char* option : {"rw", "nosuid", "soft", "local_lock=none"})
    EXPECT_THAT(mount.options, Contains(std::string(option)));
  EXPECT_TRUE(mount.IsNetwork());
  EXPECT_FALSE(MountOf(kMounts, "/").IsNetwork());
  EXPECT_THAT(MountOf(kMounts, "/home/with blank").options, Contains(std::string("ro")));
}

}  // namespace
}  // namespace grpo
