#include "common/text_page.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cstdlib>
#include <memory>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "common/status_testing.h"
#include "gmock/gmock.h"

namespace grpo {
namespace {

using ::testing::HasSubstr;
using ::testing::StartsWith;

// Longer than a page gives a caller, shorter than a row of silent callers would take one after the other.
constexpr timeval kPatience = {.tv_sec = 10, .tv_usec = 0};

// One connection of a caller.
class Caller {
 public:
  explicit Caller(const TextPage& page) : fd_(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0)) {
    ::setsockopt(fd_, SOL_SOCKET, SO_RCVTIMEO, &kPatience, sizeof(kPatience));
    sockaddr_in address = {
        .sin_family = AF_INET,
        .sin_port =
            htons(static_cast<uint16_t>(std::atoi(page.address().substr(page.address().rfind(':') + 1).c_str())))};
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    EXPECT_EQ(::connect(fd_, reinterpret_cast<sockaddr*>(&address), sizeof(address)), 0);
  }
  ~Caller() { ::close(fd_); }
  Caller(const Caller&) = delete;
  Caller& operator=(const Caller&) = delete;

  void Send(const std::string& text) const { ::send(fd_, text.data(), text.size(), MSG_NOSIGNAL); }
  // Until the page ends the connection, or kPatience is over.
  std::string Receive() const {
    std::string answer;
    char buffer[4096];
    for (ssize_t count; (count = ::recv(fd_, buffer, sizeof(buffer), 0)) > 0;)
      answer.append(buffer, static_cast<size_t>(count));
    return answer;
  }
  // Whether the page has ended the connection, or does before kPatience is over.
  bool Ended() const {
    char byte;
    return ::recv(fd_, &byte, 1, 0) == 0;
  }
  std::string Get(const std::string& path) const {
    Send(absl::StrCat("GET ", path, " HTTP/1.0\r\n\r\n"));
    return Receive();
  }

 private:
  const int fd_;
};

TEST(TextPageTest, AnswersWithThePageAndWith404) {
  ASSERT_OK_AND_ASSIGN(const auto page, TextPage::Start(0, "/metrics", [] { return std::string("up 1\n"); }));
  const std::string answer = Caller(*page).Get("/metrics");
  EXPECT_THAT(answer, StartsWith("HTTP/1.0 200 OK\r\n"));
  EXPECT_THAT(answer, HasSubstr("Content-Length: 5\r\n"));
  EXPECT_THAT(answer, ::testing::EndsWith("\r\n\r\nup 1\n"));
  EXPECT_THAT(Caller(*page).Get("/metricsx"), StartsWith("HTTP/1.0 404 "));
  EXPECT_EQ(Caller(*page).Get(std::string(20'000, 'x')), "");
}

// 19 of them filled the page for more than 8 seconds.
TEST(TextPageTest, SilentCallersKeepNobodyWaiting) {
  ASSERT_OK_AND_ASSIGN(const auto page, TextPage::Start(0, "/metrics", [] { return std::string("up 1\n"); }));
  std::vector<std::unique_ptr<Caller>> silent;
  for (size_t i = 0; i < 2 * TextPage::kMaxConnections; ++i) {
    silent.push_back(std::make_unique<Caller>(*page));
    // Some have begun to ask.
    if (i % 2 == 0) silent.back()->Send("GET /metr");
  }
  EXPECT_THAT(Caller(*page).Get("/metrics"), StartsWith("HTTP/1.0 200 OK\r\n"));
  // Nor do they stay.
  EXPECT_TRUE(silent.back()->Ended());
}

TEST(TextPageTest, CallersThatDoNotReadKeepNobodyWaiting) {
  // More than both ends' buffers take.
  const std::string large(size_t{16} << 20, 'x');
  ASSERT_OK_AND_ASSIGN(const auto page, TextPage::Start(0, "/metrics", [&large] { return large; }));
  std::vector<std::unique_ptr<Caller>> slow;
  for (int i = 0; i < 12; ++i) {
    slow.push_back(std::make_unique<Caller>(*page));
    slow.back()->Send("GET /metrics HTTP/1.0\r\n\r\n");
  }
  EXPECT_THAT(Caller(*page).Get("/"), StartsWith("HTTP/1.0 404 "));
}

}  // namespace
}  // namespace grpo
