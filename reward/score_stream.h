// One RewardService.Score call.
#ifndef GRPO_REWARD_SCORE_STREAM_H_
#define GRPO_REWARD_SCORE_STREAM_H_

#include "proto/reward.grpc.pb.h"

namespace grpo {

class RewardServiceImpl;

// Owns itself, until gRPC says that the call is done. `service` outlives it. Unauthenticated for a caller without the
// token; InvalidArgument for messages out of order or a group that is too large to compare; NotFound or
// FailedPrecondition for the profile, ResourceExhausted when too much waits, Unavailable when a rule cannot reach what
// it needs.
grpc::ServerBidiReactor<v1::ScoreRequest, v1::ScoreResponse>* NewScoreStream(
    RewardServiceImpl& service, const grpc::CallbackServerContext& context);

}  // namespace grpo

#endif  // GRPO_REWARD_SCORE_STREAM_H_
