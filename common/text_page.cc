#include "common/text_page.h"

#include <arpa/inet.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <poll.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <unistd.h>

#include <cerrno>
#include <chrono>
#include <cstring>
#include <utility>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "common/thread.h"

namespace grpo {
namespace {

constexpr size_t kMaxRequestBytes = 8192;
constexpr timeval kPatience = {.tv_sec = 1, .tv_usec = 0};

}  // namespace

absl::StatusOr<std::unique_ptr<TextPage>> TextPage::Start(int port, const std::string& path,
                                                          std::function<std::string()> text) {
  std::unique_ptr<TextPage> page(new TextPage);
  page->text_ = std::move(text);
  page->request_line_ = absl::StrCat("GET ", path, " ");
  page->listener_ = ::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  const int yes = 1;
  ::setsockopt(page->listener_, SOL_SOCKET, SO_REUSEADDR, &yes, sizeof(yes));
  sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons(static_cast<uint16_t>(port))};
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  socklen_t size = sizeof(address);
  if (::bind(page->listener_, reinterpret_cast<sockaddr*>(&address), size) != 0 || ::listen(page->listener_, 16) != 0 ||
      ::getsockname(page->listener_, reinterpret_cast<sockaddr*>(&address), &size) != 0 ||
      ::pipe2(page->stop_, O_CLOEXEC) != 0) {
    return absl::UnavailableError(absl::StrCat("cannot serve ", path, " on 127.0.0.1:", port, ": ",
                                               std::strerror(errno), "; choose another port"));
  }
  page->address_ = absl::StrCat("127.0.0.1:", ntohs(address.sin_port));
  page->thread_ = StartThread("the metrics page", [self = page.get()] { self->Serve(); });
  return page;
}

TextPage::~TextPage() {
  if (stop_[1] >= 0) ::close(stop_[1]);
  if (thread_.joinable()) thread_.join();
  if (stop_[0] >= 0) ::close(stop_[0]);
  if (listener_ >= 0) ::close(listener_);
}

void TextPage::Serve() {
  while (true) {
    pollfd waiting[2] = {{.fd = listener_, .events = POLLIN}, {.fd = stop_[0], .events = POLLIN}};
    if (::poll(waiting, 2, -1) < 0 && errno != EINTR) return;
    if (waiting[1].revents != 0) return;
    if (waiting[0].revents == 0) continue;
    const int connection = ::accept4(listener_, nullptr, nullptr, SOCK_CLOEXEC);
    if (connection < 0) continue;
    Answer(connection);
    ::close(connection);
  }
}

void TextPage::Answer(int connection) const {
  ::setsockopt(connection, SOL_SOCKET, SO_RCVTIMEO, &kPatience, sizeof(kPatience));
  ::setsockopt(connection, SOL_SOCKET, SO_SNDTIMEO, &kPatience, sizeof(kPatience));
  std::string request;
  char buffer[1024];
  // One that sends a byte at a time is not waited for longer than one that sends none.
  const auto give_up_at = std::chrono::steady_clock::now() + std::chrono::seconds(kPatience.tv_sec);
  while (!absl::StrContains(request, "\r\n\r\n")) {
    const ssize_t count = ::recv(connection, buffer, sizeof(buffer), 0);
    if (count <= 0 || std::chrono::steady_clock::now() > give_up_at) return;
    request.append(buffer, count);
    if (request.size() > kMaxRequestBytes) return;
  }
  const bool found = absl::StartsWith(request, request_line_);
  const std::string body = found ? text_() : "not found\n";
  const std::string answer =
      absl::StrCat("HTTP/1.0 ", found ? "200 OK" : "404 Not Found",
                   "\r\nContent-Type: text/plain; version=0.0.4\r\nContent-Length: ", body.size(),
                   "\r\nConnection: close\r\n\r\n", body);
  for (size_t sent = 0; sent < answer.size();) {
    const ssize_t count = ::send(connection, answer.data() + sent, answer.size() - sent, MSG_NOSIGNAL);
    if (count <= 0) return;
    sent += count;
  }
}

}  // namespace grpo
