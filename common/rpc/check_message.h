// What no message may hold, whichever it is. Whatever comes over a wire is checked where it comes in, by its
// descriptor: a field that is added later is checked without a line here. What a field must be beyond that (a name that
// is known, a range of its own) is checked by who reads it.
//
//   enums                  values that this build knows
//   double, float          finite; within +-kMaxNumber
//   int64                  within +-kMaxInteger, so that sums of many do not overflow
//   string, bytes          at most kMaxTextBytes
//   lists of those and of messages    at most kMaxEntries
//
// Content, which is as long and large as a message may be, is only held to the first two rows, without kMaxNumber: a
// problem and all in it, a completion's text (kContent in check_message.cc).
#ifndef GRPO_COMMON_RPC_CHECK_MESSAGE_H_
#define GRPO_COMMON_RPC_CHECK_MESSAGE_H_

#include <cstddef>
#include <cstdint>

#include "absl/status/status.h"
#include "google/protobuf/message.h"

namespace grpo::rpc {

// Names, reasons, errors, extracted answers.
inline constexpr size_t kMaxTextBytes = size_t{64} << 10;
inline constexpr int kMaxEntries = 1 << 16;
// 9,000 years in milliseconds, 256 TiB in bytes.
inline constexpr int64_t kMaxInteger = int64_t{1} << 48;
inline constexpr double kMaxNumber = 1e12;

// InvalidArgument that begins with the path of the first field that is wrong ("score.rules[1].outcome") and says its
// value. In O(size). Pure; any thread.
absl::Status CheckMessage(const google::protobuf::Message& message);

// Makes the message one whose texts CheckMessage takes: what is longer is cut, and what is not UTF-8 in a string, which
// would make the message unreadable, is replaced (AsUtf8). For what is there to be read by people, and for answers of
// others that are passed on. Maps and content stay as they are.
void CutTexts(google::protobuf::Message* message);

}  // namespace grpo::rpc

#endif  // GRPO_COMMON_RPC_CHECK_MESSAGE_H_
