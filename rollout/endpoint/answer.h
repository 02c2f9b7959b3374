// What goes to an OpenAI-compatible server and what comes back: one request for some completions of a prompt, and its
// answer. Pure; any thread. Links no torch.
#ifndef GRPO_ROLLOUT_ENDPOINT_ANSWER_H_
#define GRPO_ROLLOUT_ENDPOINT_ANSWER_H_

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "model/endpoint_options.h"
#include "proto/types.pb.h"
#include "rollout/endpoint/budget.h"

namespace grpo {

// One completion. The text may be invalid UTF-8 where the server's was.
struct Choice {
  std::string text;
  v1::FinishReason finish_reason = v1::FINISH_REASON_OTHER;
};

struct Answer {
  // As the server says; empty when it does not.
  std::string model;
  // In the server's order, as many as it gave; never none.
  std::vector<Choice> choices;
  // nullopt when the server reports none.
  std::optional<TokenCount> usage;
};

// Where requests go: URL/chat/completions or URL/completions.
std::string RequestUrl(const EndpointOptions& endpoint);

// The request for `count` completions. `prompt` and the sampling's stop strings are valid UTF-8. `seed` is what the
// server's own sampling is to start from, where it heeds one; its low 31 bits are sent. What the sampling parameters
// leave at "everything" (top_p, top_k, min_p) is not sent, since not every server knows it.
std::string RequestBody(const EndpointOptions& endpoint, absl::string_view prompt, const v1::SamplingParams& sampling,
                        int32_t count, uint64_t seed);

// Reads an answer of status 200. Reasoning that comes apart from the text (reasoning_content or reasoning) is put in
// front of it, between think_open, which is left out where the prompt ends in it, and think_close. Bytes that are not
// UTF-8 and halves of surrogate pairs stay what they are: the text is then invalid UTF-8, which whoever keeps texts
// counts and refuses. Unavailable, with what is wrong, for anything that is no answer: another attempt may be one.
absl::StatusOr<Answer> ParseAnswer(const EndpointOptions& endpoint, absl::string_view prompt, const std::string& body);
// What such an answer says that it cost, whatever is wrong with the rest of it; nullopt when it says nothing.
std::optional<TokenCount> ParseUsage(const std::string& body);

// FailedPrecondition, with both names, when the answer is of another model than asked for: neither `model` nor one of
// answers_as. OK when the server does not say.
absl::Status CheckModel(const EndpointOptions& endpoint, const std::string& model);

// What the server says is wrong, in a line of printable ASCII, cut to 300 characters: its error's message, else the
// beginning of the body.
std::string ErrorText(const std::string& body);
// Its error's code or type ("insufficient_quota"); empty when there is none.
std::string ErrorCode(const std::string& body);

}  // namespace grpo

#endif  // GRPO_ROLLOUT_ENDPOINT_ANSWER_H_
