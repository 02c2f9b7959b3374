#include "trainer/references.h"

#include "absl/strings/str_cat.h"
#include "common/status_testing.h"
#include "configs/load.h"
#include "gmock/gmock.h"

namespace grpo {
namespace {

using ::testing::HasSubstr;

v1::Prompt PromptWithAnswer(const std::string& id, const std::string& answer) {
  v1::Prompt prompt;
  prompt.set_id(id);
  prompt.set_answer(answer);
  return prompt;
}

class ReferenceAuditTest : public ::testing::Test {
 protected:
  void SetUp() override {
    RewardProfileOptions options;
    options.rules["numeric"];
    ASSERT_OK_AND_ASSIGN(profile_, RewardProfile::Make("p", options));
  }
  // Of so many answers, the last of which the rule cannot read.
  ReferenceAudit Of(int64_t num_answers, int64_t num_unreadable) const {
    ReferenceAudit audit(*profile_);
    for (int64_t i = 0; i < num_answers; ++i) {
      const bool readable = i < num_answers - num_unreadable;
      EXPECT_EQ(audit.Add(PromptWithAnswer(absl::StrCat("line/", i), readable ? "12" : "twelve")).ok(), readable);
    }
    return audit;
  }

  std::unique_ptr<RewardProfile> profile_;
};

TEST_F(ReferenceAuditTest, CountsAndNamesTheFirst) {
  const ReferenceAudit audit = Of(10, 3);
  EXPECT_EQ(audit.num_answers(), 10);
  EXPECT_EQ(audit.num_unreadable(), 3);
  EXPECT_THAT(std::string(audit.first_unreadable().message()), HasSubstr("line/7"));
  EXPECT_THAT(audit.Summary("d"), HasSubstr("3 of 10 reference answers of data.d cannot be read by the rules of "
                                            "rewards.p"));
  EXPECT_EQ(Of(10, 0).Summary("d"), "");
}

TEST_F(ReferenceAuditTest, TheShareThatMayBeUnreadableIsInclusive) {
  for (const auto& [num_answers, num_unreadable, max_frac, ok] :
       std::vector<std::tuple<int64_t, int64_t, double, bool>>{{100, 0, 0.01, true},
                                                               {100, 1, 0.01, true},
                                                               {100, 2, 0.01, false},
                                                               {99, 1, 0.01, false},
                                                               {1000, 10, 0.01, true},
                                                               {1000, 11, 0.01, false},
                                                               {300, 3, 0.01, true},
                                                               {10, 1, 0.0, false},
                                                               {10, 0, 0.0, true},
                                                               {10, 5, 0.5, true},
                                                               {10, 9, 1.0, true},
                                                               {0, 0, 0.01, true}}) {
    EXPECT_EQ(Of(num_answers, num_unreadable).Judge("d", max_frac).ok(), ok)
        << num_unreadable << " of " << num_answers << ", " << max_frac;
  }
}

TEST_F(ReferenceAuditTest, RefusalsSayHowManyWhichAndWhatToDo) {
  const absl::Status some = Of(10, 3).Judge("d", 0.01);
  EXPECT_STATUS(some, absl::StatusCode::kInvalidArgument, "cannot read 3 of the 10 reference answers of data.d");
  for (const char* text : {"line/7", "max_unreadable_reference_frac is 0.01", "reward audit --profile p --data d"})
    EXPECT_THAT(std::string(some.message()), HasSubstr(text));
  // Whatever the share may be, there would be nothing to learn from.
  EXPECT_STATUS(Of(4, 4).Judge("d", 1), absl::StatusCode::kInvalidArgument,
                "the rules of rewards.p can read none of the 4 reference answers of data.d; the first: prompt "
                "\"line/0\", rule numeric");
}

}  // namespace
}  // namespace grpo
