#include "common/thread.h"

#include <unistd.h>

#include <cstdlib>
#include <cstring>
#include <utility>

#include "common/exit_codes.h"
#include "common/log.h"

namespace grpo {

void EndProcessAfterThrow(const char* name) noexcept {
  try {
    spdlog::critical("{} failed: {}; this process ends", name, WhatWasThrown());
  } catch (...) {
    // Without memory for a line of the log.
    for (const char* part : {name, " failed, and so did saying why\n"}) {
      if (::write(STDERR_FILENO, part, std::strlen(part)) < 0) break;
    }
  }
  std::_Exit(kExitInternal);
}

std::thread StartThread(const char* name, std::function<void()> body) {
  return Guarded(name, [&] { return std::thread([name, body = std::move(body)] { Guarded(name, body); }); });
}

}  // namespace grpo
