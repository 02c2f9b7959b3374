#include "common/log.h"

#include <chrono>
#include <cstdlib>
#include <string>
#include <thread>

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

// One that writes what threads do when somebody asks lives as long as the process.
TEST(LogDeathTest, AThreadMayLogWhileTheProcessExits) {
  GTEST_FLAG_SET(death_test_style, "threadsafe");
  const auto exit_beside_it = [] {
    // Goes last, after what spdlog itself has to end.
    std::atexit([] { std::this_thread::sleep_for(std::chrono::milliseconds(300)); });
    InitLogging("test");
    std::thread([] {
      while (true) spdlog::info("still here");
    }).detach();
    std::exit(0);
  };
  EXPECT_EXIT(exit_beside_it(), ::testing::ExitedWithCode(0), "");
}

}  // namespace
}  // namespace grpo
