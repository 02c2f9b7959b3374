#include "common/log.h"

#include <string>

#include "common/status_testing.h"
#include "gmock/gmock.h"

namespace grpo {
namespace {

TEST(LogTest, WhatOthersNamedCannotMoveTheCursorOrForgeALine) {
  InitLogging("test");
  ::testing::internal::CaptureStderr();
  spdlog::info("{} registered", "\x1b[2J\a\n2026-11-22 04:30:01.123 E trainer] all is lost \xff\r");
  spdlog::info("next");
  const std::string log = ::testing::internal::GetCapturedStderr();
  EXPECT_THAT(log, ::testing::MatchesRegex("[-0-9: .]+ I test. .x1b.2J.x07\n"
                                           "    2026-11-22 04:30:01.123 E trainer. all is lost .xff.x0d registered\n"
                                           "[-0-9: .]+ I test. next\n"));
}

}  // namespace
}  // namespace grpo
