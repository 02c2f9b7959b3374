#include "data/mix.h"

#include <numeric>

#include "absl/strings/str_cat.h"

namespace grpo {
MixSchedule::MixSchedule(std::vector<int64_t> shares) : per_period_(std::move(shares)) {
  int64_t divisor = 0, length = 0;
  for (const int64_t share : per_period_) divisor = std::gcd(divisor, share);
  for (int64_t& share : per_period_) length += share /= divisor;
  std::vector<int64_t> given(per_period_.size(), 0);
  for (int64_t slot = 0; slot < length; ++slot) {
    size_t next = 0;
    int64_t earliest = length + 1;
    for (size_t part = 0; part < given.size(); ++part) {
      const int64_t share = per_period_[part];
      const int64_t release = given[part] * length / share;
      const int64_t deadline = ((given[part] + 1) * length + share - 1) / share;
      if (given[part] == share || release > slot || deadline >= earliest) continue;
      next = part;
      earliest = deadline;
    }
    period_.push_back({.part = next, .position = given[next]++});
  }
}

MixSchedule::Draw MixSchedule::At(int64_t position) const {
  const auto length = static_cast<int64_t>(period_.size());
  Draw draw = period_[static_cast<size_t>(position % length)];
  draw.position += position / length * per_period_[draw.part];
  return draw;
}

DataItem MixedSource::Name(const MixSchedule::Draw& draw, DataItem item) const {
  const int64_t items = parts()[draw.part].source->size();
  const int64_t reading = items < 0 ? 0 : draw.position / items;
  if (reading > 0) item.prompt.set_id(absl::StrCat(item.prompt.id(), "#", reading + 1));
  return Named(draw.part, std::move(item));
}

DataItem MixedSource::At(int64_t index) const {
  const MixSchedule::Draw draw = schedule_.At(index);
  const DataSource& source = *parts()[draw.part].source;
  return Name(draw, source.At(source.size() < 0 ? draw.position : draw.position % source.size()));
}

}  // namespace grpo
