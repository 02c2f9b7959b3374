#include "common/rpc/refusals.h"

#include <set>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "common/log.h"
#include "gmock/gmock.h"

namespace grpo::rpc {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::Not;
using ::testing::Pair;

TEST(RefusalsTest, AreCountedByReason) {
  InitLogging("test");
  FakeClock clock;
  Refusals refusals(clock);
  EXPECT_THAT(refusals.Counts(), IsEmpty());
  for (int i = 0; i < 3; ++i) refusals.Count(Refusal::kWrongRole, "grpo://run/worker", "may not");
  refusals.Count(Refusal::kExpired, "grpo://run/worker", "is over");
  EXPECT_THAT(refusals.Counts(), ElementsAre(Pair("expired_certificate", 1), Pair("wrong_role", 3)));
}

TEST(RefusalsTest, EveryReasonIsAMetricWithANameOfItsOwn) {
  InitLogging("test");
  FakeClock clock;
  Refusals refusals(clock);
  refusals.Count(Refusal::kWrongToken, "ipv4:10.0.0.9:41", "wrong token");
  const std::string page = refusals.Metrics();
  std::set<absl::string_view> names;
  for (size_t i = 0; i < kNumRefusals; ++i) {
    const absl::string_view name = RefusalName(static_cast<Refusal>(i));
    EXPECT_NE(name, "");
    names.insert(name);
    EXPECT_THAT(page, HasSubstr(absl::StrCat("grpo_refused_callers_total{reason=\"", name, "\"} ",
                                             name == "wrong_token" ? 1 : 0, "\n")));
  }
  EXPECT_EQ(names.size(), kNumRefusals);
  EXPECT_EQ(page.back(), '\n');
}

// A flood of callers is a number in the log, no flood.
TEST(RefusalsTest, OneLineOfAReasonIsFollowedByTheNextAfterAWhileWithWhatWasLeftOut) {
  InitLogging("test");
  FakeClock clock;
  Refusals refusals(clock);
  const auto log_of = [](const auto& body) {
    ::testing::internal::CaptureStderr();
    body();
    return ::testing::internal::GetCapturedStderr();
  };
  EXPECT_THAT(log_of([&] { refusals.Count(Refusal::kWrongToken, "ipv4:10.0.0.9:41", "wrong token"); }),
              HasSubstr("refused ipv4:10.0.0.9:41 (wrong_token): wrong token"));
  EXPECT_EQ(log_of([&] {
              for (int i = 0; i < 1000; ++i) refusals.Count(Refusal::kWrongToken, "x", "wrong token");
            }),
            "");
  EXPECT_THAT(log_of([&] { refusals.Count(Refusal::kMissingToken, "x", "none"); }), HasSubstr("missing_token"))
      << "another reason has lines of its own";
  clock.Advance(Refusals::kLogEvery);
  const std::string next = log_of([&] { refusals.Count(Refusal::kWrongToken, "a\nb", "wrong token"); });
  EXPECT_THAT(next, HasSubstr("1000 more"));
  EXPECT_THAT(next, Not(HasSubstr("\nb"))) << "what others say is escaped";
}

}  // namespace
}  // namespace grpo::rpc
