// How a reward server talks to a rule that is a program (reward/rules/program.cc; sdk/ has the other side).
//
// Both directions of the standard streams carry frames: a length (4 bytes, little endian, at most kMaxFrameBytes) and
// as many bytes. A frame holds fields in a fixed order, each again a length and bytes; numbers are little endian in a
// field of their width, texts and bytes as they are. Later versions add fields behind these; a reader ignores what it
// does not know.
//
//   program -> server, once:   "grpo-rule", protocol version (4), rule name, rule version
//   server -> program:         number (8), completion, prompt id, prompt text, reference answer,
//                              metadata as JSON, token ids (4 each)
//   program -> server:         number (8), outcome (1: 1 scored, 2 no_answer, 3 undecided, 5 reference_unparsable,
//                              7 rule_error), value (8, double), extracted, decided_by
//
// The program answers each request once, in order, before it is sent the next. Its end of input means that it is to
// end. What it writes to standard error shows up in the server's log when it fails.
#ifndef GRPO_REWARD_PROGRAM_PROTOCOL_H_
#define GRPO_REWARD_PROGRAM_PROTOCOL_H_

#include <cstdint>
#include <cstring>
#include <optional>
#include <string>
#include <vector>

#include "absl/strings/string_view.h"

namespace grpo::program {

// First field of the greeting.
inline constexpr char kMagic[] = "grpo-rule";
// Second field of the greeting; a server takes no other.
inline constexpr uint32_t kProtocolVersion = 1;
// Content of a frame, without its length.
inline constexpr size_t kMaxFrameBytes = 64 << 20;
// A program has no more to say about a completion than this.
inline constexpr size_t kMaxAnswerBytes = 1 << 20;

// A number's bytes as they lie in memory: little endian on the machines that the sandbox knows.
template <class Number>
std::string Bytes(Number number) {
  std::string bytes(sizeof(number), '\0');
  std::memcpy(bytes.data(), &number, sizeof(number));
  return bytes;
}

// The number that these bytes are; absent when their number is another.
template <class Number>
std::optional<Number> NumberFrom(absl::string_view bytes) {
  if (bytes.size() != sizeof(Number)) return std::nullopt;
  Number number;
  std::memcpy(&number, bytes.data(), sizeof(number));
  return number;
}

// `field` has less than 4 GiB; that the frame stays below kMaxFrameBytes is for the caller to see to.
inline void AppendField(absl::string_view field, std::string* frame) {
  frame->append(Bytes(static_cast<uint32_t>(field.size())));
  frame->append(field.data(), field.size());
}

// The fields of a frame's content; absent when a length points beyond it. Views into `content`. None for an empty one.
inline std::optional<std::vector<absl::string_view>> FieldsOf(absl::string_view content) {
  std::vector<absl::string_view> fields;
  while (!content.empty()) {
    const std::optional<uint32_t> size = NumberFrom<uint32_t>(content.substr(0, 4));
    if (!size.has_value() || *size > content.size() - 4) return std::nullopt;
    fields.push_back(content.substr(4, *size));
    content.remove_prefix(4 + *size);
  }
  return fields;
}

}  // namespace grpo::program

#endif  // GRPO_REWARD_PROGRAM_PROTOCOL_H_
