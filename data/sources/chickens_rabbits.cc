// "Q:H35 L94\nA:", answer 12: 35 heads and 94 legs are 12 rabbits and 23 chickens. Or, of the same problem, one step of
// its work: "Q:94-70\nA:", answer 24. With or without the answer written out, for `sft`.
#include <memory>
#include <string>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "common/seeds.h"
#include "data/source_plugin.h"
#include "data/sources/chickens_rabbits_problems.h"
#include "data/sources/chickens_rabbits_work.h"

namespace grpo {
namespace {

struct Options : ChickensRabbitsOptions {
  std::string split = "train", ask = "problem";
  bool solutions = false;
  ChickensRabbitsWriting writing;

  template <class V>
  void Visit(V& v) {
    v("split", split,
      {.help = "The problems to learn from, those to measure with, or those to choose between settings with.",
       .choices = {"train", "held_out", "validation"}});
    v("ask", ask,
      {.help = "The problem, or one step of its work, a question that needs no thought: general data beside the "
               "problems.",
       .choices = {"problem", "step"}});
    v("solutions", solutions,
      {.help = "Each item has a completion to learn from, right and in the rewarded form: the work and the answer; of "
               "a step, <think>ok</think> and the answer."});
    writing.Visit(v);
    ChickensRabbitsOptions::Visit(v);
  }
};

class ChickensRabbits : public DataSource {
 public:
  ChickensRabbits(const Options& options, std::vector<ChickensRabbitsProblem> problems)
      : options_(options), problems_(std::move(problems)) {}

  int64_t size() const override { return static_cast<int64_t>(problems_.size()); }

  DataItem At(int64_t index) const override {
    const ChickensRabbitsProblem& problem = problems_.at(static_cast<size_t>(index));
    DataItem item;
    item.prompt.set_id(absl::StrCat(options_.split, "/", index));
    auto& metadata = *item.prompt.mutable_metadata()->mutable_fields();
    metadata["heads"].set_number_value(static_cast<double>(problem.heads));
    metadata["rabbits"].set_number_value(static_cast<double>(problem.rabbits));
    const uint64_t seed = CombineSeeds(static_cast<uint64_t>(options_.split_seed), static_cast<uint64_t>(index));
    Rng rng(seed);
    ChickensRabbitsWork work = WorkOut(problem, /*step_error=*/0, rng);
    std::string thought = "ok";
    if (options_.ask == "step") {
      const std::pair<std::string, std::string> step =
          absl::StrSplit(work.steps[static_cast<size_t>(rng.Below(3))], '=');
      item.prompt.set_text(absl::StrCat("Q:", step.first, "\nA:"));
      item.prompt.set_answer(step.second);
    } else {
      item.prompt.set_text(problem.prompt());
      item.prompt.set_answer(absl::StrCat(problem.rabbits));
      AddWords(options_.writing, seed, &work);
      thought = work.Joined();
    }
    if (options_.solutions) {
      item.completion = absl::StrCat("<think>", thought, "</think><answer>", item.prompt.answer(), "</answer>");
    }
    return item;
  }

 private:
  const Options options_;
  const std::vector<ChickensRabbitsProblem> problems_;
};

absl::StatusOr<std::unique_ptr<DataSource>> Make(const Options& options, const DataSourceContext& context) {
  ChickensRabbitsSplit split = SplitChickensRabbits(options);
  auto& problems = options.split == "train"      ? split.train
                   : options.split == "held_out" ? split.held_out
                                                 : split.validation;
  if (problems.empty()) {
    const char* const key = options.split == "validation" ? "validation_frac" : "held_out_frac";
    return SectionError(context.section, key,
                        absl::StrCat("split ", options.split, " has no problem left: change ", key, " or max_heads"));
  }
  return std::make_unique<ChickensRabbits>(options, std::move(problems));
}

}  // namespace

DataSourcePlugin DataSource_chickens_rabbits() {
  return MakeDataSourcePlugin<Options>(
      "Problems \"chickens and rabbits\": heads and legs are given, the number of rabbits is asked.", Make);
}

}  // namespace grpo
