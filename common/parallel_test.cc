#include "common/parallel.h"

#include <atomic>
#include <stdexcept>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "common/status_testing.h"

namespace grpo {
namespace {

TEST(RunParallelTest, EachPieceIsDoneOnce) {
  for (const int64_t num_threads : {1, 2, 7, 100}) {
    for (const int64_t count : {0, 1, 2, 50}) {
      std::vector<std::atomic<int>> done(static_cast<size_t>(count));
      EXPECT_OK(RunParallel(num_threads, count, [&](int64_t index) {
        ++done[static_cast<size_t>(index)];
        return absl::OkStatus();
      }));
      for (const std::atomic<int>& times : done) EXPECT_EQ(times, 1) << num_threads << " threads";
    }
  }
}

TEST(RunParallelTest, OfSeveralErrorsTheFirstInOrderIsReturned) {
  for (const int64_t num_threads : {1, 2, 4}) {
    for (int repeat = 0; repeat < 50; ++repeat) {
      const absl::Status status = RunParallel(num_threads, 100, [&](int64_t index) {
        return index < 3 ? absl::OkStatus() : absl::DataLossError(absl::StrCat("piece ", index));
      });
      EXPECT_STATUS(status, absl::StatusCode::kDataLoss, "piece 3");
    }
  }
}

TEST(RunParallelTest, AfterAnErrorNothingFurtherBegins) {
  std::atomic<int64_t> begun = 0;
  EXPECT_FALSE(RunParallel(2, 1000000, [&](int64_t) {
                 ++begun;
                 return absl::InternalError("broken");
               }).ok());
  EXPECT_LE(begun, 2);
}

TEST(RunParallelTest, WhatAPieceThrowsIsItsError) {
  for (const int64_t num_threads : {1, 4}) {
    EXPECT_STATUS(RunParallel(num_threads, 10,
                              [](int64_t index) -> absl::Status {
                                if (index == 3) throw std::runtime_error("no room");
                                return absl::OkStatus();
                              }),
                  absl::StatusCode::kInternal, "no room");
  }
}

}  // namespace
}  // namespace grpo
