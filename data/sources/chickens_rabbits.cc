// "Q:H35 L94\nA:", answer 12: 35 heads and 94 legs are 12 rabbits and 23 chickens.
#include <memory>
#include <string>
#include <utility>

#include "absl/strings/str_cat.h"
#include "data/source_plugin.h"
#include "data/sources/chickens_rabbits_problems.h"

namespace grpo {
namespace {

struct Options : ChickensRabbitsOptions {
  std::string split = "train";

  template <class V>
  void Visit(V& v) {
    v("split", split,
      {.help = "The problems to learn from, those to measure with, or those to choose between settings with.",
       .choices = {"train", "held_out", "validation"}});
    ChickensRabbitsOptions::Visit(v);
  }
};

class ChickensRabbits : public DataSource {
 public:
  ChickensRabbits(std::string split, std::vector<ChickensRabbitsProblem> problems)
      : split_(std::move(split)), problems_(std::move(problems)) {}

  int64_t size() const override { return static_cast<int64_t>(problems_.size()); }

  DataItem At(int64_t index) const override {
    const ChickensRabbitsProblem& problem = problems_.at(static_cast<size_t>(index));
    DataItem item;
    item.prompt.set_id(absl::StrCat(split_, "/", index));
    item.prompt.set_text(problem.prompt());
    item.prompt.set_answer(absl::StrCat(problem.rabbits));
    auto& metadata = *item.prompt.mutable_metadata()->mutable_fields();
    metadata["heads"].set_number_value(static_cast<double>(problem.heads));
    metadata["rabbits"].set_number_value(static_cast<double>(problem.rabbits));
    return item;
  }

 private:
  const std::string split_;
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
  return std::make_unique<ChickensRabbits>(options.split, std::move(problems));
}

}  // namespace

DataSourcePlugin DataSource_chickens_rabbits() {
  return MakeDataSourcePlugin<Options>(
      "Problems \"chickens and rabbits\": heads and legs are given, the number of rabbits is asked.", Make);
}

}  // namespace grpo
