// Logging is spdlog (`spdlog::info("step {} ...", step)`); this sets it up. Everything goes to stderr: stdout is for
// results.
#ifndef GRPO_COMMON_LOG_H_
#define GRPO_COMMON_LOG_H_

#include <string>

#include "spdlog/spdlog.h"

namespace grpo {

// Lines read `2026-11-22 04:30:01.123 I role] message`. Flushes on every line, so that a killed process leaves all it
// said. `role` is who speaks, such as trainer. Replaces spdlog's default logger; call once, first in main. Logging
// itself is thread-safe. What a message quotes of others is escaped (EscapedForLog of common/utf8.h).
void InitLogging(const std::string& role);

}  // namespace grpo

#endif  // GRPO_COMMON_LOG_H_
