#include "reward/service.h"

#include <algorithm>
#include <utility>
#include <vector>

#include "absl/cleanup/cleanup.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "common/failpoint.h"
#include "common/rpc/server.h"
#include "common/status_macros.h"
#include "configs/load.h"

namespace grpo {
namespace {

using std::chrono::steady_clock;

// Share of a call's time that is kept for bringing the answers home, and its upper bound.
constexpr int kReserveShare = 10;
constexpr steady_clock::duration kMaxReserve = std::chrono::seconds(1);
// A call without a deadline gets this one.
constexpr steady_clock::duration kLongestCall = std::chrono::hours(1);

// When scoring for a call must be over.
steady_clock::time_point GiveUpAt(const grpc::ServerContext& context) {
  // gRPC tells deadlines by the system clock only; compared at once, so that a later step of that clock moves nothing.
  const auto now = std::chrono::system_clock::now();
  const auto deadline = std::min(context.deadline(), now + kLongestCall);
  const auto left = std::chrono::duration_cast<steady_clock::duration>(deadline - now);
  return steady_clock::now() + left - std::min(left / kReserveShare, kMaxReserve);
}

}  // namespace

absl::StatusOr<std::unique_ptr<RewardServiceImpl>> RewardServiceImpl::Make(
    const std::map<std::string, RewardProfileOptions>& profiles, int64_t threads) {
  if (profiles.empty()) {
    return absl::InvalidArgumentError("the configuration has no reward profile: add one under `rewards`");
  }
  Profiles made;
  std::vector<absl::Status> errors;
  for (const auto& [name, options] : profiles) {
    absl::StatusOr<std::unique_ptr<RewardProfile>> profile = RewardProfile::Make(name, options);
    errors.push_back(profile.status());
    if (profile.ok()) made[name] = *std::move(profile);
  }
  RETURN_IF_ERROR(JoinErrors(errors));
  return std::unique_ptr<RewardServiceImpl>(new RewardServiceImpl(std::move(made), threads));
}

grpc::Status RewardServiceImpl::Score(grpc::ServerContext* context, Stream* stream) {
  return rpc::Handle(context, [&] { return ScoreStream(*context, *stream); });
}

absl::Status RewardServiceImpl::ScoreStream(const grpc::ServerContext& context, Stream& stream) {
  const steady_clock::time_point give_up_at = GiveUpAt(context);
  v1::ScoreRequest request;
  if (!stream.Read(&request) || !request.has_header()) {
    return absl::InvalidArgumentError("a Score stream begins with a header: send ScoreRequest.header first");
  }
  const v1::ScoreHeader header = request.header();
  ASSIGN_OR_RETURN(const RewardProfile* profile, FindProfile(header.profile()));
  while (stream.Read(&request)) {
    if (!request.has_completion()) {
      return absl::InvalidArgumentError(
          "a Score stream holds one header and then completions only: open a stream per group");
    }
    RETURN_IF_ERROR(Failpoint(
        "reward.score", absl::StrCat("prompt ", header.prompt().id(), ", completion ", request.completion().index())));
    v1::ScoreResponse response;
    response.set_index(request.completion().index());
    *response.mutable_score() = ScoreOne(*profile, request.completion().text(), header, give_up_at);
    if (!stream.Write(response)) return absl::CancelledError("the caller went away");
  }
  return absl::OkStatus();
}

absl::StatusOr<const RewardProfile*> RewardServiceImpl::FindProfile(const v1::RewardProfileRef& ref) const {
  const auto found = profiles_.find(ref.name());
  if (found == profiles_.end()) {
    return absl::NotFoundError(absl::StrCat(
        "no reward profile \"", ref.name(), "\" is served here, only ",
        absl::StrJoin(profiles_, ", ", [](std::string* out, const auto& profile) { *out += profile.first; }),
        ": start the reward server with the run's configuration"));
  }
  const v1::RewardProfileRef& served = found->second->ref();
  if (served.sha256() != ref.sha256()) {
    return absl::FailedPreconditionError(
        absl::StrCat("reward profile \"", ref.name(), "\" is ", served.sha256(), " here but ", ref.sha256(),
                     " for the caller: start reward server and trainer with the same configuration"));
  }
  return found->second.get();
}

v1::Score RewardServiceImpl::ScoreOne(const RewardProfile& profile, const std::string& text,
                                      const v1::ScoreHeader& header, Time give_up_at) {
  if (!free_threads_.try_acquire_until(give_up_at)) return profile.Unscored(v1::OUTCOME_DEADLINE);
  const absl::Cleanup release = [this] { free_threads_.release(); };
  if (steady_clock::now() >= give_up_at) return profile.Unscored(v1::OUTCOME_DEADLINE);
  return profile.Score(text, header.prompt(), header.explain());
}

grpc::Status RewardServiceImpl::ListRules(grpc::ServerContext* context, const v1::ListRulesRequest* request,
                                          v1::ListRulesResponse* response) {
  return rpc::Handle(context, [&] {
    for (const RuleInfo& rule : grpo::ListRules()) {
      v1::RuleInfo& info = *response->add_rules();
      info.set_name(rule.name);
      info.set_summary(rule.summary);
      info.set_min_value(rule.min_value);
      info.set_max_value(rule.max_value);
    }
    for (const auto& [name, profile] : profiles_) {
      v1::ProfileInfo& info = *response->add_profiles();
      *info.mutable_profile() = profile->ref();
      for (const auto& [rule_name, rule] : profile->options().rules) {
        v1::WeightedRule& weighted = *info.add_rules();
        weighted.set_name(rule_name);
        weighted.set_weight(rule.weight);
      }
    }
    return absl::OkStatus();
  });
}

}  // namespace grpo
