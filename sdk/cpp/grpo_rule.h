// A reward rule as a program, in C++17. Copy this file beside yours; it needs nothing else.
//
//   #include "grpo_rule.h"
//
//   int main() {
//     return grpo_rule::Serve("my_rule", "1", [](const grpo_rule::Request& request) -> grpo_rule::Result {
//       return {request.completion == request.answer ? 1.0 : 0.0};
//     });
//   }
//
// The function returns a number in the rule's range, or an outcome other than kScored. An exception is a rule_error:
// the sample is left out of the loss. Standard output belongs to the protocol (reward/program_protocol.h): print to
// std::cerr.
#ifndef GRPO_RULE_H_
#define GRPO_RULE_H_

#include <cstdint>
#include <cstdio>
#include <cstring>
#include <exception>
#include <functional>
#include <string>
#include <vector>

namespace grpo_rule {

inline constexpr uint32_t kProtocolVersion = 1;
// Of what is said for logs; the server takes no frame of a megabyte.
inline constexpr size_t kMaxTextBytes = 4096;

enum Outcome : uint8_t { kScored = 1, kNoAnswer = 2, kUndecided = 3, kReferenceUnparsable = 5, kRuleError = 7 };

struct Request {
  // The decoded completion; may be invalid UTF-8.
  std::string completion;
  std::string prompt_id, prompt, answer;
  // Whatever else the data source knows of the problem, as JSON.
  std::string metadata_json;
  // Token ids, the end-of-sequence token included; empty when the caller knows none.
  std::vector<uint32_t> ids;
};

struct Result {
  // 0 unless outcome is kScored.
  double value = 0;
  Outcome outcome = kScored;
  // What the answer was read from, and what decided, for logs.
  std::string extracted = {}, decided_by = {};
};

namespace internal {

// The protocol is little endian, as is every machine that this runs on.
template <class Number>
std::string Bytes(Number number) {
  return std::string(reinterpret_cast<const char*>(&number), sizeof(number));
}

inline void WriteFrame(const std::vector<std::string>& fields) {
  std::string content;
  for (const std::string& field : fields) content += Bytes(static_cast<uint32_t>(field.size())) + field;
  const std::string frame = Bytes(static_cast<uint32_t>(content.size())) + content;
  std::fwrite(frame.data(), 1, frame.size(), stdout);
  std::fflush(stdout);
}

inline bool ReadFrame(std::vector<std::string>* fields) {
  uint32_t size = 0;
  if (std::fread(&size, sizeof(size), 1, stdin) != 1) return false;
  std::string content(size, '\0');
  if (std::fread(content.data(), 1, size, stdin) != size) return false;
  fields->clear();
  for (size_t at = 0; at + 4 <= content.size();) {
    std::memcpy(&size, content.data() + at, sizeof(size));
    fields->push_back(content.substr(at + 4, size));
    at += 4 + size;
  }
  return fields->size() >= 7;
}

}  // namespace internal

// Answers until the server has no more to ask; the exit status of main.
inline int Serve(const std::string& name, const std::string& version,
                 const std::function<Result(const Request&)>& score) {
  internal::WriteFrame({"grpo-rule", internal::Bytes(kProtocolVersion), name, version});
  std::vector<std::string> fields;
  while (internal::ReadFrame(&fields)) {
    Request request{fields[1], fields[2], fields[3], fields[4], fields[5], {}};
    request.ids.resize(fields[6].size() / sizeof(uint32_t));
    std::memcpy(request.ids.data(), fields[6].data(), request.ids.size() * sizeof(uint32_t));
    Result result;
    try {
      result = score(request);
    } catch (const std::exception& error) {
      result = {0, kRuleError, "", error.what()};
    }
    internal::WriteFrame({fields[0], internal::Bytes(result.outcome), internal::Bytes(result.value),
                          result.extracted.substr(0, kMaxTextBytes), result.decided_by.substr(0, kMaxTextBytes)});
  }
  return 0;
}

}  // namespace grpo_rule

#endif  // GRPO_RULE_H_
