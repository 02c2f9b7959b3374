#include "data/mix.h"

#include <numeric>

#include "absl/strings/str_cat.h"
#include "common/status_macros.h"
#include "configs/load.h"

namespace grpo {
namespace {

std::string KindOf(const DataSource& source) {
  const DataItem first = source.At(0);
  if (!first.document.empty()) return "documents";
  return first.completion.empty() ? "problems without completions" : "problems with completions";
}

}  // namespace

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

absl::Status CheckSameKind(const std::vector<MixPart>& parts, const DataSource& further, const Section& section,
                           const std::string& key) {
  if (parts.empty() || KindOf(further) == KindOf(*parts[0].source)) return absl::OkStatus();
  return SectionError(section, key,
                      absl::StrCat("holds ", KindOf(further), ", and ", parts[0].name, " ", KindOf(*parts[0].source),
                                   ": a stage reads one kind"));
}

DataItem MixedSource::Name(const MixSchedule::Draw& draw, DataItem item) const {
  const MixPart& part = parts_[draw.part];
  const int64_t reading = part.source->size() < 0 ? 0 : draw.position / part.source->size();
  item.prompt.set_id(
      absl::StrCat(part.name, "/", item.prompt.id(), reading == 0 ? "" : absl::StrCat("#", reading + 1)));
  return item;
}

DataItem MixedSource::At(int64_t index) const {
  const MixSchedule::Draw draw = schedule_.At(index);
  const DataSource& source = *parts_[draw.part].source;
  return Name(draw, source.At(source.size() < 0 ? draw.position : draw.position % source.size()));
}

absl::Status MixedSource::Check() const {
  for (const MixPart& part : parts_) RETURN_IF_ERROR(part.source->Check());
  return absl::OkStatus();
}

int64_t MixedSource::num_checked(int64_t endless_items) const {
  int64_t sum = 0;
  for (const MixPart& part : parts_) sum += part.source->num_checked(endless_items);
  return sum;
}

DataItem MixedSource::CheckedAt(int64_t index, int64_t endless_items) const {
  size_t part = 0;
  for (int64_t items = 0; index >= (items = parts_[part].source->num_checked(endless_items)); ++part) index -= items;
  return Name({.part = part}, parts_[part].source->CheckedAt(index, endless_items));
}

}  // namespace grpo
