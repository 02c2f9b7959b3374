// What the configuration says about a policy that is only an address.
#ifndef GRPO_MODEL_ENDPOINT_OPTIONS_H_
#define GRPO_MODEL_ENDPOINT_OPTIONS_H_

#include <cstdint>
#include <string>
#include <vector>

#include "configs/visit.h"

namespace grpo {

// `policies.<name>.endpoint`: a server that speaks OpenAI's HTTP interface. Given when url is not empty. What the keys
// must have in common is checked by trainer/endpoint_check.h.
struct EndpointOptions {
  std::string url, model, route = "chat";
  std::string api_key_file, ca_file;
  std::vector<std::string> answers_as;
  std::string think_open = "<think>", think_close = "</think>";
  int64_t concurrency = 8;
  int64_t requests_per_minute = 0;
  double timeout_s = 600;
  int64_t max_retries = 5;
  double usd_per_million_input_tokens = 0, usd_per_million_output_tokens = 0;
  int64_t budget_tokens = 0;
  double budget_usd = 0;

  bool given() const { return !url.empty(); }

  template <class V>
  void Visit(V& v) {
    v("url", url,
      {.help = "Where the server's interface begins, such as https://api.example.com/v1; empty means that endpoint is "
               "not used. http without TLS takes no key beyond this machine."});
    v("model", model, {.help = "The model's name there; an answer of another model is refused."});
    v("route", route,
      {.help = "chat sends the problem as a user's message to URL/chat/completions, and the server applies the model's "
               "template; completion sends it as it is to URL/completions.",
       .choices = {"chat", "completion"}});
    v("api_key_file", api_key_file,
      {.help = "File that holds the key and that its owner alone may read (mode 600), relative to this file, on the "
               "machine of the workers; empty sends none. The key itself stands nowhere else."});
    v("ca_file", ca_file,
      {.help = "PEM file of the authorities that the server's certificate may come from; empty: the system's."});
    v("answers_as", answers_as,
      {.help = "Other names under which the server may answer, such as a dated version of model."});
    v("think_open", think_open,
      {.help =
           "What a completion begins with where the server hands over the reasoning apart (reasoning_content); left "
           "out where the prompt ends in it."});
    v("think_close", think_close, {.help = "What stands between that reasoning and the answer."});
    v("concurrency", concurrency, {.help = "Requests under way at a time.", .unit = "requests", .min = 1, .max = 256});
    v("requests_per_minute", requests_per_minute,
      {.help = "Requests that are begun in a minute, evenly; 0: no limit.", .min = 0, .max = 1e6});
    v("timeout_s", timeout_s,
      {.help = "Of one request, answer included. A server may bill what was not waited for.",
       .unit = "seconds",
       .min = 0.1,
       .max = 86400});
    v("max_retries", max_retries,
      {.help = "Attempts of a request beyond the first that may fail in a row (429, 5xx, no or half an answer); after "
               "them the run shows as paused and says why, while the request is tried on every half minute.",
       .min = 0,
       .max = 1000});
    v("usd_per_million_input_tokens", usd_per_million_input_tokens,
      {.help = "Price, for budget_usd and for what is shown.", .unit = "USD", .min = 0, .max = 1e6});
    v("usd_per_million_output_tokens", usd_per_million_output_tokens,
      {.help = "The same of output, reasoning included.", .unit = "USD", .min = 0, .max = 1e6});
    v("budget_tokens", budget_tokens,
      {.help = "Input and output tokens that the run may spend at this endpoint, all stages and starts together; then "
               "it pauses. 0: no limit.",
       .unit = "tokens",
       .min = 0,
       .max = 9e15});
    v("budget_usd", budget_usd, {.help = "The same in money; 0: no limit.", .unit = "USD", .min = 0, .max = 1e9});
  }
};

}  // namespace grpo

#endif  // GRPO_MODEL_ENDPOINT_OPTIONS_H_
