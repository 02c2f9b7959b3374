// A rule that another reward server serves: its profile's value is this rule's value. What it says of a completion is
// passed on, also that the sample is to be left out; an answer that cannot be is a rule_error; while it cannot be
// reached the rule is unavailable, and the run waits and says why.
#include <algorithm>

#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "common/log.h"
#include "common/rpc/check_message.h"
#include "common/rpc/client.h"
#include "common/rpc/status.h"
#include "common/utf8.h"
#include "proto/reward.grpc.pb.h"
#include "reward/answer.h"
#include "reward/rule_plugin.h"
#include "reward/score_check.h"

namespace grpo {
namespace {

struct RemoteOptions {
  std::string address, profile, sha256;
  double min_value = 0, max_value = 1, deadline_s = 5;
  std::string token_file, tls_ca, tls_cert, tls_key;

  template <class V>
  void Visit(V& v) {
    v("address", address, {.help = "HOST:PORT of a RewardService (proto/reward.proto).", .required = true});
    v("profile", profile, {.help = "The profile there whose value is this rule's.", .required = true});
    v("sha256", sha256,
      {.help = "Hash of that profile, as ListRules gives it; other rules under its name are then refused. Empty takes "
               "whatever is served."});
    v("min_value", min_value, {.help = "Its smallest value; a smaller one is a rule_error.", .min = -1e6, .max = 1e6});
    v("max_value", max_value, {.help = "Its largest value; a larger one is a rule_error.", .min = -1e6, .max = 1e6});
    v("deadline_s", deadline_s,
      {.help = "Time for one completion, the way there and back included.",
       .unit = "seconds",
       .min = 0.001,
       .max = 3600});
    v("token_file", token_file, {.help = "File whose content is sent as a bearer token; empty sends none."});
    v("tls_ca", tls_ca, {.help = "PEM certificate authority of the server; with it the call speaks TLS."});
    v("tls_cert", tls_cert, {.help = "PEM certificate that this caller presents."});
    v("tls_key", tls_key, {.help = "PEM private key that belongs to tls_cert."});
  }
};

class RemoteRule final : public Rule {
 public:
  static absl::StatusOr<std::unique_ptr<Rule>> Create(const RemoteOptions& options, const Section& section) {
    if (options.min_value >= options.max_value) {
      return SectionError(section, "min_value",
                          absl::StrCat(options.min_value, " is not below max_value ", options.max_value));
    }
    // Processes that only read the configuration may lack the files; Prepare says what is wrong with them.
    auto client = rpc::Client::Create(options.address, {.token_file = options.token_file,
                                                        .tls_ca = options.tls_ca,
                                                        .tls_cert = options.tls_cert,
                                                        .tls_key = options.tls_key});
    return std::make_unique<RemoteRule>(options, std::move(client));
  }
  RemoteRule(const RemoteOptions& options, absl::StatusOr<std::shared_ptr<rpc::Client>> client)
      : options_(options), client_(std::move(client)) {
    if (client_.ok()) stub_ = v1::RewardService::NewStub((*client_)->channel());
  }

  std::optional<ValueRange> Range() const override { return ValueRange{options_.min_value, options_.max_value}; }

  absl::Status Prepare() const override {
    RETURN_IF_ERROR(client_.status());
    rpc::CallContext context(**client_, absl::Seconds(options_.deadline_s));
    v1::ListRulesResponse response;
    const absl::Status listed = rpc::FromGrpc(context.Ended(stub_->ListRules(&context, {}, &response)));
    if (absl::IsUnavailable(listed) || absl::IsDeadlineExceeded(listed)) {
      spdlog::warn("the remote rule at {} cannot be reached yet: {}", options_.address, std::string(listed.message()));
      return absl::OkStatus();
    }
    RETURN_IF_ERROR(Annotate(listed, options_.address));
    for (const v1::ProfileInfo& profile : response.profiles()) {
      if (profile.profile().name() == options_.profile) return absl::OkStatus();
    }
    return absl::NotFoundError(absl::StrCat(options_.address, " serves no profile \"", options_.profile, "\""));
  }

  // Neither can travel: the fields of a prompt are texts.
  absl::Status CheckReference(const v1::Prompt& prompt) const override {
    if (IsUtf8(prompt.answer()) && IsUtf8(prompt.text())) return absl::OkStatus();
    return absl::InvalidArgumentError("the reference answer or the prompt is not UTF-8");
  }

  RuleResult Score(const RuleInput& input) const override {
    if (!CheckReference(input.prompt).ok()) {
      return {.outcome = v1::OUTCOME_REFERENCE_UNPARSABLE, .decided_by = "the reference or the prompt is not UTF-8"};
    }
    v1::Score score;
    const absl::Status status = Call(input, &score);
    if (absl::IsDeadlineExceeded(status)) return {.outcome = v1::OUTCOME_DEADLINE, .decided_by = Says(status)};
    if (absl::IsUnavailable(status) || absl::IsResourceExhausted(status)) {
      return {.outcome = v1::OUTCOME_RULE_ERROR, .unavailable = Says(status)};
    }
    if (!status.ok()) return {.outcome = v1::OUTCOME_RULE_ERROR, .decided_by = Says(status)};
    RuleResult result = {.outcome = score.outcome(),
                         .value = score.outcome() == v1::OUTCOME_SCORED ? score.value() : 0,
                         .excluded = score.excluded()};
    for (const v1::RuleScore& rule : score.rules()) {
      if (result.extracted.empty()) result.extracted = CutForLog(rule.extracted());
      if (result.decided_by.empty()) result.decided_by = CutForLog(rule.decided_by());
    }
    return result;
  }

 private:
  std::string Says(const absl::Status& status) const {
    return absl::StrCat("remote reward server ", options_.address, ": ", status.message());
  }

  absl::Status Call(const RuleInput& input, v1::Score* score) const {
    RETURN_IF_ERROR(client_.status());
    const absl::Duration left = absl::FromChrono(input.give_up_at - std::chrono::steady_clock::now());
    rpc::CallContext context(**client_, std::min(left, absl::Seconds(options_.deadline_s)));
    const auto stream = stub_->Score(&context);
    v1::ScoreRequest request;
    request.mutable_header()->mutable_profile()->set_name(options_.profile);
    request.mutable_header()->mutable_profile()->set_sha256(options_.sha256);
    *request.mutable_header()->mutable_prompt() = input.prompt;
    // A failed write means that the stream broke; Finish says why.
    bool open = stream->Write(request);
    request.mutable_completion()->set_text(std::string(input.completion));
    request.mutable_completion()->mutable_ids()->Add(input.ids.begin(), input.ids.end());
    open = open && stream->Write(request);
    stream->WritesDone();
    int num_answers = 0;
    for (v1::ScoreResponse response; stream->Read(&response);) {
      ++num_answers;
      *score = std::move(*response.mutable_score());
    }
    // Not Unavailable, whatever is wrong with an answer that came: the same call would be answered the same.
    RETURN_IF_ERROR(rpc::FromGrpc(context.Ended(stream->Finish())));
    if (num_answers != 1) {
      return absl::InternalError(absl::StrCat("answered ", num_answers, " times for one completion"));
    }
    rpc::CutTexts(score);
    RETURN_IF_ERROR(Annotate(rpc::CheckMessage(*score), "its answer"));
    // Of its rules only texts are passed on, and our own profile excludes what a server fails.
    v1::Score verdict = *score;
    verdict.clear_rules();
    verdict.set_excluded(true);
    return Annotate(CheckScore(verdict), "its answer");
  }

  const RemoteOptions options_;
  const absl::StatusOr<std::shared_ptr<rpc::Client>> client_;
  std::unique_ptr<v1::RewardService::Stub> stub_;
};

}  // namespace

RewardRulePlugin RewardRule_remote() {
  return MakeRewardRulePlugin<RemoteOptions, RemoteRule>("What another reward server says.", /*min_value=*/0,
                                                         /*max_value=*/1);
}

}  // namespace grpo
