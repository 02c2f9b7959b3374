#include "common/text_page.h"

#include <arpa/inet.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cerrno>
#include <chrono>
#include <cstring>
#include <utility>
#include <vector>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "common/thread.h"

namespace grpo {
namespace {

constexpr size_t kMaxRequestBytes = 8192;
constexpr std::chrono::milliseconds kPatience(1000);
constexpr int kPauseMs = 100;

}  // namespace

struct TextPage::Connection {
  explicit Connection(int descriptor) : fd(descriptor) {}
  Connection(Connection&& other) noexcept { *this = std::move(other); }
  Connection& operator=(Connection&& other) noexcept {
    std::swap(fd, other.fd);
    until = other.until;
    request = std::move(other.request);
    answer = std::move(other.answer);
    num_sent = other.num_sent;
    done = other.done;
    return *this;
  }
  ~Connection() {
    if (fd >= 0) ::close(fd);
  }

  int fd = -1;
  // However little it sends or takes at a time.
  std::chrono::steady_clock::time_point until = std::chrono::steady_clock::now() + kPatience;
  // Empty until the request is there.
  std::string request, answer;
  size_t num_sent = 0;
  bool done = false;
};

absl::StatusOr<std::unique_ptr<TextPage>> TextPage::Start(int port, const std::string& path,
                                                          std::function<std::string()> text) {
  std::unique_ptr<TextPage> page(new TextPage);
  page->text_ = std::move(text);
  page->request_line_ = absl::StrCat("GET ", path, " ");
  page->listener_ = ::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
  const int yes = 1;
  ::setsockopt(page->listener_, SOL_SOCKET, SO_REUSEADDR, &yes, sizeof(yes));
  sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons(static_cast<uint16_t>(port))};
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  socklen_t size = sizeof(address);
  if (::bind(page->listener_, reinterpret_cast<sockaddr*>(&address), size) != 0 ||
      ::listen(page->listener_, SOMAXCONN) != 0 ||
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
  // Whoever came first has waited longest.
  std::deque<Connection> open;
  while (true) {
    std::vector<pollfd> waiting = WaitsFor(open);
    const int timeout_ms = open.empty() ? -1 : static_cast<int>(kPatience.count()) / 4;
    const bool polled = ::poll(waiting.data(), waiting.size(), timeout_ms) >= 0;
    if (!polled && errno == EINTR) continue;
    if (!polled || waiting[1].revents != 0) return;
    for (size_t i = 0; i < open.size(); ++i) open[i].done = waiting[i + 2].revents != 0 && !Advance(open[i]);
    const auto now = std::chrono::steady_clock::now();
    std::erase_if(open, [&](const Connection& connection) { return connection.done || connection.until <= now; });
    // One at a time: what it asks is often there by the next look.
    if (waiting[0].revents != 0) Accept(open);
  }
}

std::vector<pollfd> TextPage::WaitsFor(const std::deque<Connection>& open) const {
  std::vector<pollfd> waiting = {{.fd = listener_, .events = POLLIN}, {.fd = stop_[0], .events = POLLIN}};
  for (const Connection& connection : open) {
    const bool reads = connection.answer.empty();
    waiting.push_back({.fd = connection.fd, .events = static_cast<short>(reads ? POLLIN : POLLOUT)});
  }
  return waiting;
}

void TextPage::Accept(std::deque<Connection>& open) const {
  const int fd = ::accept4(listener_, nullptr, nullptr, SOCK_CLOEXEC | SOCK_NONBLOCK);
  if (fd >= 0) {
    if (open.size() >= kMaxConnections) open.pop_front();
    open.emplace_back(fd);
    return;
  }
  if (errno == EAGAIN || errno == EINTR || errno == ECONNABORTED) return;
  // The caller still waits in line, so that the next look would come at once.
  if (!open.empty()) open.pop_front();
  pollfd stop = {.fd = stop_[0], .events = POLLIN};
  ::poll(&stop, 1, kPauseMs);
}

bool TextPage::Advance(Connection& connection) const {
  if (connection.answer.empty()) {
    char buffer[1024];
    const ssize_t count = ::recv(connection.fd, buffer, sizeof(buffer), 0);
    if (count < 0 && (errno == EAGAIN || errno == EINTR)) return true;
    if (count <= 0) return false;
    connection.request.append(buffer, static_cast<size_t>(count));
    if (!absl::StrContains(connection.request, "\r\n\r\n")) return connection.request.size() <= kMaxRequestBytes;
    connection.answer = Answer(connection.request);
  }
  while (connection.num_sent < connection.answer.size()) {
    const ssize_t count = ::send(connection.fd, connection.answer.data() + connection.num_sent,
                                 connection.answer.size() - connection.num_sent, MSG_NOSIGNAL);
    if (count < 0) return errno == EAGAIN || errno == EINTR;
    connection.num_sent += static_cast<size_t>(count);
  }
  return false;
}

std::string TextPage::Answer(const std::string& request) const {
  const bool found = absl::StartsWith(request, request_line_);
  const std::string body = found ? text_() : "not found\n";
  return absl::StrCat("HTTP/1.0 ", found ? "200 OK" : "404 Not Found",
                      "\r\nContent-Type: text/plain; version=0.0.4\r\nContent-Length: ", body.size(),
                      "\r\nConnection: close\r\n\r\n", body);
}

}  // namespace grpo
