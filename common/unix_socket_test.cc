#include "common/unix_socket.h"

#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cstdio>
#include <filesystem>
#include <string>
#include <thread>

#include "absl/strings/str_cat.h"
#include "common/files.h"
#include "common/status_testing.h"

namespace grpo {
namespace {

constexpr uid_t kNobody = 65534;
constexpr absl::Duration kTimeout = absl::Minutes(1);

class UnixSocketTest : public ::testing::Test {
 protected:
  void SetUp() override {
    // Deeper than a socket's address is long.
    folder_ = absl::StrCat(::testing::TempDir(), "/unix_socket_test.", ::getpid(), "/", std::string(120, 'x'));
    ASSERT_OK(MakeFolders(folder_));
    path_ = folder_ + "/a.sock";
  }
  void TearDown() override { std::filesystem::remove_all(std::filesystem::path(folder_).parent_path()); }
  std::string folder_, path_;
};

TEST_F(UnixSocketTest, AMessageGoesThereAndBackWithADescriptor) {
  ASSERT_OK_AND_ASSIGN(const Descriptor listening, ListenUnix(path_));
  std::thread server([&] {
    ASSERT_OK_AND_ASSIGN(const Descriptor socket, AcceptUnix(listening.get()));
    ASSERT_OK(CheckSameUser(socket.get()));
    ASSERT_OK_AND_ASSIGN(const UnixMessage asked, ReceiveUnix(socket.get(), 100));
    EXPECT_EQ(asked.bytes, "what is it?");
    EXPECT_EQ(asked.passed.get(), -1);
    std::FILE* const file = std::tmpfile();
    std::fputs("a file", file);
    std::fflush(file);
    EXPECT_OK(SendUnix(socket.get(), 7, std::string(1 << 20, 'y'), ::fileno(file)));
    std::fclose(file);
    EXPECT_TRUE(WaitForClose(socket.get()));
  });
  {
    ASSERT_OK_AND_ASSIGN(const Descriptor socket, ConnectUnix(path_, kTimeout));
    EXPECT_OK(SendUnix(socket.get(), 0, "what is it?"));
    ASSERT_OK_AND_ASSIGN(const UnixMessage answer, ReceiveUnix(socket.get(), 1 << 20));
    EXPECT_EQ(answer.code, 7u);
    EXPECT_EQ(answer.bytes, std::string(1 << 20, 'y'));
    char text[7] = {};
    EXPECT_EQ(::pread(answer.passed.get(), text, 6, 0), 6);
    EXPECT_STREQ(text, "a file");
  }
  server.join();
}

TEST_F(UnixSocketTest, OnlyItsUserCanOpenIt) {
  ASSERT_OK_AND_ASSIGN(const Descriptor listening, ListenUnix(path_));
  struct stat file = {};
  ASSERT_EQ(::lstat(path_.c_str(), &file), 0);
  EXPECT_EQ(file.st_mode & 0777, 0600u);
}

TEST_F(UnixSocketTest, ASocketThatWasLeftIsReplacedAndNothingElse) {
  ASSERT_OK(ListenUnix(path_).status());
  EXPECT_STATUS(ConnectUnix(path_, kTimeout), absl::StatusCode::kInternal, "connect to");  // nobody listens
  ASSERT_OK(ListenUnix(path_).status());
  ASSERT_OK(WriteFileSynced(folder_ + "/b.sock", "mine"));
  EXPECT_STATUS(ListenUnix(folder_ + "/b.sock"), absl::StatusCode::kAlreadyExists, "is no socket");
  EXPECT_EQ(*ReadFile(folder_ + "/b.sock"), "mine");
}

TEST_F(UnixSocketTest, WhereThereIsNoneTheErrorSaysSo) {
  EXPECT_STATUS(ConnectUnix(path_, kTimeout), absl::StatusCode::kNotFound, path_);
  EXPECT_STATUS(ConnectUnix(folder_ + "/none/a.sock", kTimeout), absl::StatusCode::kNotFound, "none");
  EXPECT_STATUS(ListenUnix(folder_ + "/none/a.sock"), absl::StatusCode::kNotFound, "none");
  EXPECT_STATUS(ListenUnix(folder_ + "/" + std::string(100, 'z')), absl::StatusCode::kInvalidArgument, "too long");
}

TEST_F(UnixSocketTest, ShutdownEndsTheWaitForCallers) {
  ASSERT_OK_AND_ASSIGN(const Descriptor listening, ListenUnix(path_));
  std::thread closer([&] { ::shutdown(listening.get(), SHUT_RDWR); });
  EXPECT_STATUS(AcceptUnix(listening.get()), absl::StatusCode::kCancelled, "");
  closer.join();
}

TEST_F(UnixSocketTest, AnEndThatIsGoneSlowOrWordyIsAnError) {
  int ends[2];
  ASSERT_EQ(::socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends), 0);
  const Descriptor here(ends[0]);
  {
    const Descriptor there(ends[1]);
    SetTimeout(here.get(), absl::Milliseconds(20));
    EXPECT_STATUS(ReceiveUnix(here.get(), 100), absl::StatusCode::kUnavailable, "says nothing");
    EXPECT_FALSE(WaitForClose(here.get()));
    ASSERT_OK(SendUnix(there.get(), 0, std::string(101, 'x')));
    EXPECT_STATUS(ReceiveUnix(here.get(), 100), absl::StatusCode::kInvalidArgument, "101 bytes, at most 100");
    ASSERT_EQ(::send(there.get(), "abc", 3, 0), 3);
    EXPECT_FALSE(WaitForClose(here.get())) << "it talks";
  }
  EXPECT_STATUS(SendUnix(here.get(), 0, "x"), absl::StatusCode::kUnavailable, "takes no more");
}

// A socket that another user made where ours is expected: it is not spoken to.
TEST_F(UnixSocketTest, AnotherUsersSocketIsRefused) {
  if (::geteuid() != 0) GTEST_SKIP() << "only root can become another user";
  const std::string folder = absl::StrCat("/tmp/grpo_squat.", ::getpid()), path = folder + "/a.sock";
  ASSERT_OK(MakeFolders(folder));
  ASSERT_EQ(::chown(folder.c_str(), kNobody, kNobody), 0);
  int ready[2];
  ASSERT_EQ(::pipe(ready), 0);
  const pid_t child = ::fork();
  if (child == 0) {
    if (::setuid(kNobody) != 0) ::_exit(1);
    const absl::StatusOr<Descriptor> listening = ListenUnix(path);
    if (!listening.ok()) ::_exit(2);
    if (::write(ready[1], "x", 1) != 1) ::_exit(3);
    ::pause();
  }
  char byte;
  ASSERT_EQ(::read(ready[0], &byte, 1), 1);
  EXPECT_STATUS(ConnectUnix(path, kTimeout), absl::StatusCode::kPermissionDenied, "is of user 65534, not of 0");
  ::kill(child, SIGKILL);
  ::waitpid(child, nullptr, 0);
  std::filesystem::remove_all(folder);
}

// And another user that got at ours, its mode notwithstanding, is known for one.
TEST_F(UnixSocketTest, AnotherUsersProcessIsKnown) {
  if (::geteuid() != 0) GTEST_SKIP() << "only root can become another user";
  const std::string folder = absl::StrCat("/tmp/grpo_caller.", ::getpid()), path = folder + "/a.sock";
  ASSERT_OK(MakeFolders(folder));
  ASSERT_OK_AND_ASSIGN(const Descriptor listening, ListenUnix(path));
  ASSERT_EQ(::chmod(path.c_str(), 0777), 0);
  const pid_t child = ::fork();
  if (child == 0) {
    const int socket = ::socket(AF_UNIX, SOCK_STREAM, 0);
    sockaddr_un address = {};
    address.sun_family = AF_UNIX;
    std::snprintf(address.sun_path, sizeof(address.sun_path), "%s", path.c_str());
    if (::setuid(kNobody) != 0) ::_exit(1);
    ::_exit(::connect(socket, reinterpret_cast<const sockaddr*>(&address), sizeof(address)) == 0 ? 0 : 2);
  }
  ASSERT_OK_AND_ASSIGN(const Descriptor socket, AcceptUnix(listening.get()));
  EXPECT_STATUS(CheckSameUser(socket.get()), absl::StatusCode::kPermissionDenied, "is of user 65534");
  int code = 0;
  ::waitpid(child, &code, 0);
  EXPECT_EQ(code, 0);
  std::filesystem::remove_all(folder);
}

}  // namespace
}  // namespace grpo
