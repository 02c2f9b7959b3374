#include "coordinator/submission.h"

#include <cmath>
#include <functional>
#include <limits>

#include "common/status_testing.h"
#include "coordinator/testing.h"
#include "gmock/gmock.h"

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
      {"completion 1: sample_logprob has 3 log-probabilities for 2 ids",
       [](auto&, auto& c) { c.add_sample_logprob(-1); }},
      {"completion 1: sample_logprob[1] is nan", [](auto&, auto& c) { c.set_sample_logprob(1, kNan); }},
      {"completion 1: sample_logprob[0] is -inf", [](auto&, auto& c) { c.set_sample_logprob(0, -kInfinity); }},
      {"completion 1: sample_logprob[0] is 0.01", [](auto&, auto& c) { c.set_sample_logprob(0, 0.01f); }},
      {"completion 1: logprob_kind is 0", [](auto&, auto& c) { c.clear_logprob_kind(); }},
      {"completion 1: spans cover 0 tokens of 2", [](auto&, auto& c) { c.clear_spans(); }},
      {"completion 1: spans cover 1 tokens of 2", [](auto&, auto& c) { c.mutable_spans(0)->set_num_tokens(1); }},
      {"completion 1: spans[0].num_tokens is 0", [](auto&, auto& c) { c.mutable_spans(0)->set_num_tokens(0); }},
      {"completion 1: spans[0].source is 0", [](auto&, auto& c) { c.mutable_spans(0)->clear_source(); }},
      {"version 6 of model, the lease asks for version 7",
       [](auto&, auto& c) { c.mutable_spans(0)->set_policy_number(6); }},
      {"completion 1: finish_reason is absent", [](auto&, auto& c) { c.clear_finish_reason(); }},
      {"completion 1: score.outcome is absent", [](auto& s, auto&) { s.completions[1].clear_score(); }},
      {"completion 1: score.value is nan", [](auto& s, auto&) { s.completions[1].mutable_score()->set_value(kNan); }},
      {"2 came, the lease asks for 3", [](auto& s, auto&) { s.completions.pop_back(); }},
      {"announces 4 completions", [](auto& s, auto&) { s.header.set_num_completions(4); }},
      {"prompt_ids is empty", [](auto& s, auto&) { s.header.clear_prompt_ids(); }},
      {"score_seconds is -1", [](auto& s, auto&) { s.header.set_score_seconds(-1); }},
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

// Each part of a completion, for each kind of lease: taken when it is absent, or refused with these words.
TEST(SubmissionTest, WhatACompletionMustCarryFollowsFromTheLeasesKind) {
  const struct {
    std::function<void(Submission&, v1::Completion&)> remove;
    const char* refused_when_trained;
  } parts[] = {
      {[](auto&, auto& c) { c.clear_sample_logprob(); },
       "completion 1: sample_logprob has 0 log-probabilities for 2 ids"},
      {[](auto&, auto& c) { c.clear_spans(); }, "completion 1: spans cover 0 tokens of 2"},
      {[](auto&, auto& c) { c.clear_ids(), c.clear_spans(), c.clear_sample_logprob(); }, "completion 1: 0 ids"},
  };
  for (const auto& [remove, refused] : parts) {
    for (const v1::LeaseKind kind : {v1::LEASE_KIND_TRAIN, v1::LEASE_KIND_EVALUATE, v1::LEASE_KIND_SYNTHESIZE}) {
      Submission submission;
      submission.lease.set_kind(kind);
      EXPECT_OK(submission.Check());
      remove(submission, *submission.completions[1].mutable_completion());
      if (kind == v1::LEASE_KIND_TRAIN) {
        EXPECT_STATUS(submission.Check(), absl::StatusCode::kInvalidArgument, refused);
      } else {
        EXPECT_OK(submission.Check()) << kind << " without: " << refused;
      }
    }
  }
}

TEST(SubmissionTest, TextAloneIsEnoughForWhatOnlyMeasuresOrBecomesData) {
  for (const v1::LeaseKind kind : {v1::LEASE_KIND_TRAIN, v1::LEASE_KIND_EVALUATE, v1::LEASE_KIND_SYNTHESIZE}) {
    Submission submission;
    submission.lease.set_kind(kind);
    submission.header.clear_prompt_ids();
    for (v1::ScoredCompletion& scored : submission.completions) {
      v1::Completion text;
      text.set_index(scored.completion().index());
      text.set_text("4");
      text.set_finish_reason(v1::FINISH_REASON_STOP);
      *scored.mutable_completion() = text;
    }
    EXPECT_EQ(submission.Check().ok(), kind != v1::LEASE_KIND_TRAIN) << kind;
    // A policy that has weights says which; one that has none has no digest either.
    submission.header.clear_policy_digest();
    EXPECT_STATUS(submission.Check(), absl::StatusCode::kFailedPrecondition, "digest \"\", model version 7");
    const auto unpublished = [&] {
      return CheckSubmission(submission.lease, "", submission.header, submission.completions);
    };
    EXPECT_EQ(unpublished().ok(), kind != v1::LEASE_KIND_TRAIN) << kind;
    submission.header.set_policy_digest("digest-7");
    EXPECT_STATUS(unpublished(), absl::StatusCode::kFailedPrecondition, "has \"\"");
    // How it ended is required of all.
    submission.header.clear_policy_digest();
    submission.completions[1].mutable_completion()->clear_finish_reason();
    EXPECT_FALSE(unpublished().ok());
  }
}

TEST(SubmissionTest, WhatIsThereIsCheckedWhateverTheKind) {
  const struct {
    const char* message;
    std::function<void(Submission&, v1::Completion&)> spoil;
  } cases[] = {
      {"completion 1: 9 ids, allowed are 1 to 8", [](auto&, auto& c) { c.mutable_ids()->Resize(9, 1); }},
      {"prompt_ids is empty", [](auto& s, auto&) { s.header.clear_prompt_ids(); }},
      {"0 ids", [](auto&, auto& c) { c.clear_ids(); }},
      {"completion 1: sample_logprob has 1 log-probabilities for 2 ids",
       [](auto&, auto& c) { c.mutable_sample_logprob()->Truncate(1); }},
      {"completion 1: sample_logprob[0] is 0.5", [](auto&, auto& c) { c.set_sample_logprob(0, 0.5f); }},
      {"completion 1: logprob_kind is 0", [](auto&, auto& c) { c.clear_logprob_kind(); }},
      {"completion 1: spans cover 1 tokens of 2", [](auto&, auto& c) { c.mutable_spans(0)->set_num_tokens(1); }},
      {"version 6 of model, the lease asks for version 7",
       [](auto&, auto& c) { c.mutable_spans(0)->set_policy_number(6); }},
      {"digest \"digest-6\"", [](auto& s, auto&) { s.header.set_policy_digest("digest-6"); }},
  };
  for (const v1::LeaseKind kind : {v1::LEASE_KIND_TRAIN, v1::LEASE_KIND_EVALUATE, v1::LEASE_KIND_SYNTHESIZE}) {
    for (const auto& [message, spoil] : cases) {
      Submission submission;
      submission.lease.set_kind(kind);
      spoil(submission, *submission.completions[1].mutable_completion());
      const absl::Status status = submission.Check();
      EXPECT_FALSE(status.ok()) << kind << ": " << message;
      EXPECT_THAT(std::string(status.message()), ::testing::HasSubstr(message)) << kind;
    }
  }
}

TEST(SubmissionTest, OnlyTheLossNeedsTheFullDistribution) {
  for (const v1::LeaseKind kind : {v1::LEASE_KIND_TRAIN, v1::LEASE_KIND_EVALUATE, v1::LEASE_KIND_SYNTHESIZE}) {
    Submission submission;
    submission.lease.set_kind(kind);
    submission.completions[1].mutable_completion()->set_logprob_kind(v1::LOGPROB_KIND_RENORMALIZED);
    EXPECT_EQ(submission.Check().ok(), kind != v1::LEASE_KIND_TRAIN) << kind;
  }
}

TEST(SubmissionTest, AnEndpointsCompletionsAreTextAloneAndSayWhatTheyCost) {
  Submission submission;
  submission.lease.set_kind(v1::LEASE_KIND_SYNTHESIZE);
  submission.lease.set_endpoint(true);
  submission.header.clear_policy_digest();
  submission.header.clear_prompt_ids();
  submission.header.mutable_usage()->set_usd(0.5);
  const auto check = [&] { return CheckSubmission(submission.lease, "", submission.header, submission.completions); };
  for (v1::ScoredCompletion& scored : submission.completions) {
    v1::Completion text;
    text.set_index(scored.completion().index());
    text.set_text(scored.completion().text());
    text.set_finish_reason(v1::FINISH_REASON_CONTENT_FILTER);
    *scored.mutable_completion() = text;
  }
  EXPECT_OK(check());
  submission.header.mutable_usage()->set_usd(std::numeric_limits<double>::quiet_NaN());
  EXPECT_STATUS(check(), absl::StatusCode::kInvalidArgument, "what the group cost");
  submission.header.mutable_usage()->set_usd(0);
  submission.header.mutable_usage()->set_output_tokens(-1);
  EXPECT_STATUS(check(), absl::StatusCode::kInvalidArgument, "what the group cost");
  submission.header.clear_usage();
  submission.completions[1].mutable_completion()->add_sample_logprob(-1);
  EXPECT_STATUS(check(), absl::StatusCode::kInvalidArgument, "completion 1: of an endpoint carries 0 ids, 1 log-prob");
}

TEST(SubmissionTest, IdsAreOfTheVocabularyAndThePromptsOwn) {
  const auto vocabulary = std::make_shared<Vocabulary>();
  vocabulary->size = 8;
  vocabulary->encode_prompt = [](const std::string& prompt) -> absl::StatusOr<std::vector<uint32_t>> {
    if (prompt.empty()) return absl::InvalidArgumentError("it has no tokens");
    return std::vector<uint32_t>{3, 5};
  };
  for (const v1::LeaseKind kind : {v1::LEASE_KIND_TRAIN, v1::LEASE_KIND_EVALUATE, v1::LEASE_KIND_SYNTHESIZE}) {
    Submission submission;
    submission.lease.set_kind(kind);
    submission.header.add_prompt_ids(5);
    const auto check = [&] {
      return CheckSubmission(submission.lease, "digest-7", submission.header, submission.completions,
                             {.vocabulary = vocabulary});
    };
    EXPECT_OK(check());
    submission.completions[1].mutable_completion()->set_ids(1, 7);
    EXPECT_OK(check());
    for (const uint32_t id : {8u, 999999u, std::numeric_limits<uint32_t>::max()}) {
      submission.completions[1].mutable_completion()->set_ids(1, id);
      EXPECT_STATUS(check(), absl::StatusCode::kInvalidArgument,
                    absl::StrCat("completion 1: ids[1] is ", id, ", the vocabulary of model has 8 ids"));
    }
    submission.completions[1].mutable_completion()->set_ids(1, 1);
    submission.header.set_prompt_ids(1, 6);
    EXPECT_STATUS(check(), absl::StatusCode::kInvalidArgument, "they differ from position 1 on");
    submission.header.set_prompt_ids(1, 5);
    submission.header.add_prompt_ids(5);
    EXPECT_STATUS(check(), absl::StatusCode::kInvalidArgument,
                  "prompt_ids are not those of the prompt: 3 came, it has 2");
    submission.lease.mutable_prompt()->clear_text();
    EXPECT_STATUS(check(), absl::StatusCode::kInvalidArgument, "prompt_ids cannot be there: it has no tokens");
  }
}

TEST(SubmissionTest, ScoresAreOfTheProfilesRulesInTheirOrder) {
  Submission submission;
  const auto check = [&] {
    return CheckSubmission(submission.lease, "digest-7", submission.header, submission.completions,
                           {.rules = std::vector<std::string>{"exact", "format_tags"}});
  };
  EXPECT_STATUS(check(), absl::StatusCode::kInvalidArgument, "completion 0: the names of score.rules are , the reward");
  for (v1::ScoredCompletion& scored : submission.completions) {
    for (const char* const name : {"exact", "format_tags"}) {
      v1::RuleScore& rule = *scored.mutable_score()->add_rules();
      rule.set_name(name);
      rule.set_outcome(v1::OUTCOME_SCORED);
    }
  }
  EXPECT_OK(check());
  submission.completions[2].mutable_score()->mutable_rules()->SwapElements(0, 1);
  EXPECT_STATUS(
      check(), absl::StatusCode::kInvalidArgument,
      "completion 2: the names of score.rules are format_tags, exact, the reward profile's rules are exact, fo");
}

// Rows 52, 55 and 57 of the attacks.
TEST(SubmissionTest, EnumsAndScoresAreOnesThatThisBuildKnows) {
  const struct {
    const char* message;
    std::function<void(v1::ScoredCompletion&)> spoil;
  } cases[] = {
      {"completion 1: finish_reason is 77",
       [](auto& s) { s.mutable_completion()->set_finish_reason(static_cast<v1::FinishReason>(77)); }},
      {"completion 1: score.outcome is 77",
       [](auto& s) { s.mutable_score()->set_outcome(static_cast<v1::Outcome>(77)); }},
      {"completion 1: score.value is 1e+308", [](auto& s) { s.mutable_score()->set_value(1e308); }},
      {"completion 1: score.excluded is false beside the outcome deadline",
       [](auto& s) { s.mutable_score()->set_outcome(v1::OUTCOME_DEADLINE); }},
  };
  for (const auto& [message, spoil] : cases) {
    Submission submission;
    spoil(submission.completions[1]);
    EXPECT_STATUS(submission.Check(), absl::StatusCode::kInvalidArgument, message);
  }
}

TEST(SubmissionTest, RefusesKindsThatItDoesNotKnow) {
  for (const int kind : {0, 4}) {
    Submission submission;
    submission.lease.set_kind(static_cast<v1::LeaseKind>(kind));
    EXPECT_STATUS(submission.Check(), absl::StatusCode::kInvalidArgument, absl::StrCat("lease kind ", kind));
    EXPECT_FALSE(RequirementsOf(submission.lease.kind()).ok());
  }
}

}  // namespace
}  // namespace grpo
