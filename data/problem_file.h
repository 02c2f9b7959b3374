// Problems of one's own out of a file: what `source: file` and `source: jsonl` have in common.
#ifndef GRPO_DATA_PROBLEM_FILE_H_
#define GRPO_DATA_PROBLEM_FILE_H_

#include <memory>
#include <string>

#include "absl/status/statusor.h"
#include "configs/visit.h"
#include "data/source_plugin.h"

namespace grpo {

// What `source: file` and `source: jsonl` say.
struct ProblemFileOptions {
  std::string path;
  std::string problem_field = "problem", answer_field = "answer", completion_field = "completion", id_field = "id";
  std::string prompt_template = "{problem}";
  bool skip_bad_lines = false;
  int64_t max_line_bytes = 1 << 20;
  int64_t max_file_bytes = 1 << 30;
  int64_t stream_from_bytes = 1 << 26;

  template <class V>
  void Visit(V& v) {
    v("path", path, {.help = "The file, relative to the configuration's folder; gzip'ed or not.", .required = true});
    v("problem_field", problem_field,
      {.help = "Field that holds the problem, a text or number; fields are named or found by a path "
               "(\"prompt.0.content\", -1 is a list's last element)."});
    v("answer_field", answer_field,
      {.help = "Field that holds the reference answer, a text, a number (its shortest decimal text), true or false, or "
               "a list of these (\"1, 2\"); empty when the lines have none."});
    v("completion_field", completion_field,
      {.help = "Field that holds a completion to learn from (`algorithm: sft`), a text; lines may lack it."});
    v("id_field", id_field,
      {.help = "Field that names the problem, unique in the file; a line without it is named by its number "
               "(\"line/17\", in other formats \"row/17\")."});
    v("template", prompt_template,
      {.help = "What the policy reads: {problem} is the problem, {x} the field x of the line (a list is written [1, "
               "2]), {{ and }} are braces."});
    v("skip_bad_lines", skip_bad_lines,
      {.help = "Leave out, with a warning, lines that cannot be used; otherwise the first one is an error."});
    v("max_line_bytes", max_line_bytes,
      {.help = "A longer line cannot be used.", .unit = "bytes", .min = 2, .max = 1 << 21});
    v("max_file_bytes", max_file_bytes,
      {.help = "A file whose text, unpacked, is longer is an error; it is held in memory.",
       .unit = "bytes",
       .min = 2,
       .max = int64_t{1} << 40});
    v("stream_from_bytes", stream_from_bytes,
      {.help =
           "A file of JSON lines of so many bytes or more that is not gzip'ed stays on the disk, however long it is: "
           "only where each line begins is held in memory, 8 bytes a line, and kept for the next time as FILE.index "
           "where the folder lets us. 0 streams every such file.",
       .unit = "bytes",
       .min = 0,
       .max = int64_t{1} << 50});
  }
};

// What `source: file` says besides.
struct FileKind {
  std::string format = "jsonl";
  // Of data/presets.h; empty for none.
  std::string preset = "";
  // Of the order of a problem's options.
  int64_t options_seed = 0;
};

// Checks every record; holds them in memory, or, of a large file, only where they are (streamed_file.h).
// InvalidArgument, with the place in the configuration, for a template or field that cannot be, a template that makes
// all problems one prompt, and a file or record that is too long; NotFound for a missing file; DataLoss for a damaged
// one, for one without a problem, and, with file and line, for the first record that cannot be used (skip_bad_lines
// leaves such out instead). What was left out is logged. The path is relative to context.base_folder.
absl::StatusOr<std::unique_ptr<DataSource>> MakeProblemFile(const ProblemFileOptions& options, const FileKind& kind,
                                                            const DataSourceContext& context);

}  // namespace grpo

#endif  // GRPO_DATA_PROBLEM_FILE_H_
