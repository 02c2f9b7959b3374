#include "trainer/endpoint_check.h"

#include <utility>

#include "absl/status/statusor.h"
#include "absl/strings/str_cat.h"
#include "common/http/secret_file.h"
#include "common/http/url.h"
#include "common/rpc/credentials.h"
#include "common/utf8.h"

namespace grpo {
namespace {

std::vector<Conflict> UrlConflicts(const EndpointOptions& endpoint) {
  const absl::StatusOr<http::Url> url = http::ParseUrl(endpoint.url);
  if (!url.ok()) return {{"url", std::string(url.status().message())}};
  if (url->tls || rpc::IsLoopback(url->host) || endpoint.api_key_file.empty()) return {};
  return {{"url", "has no TLS, and the key of api_key_file would travel in the clear: take https"}};
}

std::vector<Conflict> BudgetConflicts(const EndpointOptions& endpoint) {
  const bool has_prices = endpoint.usd_per_million_input_tokens > 0 || endpoint.usd_per_million_output_tokens > 0;
  if (endpoint.budget_usd == 0 || has_prices) return {};
  return {{"budget_usd",
           "needs prices: give usd_per_million_input_tokens and usd_per_million_output_tokens, or budget_tokens in "
           "its place"}};
}

}  // namespace

std::vector<Conflict> EndpointConflicts(const EndpointOptions& endpoint) {
  if (!endpoint.given()) {
    if (endpoint.model.empty() && endpoint.api_key_file.empty()) return {};
    return {{"url", "is missing; say where the server's interface begins, such as https://api.example.com/v1"}};
  }
  std::vector<Conflict> conflicts = UrlConflicts(endpoint);
  if (endpoint.model.empty()) conflicts.push_back({"model", "is missing; name the model that the server is to use"});
  // Requests are JSON.
  for (const auto& [key, text] : {std::pair{"model", &endpoint.model},
                                  {"think_open", &endpoint.think_open},
                                  {"think_close", &endpoint.think_close}}) {
    if (!IsUtf8(*text)) conflicts.push_back({key, "holds bytes that are not UTF-8"});
  }
  if (!endpoint.api_key_file.empty()) {
    const absl::StatusOr<std::string> key = http::ReadSecretFile(endpoint.api_key_file);
    if (!key.ok()) conflicts.push_back({"api_key_file", std::string(key.status().message())});
  }
  for (Conflict& conflict : BudgetConflicts(endpoint)) conflicts.push_back(std::move(conflict));
  return conflicts;
}

std::string NeedsWeights(const std::string& policy) {
  return absl::StrCat("names policies.", policy,
                      ", which is only an address (endpoint): it answers in text, without token ids, probabilities or "
                      "weights, and this needs them. Let a `synthesize` stage write its traces and learn those with "
                      "`algorithm: sft`, or name a policy that has weights");
}

}  // namespace grpo
