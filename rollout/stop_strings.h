// Texts that end a completion when it has written one of them (SamplingParams.stop).
#ifndef GRPO_ROLLOUT_STOP_STRINGS_H_
#define GRPO_ROLLOUT_STOP_STRINGS_H_

#include <algorithm>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/string_view.h"
#include "proto/types.pb.h"

namespace grpo {

// Watches the text of one completion while it is sampled; what counts is the decoded bytes, wherever tokens begin and
// end. One thread.
class StopWatch {
 public:
  // Adds a token's bytes. True when the text holds a stop string now. Keeps no more than the longest stop string's
  // bytes. `sampling` is the same at every call, and passes CheckStopStrings.
  bool Push(absl::string_view token_bytes, const v1::SamplingParams& sampling) {
    absl::StrAppend(&tail_, token_bytes);
    size_t longest = 1;
    for (const std::string& stop : sampling.stop()) {
      if (tail_.find(stop) != std::string::npos) return true;
      longest = std::max(longest, stop.size());
    }
    // What a stop string that is not whole yet may begin with.
    if (tail_.size() >= longest) tail_.erase(0, tail_.size() - (longest - 1));
    return false;
  }

 private:
  // The end of the text, in which a stop string may have begun.
  std::string tail_;
};

// The text before the first of the stop strings in it. All of it when there is none. Pure.
inline std::string BeforeStop(std::string text, const v1::SamplingParams& sampling) {
  size_t end = text.size();
  for (const std::string& stop : sampling.stop()) end = std::min(end, text.find(stop));
  text.resize(end);
  return text;
}

// InvalidArgument for an empty stop string, one above 256 bytes, and more than 16.
inline absl::Status CheckStopStrings(const v1::SamplingParams& sampling) {
  constexpr int kMaxStops = 16;
  constexpr size_t kMaxStopBytes = 256;
  if (sampling.stop_size() > kMaxStops) {
    return absl::InvalidArgumentError(
        absl::StrCat("there are ", sampling.stop_size(), " stop strings; at most ", kMaxStops, " are allowed"));
  }
  for (const std::string& stop : sampling.stop()) {
    if (!stop.empty() && stop.size() <= kMaxStopBytes) continue;
    return absl::InvalidArgumentError(
        absl::StrCat("a stop string has ", stop.size(), " bytes; it must have 1 to ", kMaxStopBytes));
  }
  return absl::OkStatus();
}

}  // namespace grpo

#endif  // GRPO_ROLLOUT_STOP_STRINGS_H_
