// Problems of one's own: a file of JSON lines, a JSON array or Parquet. It is read whole, and every record is checked
// before the run starts.
#include "data/presets.h"
#include "data/problem_file.h"

namespace grpo {
namespace {

struct Options : ProblemFileOptions {
  std::string format = "auto";
  std::string preset;
  int64_t options_seed = 0;

  template <class V>
  void Visit(V& v) {
    std::vector<const char*> presets = {""};
    for (const Preset& known : Presets()) presets.push_back(known.name);
    v("format", format,
      {.help = "JSON lines, a JSON array of objects, or Parquet; auto: what the file begins as.",
       .choices = {"auto", "jsonl", "json", "parquet"}});
    v("preset", preset,
      {.help = "A data set as it is published: its fields, where in them the answer stands, what metadata keeps. Keys "
               "below that are given go before it.",
       .choices = std::move(presets)});
    v("options_seed", options_seed,
      {.help = "Seed of the order in which a problem's options stand (`preset: gpqa`), which is another for each "
               "problem.",
       .min = 0});
    ProblemFileOptions::Visit(v);
  }
};

absl::StatusOr<std::unique_ptr<DataSource>> Make(const Options& options, const DataSourceContext& context) {
  return MakeProblemFile(
      options, {.format = options.format, .preset = options.preset, .options_seed = options.options_seed}, context);
}

}  // namespace

DataSourcePlugin DataSource_file() {
  return MakeDataSourcePlugin<Options>(
      "Problems of one's own, as JSON lines, a JSON array or Parquet; fields that have no other use become metadata.",
      Make);
}

}  // namespace grpo
