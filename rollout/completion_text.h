// What of a completion's tokens is its text: all but the one that ended it, up to a stop string.
#ifndef GRPO_ROLLOUT_COMPLETION_TEXT_H_
#define GRPO_ROLLOUT_COMPLETION_TEXT_H_

#include <string>

#include "model/tokenizer/tokenizer.h"
#include "proto/types.pb.h"
#include "rollout/stop_strings.h"

namespace grpo {

// The decoded ids without the end-of-sequence token, up to the first of `sampling`'s stop strings (Completion.text).
// May be invalid UTF-8. Every token counts unless the finish reason is FINISH_REASON_STOP. Pure.
inline std::string CompletionText(const Tokenizer& tokenizer, const v1::Completion& completion,
                                  const v1::SamplingParams& sampling) {
  const bool ended = completion.finish_reason() == v1::FINISH_REASON_STOP && completion.ids_size() > 0;
  return BeforeStop(tokenizer.Decode({completion.ids().begin(), completion.ids().end() - (ended ? 1 : 0)}), sampling);
}

}  // namespace grpo

#endif  // GRPO_ROLLOUT_COMPLETION_TEXT_H_
