// The boundaries beyond which nothing may be thrown: a thread's body, a process's main. What escapes there is named in
// the log and ends the process with kExitInternal, which whoever watches it can tell from a crash; std::terminate is
// never reached.
#ifndef GRPO_COMMON_THREAD_H_
#define GRPO_COMMON_THREAD_H_

#include <exception>
#include <functional>
#include <string>
#include <thread>

namespace grpo {

// Within a catch block: what was thrown, in words. Never empty.
inline std::string WhatWasThrown() {
  try {
    throw;
  } catch (const std::exception& error) {
    return error.what();
  } catch (...) {
    return "something that is no std::exception";
  }
}

// Within a catch block: logs "NAME failed: WHAT" and ends the process with kExitInternal. Runs no destructors, so that
// nothing waits for a thread that is gone. Any thread.
[[noreturn]] void EndProcessAfterThrow(const char* name) noexcept;

// Calls `body`; whatever it throws ends the process as above. `name` says to a reader of the log whose work that was.
template <typename Body>
auto Guarded(const char* name, Body&& body) -> decltype(body()) {
  try {
    return body();
  } catch (...) {
    EndProcessAfterThrow(name);
  }
}

// A thread that runs `body` guarded. `name` is a literal. Where the system gives no thread, that ends the process, too:
// it could not do its work, and to unwind past threads that run would be std::terminate.
std::thread StartThread(const char* name, std::function<void()> body);

}  // namespace grpo

#endif  // GRPO_COMMON_THREAD_H_
