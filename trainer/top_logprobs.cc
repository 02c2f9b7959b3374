#include "trainer/top_logprobs.h"

#include <ATen/TensorOperators.h>
#include <ATen/core/grad_mode.h>
#include <ATen/ops/logsumexp.h>
#include <ATen/ops/topk.h>

#include <tuple>

#include "absl/strings/str_cat.h"
#include "common/status_macros.h"
#include "model/attention.h"
#include "model/lm_head.h"
#include "model/tensor.h"
#include "model/tf32.h"
#include "trainer/algorithm/trace_streams.h"
#include "trainer/batch/packer.h"

namespace grpo {
namespace {

// Every completion token is a target. Traces of one prompt that follow each other are a group.
absl::StatusOr<std::vector<TokenStreams>> Sequences(const std::vector<TokenizedTrace>& traces, int64_t max_positions) {
  std::vector<TokenStreams> sequences;
  for (size_t i = 0; i < traces.size(); ++i) {
    const TokenizedTrace& trace = traces[i];
    const bool goes_on = i > 0 && traces[i - 1].prompt_ids == trace.prompt_ids;
    TokenStreams& sequence = sequences.emplace_back(TraceStreams(trace));
    sequence.group = goes_on ? sequences[i - 1].group : static_cast<int64_t>(i);
    // From the last token nothing is predicted.
    const int64_t num_positions = static_cast<int64_t>(sequence.ids.size()) - 1;
    if (trace.prompt_ids.empty() || num_positions > max_positions) {
      return absl::InvalidArgumentError(
          absl::StrCat("a trace has ", trace.prompt_ids.size(), " tokens of prompt and ", sequence.ids.size(),
                       " in all: it needs a prompt, and the policy has ", max_positions, " positions"));
    }
  }
  return sequences;
}

// Appends the top-k of each target, in order.
void Append(const Transformer& model, const Microbatch& batch, int64_t k, int64_t chunk_bytes, TopK* all) {
  PackedAttention attention(batch.layout);
  const at::Tensor hidden =
      model.Forward(batch.ids, batch.positions, attention).index_select(0, batch.predictor_rows);  // [M, D]
  const at::ScalarType dtype = model.placement().head;
  const Tf32Scope tf32(model.placement().head_tf32);
  ForEachLogitsChunk(hidden.to(dtype), model.head().to(dtype), chunk_bytes, [&](int64_t, const at::Tensor& logits) {
    const auto [values, ids] = at::topk(logits, k);  // [C, K], int64 ids
    const at::Tensor logprobs = (values - at::logsumexp(logits, -1, /*keepdim=*/true)).contiguous();
    const at::Tensor rows = ids.contiguous();
    all->ids.insert(all->ids.end(), rows.const_data_ptr<int64_t>(), rows.const_data_ptr<int64_t>() + rows.numel());
    all->logprobs.insert(all->logprobs.end(), logprobs.const_data_ptr<float>(),
                         logprobs.const_data_ptr<float>() + logprobs.numel());
  });
}

}  // namespace

absl::StatusOr<std::vector<TopK>> TopLogprobs(const Transformer& model, const std::vector<TokenizedTrace>& traces,
                                              int64_t k, const TrainerOptions& options) {
  ASSIGN_OR_RETURN(const std::vector<TokenStreams> sequences, Sequences(traces, model.config().max_positions));
  ASSIGN_OR_RETURN(const std::vector<Microbatch> batches, Pack(sequences, options.micro_batch_tokens));
  return TorchGuard([&]() -> absl::StatusOr<std::vector<TopK>> {
    const at::NoGradGuard no_grad;
    // Pack keeps the order of the sequences, and so do their targets.
    TopK all;
    for (const Microbatch& batch : batches) Append(model, batch, k, options.head_chunk_bytes, &all);
    std::vector<TopK> tops;
    int64_t begin = 0;
    for (const TokenizedTrace& trace : traces) {
      const int64_t end = begin + static_cast<int64_t>(trace.completion_ids.size()) * k;
      tops.push_back({.ids = {all.ids.begin() + begin, all.ids.begin() + end},
                      .logprobs = {all.logprobs.begin() + begin, all.logprobs.begin() + end}});
      begin = end;
    }
    return tops;
  });
}

}  // namespace grpo
