// What the base model of the quickstart reads: arithmetic drill lines, and problems of the training split that are
// answered in many forms and often wrongly. The form that the rules later pay, thinking and then a tagged answer,
// occurs, but rarely: pure RL elicits what the base can do and does not invent it.
//
// The mixture is that of the prototype whose learning was measured (class Corpus of r1zero_prototype.py): changing a
// share or a slip changes what the base learns, and so where RL starts.
#include <array>
#include <memory>
#include <string>
#include <utility>

#include "absl/strings/str_cat.h"
#include "common/seeds.h"
#include "data/source_plugin.h"
#include "data/sources/chickens_rabbits_problems.h"
#include "data/sources/chickens_rabbits_work.h"

namespace grpo {
namespace {

struct Options : ChickensRabbitsOptions {
  int64_t seed = 0;
  double drill_frac = 0.2, step_error = 0.08, guess_error = 0.4, good_frac = 0.05;
  ChickensRabbitsWriting writing;

  template <class V>
  void Visit(V& v) {
    v("seed", seed, {.help = "Which endless corpus of this mixture.", .min = 0, .max = 9e15});
    v("drill_frac", drill_frac,
      {.help = "Share of documents that are one or two correct steps of arithmetic without a problem.",
       .min = 0,
       .max = 1});
    v("step_error", step_error,
      {.help = "Probability that a written step slips; what follows goes on with the slip.", .min = 0, .max = 1});
    v("guess_error", guess_error,
      {.help = "Probability that an answer without work is a random number.", .min = 0, .max = 1});
    v("good_frac", good_frac,
      {.help = "Weight of the rewarded form beside the 0.95 of all others, drill lines not counted. At 0 RL finds "
               "nothing to reinforce.",
       .min = 0,
       .max = 1});
    writing.Visit(v);
    ChickensRabbitsOptions::Visit(v);
  }
};

class ChickensRabbitsCorpus : public DataSource {
 public:
  explicit ChickensRabbitsCorpus(const Options& options)
      : options_(options), train_(SplitChickensRabbits(options).train) {}

  int64_t size() const override { return -1; }

  DataItem At(int64_t index) const override {
    const uint64_t seed = CombineSeeds(static_cast<uint64_t>(options_.seed), static_cast<uint64_t>(index));
    Rng rng(seed);
    DataItem item;
    item.prompt.set_id(absl::StrCat("corpus/", index));
    if (rng.Uniform() < options_.drill_frac) {
      item.document = Drill(seed, rng);
    } else {
      const ChickensRabbitsProblem& problem = rng.Choice(train_);
      item.document = absl::StrCat(problem.prompt(), Solution(problem, seed, rng));
    }
    return item;
  }

 private:
  // One step, or with probability 1/3 two different ones, in any order.
  std::string Drill(uint64_t seed, Rng& rng) const {
    ChickensRabbitsWork work = WorkOut(rng.Choice(train_), 0, rng);
    AddWords(options_.writing, seed, &work);
    const int64_t first = rng.Below(3);
    if (rng.Below(3) < 2) return work.steps[first];
    const int64_t second = (first + 1 + rng.Below(2)) % 3;
    return absl::StrCat(work.steps[first], ";", work.steps[second]);
  }

  std::string Solution(const ChickensRabbitsProblem& problem, uint64_t seed, Rng& rng) const {
    ChickensRabbitsWork work = WorkOut(problem, options_.step_error, rng);
    AddWords(options_.writing, seed, &work);
    const double style = rng.Uniform() * (0.95 + options_.good_frac);
    // An answer without work: the worked one, or a random number from 1 to max_heads.
    const int64_t guess = rng.Uniform() >= options_.guess_error ? work.rabbits : 1 + rng.Below(options_.max_heads);
    if (style < 0.35) return absl::StrCat(guess);
    if (style < 0.50) return absl::StrCat(work.Joined(), " so ", work.rabbits);
    if (style < 0.65) return absl::StrCat("<answer>", guess, "</answer>");
    if (style < 0.75) {
      const std::array<std::string, 3> thoughts = {"", work.steps[0], "ok"};
      return absl::StrCat("<think>", thoughts[static_cast<size_t>(rng.Below(3))], "</think><answer>", guess,
                          "</answer>");
    }
    if (style < 0.85) return absl::StrCat("<think>", work.Joined(), "</think>", work.rabbits);
    if (style < 0.95) return absl::StrCat("<answer>", work.Joined(), "</answer>");
    return absl::StrCat("<think>", work.Joined(), "</think><answer>", work.rabbits, "</answer>");
  }

  const Options options_;
  const std::vector<ChickensRabbitsProblem> train_;
};

absl::StatusOr<std::unique_ptr<DataSource>> Make(const Options& options, const DataSourceContext& context) {
  if (SplitChickensRabbits(options).train.empty()) {
    return SectionError(context.section, "validation_frac",
                        "leaves no problem to the training split: change validation_frac, held_out_frac or max_heads");
  }
  return std::make_unique<ChickensRabbitsCorpus>(options);
}

}  // namespace

DataSourcePlugin DataSource_chickens_rabbits_corpus() {
  return MakeDataSourcePlugin<Options>(
      "Endless messy text for a base model: arithmetic, and chickens-and-rabbits problems of the training split in "
      "mixed, often wrong form.",
      Make);
}

}  // namespace grpo
