// JSON lines: `source: file` with format jsonl, and without presets.
#include "data/problem_file.h"

namespace grpo {
namespace {

absl::StatusOr<std::unique_ptr<DataSource>> Make(const ProblemFileOptions& options, const DataSourceContext& context) {
  return MakeProblemFile(options, FileKind{}, context);
}

}  // namespace

DataSourcePlugin DataSource_jsonl() {
  return MakeDataSourcePlugin<ProblemFileOptions>(
      "Problems of one's own, one JSON object a line; fields that have no other use become metadata. The same as "
      "`source: file` with `format: jsonl`.",
      Make);
}

}  // namespace grpo
