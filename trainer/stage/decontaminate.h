// Problems that stand in an evaluation set are not learned from: n-grams of words that both share give them away, as in
// GPT-3 (arXiv:2005.14165 appendix C, where n is up to 13). Departures: words are those of ngrams.h, n is the same for
// every set, and what stands in very many problems of an evaluation set is taken for its template. Links no torch.
#ifndef GRPO_TRAINER_STAGE_DECONTAMINATE_H_
#define GRPO_TRAINER_STAGE_DECONTAMINATE_H_

#include <cstdint>
#include <string>
#include <vector>

#include "absl/container/flat_hash_map.h"
#include "absl/container/flat_hash_set.h"
#include "absl/strings/string_view.h"
#include "configs/visit.h"

namespace grpo {

// `decontaminate` of a stage.
struct DecontaminateOptions {
  std::vector<std::string> data;
  int64_t ngram = 13;
  int64_t max_occurrences = 10;

  template <class V>
  void Visit(V& v) {
    v("data", data,
      {.help = "Keys under `data`: evaluation sets, all of whose problems are kept out. Sets that have an end."});
    v("ngram", ngram,
      {.help = "Words in a row that a problem, or a completion, may not share with a problem of these sets. One with "
               "fewer words is found when a text is the same, word for word.",
       .unit = "words",
       .min = 2,
       .max = 256});
    v("max_occurrences", max_occurrences,
      {.help = "What stands in more problems of the sets than this is their template's, and gives nothing away.",
       .min = 1,
       .max = 1e9});
  }
};

// The n-grams of evaluation sets. First Add, then ask; thread-compatible.
class Decontamination {
 public:
  // `ngram` and `max_occurrences` as in DecontaminateOptions.
  Decontamination(int64_t ngram, int64_t max_occurrences) : ngram_(ngram), max_occurrences_(max_occurrences) {}

  // A problem that is to be kept out.
  void Add(absl::string_view problem);
  // Whether the text has what gives one of them away. Linear in the text.
  bool IsContaminated(absl::string_view text) const;

 private:
  const int64_t ngram_, max_occurrences_;
  // In how many problems an n-gram stands.
  absl::flat_hash_map<uint64_t, int64_t> counts_;
  // Problems with fewer words.
  absl::flat_hash_set<uint64_t> short_;
};

}  // namespace grpo

#endif  // GRPO_TRAINER_STAGE_DECONTAMINATE_H_
