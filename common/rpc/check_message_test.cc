#include "common/rpc/check_message.h"

#include <cmath>
#include <functional>
#include <limits>
#include <string>

#include "common/status_testing.h"
#include "common/utf8.h"
#include "proto/coordinator.pb.h"
#include "proto/reward.pb.h"
#include "proto/trainer.pb.h"

namespace grpo::rpc {
namespace {

constexpr double kNan = std::numeric_limits<double>::quiet_NaN();

v1::ScoredCompletion Scored() {
  v1::ScoredCompletion scored;
  scored.mutable_completion()->set_text("4");
  scored.mutable_completion()->add_ids(std::numeric_limits<uint32_t>::max());
  scored.mutable_completion()->add_sample_logprob(-1);
  scored.mutable_score()->set_outcome(v1::OUTCOME_SCORED);
  scored.mutable_score()->add_rules()->set_name("exact");
  scored.mutable_score()->add_rules()->set_name("format_tags");
  return scored;
}

TEST(CheckMessageTest, NamesTheFieldAndItsValue) {
  EXPECT_OK(CheckMessage(Scored()));
  EXPECT_OK(CheckMessage(v1::ScoredCompletion()));
  const struct {
    const char* message;
    std::function<void(v1::ScoredCompletion&)> spoil;
  } cases[] = {
      {"score.outcome is 77, which no Outcome of this build is",
       [](auto& s) { s.mutable_score()->set_outcome(static_cast<v1::Outcome>(77)); }},
      {"score.rules[1].outcome is -1",
       [](auto& s) { s.mutable_score()->mutable_rules(1)->set_outcome(static_cast<v1::Outcome>(-1)); }},
      {"score.value is nan, it must be finite", [](auto& s) { s.mutable_score()->set_value(kNan); }},
      {"score.value is 1e+308, it must be within", [](auto& s) { s.mutable_score()->set_value(1e308); }},
      {"completion.sample_logprob[0] is -inf",
       [](auto& s) { s.mutable_completion()->set_sample_logprob(0, -std::numeric_limits<float>::infinity()); }},
      {"completion.spans[0].policy_number is 9223372036854775807",
       [](auto& s) { s.mutable_completion()->add_spans()->set_policy_number(std::numeric_limits<int64_t>::max()); }},
      {"score.rules[0].extracted has 65537 bytes",
       [](auto& s) { s.mutable_score()->mutable_rules(0)->set_extracted(std::string(kMaxTextBytes + 1, 'x')); }},
      {"score.rules has 65537 entries",
       [](auto& s) {
         while (s.score().rules_size() <= kMaxEntries) s.mutable_score()->add_rules();
       }},
  };
  for (const auto& [message, spoil] : cases) {
    v1::ScoredCompletion scored = Scored();
    spoil(scored);
    EXPECT_STATUS(CheckMessage(scored), absl::StatusCode::kInvalidArgument, message);
  }
}

TEST(CheckMessageTest, ContentIsAsLongAsAMessageMayBe) {
  v1::ScoredCompletion scored = Scored();
  scored.mutable_completion()->set_text(std::string(1 << 20, 'x'));
  EXPECT_OK(CheckMessage(scored));
  v1::ScoreHeader header;
  header.mutable_prompt()->set_text(std::string(1 << 20, 'x'));
  // Asked for anew each time: what reads a map by reflection does not see what is written through an older reference.
  const auto number = [&header](const char* key, double value) {
    (*header.mutable_prompt()->mutable_metadata()->mutable_fields())[key].set_number_value(value);
  };
  number("large", 1e300);
  EXPECT_OK(CheckMessage(header));
  number("none", kNan);
  EXPECT_STATUS(CheckMessage(header), absl::StatusCode::kInvalidArgument, "prompt.metadata.fields[");
}

TEST(CheckMessageTest, CutTextsCanBeSentAndAreTaken) {
  v1::RunStatus status;
  status.set_run_dir("b\xff");
  status.add_workers()->set_blocked_reason(std::string(1 << 20, 'x'));
  (*status.add_stages()->mutable_metrics())["loss"] = 1;
  CutTexts(&status);
  EXPECT_EQ(status.run_dir(), "b\xEF\xBF\xBD");
  EXPECT_EQ(status.workers(0).blocked_reason().size(), kMaxTextBytes);
  EXPECT_EQ(status.stages(0).metrics().at("loss"), 1);
  EXPECT_OK(CheckMessage(status));
}

}  // namespace
}  // namespace grpo::rpc
