#include "data/shuffled_reader.h"

#include <numeric>

#include "common/seeds.h"
#include "data/mix.h"

namespace grpo {

ShuffledReader::ShuffledReader(const DataSource* source, uint64_t seed) : source_(source), seed_(seed) {
  if (source->mix() == nullptr) return;
  for (const SourcePart& part : source->mix()->parts()) {
    parts_.emplace_back(part.source.get(), CombineSeeds(seed, HashName(part.name)));
  }
}

DataItem ShuffledReader::At(int64_t position) {
  if (const MixedSource* const mix = source_->mix(); mix != nullptr) {
    const MixSchedule::Draw draw = mix->schedule().At(position);
    return mix->Name(draw, parts_[draw.part].At(draw.position));
  }
  return source_->At(IndexAt(position));
}

int64_t ShuffledReader::IndexAt(int64_t position) {
  const int64_t size = source_->size();
  if (size < 0) return position;
  if (source_->in_order()) return position % size;
  const int64_t epoch = position / size;
  if (epoch != epoch_) {
    order_.resize(static_cast<size_t>(size));
    std::iota(order_.begin(), order_.end(), int64_t{0});
    Shuffle(order_, CombineSeeds(seed_, static_cast<uint64_t>(epoch)));
    epoch_ = epoch;
  }
  return order_[static_cast<size_t>(position % size)];
}

}  // namespace grpo
