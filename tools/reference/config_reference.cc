// Prints configs/REFERENCE.md: every key of the configuration, from the options structs themselves.
// tests/generated_docs fails when the committed file differs.
#include <iostream>
#include <string>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_replace.h"
#include "configs/load.h"
#include "data/sources.h"
#include "reward/rule.h"
#include "trainer/algorithm/algorithm.h"
#include "trainer/run_config.h"
#include "trainer/stage/stage.h"
#include "trainer/unroll.h"

namespace grpo {
namespace {

constexpr char kIntroduction[] = R"(<!-- Written by tools/reference; do not edit. To write it anew:
bazel build //tools/reference:config_reference && bazel-bin/tools/reference/config_reference > configs/REFERENCE.md -->
# Configuration reference

A run is one YAML file. Every key has a default unless it says required; an unknown key, a key given twice, a value of the wrong type
or out of range is an error that names the file, the line and what to do. Any value can be set on the command line as well:
`--set run.seed=1 --set stages.r1_zero.steps=10` (elements of a list by position, from 0, or by their `name`). Relative paths are
relative to the file's folder. `stages[].name` stands for the key `name` of each element of the list `stages`, `policies.<name>.path`
for the key `path` under each name that you choose. `grpoctl validate CONFIG` prints a file with every key filled in.

)";

// A "### `name`" section about something that declares keys of its own.
std::string PlugIn(const std::string& name, const std::string& text, const std::string& table) {
  const std::string escaped = absl::StrReplaceAll(text, {{"<", "&lt;"}});
  return absl::StrCat("### `", name, "`\n\n", escaped, text.empty() ? "" : "\n\n", table, "\n");
}

std::string StageTables() {
  std::string markdown;
  for (const auto& [type, plugin] : Stages().entries())
    markdown += PlugIn("type: " + type, plugin.summary, plugin.reference_table);
  return markdown;
}

std::string Algorithms() {
  std::string markdown;
  for (const AlgorithmInfo& algorithm : ListAlgorithms())
    markdown += PlugIn("algorithm: " + algorithm.name, algorithm.summary, algorithm.reference_table);
  return markdown;
}

std::string Rules() {
  std::string markdown;
  for (const RuleInfo& rule : ListRules()) {
    markdown +=
        PlugIn(rule.name, absl::StrCat(rule.summary, " Values from ", rule.min_value, " to ", rule.max_value, "."),
               rule.reference_table);
  }
  return markdown;
}

std::string DataSources() {
  std::string markdown;
  for (const DataSourceInfo& source : ListDataSources()) {
    markdown += PlugIn("source: " + source.name, source.summary, source.reference_table);
  }
  return markdown;
}

std::string ReferenceText() {
  return absl::StrCat(
      kIntroduction, "## The file\n\n", ReferenceTable<RunConfig>(), "\n## Stages\n\nBeside `name` and `type`:\n\n",
      StageTables(),
      PlugIn("repeat", "Several stages in rounds, in place of a stage; elsewhere `stages.NAME.repeat` by its name.",
             ReferenceTable<RepeatOptions>("stages[].repeat.")),
      "## Algorithms\n\nTheir keys stand beside those of the `train` stage.\n\n", Algorithms(),
      "## Reward rules\n\nTheir keys stand beside `weight` under `rewards.<name>.rules.<rule>`.\n\n", Rules(),
      "## Data sources\n\nTheir keys stand beside `source` under `data.<name>`.\n\n", DataSources());
}

}  // namespace
}  // namespace grpo

int main() {
  std::string text = grpo::ReferenceText();
  // One line end at the end.
  text.pop_back();
  std::cout << text << std::flush;
  return std::cout ? 0 : 1;
}
