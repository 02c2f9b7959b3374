#include "trainer/batch/wire.h"

#include <vector>

namespace grpo {
namespace {

v1::Stream ToProto(const Stream& stream) {
  v1::Stream proto;
  proto.set_width(stream.width);
  if (stream.is_float()) {
    proto.mutable_floats()->mutable_values()->Add(stream.floats().begin(), stream.floats().end());
  } else {
    proto.mutable_ints()->mutable_values()->Add(stream.ints().begin(), stream.ints().end());
  }
  return proto;
}

Stream FromProto(const v1::Stream& proto) {
  if (proto.has_ints()) {
    return Stream(std::vector<int64_t>(proto.ints().values().begin(), proto.ints().values().end()), proto.width());
  }
  return Stream(std::vector<float>(proto.floats().values().begin(), proto.floats().values().end()), proto.width());
}

}  // namespace

v1::Sequence ToProto(const TokenStreams& sequence) {
  v1::Sequence proto;
  proto.mutable_ids()->Add(sequence.ids.begin(), sequence.ids.end());
  proto.mutable_trainable_mask()->Add(sequence.trainable_mask.begin(), sequence.trainable_mask.end());
  proto.set_group(sequence.group);
  for (const auto& [name, stream] : sequence.streams) (*proto.mutable_streams())[name] = ToProto(stream);
  return proto;
}

TokenStreams FromProto(const v1::Sequence& proto) {
  TokenStreams sequence;
  sequence.ids.assign(proto.ids().begin(), proto.ids().end());
  sequence.trainable_mask.assign(proto.trainable_mask().begin(), proto.trainable_mask().end());
  sequence.group = proto.group();
  for (const auto& [name, stream] : proto.streams()) sequence.streams[name] = FromProto(stream);
  return sequence;
}

}  // namespace grpo
