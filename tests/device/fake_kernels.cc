// Operators that accelerators have and the CPU has not, for the fake device: what CUDA's kernels ask of their arguments
// is checked, the numbers are plain arithmetic on the host. Arguments are read by their names, because the releases of
// LibTorch that this is built against differ in what else they take.
#include <ATen/TensorOperators.h>
#include <ATen/core/Tensor.h>
#include <ATen/core/grad_mode.h>
#include <ATen/core/stack.h>
#include <ATen/ops/arange.h>
#include <ATen/ops/cat.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/logsumexp.h>
#include <ATen/ops/matmul.h>
#include <ATen/ops/mm.h>
#include <ATen/ops/softmax.h>
#include <ATen/ops/zeros.h>
#include <c10/core/impl/LocalDispatchKeySet.h>
#include <torch/csrc/autograd/autograd.h>
#include <torch/library.h>

#include <cmath>
#include <limits>
#include <string>
#include <vector>

#include "tests/device/fake_device.h"

namespace grpo::fake {
namespace {

using OptionalTensor = std::optional<at::Tensor>;

// An operator's arguments by name.
class Arguments {
 public:
  Arguments(const c10::OperatorHandle& op, const torch::jit::Stack& stack)
      : schema_(op.schema()), values_(torch::jit::last(stack, schema_.arguments().size()).vec()) {}
  // Nothing when this release has no argument of that name.
  c10::IValue operator[](const std::string& name) const {
    const std::optional<int> index = schema_.argumentIndexWithName(name);
    return index ? values_[*index] : c10::IValue();
  }
  at::Tensor tensor(const std::string& name) const { return (*this)[name].toTensor(); }
  OptionalTensor optional(const std::string& name) const {
    const c10::IValue value = (*this)[name];
    return value.isTensor() && value.toTensor().defined() ? OptionalTensor(value.toTensor()) : std::nullopt;
  }
  void ExpectNone(const std::vector<const char*>& names) const {
    for (const char* const name : names) {
      TORCH_CHECK((*this)[name].isNone(), schema_.name(), ": ", name, " is not for us");
    }
  }

 private:
  const c10::FunctionSchema& schema_;
  const std::vector<c10::IValue> values_;
};

void Return(const c10::OperatorHandle& op, torch::jit::Stack* stack, const std::vector<at::Tensor>& results) {
  torch::jit::drop(*stack, op.schema().arguments().size());
  for (const at::Tensor& result : results) torch::jit::push(*stack, result);
}

at::Tensor OnHost(const at::Tensor& tensor) {
  return tensor.to(at::kCPU);
}

// Varlen attention: rows [begin_q[i], begin_q[i + 1]) of q see those of k and v from begin_k[i] on.
struct Sequences {
  // [B + 1] int32, on the host.
  at::Tensor begin_q, begin_k;
  // How many each has, [B] int32 on the host, where that is not all up to the next.
  OptionalTensor num_k;
  bool causal;
  double scale;

  int64_t count() const { return begin_q.numel() - 1; }
  int64_t RowsOfQ(int64_t i) const { return begin_q.const_data_ptr<int>()[i + 1] - BeginOfQ(i); }
  int64_t BeginOfQ(int64_t i) const { return begin_q.const_data_ptr<int>()[i]; }
  int64_t BeginOfK(int64_t i) const { return begin_k.const_data_ptr<int>()[i]; }
  int64_t RowsOfK(int64_t i) const {
    return num_k ? num_k->const_data_ptr<int>()[i] : begin_k.const_data_ptr<int>()[i + 1] - BeginOfK(i);
  }
};

// The offsets, once they are as the kernels want them: beginning at 0, never falling, within the rows, no sequence
// longer than it was said to be at most.
at::Tensor CheckedOffsets(const Arguments& arguments, const char* name, const at::Tensor& rows, const char* longest) {
  const at::Tensor offsets = arguments.tensor(name);
  TORCH_CHECK(offsets.scalar_type() == at::kInt && offsets.device() == rows.device() && offsets.is_contiguous(), name,
              " is int32, dense, and on the device of what it divides");
  const at::Tensor host = OnHost(offsets);
  const int* const values = host.const_data_ptr<int>();
  TORCH_CHECK(values[0] == 0 && values[host.numel() - 1] <= rows.size(0), name, " goes from 0 to at most the rows");
  for (int64_t i = 0; i + 1 < host.numel(); ++i) {
    TORCH_CHECK(values[i] <= values[i + 1] && values[i + 1] - values[i] <= arguments[longest].toInt(), name, "[", i,
                "] is followed by ", values[i + 1], ", and ", longest, " is ", arguments[longest].toInt());
  }
  return host;
}

Sequences CheckedSequences(const Arguments& arguments, const at::Tensor& q, const at::Tensor& k) {
  const c10::IValue scale = arguments["scale"];
  const OptionalTensor used = arguments.optional("seqused_k");
  Sequences sequences = {.begin_q = CheckedOffsets(arguments, "cum_seq_q", q, "max_q"),
                         .begin_k = CheckedOffsets(arguments, "cum_seq_k", k, "max_k"),
                         .num_k = std::nullopt,
                         .causal = arguments["is_causal"].toBool(),
                         .scale = scale.isNone() ? 1 / std::sqrt(static_cast<double>(q.size(2))) : scale.toDouble()};
  TORCH_CHECK(sequences.begin_q.numel() == sequences.begin_k.numel(), "as many sequences of queries as of keys");
  if (used) {
    TORCH_CHECK(used->scalar_type() == at::kInt && used->device() == q.device() && used->is_contiguous() &&
                    used->numel() == sequences.count(),
                "seqused_k is int32, dense, on the device, one for each sequence");
    sequences.num_k = OnHost(*used);
  }
  return sequences;
}

void CheckHeads(const at::Tensor& q, const at::Tensor& k, const at::Tensor& v) {
  for (const at::Tensor* const tensor : {&q, &k, &v}) {
    TORCH_CHECK(tensor->scalar_type() == at::kBFloat16, "FlashAttention only supports fp16 and bf16, not ",
                at::toString(tensor->scalar_type()));
    TORCH_CHECK(tensor->dim() == 3 && tensor->stride(2) == 1 && tensor->size(2) == q.size(2),
                "heads of one size, dense in themselves: [N, heads, K]");
  }
  TORCH_CHECK(q.size(2) % 8 == 0 && q.size(2) <= 256, "FlashAttention has no heads of ", q.size(2));
  TORCH_CHECK(k.sizes() == v.sizes() && q.size(1) % k.size(1) == 0, "keys and values alike, heads shared evenly");
}

// Of all sequences: what each row of q [N, H, K] sees, [N, H, K], and log sum exp of its scores, [H, N]; float32, on
// the host. A row that sees nothing gives zeros.
std::pair<at::Tensor, at::Tensor> Attend(const at::Tensor& q, const at::Tensor& k, const at::Tensor& v,
                                         const Sequences& sequences) {
  std::vector<at::Tensor> rows, sums;
  const int64_t group = q.size(1) / k.size(1);
  for (int64_t i = 0; i < sequences.count(); ++i) {
    const int64_t num_q = sequences.RowsOfQ(i), num_k = sequences.RowsOfK(i);
    if (num_q == 0) continue;
    const auto heads = [](const at::Tensor& tensor, int64_t begin, int64_t count) {  // [H, count, K]
      return tensor.narrow(0, begin, count).to(at::kFloat).transpose(0, 1);
    };
    const at::Tensor keys = heads(k, sequences.BeginOfK(i), num_k).repeat_interleave(group, 0);
    const at::Tensor values = heads(v, sequences.BeginOfK(i), num_k).repeat_interleave(group, 0);
    at::Tensor scores = at::matmul(heads(q, sequences.BeginOfQ(i), num_q), keys.transpose(1, 2)) * sequences.scale;
    // The last query sees the last key.
    const at::Tensor hidden = at::arange(num_k).unsqueeze(0) > at::arange(num_q).unsqueeze(1) + (num_k - num_q);
    if (sequences.causal) scores = scores.masked_fill(hidden, -std::numeric_limits<float>::infinity());
    sums.push_back(at::logsumexp(scores, -1));
    const at::Tensor weights = at::softmax(scores, -1).nan_to_num(0);
    rows.push_back(at::matmul(weights, values).transpose(0, 1));
  }
  if (rows.empty()) return {at::zeros(q.sizes()), at::zeros({q.size(1), 0})};
  return {at::cat(rows), at::cat(sums, 1)};
}

void FlashForward(const c10::OperatorHandle& op, torch::jit::Stack* stack) {
  const Computing computing(op.schema().name().c_str());
  const Arguments arguments(op, *stack);
  const at::Tensor q = arguments.tensor("query"), k = arguments.tensor("key"), v = arguments.tensor("value");
  TORCH_CHECK(arguments["dropout_p"].toDouble() == 0, "no dropout here");
  arguments.ExpectNone({"window_size_left", "window_size_right", "alibi_slopes", "block_table", "num_splits"});
  CheckHeads(q, k, v);
  const auto [out, sums] = Attend(OnHost(q), OnHost(k), OnHost(v), CheckedSequences(arguments, q, k));
  const at::Tensor none = at::empty({0}, q.options());
  Return(op, stack, {out.to(q.scalar_type()).to(q.device()), sums.to(q.device()), none, none, none});
}

void FlashBackward(const c10::OperatorHandle& op, torch::jit::Stack* stack) {
  const Computing computing(op.schema().name().c_str());
  const Arguments arguments(op, *stack);
  const at::Tensor q = arguments.tensor("query"), k = arguments.tensor("key"), v = arguments.tensor("value");
  const at::Tensor d_out = OnHost(arguments.tensor("grad_out")).to(at::kFloat);
  CheckHeads(q, k, v);
  const Sequences sequences = CheckedSequences(arguments, q, k);
  // Kernels run below autograd, and this one wants it back.
  const at::AutoGradMode with_grad(true);
  c10::impl::LocalDispatchKeySet keys = c10::impl::tls_local_dispatch_key_set();
  keys.excluded_ =
      keys.excluded_ - c10::autograd_dispatch_keyset - c10::DispatchKeySet(c10::DispatchKey::ADInplaceOrView);
  const c10::impl::ForceDispatchKeyGuard above(keys);
  std::vector<at::Tensor> inputs;
  for (const at::Tensor& tensor : {q, k, v}) inputs.push_back(OnHost(tensor).detach().requires_grad_(true));
  const at::Tensor out = Attend(inputs[0], inputs[1], inputs[2], sequences).first;
  std::vector<at::Tensor> gradients = torch::autograd::grad({out}, inputs, {d_out});
  for (at::Tensor& gradient : gradients) gradient = gradient.detach().to(q.device());
  Return(op, stack, gradients);
}

// Products of bfloat16 that are summed and returned in float32.
void MultiplyInFloat32(const c10::OperatorHandle& op, torch::jit::Stack* stack) {
  const Computing computing(op.schema().name().c_str());
  const Arguments arguments(op, *stack);
  const at::Tensor a = arguments.tensor("self"), b = arguments.tensor("mat2");
  TORCH_CHECK(a.device() == b.device() && a.scalar_type() == at::kBFloat16 && b.scalar_type() == at::kBFloat16 &&
                  arguments["out_dtype"].toScalarType() == at::kFloat,
              "out_dtype must be the same as input dtype or fp32 for fp16/bf16 inputs");
  const at::Tensor product = at::mm(OnHost(a).to(at::kFloat), OnHost(b).to(at::kFloat)).to(a.device());
  const OptionalTensor out = arguments.optional("out");
  TORCH_CHECK(!out || (out->scalar_type() == at::kFloat && out->sizes() == product.sizes()),
              "out_dtype must be the same as the dtype of the provided out tensor");
  Return(op, stack, {out ? out->copy_(product) : product});
}

TORCH_LIBRARY_IMPL(aten, PrivateUse1, library) {
  library.impl("_flash_attention_forward", torch::CppFunction::makeFromBoxedFunction<&FlashForward>());
  library.impl("_flash_attention_backward", torch::CppFunction::makeFromBoxedFunction<&FlashBackward>());
  library.impl("mm.dtype", torch::CppFunction::makeFromBoxedFunction<&MultiplyInFloat32>());
  library.impl("mm.dtype_out", torch::CppFunction::makeFromBoxedFunction<&MultiplyInFloat32>());
}

}  // namespace
}  // namespace grpo::fake
