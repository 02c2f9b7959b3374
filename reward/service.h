// RewardService on the wire (proto/reward.proto): stateless scoring by the profiles of one configuration.
//
// Every stream is served by its own thread; at most `threads` of them score at one time. A completion is scored alone:
// what happens to it is its outcome, never an error of the stream. Completions that are not scored when the call's
// deadline is near come back as OUTCOME_DEADLINE.
#ifndef GRPO_REWARD_SERVICE_H_
#define GRPO_REWARD_SERVICE_H_

#include <chrono>
#include <map>
#include <memory>
#include <semaphore>
#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "proto/reward.grpc.pb.h"
#include "reward/options.h"
#include "reward/profile.h"

namespace grpo {

// Thread-safe.
class RewardServiceImpl final : public v1::RewardService::Service {
 public:
  // InvalidArgument with every message of RewardProfile::Make, or when there is no profile.
  static absl::StatusOr<std::unique_ptr<RewardServiceImpl>> Make(
      const std::map<std::string, RewardProfileOptions>& profiles, int64_t threads);

  grpc::Status Score(grpc::ServerContext* context,
                     grpc::ServerReaderWriter<v1::ScoreResponse, v1::ScoreRequest>* stream) override;
  grpc::Status ListRules(grpc::ServerContext* context, const v1::ListRulesRequest* request,
                         v1::ListRulesResponse* response) override;

 private:
  using Profiles = std::map<std::string, std::unique_ptr<RewardProfile>>;
  using Stream = grpc::ServerReaderWriter<v1::ScoreResponse, v1::ScoreRequest>;
  using Time = std::chrono::steady_clock::time_point;

  RewardServiceImpl(Profiles profiles, int64_t threads) : profiles_(std::move(profiles)), free_threads_(threads) {}
  absl::Status ScoreStream(const grpc::ServerContext& context, Stream& stream);
  absl::StatusOr<const RewardProfile*> FindProfile(const v1::RewardProfileRef& ref) const;
  // Waits for a free thread until `give_up_at`.
  v1::Score ScoreOne(const RewardProfile& profile, const std::string& text, const v1::ScoreHeader& header,
                     Time give_up_at);

  const Profiles profiles_;
  std::counting_semaphore<> free_threads_;
};

}  // namespace grpo

#endif  // GRPO_REWARD_SERVICE_H_
