#include "reward/service.h"

#include <algorithm>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "common/rpc/server.h"
#include "common/status_macros.h"
#include "configs/load.h"
#include "reward/score_stream.h"

namespace grpo {

absl::StatusOr<std::unique_ptr<RewardServiceImpl>> RewardServiceImpl::Make(const ProfileOptions& profiles,
                                                                           const RewardServerOptions& options) {
  auto service = std::unique_ptr<RewardServiceImpl>(new RewardServiceImpl(options));
  RETURN_IF_ERROR(service->Reload(profiles));
  return service;
}

absl::Status RewardServiceImpl::Reload(const ProfileOptions& profiles) {
  if (profiles.empty()) {
    return absl::InvalidArgumentError("the configuration has no reward profile: add one under `rewards`");
  }
  std::vector<std::shared_ptr<const RewardProfile>> made;
  std::vector<absl::Status> errors;
  for (const auto& [name, options] : profiles) {
    absl::StatusOr<std::unique_ptr<RewardProfile>> profile = RewardProfile::Make(name, options);
    errors.push_back(profile.status());
    if (profile.ok()) made.push_back(*std::move(profile));
  }
  RETURN_IF_ERROR(JoinErrors(errors));
  errors.clear();
  for (const auto& profile : made) errors.push_back(profile->Prepare());
  RETURN_IF_ERROR(JoinErrors(errors));
  // What goes, goes without the lock: rules may have processes to end.
  Versions next = Served();
  std::vector<std::string> names;
  for (const auto& profile : made) {
    auto& versions = next[profile->ref().name()];
    versions.erase(std::remove_if(versions.begin(), versions.end(),
                                  [&](const auto& old) { return old->ref().sha256() == profile->ref().sha256(); }),
                   versions.end());
    versions.push_back(profile);
    if (versions.size() > kMaxVersions) versions.erase(versions.begin());
    names.push_back(profile->ref().name());
  }
  {
    absl::MutexLock lock(&mutex_);
    profiles_.swap(next);
    newest_.swap(names);
  }
  return absl::OkStatus();
}

std::vector<v1::RewardProfileRef> RewardServiceImpl::Profiles() const {
  absl::MutexLock lock(&mutex_);
  std::vector<v1::RewardProfileRef> newest;
  for (const std::string& name : newest_) newest.push_back(profiles_.at(name).back()->ref());
  return newest;
}

RewardServiceImpl::Versions RewardServiceImpl::Served() const {
  absl::MutexLock lock(&mutex_);
  return profiles_;
}

absl::StatusOr<std::shared_ptr<const RewardProfile>> RewardServiceImpl::FindProfile(
    const v1::RewardProfileRef& ref) const {
  absl::MutexLock lock(&mutex_);
  const auto found = profiles_.find(ref.name());
  if (found == profiles_.end()) {
    return absl::NotFoundError(absl::StrCat("no reward profile \"", ref.name(), "\" is served here, only ",
                                            absl::StrJoin(newest_, ", "),
                                            ": start the reward server with the run's configuration"));
  }
  const auto& versions = found->second;
  if (ref.sha256().empty()) return versions.back();
  for (const auto& version : versions) {
    if (version->ref().sha256() == ref.sha256()) return version;
  }
  return absl::FailedPreconditionError(
      absl::StrCat("reward profile \"", ref.name(), "\" is ", versions.back()->ref().sha256(), " here but ",
                   ref.sha256(), " for the caller: start reward server and trainer with the same configuration"));
}

absl::Status RewardServiceImpl::Admit() const {
  const int64_t waiting = pool_.num_waiting();
  if (waiting < options_.max_waiting) return absl::OkStatus();
  return absl::ResourceExhaustedError(
      absl::StrCat(waiting, " completions wait to be scored, reward_server.max_waiting is ", options_.max_waiting,
                   ": try again later, or run more reward servers"));
}

grpc::ServerBidiReactor<v1::ScoreRequest, v1::ScoreResponse>* RewardServiceImpl::Score(
    grpc::CallbackServerContext* context) {
  return NewScoreStream(*this, *context);
}

grpc::ServerUnaryReactor* RewardServiceImpl::ListRules(grpc::CallbackServerContext* context,
                                                       const v1::ListRulesRequest* request,
                                                       v1::ListRulesResponse* response) {
  grpc::ServerUnaryReactor* reactor = context->DefaultReactor();
  absl::Status allowed = rpc::CheckToken(*context);
  if (allowed.ok()) allowed = rpc::CheckMessage(*request);
  if (!allowed.ok()) {
    reactor->Finish(rpc::ToGrpc(allowed));
    return reactor;
  }
  for (const RuleInfo& rule : grpo::ListRules()) {
    v1::RuleInfo& info = *response->add_rules();
    info.set_name(rule.name);
    info.set_summary(rule.summary);
    info.set_min_value(rule.min_value);
    info.set_max_value(rule.max_value);
  }
  for (const auto& [name, versions] : Served()) {
    v1::ProfileInfo& info = *response->add_profiles();
    *info.mutable_profile() = versions.back()->ref();
    for (const auto& [rule_name, rule] : versions.back()->options().rules) {
      v1::WeightedRule& weighted = *info.add_rules();
      weighted.set_name(rule_name);
      weighted.set_weight(rule.weight);
    }
  }
  reactor->Finish(grpc::Status::OK);
  return reactor;
}

std::string RewardServiceImpl::Metrics() const {
  RuleMetricsText rules;
  // Of a profile's versions the newest: one name, one series.
  for (const auto& [name, versions] : Served()) versions.back()->AppendMetrics(&rules);
  return absl::StrCat(rules.Text(),
                      "# HELP grpo_reward_waiting Completions that wait for a thread.\n"
                      "# TYPE grpo_reward_waiting gauge\ngrpo_reward_waiting ",
                      pool_.num_waiting(),
                      "\n# HELP grpo_reward_slow Completions that take long and have been set aside.\n"
                      "# TYPE grpo_reward_slow gauge\ngrpo_reward_slow ",
                      pool_.num_slow(), "\n");
}

}  // namespace grpo
