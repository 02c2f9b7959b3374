#include "coordinator/submission.h"

#include <cmath>
#include <functional>
#include <limits>

#include "common/status_testing.h"
#include "coordinator/testing.h"

namespace grpo {
namespace {

struct Submission {
  v1::Lease lease = TestGroup("rl", 0, /*num_completions=*/3);
  v1::SubmitHeader header = TestHeader(lease, "w");
  std::vector<v1::ScoredCompletion> completions = TestCompletions(lease);

  absl::Status Check() const { return CheckSubmission(lease, "digest-7", header, completions); }
};

TEST(SubmissionTest, TakesAWellFormedGroupInAnyOrderOfIndices) {
  Submission submission;
  EXPECT_OK(submission.Check());
  std::swap(submission.completions[0], submission.completions[2]);
  EXPECT_OK(submission.Check());
  // Rounding.
  submission.completions[1].mutable_completion()->set_sample_logprob(0, 1e-6f);
  EXPECT_OK(submission.Check());
}

TEST(SubmissionTest, NamesWhatIsWrong) {
  constexpr float kNan = std::numeric_limits<float>::quiet_NaN();
  constexpr float kInfinity = std::numeric_limits<float>::infinity();
  const struct {
    const char* message;
    std::function<void(Submission&, v1::Completion&)> spoil;  // the completion is that of index 1, with 2 tokens
  } cases[] = {
      {"completion index 0 is out of place", [](auto&, auto& c) { c.set_index(0); }},
      {"completion index -1", [](auto&, auto& c) { c.set_index(-1); }},
      {"completion index 3", [](auto&, auto& c) { c.set_index(3); }},
      {"completion 1: 0 ids, allowed are 1 to 8", [](auto&, auto& c) { c.clear_ids(); }},
      {"completion 1: 9 ids", [](auto&, auto& c) { c.mutable_ids()->Resize(9, 1); }},
      {"completion 1: 3 log-probabilities for 2 ids", [](auto&, auto& c) { c.add_sample_logprob(-1); }},
      {"completion 1: sample_logprob[1] is nan", [](auto&, auto& c) { c.set_sample_logprob(1, kNan); }},
      {"completion 1: sample_logprob[0] is -inf", [](auto&, auto& c) { c.set_sample_logprob(0, -kInfinity); }},
      {"completion 1: sample_logprob[0] is 0.01", [](auto&, auto& c) { c.set_sample_logprob(0, 0.01f); }},
      {"completion 1: logprob_kind is 0", [](auto&, auto& c) { c.clear_logprob_kind(); }},
      {"completion 1: spans cover 0 tokens of 2", [](auto&, auto& c) { c.clear_spans(); }},
      {"completion 1: spans cover 1 tokens of 2", [](auto&, auto& c) { c.mutable_spans(0)->set_num_tokens(1); }},
      {"completion 1: span 0 has 0 tokens", [](auto&, auto& c) { c.mutable_spans(0)->set_num_tokens(0); }},
      {"completion 1: span 0 has source 0", [](auto&, auto& c) { c.mutable_spans(0)->clear_source(); }},
      {"version 6 of model, the lease asks for version 7",
       [](auto&, auto& c) { c.mutable_spans(0)->set_policy_number(6); }},
      {"completion 1: finish_reason is absent", [](auto&, auto& c) { c.clear_finish_reason(); }},
      {"completion 1: its score has no outcome", [](auto& s, auto&) { s.completions[1].clear_score(); }},
      {"completion 1: its score is nan", [](auto& s, auto&) { s.completions[1].mutable_score()->set_value(kNan); }},
      {"2 came, the lease asks for 3", [](auto& s, auto&) { s.completions.pop_back(); }},
      {"announces 4 completions", [](auto& s, auto&) { s.header.set_num_completions(4); }},
      {"prompt_ids is empty", [](auto& s, auto&) { s.header.clear_prompt_ids(); }},
      {"a duration is -1 s", [](auto& s, auto&) { s.header.set_score_seconds(-1); }},
      {"digest \"digest-6\"", [](auto& s, auto&) { s.header.set_policy_digest("digest-6"); }},
  };
  for (const auto& [message, spoil] : cases) {
    Submission submission;
    spoil(submission, *submission.completions[1].mutable_completion());
    const absl::Status status = submission.Check();
    EXPECT_FALSE(status.ok()) << message;
    EXPECT_THAT(std::string(status.message()), ::testing::HasSubstr(message));
  }
}

TEST(SubmissionTest, NothingFitsWeightsThatWereNeverPublished) {
  Submission submission;
  submission.header.clear_policy_digest();
  EXPECT_STATUS(CheckSubmission(submission.lease, "", submission.header, submission.completions),
                absl::StatusCode::kFailedPrecondition, "model version 7");
}

}  // namespace
}  // namespace grpo
