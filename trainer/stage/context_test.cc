#include "trainer/stage/context.h"

#include "common/status_testing.h"

namespace grpo {
namespace {

// The numbers 0 to size - 1 as problems; -1 makes it endless.
class Numbers : public DataSource {
 public:
  explicit Numbers(int64_t size) : size_(size) {}
  int64_t size() const override { return size_; }
  DataItem At(int64_t index) const override {
    DataItem item;
    item.prompt.set_id(std::to_string(index));
    return item;
  }

 private:
  const int64_t size_;
};

TEST(CountProblemsTest, TakesAllOrAsManyAsThereAre) {
  EXPECT_EQ(*CountProblems(Numbers(5), "d", 0), 5);
  EXPECT_EQ(*CountProblems(Numbers(5), "d", 3), 3);
  EXPECT_EQ(*CountProblems(Numbers(5), "d", 9), 5);
}

TEST(CountProblemsTest, AnEndlessSourceNeedsANumber) {
  EXPECT_EQ(*CountProblems(Numbers(-1), "d", 7), 7);
  EXPECT_STATUS(CountProblems(Numbers(-1), "d", 0), absl::StatusCode::kInvalidArgument,
                "data.d is endless; say how many `problems` to take");
}

TEST(MakeLeaseTest, TheSeedIsTheGroupsAndNobodyElses) {
  const GroupTemplate group = {.stage = "rl", .kind = v1::LEASE_KIND_TRAIN, .policy = {}, .reward = {}, .sampling = {}};
  const v1::Lease lease = MakeLease(group, /*run_seed=*/1, /*group_index=*/3, v1::Prompt());
  EXPECT_EQ(lease.key().stage(), "rl");
  EXPECT_EQ(lease.key().group_index(), 3);
  EXPECT_EQ(lease.seed(), MakeLease(group, 1, 3, v1::Prompt()).seed());
  EXPECT_NE(lease.seed(), MakeLease(group, 1, 4, v1::Prompt()).seed());
  EXPECT_NE(lease.seed(), MakeLease(group, 2, 3, v1::Prompt()).seed());
}

}  // namespace
}  // namespace grpo
