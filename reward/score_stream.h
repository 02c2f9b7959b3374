// One RewardService.Score call.
#ifndef GRPO_REWARD_SCORE_STREAM_H_
#define GRPO_REWARD_SCORE_STREAM_H_

#include "proto/reward.grpc.pb.h"

namespace grpo {

class RewardServiceImpl;

// Owns itself, until gRPC says that the call is done. `service` outlives it.
grpc::ServerBidiReactor<v1::ScoreRequest, v1::ScoreResponse>* NewScoreStream(
    RewardServiceImpl& service, const grpc::CallbackServerContext& context);

}  // namespace grpo

#endif  // GRPO_REWARD_SCORE_STREAM_H_
