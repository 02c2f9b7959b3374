// Sequences as they travel between ranks (proto/ranks.proto). Links no torch.
#ifndef GRPO_TRAINER_BATCH_WIRE_H_
#define GRPO_TRAINER_BATCH_WIRE_H_

#include "proto/ranks.pb.h"
#include "trainer/batch/streams.h"

namespace grpo {

// Nothing is lost on the way: FromProto(ToProto(x)) is x, bit by bit.
v1::Sequence ToProto(const TokenStreams& sequence);
// Of what ToProto made: nothing is checked here, since ranks are of one build (trainer/dist/agreement.h).
TokenStreams FromProto(const v1::Sequence& proto);

}  // namespace grpo

#endif  // GRPO_TRAINER_BATCH_WIRE_H_
