#include "data/parts.h"

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

absl::Status CheckSameKind(const std::vector<SourcePart>& parts, const DataSource& further, const Section& section,
                           const std::string& key) {
  if (parts.empty() || KindOf(further) == KindOf(*parts[0].source)) return absl::OkStatus();
  return SectionError(section, key,
                      absl::StrCat("holds ", KindOf(further), ", and ", parts[0].name, " ", KindOf(*parts[0].source),
                                   ": a stage reads one kind"));
}

absl::Status PartsSource::Check() const {
  for (const SourcePart& part : parts_) RETURN_IF_ERROR(part.source->Check());
  return absl::OkStatus();
}

int64_t PartsSource::num_checked(int64_t endless_items) const {
  int64_t sum = 0;
  for (const SourcePart& part : parts_) sum += part.source->num_checked(endless_items);
  return sum;
}

DataItem PartsSource::CheckedAt(int64_t index, int64_t endless_items) const {
  size_t part = 0;
  for (int64_t items = 0; index >= (items = parts_[part].source->num_checked(endless_items)); ++part) index -= items;
  return Named(part, parts_[part].source->CheckedAt(index, endless_items));
}

DataItem PartsSource::Named(size_t part, DataItem item) const {
  item.prompt.set_id(absl::StrCat(parts_.at(part).name, "/", item.prompt.id()));
  return item;
}

}  // namespace grpo
