#include "coordinator/submission.h"

#include <algorithm>
#include <cmath>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "common/status_macros.h"
#include "reward/score_check.h"

namespace grpo {
namespace {

// log-softmax of the most likely token may round to a little above 0.
constexpr float kLogprobTolerance = 1e-4f;

struct KindRequirements {
  v1::LeaseKind kind;
  Requirements required;
};
constexpr KindRequirements kRequirements[] = {
    // The loss reads all of it.
    {v1::LEASE_KIND_TRAIN, {.ids = true, .sample_logprob = true, .full_logprob = true, .spans = true, .digest = true}},
    // Only text is judged and kept, so what samples it may be a server that has nothing else to say.
    {v1::LEASE_KIND_EVALUATE, {}},
    {v1::LEASE_KIND_SYNTHESIZE, {}},
};

absl::Status CheckDigest(const v1::Lease& lease, const Requirements& required, const std::string& published_digest,
                         const v1::SubmitHeader& header) {
  const std::string& digest = header.policy_digest();
  if (!published_digest.empty() && digest == published_digest) return absl::OkStatus();
  // A worker may find that a group cannot be produced before it holds any weights; and what has no weights has no
  // digest.
  if (digest.empty() && (!header.error().empty() || (!required.digest && published_digest.empty()))) {
    return absl::OkStatus();
  }
  return absl::FailedPreconditionError(absl::StrCat(
      "the group was made with weights of policy_digest \"", digest, "\", ", lease.policy().policy_id(), " version ",
      lease.policy().number(), " has \"", published_digest, "\": pull the weights again and drop the group"));
}

absl::Status CheckIds(const v1::Lease& lease, const Vocabulary* vocabulary, const v1::SubmitHeader& header,
                      const v1::Completion& completion) {
  if (completion.ids_size() < 1 || completion.ids_size() > lease.sampling().max_new_tokens()) {
    return absl::InvalidArgumentError(
        absl::StrCat(completion.ids_size(), " ids, allowed are 1 to ", lease.sampling().max_new_tokens()));
  }
  if (header.prompt_ids_size() == 0) return absl::InvalidArgumentError("prompt_ids is empty");
  for (int t = 0; vocabulary != nullptr && t < completion.ids_size(); ++t) {
    if (completion.ids(t) < vocabulary->size) continue;
    return absl::InvalidArgumentError(absl::StrCat("ids[", t, "] is ", completion.ids(t), ", the vocabulary of ",
                                                   lease.policy().policy_id(), " has ", vocabulary->size, " ids"));
  }
  return absl::OkStatus();
}

// A loss over another prompt's tokens would learn something else than what was sampled, and nobody would know.
absl::Status CheckPromptIds(const v1::Lease& lease, const Vocabulary& vocabulary, const v1::SubmitHeader& header) {
  if (header.prompt_ids_size() == 0) return absl::OkStatus();
  const absl::StatusOr<std::vector<uint32_t>> expected = vocabulary.encode_prompt(lease.prompt().text());
  if (!expected.ok()) return Annotate(expected.status(), "prompt_ids cannot be there");
  const auto& ids = header.prompt_ids();
  if (std::equal(ids.begin(), ids.end(), expected->begin(), expected->end())) return absl::OkStatus();
  const auto differs = std::mismatch(ids.begin(), ids.end(), expected->begin(), expected->end()).first - ids.begin();
  return absl::InvalidArgumentError(absl::StrCat("prompt_ids are not those of the prompt: ", ids.size(),
                                                 " came, it has ", expected->size(), ", and they differ from position ",
                                                 differs, " on: use the tokenizer that came with the weights"));
}

absl::Status CheckLogprobs(const Requirements& required, const v1::Completion& completion) {
  if (completion.sample_logprob_size() != completion.ids_size()) {
    return absl::InvalidArgumentError(absl::StrCat("sample_logprob has ", completion.sample_logprob_size(),
                                                   " log-probabilities for ", completion.ids_size(),
                                                   " ids, there must be one each"));
  }
  // The loss needs the full distribution; what is only measured may be cut to its nucleus.
  const bool renormalized = completion.logprob_kind() == v1::LOGPROB_KIND_RENORMALIZED && !required.full_logprob;
  if (completion.logprob_kind() != v1::LOGPROB_KIND_FULL && !renormalized) {
    return absl::InvalidArgumentError(
        absl::StrCat("logprob_kind is ", completion.logprob_kind(),
                     required.full_logprob ? ", the loss needs LOGPROB_KIND_FULL"
                                           : ", it must be LOGPROB_KIND_FULL or LOGPROB_KIND_RENORMALIZED"));
  }
  for (int t = 0; t < completion.sample_logprob_size(); ++t) {
    const float logprob = completion.sample_logprob(t);
    // Also true for NaN.
    if (!(std::isfinite(logprob) && logprob <= kLogprobTolerance)) {
      return absl::InvalidArgumentError(
          absl::StrCat("sample_logprob[", t, "] is ", logprob, ", it must be finite and at most 0"));
    }
  }
  return absl::OkStatus();
}

absl::Status CheckSpans(const v1::Completion& completion, const v1::PolicyRef& policy,
                        const StalenessPolicy& staleness) {
  int64_t num_covered = 0;
  for (int s = 0; s < completion.spans_size(); ++s) {
    const v1::Span& span = completion.spans(s);
    if (span.num_tokens() < 1) {
      return absl::InvalidArgumentError(
          absl::StrCat("spans[", s, "].num_tokens is ", span.num_tokens(), ", at least 1"));
    }
    if (span.source() != v1::SPAN_SOURCE_POLICY) {
      return absl::InvalidArgumentError(
          absl::StrCat("spans[", s, "].source is ", span.source(), ", which nothing here can read"));
    }
    if (!staleness.MayHold(span.policy_number(), policy.number())) {
      return absl::FailedPreconditionError(absl::StrCat("spans[", s, "].policy_number: sampled by version ",
                                                        span.policy_number(), " of ", policy.policy_id(),
                                                        ", the lease asks for version ", policy.number()));
    }
    num_covered += span.num_tokens();
  }
  if (num_covered != completion.ids_size()) {
    return absl::InvalidArgumentError(absl::StrCat("spans cover ", num_covered, " tokens of ", completion.ids_size()));
  }
  return absl::OkStatus();
}

// An endpoint has text to give and nothing else: whatever stands beside it was made up.
absl::Status CheckNothingInvented(const v1::Completion& completion) {
  if (completion.ids_size() + completion.sample_logprob_size() + completion.spans_size() == 0) return absl::OkStatus();
  return absl::InvalidArgumentError(absl::StrCat("of an endpoint carries ", completion.ids_size(), " ids, ",
                                                 completion.sample_logprob_size(), " log-probabilities and ",
                                                 completion.spans_size(), " spans, it must be text alone"));
}

absl::Status CheckUsage(const v1::EndpointUsage& usage) {
  const bool counts = usage.num_requests() >= 0 && usage.input_tokens() >= 0 && usage.output_tokens() >= 0;
  if (counts && std::isfinite(usage.usd()) && usage.usd() >= 0) return absl::OkStatus();
  return absl::InvalidArgumentError(absl::StrCat("usage: what the group cost is ", usage.num_requests(), " requests, ",
                                                 usage.input_tokens(), " and ", usage.output_tokens(), " tokens, ",
                                                 usage.usd(), " USD, none may be negative"));
}

// The names of the score's rules: metrics are called after them.
absl::Status CheckRules(const std::vector<std::string>& expected, const v1::Score& score) {
  const auto name_is = [](const v1::RuleScore& rule, const std::string& name) { return rule.name() == name; };
  if (std::equal(score.rules().begin(), score.rules().end(), expected.begin(), expected.end(), name_is)) {
    return absl::OkStatus();
  }
  const auto append_name = [](std::string* out, const v1::RuleScore& rule) { out->append(rule.name()); };
  return absl::InvalidArgumentError(absl::StrCat("the names of score.rules are ",
                                                 absl::StrJoin(score.rules(), ", ", append_name),
                                                 ", the reward profile's rules are ", absl::StrJoin(expected, ", ")));
}

absl::Status CheckCompletion(const v1::Lease& lease, const Requirements& required, const StalenessPolicy& staleness,
                             const v1::SubmitHeader& header, const v1::ScoredCompletion& scored,
                             const Expected& expected) {
  const v1::Completion& completion = scored.completion();
  if (lease.endpoint()) RETURN_IF_ERROR(CheckNothingInvented(completion));
  if (required.ids || completion.ids_size() > 0) {
    RETURN_IF_ERROR(CheckIds(lease, expected.vocabulary.get(), header, completion));
  }
  if (required.sample_logprob || completion.sample_logprob_size() > 0) {
    RETURN_IF_ERROR(CheckLogprobs(required, completion));
  }
  if (required.spans || completion.spans_size() > 0) {
    RETURN_IF_ERROR(CheckSpans(completion, lease.policy(), staleness));
  }
  if (completion.finish_reason() == v1::FINISH_REASON_UNSPECIFIED) {
    return absl::InvalidArgumentError("finish_reason is absent");
  }
  if (!v1::FinishReason_IsValid(completion.finish_reason())) {
    return absl::InvalidArgumentError(
        absl::StrCat("finish_reason is ", completion.finish_reason(), ", which nothing here can read"));
  }
  RETURN_IF_ERROR(CheckScore(scored.score()));
  return expected.rules.has_value() ? CheckRules(*expected.rules, scored.score()) : absl::OkStatus();
}

// Finite and not negative, whatever the message held them to.
absl::Status CheckSeconds(const char* field, double seconds) {
  if (std::isfinite(seconds) && seconds >= 0) return absl::OkStatus();
  return absl::InvalidArgumentError(absl::StrCat(field, " is ", seconds, ", it must be finite and not negative"));
}

}  // namespace

absl::StatusOr<Requirements> RequirementsOf(v1::LeaseKind kind) {
  for (const KindRequirements& row : kRequirements) {
    if (row.kind == kind) return row.required;
  }
  return absl::InvalidArgumentError(
      absl::StrCat("lease kind ", kind, " is unknown here: use the same build on both sides"));
}

absl::Status CheckSubmission(const v1::Lease& lease, const std::string& published_digest,
                             const v1::SubmitHeader& header, const std::vector<v1::ScoredCompletion>& completions,
                             const Expected& expected, const StalenessPolicy& staleness) {
  ASSIGN_OR_RETURN(const Requirements required, RequirementsOf(lease.kind()));
  RETURN_IF_ERROR(CheckDigest(lease, required, published_digest, header));
  if (!header.error().empty()) {
    if (header.num_completions() == 0 && completions.empty()) return absl::OkStatus();
    return absl::InvalidArgumentError(absl::StrCat(completions.size(), " completions came with the error \"",
                                                   header.error(), "\", a group that cannot be produced has none"));
  }
  const int32_t group_size = lease.sampling().num_completions();
  if (header.num_completions() != group_size || static_cast<int64_t>(completions.size()) != group_size) {
    return absl::InvalidArgumentError(absl::StrCat("num_completions announces ", header.num_completions(),
                                                   " completions and ", completions.size(),
                                                   " came, the lease asks for ", group_size));
  }
  RETURN_IF_ERROR(CheckSeconds("generate_seconds", header.generate_seconds()));
  RETURN_IF_ERROR(CheckSeconds("score_seconds", header.score_seconds()));
  RETURN_IF_ERROR(CheckUsage(header.usage()));
  if (expected.vocabulary != nullptr) RETURN_IF_ERROR(CheckPromptIds(lease, *expected.vocabulary, header));
  std::vector<bool> seen(static_cast<size_t>(group_size));
  for (const v1::ScoredCompletion& scored : completions) {
    const int32_t index = scored.completion().index();
    if (index < 0 || index >= group_size || seen[index]) {
      return absl::InvalidArgumentError(absl::StrCat("completion index ", index, " is out of place: each of 0 to ",
                                                     group_size - 1, " must come once"));
    }
    seen[index] = true;
    RETURN_IF_ERROR(Annotate(CheckCompletion(lease, required, staleness, header, scored, expected),
                             absl::StrCat("completion ", index)));
  }
  return absl::OkStatus();
}

}  // namespace grpo
