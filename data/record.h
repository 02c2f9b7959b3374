// One record of a file of problems: a JSON object, its fields by path, and what a field is as text.
#ifndef GRPO_DATA_RECORD_H_
#define GRPO_DATA_RECORD_H_

#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "nlohmann/json.hpp"

namespace grpo {

using Json = nlohmann::json;

// Nesting of a record at most. Metadata crosses the wire as a Struct of up to three messages a level, and protobuf
// reads 100 deep.
constexpr int kMaxRecordDepth = 16;

// Strict: InvalidArgument, in words for the person who owns the file, for what is no JSON object, is nested too deep,
// or has a field twice. `what` is what the text is called there: "this line". Messages give the byte. Only fields of
// the record itself are looked at for repetition; of a nested object the last one counts.
absl::StatusOr<Json> ParseRecord(absl::string_view text, absl::string_view what);

// Whether a record from elsewhere than JSON text is nested deeper than kMaxRecordDepth. InvalidArgument then.
absl::Status CheckDepth(const Json& record);

// The field of that name, else what the path leads to: "reward_model.ground_truth", "prompt.0.content", and -1 for the
// last element of a list. Null when there is none. The pointer is good until `record` changes.
const Json* FindField(const Json& record, absl::string_view path);

// Takes out the member of an object that the path leads to. An element of a list stays: those behind it would move.
// Nothing happens where it leads nowhere.
void EraseField(Json& record, absl::string_view path);

// What to write instead of a path that leads nowhere: "did you mean NEAREST?" or "known are A, B, C", of the record's
// own fields (configs/load.h SuggestName).
std::string SuggestField(const Json& record, absl::string_view path);

// Numbers as the shortest decimal text that reads back as the same double, without a point where they are whole and
// with an exponent below 1e-6; true and false; a list of these as [1, 2]; anything nested as compact JSON.
// InvalidArgument for null, for a number of 2^53 or more that a double may have rounded, and for a list of chat
// messages. A text is itself. The message goes on a sentence that begins with the field's name ("is null").
absl::StatusOr<std::string> FieldText(const Json& field);

// The same, but a list of texts, numbers and bools without brackets: "1, 2" is how rules read a list. The same errors.
absl::StatusOr<std::string> AnswerText(const Json& field);

// A list of {"role": ..., "content": ...}. False for an empty list.
bool IsMessageList(const Json& field);

// Where a record stands.
struct RecordPlace {
  // "FILE:17" of a line, "FILE: row 17" otherwise; from 1.
  std::string text;
  // "line/17" or "row/17": the record's name when it has none.
  std::string id;
};

// Takes one record, or why it cannot be used. An error ends the reading. Called in the file's order, from the thread
// that reads.
using RecordSink = absl::FunctionRef<absl::Status(absl::StatusOr<Json>, const RecordPlace&)>;

}  // namespace grpo

#endif  // GRPO_DATA_RECORD_H_
