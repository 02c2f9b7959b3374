// An HTTP server for tests that answers as badly as the test wants.
#ifndef GRPO_COMMON_HTTP_TESTING_H_
#define GRPO_COMMON_HTTP_TESTING_H_

#include <netinet/in.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cstdlib>
#include <functional>
#include <map>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/strings/ascii.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "absl/synchronization/mutex.h"
#include "absl/time/time.h"

namespace grpo::http {

// What came.
struct TestRequest {
  // "POST /v1/chat/completions HTTP/1.1".
  std::string first_line;
  std::map<std::string, std::string> headers;  // by lower-case name
  std::string body;
};

// What goes back. The connection is closed after it.
struct TestAnswer {
  int status = 200;
  std::vector<std::pair<std::string, std::string>> headers = {};
  std::string body = {};
  // Content-Length is this much more than the body: half a reply.
  size_t missing_bytes = 0;
  // Nothing is sent: the caller waits until the server is destroyed, or gives up by itself.
  bool silent = false;
  // The connection is closed without a word.
  bool hang_up = false;
};

// Serves one connection after the other, each in a thread of its own, on a port of loopback. Thread-safe.
class TestServer {
 public:
  // Called at every request, by the connection's thread.
  using Answer = std::function<TestAnswer(const TestRequest& request)>;

  explicit TestServer(Answer answer) : answer_(std::move(answer)) {
    listening_ = ::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    sockaddr_in address = {};
    address.sin_family = AF_INET;
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    socklen_t size = sizeof(address);
    if (::bind(listening_, reinterpret_cast<sockaddr*>(&address), size) != 0 || ::listen(listening_, 64) != 0 ||
        ::getsockname(listening_, reinterpret_cast<sockaddr*>(&address), &size) != 0) {
      std::abort();
    }
    port_ = ntohs(address.sin_port);
    accepting_ = std::thread([this] { Accept(); });
  }
  ~TestServer() {
    {
      absl::MutexLock lock(&mutex_);
      closing_ = true;
      for (const int connection : open_) ::shutdown(connection, SHUT_RDWR);
    }
    ::shutdown(listening_, SHUT_RDWR);
    accepting_.join();
    ::close(listening_);
    for (std::thread& thread : serving_) thread.join();
  }
  TestServer(const TestServer&) = delete;
  TestServer& operator=(const TestServer&) = delete;

  std::string url() const { return absl::StrCat("http://127.0.0.1:", port_); }

 private:
  void Accept() {
    while (true) {
      const int connection = ::accept(listening_, nullptr, nullptr);
      if (connection < 0) return;
      absl::MutexLock lock(&mutex_);
      if (closing_) {
        ::close(connection);
        return;
      }
      open_.push_back(connection);
      serving_.emplace_back([this, connection] { Serve(connection); });
    }
  }

  void Serve(int connection) {
    TestRequest request;
    if (Read(connection, &request)) {
      const TestAnswer answer = answer_(request);
      if (answer.silent) {
        absl::MutexLock lock(&mutex_, absl::Condition(&closing_));
      } else if (!answer.hang_up) {
        Write(connection, answer);
      }
    }
    absl::MutexLock lock(&mutex_);
    std::erase(open_, connection);
    ::close(connection);
  }

  static bool Read(int connection, TestRequest* request) {
    std::string text;
    size_t end = std::string::npos, length = 0;
    char buffer[4096];
    while (end == std::string::npos || text.size() < end + 4 + length) {
      const ssize_t got = ::recv(connection, buffer, sizeof(buffer), 0);
      if (got <= 0) return false;
      text.append(buffer, static_cast<size_t>(got));
      // Whoever tries TLS is told at once that nobody here speaks it.
      if (!absl::ascii_isupper(static_cast<unsigned char>(text[0]))) return false;
      if (end != std::string::npos || (end = text.find("\r\n\r\n")) == std::string::npos) continue;
      const std::vector<std::string> lines = absl::StrSplit(text.substr(0, end), "\r\n");
      request->first_line = lines[0];
      for (size_t i = 1; i < lines.size(); ++i) {
        const std::pair<std::string, std::string> header = absl::StrSplit(lines[i], absl::MaxSplits(':', 1));
        request->headers[absl::AsciiStrToLower(header.first)] = std::string(absl::StripAsciiWhitespace(header.second));
      }
      int64_t number = 0;
      if (absl::SimpleAtoi(request->headers["content-length"], &number)) length = static_cast<size_t>(number);
    }
    request->body = text.substr(end + 4);
    return true;
  }

  static void Write(int connection, const TestAnswer& answer) {
    std::string text = absl::StrCat("HTTP/1.1 ", answer.status, " Status\r\nConnection: close\r\nContent-Length: ",
                                    answer.body.size() + answer.missing_bytes, "\r\n");
    for (const auto& [name, value] : answer.headers) absl::StrAppend(&text, name, ": ", value, "\r\n");
    absl::StrAppend(&text, "\r\n", answer.body);
    for (size_t sent = 0; sent < text.size();) {
      const ssize_t now = ::send(connection, text.data() + sent, text.size() - sent, MSG_NOSIGNAL);
      if (now <= 0) return;
      sent += static_cast<size_t>(now);
    }
  }

  const Answer answer_;
  int listening_ = -1, port_ = 0;
  absl::Mutex mutex_;
  bool closing_ ABSL_GUARDED_BY(mutex_) = false;
  std::vector<int> open_ ABSL_GUARDED_BY(mutex_);
  // Of all connections so far. Only accepting_ adds, and the destructor joins after it.
  std::vector<std::thread> serving_;
  std::thread accepting_;
};

}  // namespace grpo::http

#endif  // GRPO_COMMON_HTTP_TESTING_H_
