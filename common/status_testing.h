// ASSERT_OK / EXPECT_OK / ASSERT_OK_AND_ASSIGN for tests, under Abseil's later names.
#ifndef GRPO_COMMON_STATUS_TESTING_H_
#define GRPO_COMMON_STATUS_TESTING_H_

#include "absl/strings/match.h"
#include "common/status_macros.h"
#include "gtest/gtest.h"

namespace grpo {
// What the macros below look at: the status itself, or that of a StatusOr.
inline absl::Status StatusOf(const absl::Status& status) {
  return status;
}
template <typename T>
absl::Status StatusOf(const absl::StatusOr<T>& statusor) {
  return statusor.status();
}
}  // namespace grpo

#define EXPECT_OK(expr) EXPECT_EQ(::grpo::StatusOf(expr), ::absl::OkStatus())
#define ASSERT_OK(expr) ASSERT_EQ(::grpo::StatusOf(expr), ::absl::OkStatus())
#define ASSERT_OK_AND_ASSIGN(lhs, expr) GRPO_ASSERT_OK_AND_ASSIGN_(GRPO_CONCAT_(grpo_statusor_, __LINE__), lhs, expr)
#define GRPO_ASSERT_OK_AND_ASSIGN_(statusor, lhs, expr) \
  auto statusor = (expr);                               \
  ASSERT_EQ(statusor.status(), ::absl::OkStatus());     \
  lhs = std::move(statusor).value()

// The status has this code and its message holds `text`.
#define EXPECT_STATUS(expr, status_code, text)                                                             \
  do {                                                                                                     \
    const ::absl::Status grpo_got_ = ::grpo::StatusOf(expr);                                               \
    EXPECT_EQ(grpo_got_.code(), (status_code)) << grpo_got_;                                               \
    EXPECT_TRUE(::absl::StrContains(grpo_got_.message(), (text))) << grpo_got_ << "\n  lacks: " << (text); \
  } while (false)

#endif  // GRPO_COMMON_STATUS_TESTING_H_
