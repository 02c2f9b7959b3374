// One page of text over HTTP, for scrapers such as Prometheus.
#ifndef GRPO_COMMON_TEXT_PAGE_H_
#define GRPO_COMMON_TEXT_PAGE_H_

#include <poll.h>

#include <cstddef>
#include <deque>
#include <functional>
#include <memory>
#include <string>
#include <thread>
#include <vector>

#include "absl/status/statusor.h"

namespace grpo {

// Answers every "GET PATH" on a port of 127.0.0.1 with what `text` returns, anything else with 404. Callers are served
// side by side, each for a second at most, so one that is slow or says nothing costs the others nothing; beyond
// kMaxConnections the one that has been there longest makes room. Thread-safe.
class TextPage {
 public:
  // `port` 0 lets the system choose. Unavailable when the port is taken. `text` is called from a thread of this, until
  // the destructor has returned. `path` begins with a slash. There is one such thread, so `text` is never called twice
  // at a time; a slow one keeps the next caller waiting.
  static absl::StatusOr<std::unique_ptr<TextPage>> Start(int port, const std::string& path,
                                                         std::function<std::string()> text);
  ~TextPage();
  TextPage(const TextPage&) = delete;
  TextPage& operator=(const TextPage&) = delete;

  // "127.0.0.1:9400".
  const std::string& address() const { return address_; }

  static constexpr size_t kMaxConnections = 64;

 private:
  // One caller.
  struct Connection;

  TextPage() = default;
  // The thread: serves whatever connection can be read or written, until stop_ can be read.
  void Serve();
  // The listener, stop_, and the connections in their order.
  std::vector<pollfd> WaitsFor(const std::deque<Connection>& open) const;
  // Takes the next caller; where that cannot be, for want of descriptors, waits a moment.
  void Accept(std::deque<Connection>& open) const;
  // Reads or writes what can be without waiting. False when there is no more to do.
  bool Advance(Connection& connection) const;
  std::string Answer(const std::string& request) const;

  // request_line_ is how a request for the page begins.
  std::string address_, request_line_;
  std::function<std::string()> text_;
  // The socket; closed by the destructor.
  int listener_ = -1;
  // Closing the writing end ends Serve.
  int stop_[2] = {-1, -1};
  std::thread thread_;
};

}  // namespace grpo

#endif  // GRPO_COMMON_TEXT_PAGE_H_
