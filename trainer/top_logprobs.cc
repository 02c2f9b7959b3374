#include "trainer/top_logprobs.h"

#include <ATen/TensorOperators.h>
#include <ATen/core/grad_mode.h>
#include <ATen/ops/logsumexp.h>
#include <ATen/ops/topk.h>

#include <tuple>

#include "absl/strings/str_cat.h"
#include "common/status_macros.h"
#include "model/attention.h"
#include "model/device.h"
#include "model/lm_head.h"
#include "model/tensor.h"
#include "model/tf32.h"
#include "trainer/algorithm/trace_streams.h"
#include "trainer/batch/on_device.h"
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

// Of some targets, on their way to the host.
struct TopCopies {
  HostCopy ids, logprobs;  // [C, K]
};

template <typename From, typename To>
void AppendNumbers(HostCopy& copy, std::vector<To>& to) {
  const at::Tensor& numbers = copy.Wait();
  to.insert(to.end(), numbers.const_data_ptr<From>(), numbers.const_data_ptr<From>() + numbers.numel());
}

// Appends the top-k of each target, in order. The host waits for a device once everything has been given to it.
void Append(const Transformer& model, const Microbatch& on_host, int64_t k, int64_t chunk_bytes, TopK* all) {
  const Microbatch batch = OnDevice(on_host, model.placement().device);
  PackedAttention attention(batch.layout);
  const at::Tensor hidden =
      model.Forward(batch.ids, batch.positions, attention).index_select(0, batch.predictor_rows);  // [M, D]
  const at::ScalarType dtype = model.placement().head;
  const Tf32Scope tf32(model.placement().head_tf32);
  std::vector<TopCopies> chunks;
  ForEachLogitsChunk(hidden.to(dtype), model.head().to(dtype), chunk_bytes, [&](int64_t, const at::Tensor& logits) {
    const auto [values, ids] = at::topk(logits, k);  // [C, K], int64 ids
    const at::Tensor logprobs = (values - at::logsumexp(logits, -1, /*keepdim=*/true)).contiguous();
    chunks.push_back({.ids = HostCopy(ids.contiguous()), .logprobs = HostCopy(logprobs)});
  });
  for (TopCopies& chunk : chunks) {
    AppendNumbers<int64_t>(chunk.ids, all->ids);
    AppendNumbers<float>(chunk.logprobs, all->logprobs);
  }
}

}  // namespace

absl::StatusOr<std::vector<TopK>> TopLogprobs(const Transformer& model, const std::vector<TokenizedTrace>& traces,
                                              int64_t k, const TrainerOptions& options) {
  ASSIGN_OR_RETURN(const std::vector<TokenStreams> sequences, Sequences(traces, model.config().max_positions));
  ASSIGN_OR_RETURN(const std::vector<Microbatch> batches, Pack(sequences, options.micro_batch_tokens));
  if (!model.placement().device.is_cpu()) {
    for (const Microbatch& batch : batches) RETURN_IF_ERROR(ExpectInRange(batch, model.config()));
  }
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
