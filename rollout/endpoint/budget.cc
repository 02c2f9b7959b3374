#include "rollout/endpoint/budget.h"

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"

namespace grpo {
namespace {

// Sums of prices round: so much above the budget is not above it.
constexpr double kUsdTolerance = 1e-9;

}  // namespace

bool Budget::Reserve(TokenCount most) {
  const TokenCount all = {.input = reserved_.input + most.input, .output = reserved_.output + most.output};
  if (max_tokens_ > 0 && spent_.input_tokens() + spent_.output_tokens() + all.input + all.output > max_tokens_)
    return false;
  if (max_usd_ > 0 && spent_.usd() + Usd(all) > max_usd_ + kUsdTolerance) return false;
  reserved_ = all;
  return true;
}

void Budget::Release(TokenCount most) {
  reserved_.input -= most.input;
  reserved_.output -= most.output;
}

std::string Budget::Text(TokenCount next) const {
  std::string text = absl::StrFormat("%.4f", spent_.usd());
  if (max_usd_ > 0) absl::StrAppendFormat(&text, " of %g", max_usd_);
  absl::StrAppend(&text, " USD and ", spent_.input_tokens() + spent_.output_tokens());
  if (max_tokens_ > 0) absl::StrAppend(&text, " of ", max_tokens_);
  absl::StrAppendFormat(&text, " tokens in %d answers; the next request may cost up to %d tokens, %.4f USD",
                        spent_.num_requests(), next.input + next.output, Usd(next));
  return text;
}

}  // namespace grpo
