#include "data/union.h"

#include <algorithm>
#include <tuple>
#include <unordered_map>
#include <unordered_set>
#include <utility>

#include "absl/strings/ascii.h"
#include "absl/strings/str_cat.h"
#include "common/seeds.h"
#include "common/status_macros.h"

namespace grpo {
namespace {

// Equal for items of one text; different texts that share one would cost an item in 2^64.
uint64_t TextKey(const DataItem& item) {
  uint64_t key = HashName(NormalizedBlanks(item.prompt.text()));
  for (const std::string& text : {item.prompt.answer(), item.completion, item.document})
    key = CombineSeeds(key, HashName(NormalizedBlanks(text)));
  return key;
}

absl::StatusOr<double> SolveRate(const std::string& part, const DataItem& item) {
  const auto& fields = item.prompt.metadata().fields();
  for (const char* const field : {kSolveRateField, kMajorityShareField}) {
    const auto found = fields.find(field);
    if (found == fields.end() || found->second.kind_case() != google::protobuf::Value::kNumberValue) continue;
    const double rate = found->second.number_value();
    if (rate >= 0 && rate <= 1) return rate;
  }
  return absl::InvalidArgumentError(absl::StrCat(
      "item ", item.prompt.id(), " of data.", part, " has no number ", kSolveRateField,
      " from 0 to 1, which harder_first goes by; traces that an older build wrote lack it: write them anew, or set "
      "harder_first: false"));
}

}  // namespace

std::string NormalizedBlanks(absl::string_view text) {
  std::string normalized;
  for (const char c : text) {
    if (!absl::ascii_isspace(static_cast<unsigned char>(c))) {
      normalized.push_back(c);
    } else if (!normalized.empty() && normalized.back() != ' ') {
      normalized.push_back(' ');
    }
  }
  if (!normalized.empty() && normalized.back() == ' ') normalized.pop_back();
  return normalized;
}

absl::StatusOr<std::unique_ptr<UnionSource>> UnionSource::Make(std::vector<SourcePart> parts,
                                                               const UnionOptions& options) {
  struct Entry {
    Place place;
    // Of the whole text, and of the problem's.
    uint64_t text = 0, problem = 0;
  };
  std::vector<Entry> entries;
  std::unordered_set<uint64_t> seen;
  // By problem, of the last part that has it.
  std::unordered_map<uint64_t, double> rates;
  for (uint32_t part = 0; part < parts.size(); ++part) {
    const SourcePart& source = parts[part];
    for (int64_t index = 0; index < source.source->size(); ++index) {
      const DataItem item = source.source->At(index);
      const Entry entry{.place = {part, index}, .text = TextKey(item), .problem = HashName(item.prompt.text())};
      if (options.harder_first) {
        ASSIGN_OR_RETURN(rates[entry.problem], SolveRate(source.name, item));
      }
      if (!options.deduplicate || seen.insert(entry.text).second) entries.push_back(entry);
    }
    RETURN_IF_ERROR(source.source->Check());
  }
  if (options.harder_first) {
    std::stable_sort(entries.begin(), entries.end(), [&rates](const Entry& a, const Entry& b) {
      return std::make_tuple(rates.at(a.problem), Mix64(a.text)) < std::make_tuple(rates.at(b.problem), Mix64(b.text));
    });
  }
  if (options.max_items > 0 && static_cast<int64_t>(entries.size()) > options.max_items)
    entries.resize(static_cast<size_t>(options.max_items));
  std::vector<Place> order;
  order.reserve(entries.size());
  for (const Entry& entry : entries) order.push_back(entry.place);
  return std::unique_ptr<UnionSource>(new UnionSource(std::move(parts), std::move(order), options.harder_first));
}

DataItem UnionSource::At(int64_t index) const {
  const Place& place = order_.at(static_cast<size_t>(index));
  return Named(place.part, parts()[place.part].source->At(place.index));
}

int64_t UnionSource::num_checked(int64_t endless_items) const {
  return std::min(size(), PartsSource::num_checked(endless_items));
}

DataItem UnionSource::CheckedAt(int64_t index, int64_t endless_items) const {
  return num_checked(endless_items) == size() ? At(index) : PartsSource::CheckedAt(index, endless_items);
}

}  // namespace grpo
