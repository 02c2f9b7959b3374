#include "common/rpc/check_message.h"

#include <algorithm>
#include <cmath>
#include <iterator>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/string_view.h"
#include "common/status_macros.h"
#include "common/utf8.h"
#include "google/protobuf/descriptor.h"

namespace grpo::rpc {
namespace {

using google::protobuf::FieldDescriptor;
using google::protobuf::Message;
using google::protobuf::Reflection;

// Messages, with all that is in them, and fields.
constexpr absl::string_view kContent[] = {"grpo.v1.Prompt", "grpo.v1.Completion.text",
                                          "grpo.v1.CompletionToScore.text"};

bool IsContent(absl::string_view full_name) {
  return std::find(std::begin(kContent), std::end(kContent), full_name) != std::end(kContent);
}

// What is wrong with a value, to stand behind its name.
absl::Status Wrong(std::string what) {
  return absl::InvalidArgumentError(std::move(what));
}

absl::Status CheckEnum(const FieldDescriptor& field, int value) {
  if (field.enum_type()->FindValueByNumber(value) != nullptr) return absl::OkStatus();
  return Wrong(absl::StrCat("is ", value, ", which no ", field.enum_type()->name(),
                            " of this build is: use the same build on both sides"));
}

absl::Status CheckNumber(double value, bool is_content) {
  if (!std::isfinite(value)) return Wrong(absl::StrCat("is ", value, ", it must be finite"));
  if (is_content || std::abs(value) <= kMaxNumber) return absl::OkStatus();
  return Wrong(absl::StrCat("is ", value, ", it must be within ", -kMaxNumber, " and ", kMaxNumber));
}

absl::Status CheckInteger(int64_t value, bool is_content) {
  if (is_content || (value >= -kMaxInteger && value <= kMaxInteger)) return absl::OkStatus();
  return Wrong(absl::StrCat("is ", value, ", it must be within ", -kMaxInteger, " and ", kMaxInteger));
}

absl::Status CheckText(const std::string& text, bool is_content) {
  if (is_content || text.size() <= kMaxTextBytes) return absl::OkStatus();
  return Wrong(absl::StrCat("has ", text.size(), " bytes, at most ", kMaxTextBytes, " are taken"));
}

// A field with one value, or entry `i` of a list: of an enum, a number.
absl::Status CheckScalar(const Message& message, const FieldDescriptor* field, int i, bool is_content) {
  const Reflection& in = *message.GetReflection();
  const bool listed = field->is_repeated();
  switch (field->cpp_type()) {
    case FieldDescriptor::CPPTYPE_ENUM:
      return CheckEnum(*field, listed ? in.GetRepeatedEnumValue(message, field, i) : in.GetEnumValue(message, field));
    case FieldDescriptor::CPPTYPE_DOUBLE:
      return CheckNumber(listed ? in.GetRepeatedDouble(message, field, i) : in.GetDouble(message, field), is_content);
    case FieldDescriptor::CPPTYPE_FLOAT:
      // Log-probabilities, of which their own reader knows more.
      return CheckNumber(listed ? in.GetRepeatedFloat(message, field, i) : in.GetFloat(message, field),
                         /*is_content=*/true);
    case FieldDescriptor::CPPTYPE_INT64:
      return CheckInteger(listed ? in.GetRepeatedInt64(message, field, i) : in.GetInt64(message, field), is_content);
    default:
      return absl::OkStatus();
  }
}

absl::Status CheckFields(const Message& message, bool is_content);

// The same of any type.
absl::Status CheckValue(const Message& message, const FieldDescriptor* field, int i, bool is_content) {
  const Reflection& in = *message.GetReflection();
  const bool listed = field->is_repeated();
  if (field->cpp_type() == FieldDescriptor::CPPTYPE_MESSAGE) {
    return CheckFields(listed ? in.GetRepeatedMessage(message, field, i) : in.GetMessage(message, field), is_content);
  }
  if (field->cpp_type() != FieldDescriptor::CPPTYPE_STRING) return CheckScalar(message, field, i, is_content);
  std::string scratch;
  return CheckText(listed ? in.GetRepeatedStringReference(message, field, i, &scratch)
                          : in.GetStringReference(message, field, &scratch),
                   is_content);
}

// The error with the field's name before it: a path when it is about something in the field.
absl::Status Named(absl::string_view name, const FieldDescriptor& field, const absl::Status& wrong) {
  const bool is_message = field.cpp_type() == FieldDescriptor::CPPTYPE_MESSAGE;
  return Wrong(absl::StrCat(name, is_message ? "." : " ", wrong.message()));
}

// Of these types every value is taken.
bool IsUnbounded(FieldDescriptor::CppType type) {
  return type == FieldDescriptor::CPPTYPE_INT32 || type == FieldDescriptor::CPPTYPE_UINT32 ||
         type == FieldDescriptor::CPPTYPE_UINT64 || type == FieldDescriptor::CPPTYPE_BOOL;
}

absl::Status CheckList(const Message& message, const FieldDescriptor* field, bool is_content) {
  const int size = message.GetReflection()->FieldSize(message, field);
  const auto type = field->cpp_type();
  // Token ids are tens of thousands in a completion.
  if (IsUnbounded(type)) return absl::OkStatus();
  const bool takes_memory = type == FieldDescriptor::CPPTYPE_MESSAGE || type == FieldDescriptor::CPPTYPE_STRING;
  if (takes_memory && !is_content && size > kMaxEntries) {
    return Wrong(absl::StrCat(field->name(), " has ", size, " entries, at most ", kMaxEntries, " are taken"));
  }
  for (int i = 0; i < size; ++i) {
    const absl::Status entry = CheckValue(message, field, i, is_content);
    if (!entry.ok()) return Named(absl::StrCat(field->name(), "[", i, "]"), *field, entry);
  }
  return absl::OkStatus();
}

absl::Status CheckFields(const Message& message, bool is_content) {
  is_content = is_content || IsContent(message.GetDescriptor()->full_name());
  std::vector<const FieldDescriptor*> fields;
  message.GetReflection()->ListFields(message, &fields);
  for (const FieldDescriptor* field : fields) {
    const bool content = is_content || IsContent(field->full_name());
    if (field->is_repeated()) {
      RETURN_IF_ERROR(CheckList(message, field, content));
      continue;
    }
    const absl::Status value = CheckValue(message, field, 0, content);
    if (!value.ok()) return Named(field->name(), *field, value);
  }
  return absl::OkStatus();
}

std::string Cut(const FieldDescriptor& field, const std::string& text) {
  return field.type() == FieldDescriptor::TYPE_STRING ? AsUtf8(text, kMaxTextBytes) : text.substr(0, kMaxTextBytes);
}

// A field of texts.
void CutText(Message* message, const FieldDescriptor* field) {
  const Reflection& in = *message->GetReflection();
  if (!field->is_repeated()) return in.SetString(message, field, Cut(*field, in.GetString(*message, field)));
  for (int i = 0; i < in.FieldSize(*message, field); ++i) {
    in.SetRepeatedString(message, field, i, Cut(*field, in.GetRepeatedString(*message, field, i)));
  }
}

// A field of messages.
void CutWithin(Message* message, const FieldDescriptor* field) {
  const Reflection& in = *message->GetReflection();
  if (!field->is_repeated()) return CutTexts(in.MutableMessage(message, field));
  for (int i = 0; i < in.FieldSize(*message, field); ++i) CutTexts(in.MutableRepeatedMessage(message, field, i));
}

}  // namespace

absl::Status CheckMessage(const Message& message) {
  return CheckFields(message, /*is_content=*/false);
}

void CutTexts(Message* message) {
  if (IsContent(message->GetDescriptor()->full_name())) return;
  std::vector<const FieldDescriptor*> fields;
  message->GetReflection()->ListFields(*message, &fields);
  for (const FieldDescriptor* field : fields) {
    if (field->is_map() || IsContent(field->full_name())) continue;
    if (field->cpp_type() == FieldDescriptor::CPPTYPE_STRING) CutText(message, field);
    if (field->cpp_type() == FieldDescriptor::CPPTYPE_MESSAGE) CutWithin(message, field);
  }
}

}  // namespace grpo::rpc
