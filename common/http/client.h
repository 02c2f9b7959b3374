// The one way in which this project speaks HTTP: a POST of a text, and its answer, over Debian's libcurl. Servers are
// known by their certificate, redirects are not followed, and every call is bounded in time and size. Proxies are found
// as libcurl finds them (https_proxy, no_proxy).
#ifndef GRPO_COMMON_HTTP_CLIENT_H_
#define GRPO_COMMON_HTTP_CLIENT_H_

#include <atomic>
#include <cstdint>
#include <map>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "absl/synchronization/mutex.h"
#include "absl/time/time.h"

namespace grpo::http {

struct ClientOptions {
  // Until a connection stands, TLS included.
  absl::Duration connect_timeout = absl::Seconds(30);
  // Of a whole call. A server that thinks before it answers needs all of it in silence.
  absl::Duration timeout = absl::Minutes(10);
  // Of an answer's body, and of its headers together.
  int64_t max_body_bytes = int64_t{64} << 20, max_header_bytes = int64_t{256} << 10;
  // PEM file of the authorities that are believed; empty: the system's.
  std::string ca_file = {};
};

struct Response {
  // 200, 429, ...: whatever the server said. Not 0.
  int status = 0;
  // By lower-case name, the last one of several; trimmed.
  std::map<std::string, std::string> headers = {};
  std::string body = {};

  // Empty when it is absent. `name` is in lower case.
  absl::string_view Header(const std::string& name) const {
    const auto found = headers.find(name);
    return found == headers.end() ? absl::string_view() : absl::string_view(found->second);
  }
};

using Headers = std::vector<std::pair<std::string, std::string>>;

// Thread-safe: each thread that calls has a connection of its own, which the next call uses again.
class Client {
 public:
  // Opens no connection. Neither signals nor, once a first client was made, global state of libcurl.
  explicit Client(ClientOptions options);
  // No call may be under way (Cancel, then wait for the callers).
  ~Client();
  Client(const Client&) = delete;
  Client& operator=(const Client&) = delete;

  // Sends `body` to `url` (http or https), as application/json unless `headers` say otherwise, and waits for the whole
  // answer. Every answer is OK here, whatever its status; a redirect is an answer. One attempt. Errors:
  //   Unavailable           no connection, or it broke: also in the middle of the answer, which is then worth nothing
  //   DeadlineExceeded      a timeout passed
  //   FailedPrecondition    the server's certificate is not believed, or ca_file cannot be read
  //   ResourceExhausted     the answer is larger than max_body_bytes or max_header_bytes
  //   InvalidArgument       no URL, another scheme, or a header with a line break
  //   Cancelled             after Cancel
  // Messages name the host, never the query, the headers or the body.
  absl::StatusOr<Response> Post(const std::string& url, const Headers& headers, absl::string_view body);

  // Ends every call that is under way, within a second or so, and every later one at once. For good.
  void Cancel() { cancelled_.store(true); }

 private:
  struct Call;
  // A handle of libcurl's with its connection; a new one when all are in use.
  void* Take();
  void GiveBack(void* handle);
  // Everything that does not change from call to call.
  void Configure(void* handle, Call* call) const;

  const ClientOptions options_;
  std::atomic<bool> cancelled_ = false;
  absl::Mutex mutex_;
  // Handles without a call (CURL*).
  std::vector<void*> idle_ ABSL_GUARDED_BY(mutex_);
};

}  // namespace grpo::http

#endif  // GRPO_COMMON_HTTP_CLIENT_H_
