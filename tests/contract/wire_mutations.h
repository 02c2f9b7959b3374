// Every change of one field of a message, by the message's descriptor: a field that is added to a .proto is changed
// too.
#ifndef GRPO_TESTS_CONTRACT_WIRE_MUTATIONS_H_
#define GRPO_TESTS_CONTRACT_WIRE_MUTATIONS_H_

#include <cstdint>
#include <functional>
#include <limits>
#include <string>
#include <utility>
#include <variant>
#include <vector>

#include "absl/strings/str_cat.h"
#include "google/protobuf/descriptor.h"
#include "google/protobuf/message.h"

namespace grpo {

struct Mutation {
  // "completion.score.outcome = 77".
  std::string what;
  // Names of the field and of the one that holds its message; the latter is empty at the root.
  std::string field, parent;
  // On a message of the same shape.
  std::function<void(google::protobuf::Message*)> apply;
};

class Mutations {
 public:
  // Of every field of the message and of those in it, set or not. Of a oneof only the member that is set, and of maps
  // none: what they hold is content.
  static std::vector<Mutation> Of(const google::protobuf::Message& example) {
    Mutations mutations;
    mutations.Walk(
        example, [](google::protobuf::Message* root) { return root; }, "", "", 0);
    return std::move(mutations.found_);
  }

 private:
  using FieldDescriptor = google::protobuf::FieldDescriptor;
  using Message = google::protobuf::Message;
  using Value = std::variant<int64_t, double, std::string>;
  // Finds a message within a root, and makes it where it is not.
  using At = std::function<Message*(Message* root)>;

  static constexpr int kMaxDepth = 8;

  void Walk(const Message& example, const At& at, const std::string& path, const std::string& parent, int depth) {
    if (depth > kMaxDepth) return;
    for (int i = 0; i < example.GetDescriptor()->field_count(); ++i) {
      const FieldDescriptor* field = example.GetDescriptor()->field(i);
      const bool other_member = field->real_containing_oneof() != nullptr && !field->is_repeated() &&
                                !example.GetReflection()->HasField(example, field);
      if (field->is_map() || other_member) continue;
      const std::string name = absl::StrCat(path, field->name());
      const auto add = [&](const std::string& what, std::function<void(Message*)> change) {
        found_.push_back({absl::StrCat(name, what), field->name(), parent,
                          [at, change = std::move(change)](Message* root) { change(at(root)); }});
      };
      add(" is absent", [field](Message* m) { m->GetReflection()->ClearField(m, field); });
      if (field->is_repeated()) {
        add(" has one more", [field](Message* m) { Extend(m, field, 1); });
        add(" has many more", [field](Message* m) { Extend(m, field, 100'000); });
      }
      if (field->cpp_type() == FieldDescriptor::CPPTYPE_MESSAGE) {
        Walk(
            Inside(example, field), [at, field](Message* root) { return InsideOf(at(root), field); },
            absl::StrCat(name, "."), field->name(), depth + 1);
        continue;
      }
      for (const Value& value : ValuesOf(*field)) {
        add(absl::StrCat(" = ", Text(value)), [field, value](Message* m) { Set(m, field, value); });
      }
    }
  }

  // The message in the field, the first of several; an empty one where there is none.
  static const Message& Inside(const Message& example, const FieldDescriptor* field) {
    const auto& in = *example.GetReflection();
    if (!field->is_repeated()) return in.GetMessage(example, field);
    if (in.FieldSize(example, field) > 0) return in.GetRepeatedMessage(example, field, 0);
    return *google::protobuf::MessageFactory::generated_factory()->GetPrototype(field->message_type());
  }
  static Message* InsideOf(Message* message, const FieldDescriptor* field) {
    const auto& in = *message->GetReflection();
    if (!field->is_repeated()) return in.MutableMessage(message, field);
    if (in.FieldSize(*message, field) > 0) return in.MutableRepeatedMessage(message, field, 0);
    return in.AddMessage(message, field);
  }

  static void Extend(Message* message, const FieldDescriptor* field, int count) {
    for (int i = 0; i < count; ++i) {
      if (field->cpp_type() == FieldDescriptor::CPPTYPE_MESSAGE) {
        message->GetReflection()->AddMessage(message, field);
      } else {
        Add(message, field, field->cpp_type() == FieldDescriptor::CPPTYPE_STRING ? Value("") : Value(int64_t{0}));
      }
    }
  }

  static std::vector<Value> ValuesOf(const FieldDescriptor& field) {
    constexpr int64_t kMin = std::numeric_limits<int64_t>::min(), kMax = std::numeric_limits<int64_t>::max();
    constexpr double kInfinity = std::numeric_limits<double>::infinity();
    switch (field.cpp_type()) {
      case FieldDescriptor::CPPTYPE_STRING:
        return {"other", "\x1b[31m\n\a", std::string(1 << 20, 'x')};
      case FieldDescriptor::CPPTYPE_DOUBLE:
      case FieldDescriptor::CPPTYPE_FLOAT:
        return {std::numeric_limits<double>::quiet_NaN(), kInfinity, -kInfinity, 1e308, -1e308, 1e13, -1.0};
      case FieldDescriptor::CPPTYPE_INT32:
        return {int64_t{-1}, int64_t{77}, int64_t{std::numeric_limits<int32_t>::min()},
                int64_t{std::numeric_limits<int32_t>::max()}};
      default:
        return {int64_t{-1}, int64_t{1}, int64_t{77}, int64_t{999'999}, int64_t{1} << 47, kMin, kMax};
    }
  }

  static std::string Text(const Value& value) {
    if (const auto* integer = std::get_if<int64_t>(&value)) return absl::StrCat(*integer);
    if (const auto* number = std::get_if<double>(&value)) return absl::StrCat(*number);
    const std::string& text = std::get<std::string>(value);
    return text.size() < 20 ? absl::StrCat("\"", text, "\"") : absl::StrCat(text.size(), " bytes");
  }

  static void Add(Message* m, const FieldDescriptor* f, const Value& v) {
    const auto& in = *m->GetReflection();
    switch (f->cpp_type()) {
      case FieldDescriptor::CPPTYPE_STRING:
        return in.AddString(m, f, std::get<std::string>(v));
      case FieldDescriptor::CPPTYPE_DOUBLE:
        return in.AddDouble(m, f, Number(v));
      case FieldDescriptor::CPPTYPE_FLOAT:
        return in.AddFloat(m, f, static_cast<float>(Number(v)));
      case FieldDescriptor::CPPTYPE_ENUM:
        return in.AddEnumValue(m, f, static_cast<int>(std::get<int64_t>(v)));
      case FieldDescriptor::CPPTYPE_BOOL:
        return in.AddBool(m, f, std::get<int64_t>(v) != 0);
      case FieldDescriptor::CPPTYPE_INT32:
        return in.AddInt32(m, f, static_cast<int32_t>(std::get<int64_t>(v)));
      case FieldDescriptor::CPPTYPE_UINT32:
        return in.AddUInt32(m, f, static_cast<uint32_t>(std::get<int64_t>(v)));
      case FieldDescriptor::CPPTYPE_INT64:
        return in.AddInt64(m, f, std::get<int64_t>(v));
      default:
        return in.AddUInt64(m, f, static_cast<uint64_t>(std::get<int64_t>(v)));
    }
  }

  // Of a list the first entry.
  static void Set(Message* m, const FieldDescriptor* f, const Value& v) {
    const auto& in = *m->GetReflection();
    if (f->is_repeated()) {
      // There is no setter that takes either kind: the entry is added and brought to the front.
      Add(m, f, v);
      const int last = in.FieldSize(*m, f) - 1;
      if (last == 0) return;
      in.SwapElements(m, f, 0, last);
      return in.RemoveLast(m, f);
    }
    switch (f->cpp_type()) {
      case FieldDescriptor::CPPTYPE_STRING:
        return in.SetString(m, f, std::get<std::string>(v));
      case FieldDescriptor::CPPTYPE_DOUBLE:
        return in.SetDouble(m, f, Number(v));
      case FieldDescriptor::CPPTYPE_FLOAT:
        return in.SetFloat(m, f, static_cast<float>(Number(v)));
      case FieldDescriptor::CPPTYPE_ENUM:
        return in.SetEnumValue(m, f, static_cast<int>(std::get<int64_t>(v)));
      case FieldDescriptor::CPPTYPE_BOOL:
        return in.SetBool(m, f, std::get<int64_t>(v) != 0);
      case FieldDescriptor::CPPTYPE_INT32:
        return in.SetInt32(m, f, static_cast<int32_t>(std::get<int64_t>(v)));
      case FieldDescriptor::CPPTYPE_UINT32:
        return in.SetUInt32(m, f, static_cast<uint32_t>(std::get<int64_t>(v)));
      case FieldDescriptor::CPPTYPE_INT64:
        return in.SetInt64(m, f, std::get<int64_t>(v));
      default:
        return in.SetUInt64(m, f, static_cast<uint64_t>(std::get<int64_t>(v)));
    }
  }
  static double Number(const Value& v) {
    return std::holds_alternative<double>(v) ? std::get<double>(v) : static_cast<double>(std::get<int64_t>(v));
  }

  std::vector<Mutation> found_;
};

}  // namespace grpo

#endif  // GRPO_TESTS_CONTRACT_WIRE_MUTATIONS_H_
