// What a process says of itself when it meets another.
#ifndef GRPO_COMMON_VERSION_H_
#define GRPO_COMMON_VERSION_H_

namespace grpo {
// Grows when an older peer could misread a message.
inline constexpr int kProtocolVersion = 1;
// The release: shown and logged, never compared.
inline constexpr char kBuild[] = "0.1.0";
}  // namespace grpo

#endif  // GRPO_COMMON_VERSION_H_
