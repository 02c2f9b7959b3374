// What an endpoint may cost, and what it has cost. Links no torch.
#ifndef GRPO_ROLLOUT_ENDPOINT_BUDGET_H_
#define GRPO_ROLLOUT_ENDPOINT_BUDGET_H_

#include <cstdint>
#include <string>

#include "model/endpoint_options.h"
#include "proto/types.pb.h"

namespace grpo {

// Input and output tokens.
struct TokenCount {
  int64_t input = 0, output = 0;
};

// A ceiling, not a mark to be passed: a request begins only when what was spent, what the requests under way may cost
// at most, and what it may cost itself at most are within the budget together. So up to one request's most may be left
// over. Pure data. Thread-compatible.
class Budget {
 public:
  // Prices, budget_tokens and budget_usd.
  explicit Budget(const EndpointOptions& options)
      : usd_per_input_token_(options.usd_per_million_input_tokens / 1e6),
        usd_per_output_token_(options.usd_per_million_output_tokens / 1e6),
        max_tokens_(options.budget_tokens),
        max_usd_(options.budget_usd) {}

  // 0: no limit.
  void SetLimits(int64_t max_tokens, double max_usd) {
    max_tokens_ = max_tokens;
    max_usd_ = max_usd;
  }
  // What was spent so far, in all.
  void SetSpent(const v1::EndpointUsage& spent) { spent_ = spent; }

  // Sets `most` aside for a request that is about to begin; false, and nothing is set aside, when that is beyond the
  // budget. Release gives it back when the request has ended.
  bool Reserve(TokenCount most);
  void Release(TokenCount most);

  // At the configured prices.
  double Usd(TokenCount tokens) const {
    return static_cast<double>(tokens.input) * usd_per_input_token_ +
           static_cast<double>(tokens.output) * usd_per_output_token_;
  }

  // "0.2310 of 0.25 USD and 3041 of 5000 tokens in 12 answers; the next request may cost up to ...". For people.
  std::string Text(TokenCount next) const;

 private:
  const double usd_per_input_token_, usd_per_output_token_;
  int64_t max_tokens_;
  double max_usd_;
  v1::EndpointUsage spent_;
  // Of the requests under way.
  TokenCount reserved_;
};

}  // namespace grpo

#endif  // GRPO_ROLLOUT_ENDPOINT_BUDGET_H_
