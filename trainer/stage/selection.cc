#include "trainer/stage/selection.h"

#include <algorithm>
#include <iterator>
#include <numeric>
#include <utility>

#include "absl/strings/str_cat.h"
#include "reward/repetition.h"
#include "trainer/stage/ngrams.h"

namespace grpo {
namespace {

// Words of the n-grams by which texts are compared.
constexpr int64_t kVarietyNgram = 3;

// The n-grams of a text, each once, in order of their hashes.
std::vector<uint64_t> Shingles(absl::string_view text) {
  std::vector<uint64_t> hashes = NgramHashes(WordHashes(text), kVarietyNgram);
  std::sort(hashes.begin(), hashes.end());
  hashes.erase(std::unique(hashes.begin(), hashes.end()), hashes.end());
  return hashes;
}

// Of Jaccard: what both have over what either has. 1 for two texts without words.
double Overlap(const std::vector<uint64_t>& a, const std::vector<uint64_t>& b) {
  std::vector<uint64_t> both;
  std::set_intersection(a.begin(), a.end(), b.begin(), b.end(), std::back_inserter(both));
  const size_t either = a.size() + b.size() - both.size();
  return either == 0 ? 1 : static_cast<double>(both.size()) / static_cast<double>(either);
}

// In the order in which they are chosen.
std::vector<size_t> MostVaried(const std::vector<TraceCandidate>& candidates, size_t count) {
  std::vector<std::vector<uint64_t>> shingles;
  for (const TraceCandidate& candidate : candidates) shingles.push_back(Shingles(candidate.text));
  std::vector<size_t> chosen = {0};
  // What each has in common with the chosen one that it is most like; above 1 once it is chosen itself.
  std::vector<double> common(candidates.size(), 0);
  while (chosen.size() < count) {
    for (size_t i = 0; i < candidates.size(); ++i)
      common[i] = std::max(common[i], Overlap(shingles[i], shingles[chosen.back()]));
    common[chosen.back()] = 2;
    chosen.push_back(static_cast<size_t>(std::min_element(common.begin(), common.end()) - common.begin()));
  }
  return chosen;
}

}  // namespace

std::vector<Conflict> SelectionOptions::Conflicts() const {
  std::vector<Conflict> conflicts;
  if (max_tokens > 0 && max_tokens < min_tokens) {
    conflicts.push_back({"max_tokens", absl::StrCat("is ", max_tokens, ", below min_tokens, which is ", min_tokens,
                                                    ": nothing would be kept; raise one or lower the other")});
  }
  return conflicts;
}

TextFilter::TextFilter(const SelectionOptions& options)
    : options_(options),
      meter_(options.language.empty() ? nullptr : std::make_unique<const LanguageMeter>(options.language)) {}

std::string TextFilter::RejectionReason(absl::string_view text, int64_t num_tokens) const {
  if (num_tokens < options_.min_tokens) return "too_short";
  if (options_.max_tokens > 0 && num_tokens > options_.max_tokens) return "too_long";
  if (meter_ != nullptr && meter_->Share(text) < options_.min_language_share) return "other_language";
  if (options_.max_repeated_frac < 1 &&
      RepeatedFrac(WordIds(text), options_.repetition_ngram) > options_.max_repeated_frac)
    return "repetitive";
  return "";
}

std::vector<size_t> ChooseTraces(const std::vector<TraceCandidate>& candidates, int64_t count,
                                 const std::string& prefer) {
  const size_t num_kept = count == 0 ? candidates.size() : std::min(candidates.size(), static_cast<size_t>(count));
  std::vector<size_t> order(candidates.size());
  std::iota(order.begin(), order.end(), size_t{0});
  if (num_kept == candidates.size()) return order;
  if (prefer == "shortest") {
    std::stable_sort(order.begin(), order.end(),
                     [&](size_t a, size_t b) { return candidates[a].num_tokens < candidates[b].num_tokens; });
  } else if (prefer == "most_varied") {
    order = MostVaried(candidates, num_kept);
  }
  order.resize(num_kept);
  std::sort(order.begin(), order.end());
  return order;
}

}  // namespace grpo
