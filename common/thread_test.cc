#include "common/thread.h"

#include <stdexcept>
#include <string>

#include "common/exit_codes.h"
#include "common/log.h"
#include "gtest/gtest.h"

namespace grpo {
namespace {

TEST(ThreadTest, RunsItsBody) {
  int result = 0;
  StartThread("the adder", [&] { result = 1 + 1; }).join();
  EXPECT_EQ(result, 2);
  EXPECT_EQ(Guarded("the adder", [] { return 3; }), 3);
}

TEST(ThreadTest, SaysWhatWasThrown) {
  std::string what;
  try {
    throw std::runtime_error("no room");
  } catch (...) {
    what = WhatWasThrown();
  }
  EXPECT_EQ(what, "no room");
  try {
    throw 7;
  } catch (...) {
    what = WhatWasThrown();
  }
  EXPECT_EQ(what, "something that is no std::exception");
}

// Not a signal, as std::terminate would be: the process says whose work failed, and why.
TEST(ThreadDeathTest, WhatEscapesIsANamedFailure) {
  GTEST_FLAG_SET(death_test_style, "threadsafe");
  InitLogging("test");
  EXPECT_EXIT(StartThread("the heartbeat", [] { throw std::runtime_error("no room"); }).join(),
              ::testing::ExitedWithCode(kExitInternal), "the heartbeat failed: no room");
  EXPECT_EXIT(Guarded("the trainer", []() -> int { throw 7; }), ::testing::ExitedWithCode(kExitInternal),
              "the trainer failed: something that is no std::exception");
}

}  // namespace
}  // namespace grpo
