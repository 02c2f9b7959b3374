#include "model/matmul.h"

#include <oneapi/dnnl/dnnl.h>

#include <algorithm>
#include <cstring>
#include <stdexcept>
#include <utility>
#include <vector>

namespace grpo {
namespace {

void Check(dnnl_status_t status, const char* what) {
  if (status == dnnl_success) return;
  throw std::runtime_error(std::string("oneDNN: ") + what + " failed with status " + std::to_string(status) +
                           (status == dnnl_out_of_memory ? " (memory is short)" : ""));
}

// oneDNN's handles, destroyed at the end of their block.
template <typename Handle, dnnl_status_t (*Destroy)(Handle)>
class Owned {
 public:
  Owned() = default;
  explicit Owned(Handle handle) : handle_(handle) {}
  Owned(Owned&& other) noexcept : handle_(std::exchange(other.handle_, nullptr)) {}
  Owned& operator=(Owned&& other) noexcept {
    std::swap(handle_, other.handle_);
    return *this;
  }
  ~Owned() {
    if (handle_ != nullptr) Destroy(handle_);
  }
  Handle get() const { return handle_; }
  Handle* out() { return &handle_; }

 private:
  Handle handle_ = nullptr;
};

using Memory = Owned<dnnl_memory_t, dnnl_memory_destroy>;
using PrimitiveDesc = Owned<dnnl_primitive_desc_t, dnnl_primitive_desc_destroy>;
using Primitive = Owned<dnnl_primitive_t, dnnl_primitive_destroy>;
using Attributes = Owned<dnnl_primitive_attr_t, dnnl_primitive_attr_destroy>;
using PostOps = Owned<dnnl_post_ops_t, dnnl_post_ops_destroy>;

// The one CPU. Never destroyed: threads may still compute when the process ends.
dnnl_engine_t Engine() {
  static const dnnl_engine_t engine = [] {
    dnnl_engine_t made = nullptr;
    Check(dnnl_engine_create(&made, dnnl_cpu, 0), "making an engine");
    // A shape's kernels are compiled when it is first met. A trainer's numbers of rows differ from step to step: what
    // is kept for the next is bounded.
    Check(dnnl_set_primitive_cache_capacity(256), "bounding the cache of kernels");
    return made;
  }();
  return engine;
}

// The calling thread's; each call returns when its work is done.
dnnl_stream_t Stream() {
  static thread_local const Owned<dnnl_stream_t, dnnl_stream_destroy> stream = [] {
    Owned<dnnl_stream_t, dnnl_stream_destroy> made;
    Check(dnnl_stream_create(made.out(), Engine(), dnnl_stream_default_flags), "making a stream");
    return made;
  }();
  return stream.get();
}

dnnl_data_type_t TypeOf(MatrixType type) {
  return type == MatrixType::kBfloat16 ? dnnl_bf16 : dnnl_f32;
}

dnnl_memory_desc_t Strided(int64_t rows, int64_t columns, MatrixType type, int64_t row_stride, int64_t column_stride) {
  const dnnl_dims_t sizes = {rows, columns}, strides = {row_stride, column_stride};
  dnnl_memory_desc_t result;
  Check(dnnl_memory_desc_init_by_strides(&result, 2, sizes, TypeOf(type), strides), "describing a matrix");
  return result;
}

dnnl_memory_desc_t DescOf(const MatrixView& view) {
  return Strided(view.rows, view.columns, view.type, view.row_stride, view.column_stride);
}

dnnl_memory_desc_t DenseDesc(int64_t rows, int64_t columns, MatrixType type) {
  return Strided(rows, columns, type, columns, 1);
}

Memory MemoryAt(const dnnl_memory_desc_t& desc, const void* data) {
  Memory memory;
  Check(dnnl_memory_create(memory.out(), &desc, Engine(), const_cast<void*>(data)), "naming memory");
  return memory;
}

PrimitiveDesc DescribeProduct(const dnnl_memory_desc_t& a, const dnnl_memory_desc_t& b, const dnnl_memory_desc_t* bias,
                              const dnnl_memory_desc_t& out, bool accumulate) {
  dnnl_matmul_desc_t matmul;
  Check(dnnl_matmul_desc_init(&matmul, &a, &b, bias, &out), "describing a product");
  Attributes attributes;
  if (accumulate) {
    Check(dnnl_primitive_attr_create(attributes.out()), "making attributes");
    PostOps sum;
    Check(dnnl_post_ops_create(sum.out()), "making attributes");
    Check(dnnl_post_ops_append_sum(sum.get(), 1.0f), "asking for a sum");
    Check(dnnl_primitive_attr_set_post_ops(attributes.get(), sum.get()), "asking for a sum");
  }
  PrimitiveDesc desc;
  Check(dnnl_primitive_desc_create(desc.out(), &matmul, attributes.get(), Engine(), nullptr),
        "choosing a kernel for a product");
  return desc;
}

void Execute(const PrimitiveDesc& desc, const std::vector<dnnl_exec_arg_t>& arguments) {
  Primitive primitive;
  Check(dnnl_primitive_create(primitive.out(), desc.get()), "making a kernel");
  Check(dnnl_primitive_execute(primitive.get(), Stream(), static_cast<int>(arguments.size()), arguments.data()),
        "computing");
  Check(dnnl_stream_wait(Stream()), "computing");
}

class Packed : public PackedMatrix {
 public:
  Packed(const MatrixView& b, int64_t rows) {
    const dnnl_memory_desc_t a = DenseDesc(rows, b.rows, b.type);
    const dnnl_memory_desc_t out = DenseDesc(rows, b.columns, MatrixType::kFloat32);
    const dnnl_dims_t sizes = {b.rows, b.columns};
    dnnl_memory_desc_t any;
    Check(dnnl_memory_desc_init_by_tag(&any, 2, sizes, TypeOf(b.type), dnnl_format_tag_any), "describing a matrix");
    const PrimitiveDesc product = DescribeProduct(a, any, nullptr, out, false);
    desc_ = *dnnl_primitive_desc_query_md(product.get(), dnnl_query_weights_md, 0);
    memory_ = MemoryAt(desc_, DNNL_MEMORY_ALLOCATE);
    Fill(b);
  }
  void Fill(const MatrixView& b) override {
    const dnnl_memory_desc_t plain = DescOf(b);
    PrimitiveDesc reorder;
    Check(dnnl_reorder_primitive_desc_create(reorder.out(), &plain, Engine(), &desc_, Engine(), nullptr),
          "choosing a kernel that packs");
    const Memory from = MemoryAt(plain, b.data);
    Execute(reorder, {{DNNL_ARG_FROM, from.get()}, {DNNL_ARG_TO, memory_.get()}});
  }
  int64_t size_bytes() const override { return static_cast<int64_t>(dnnl_memory_desc_get_size(&desc_)); }
  const dnnl_memory_desc_t& desc() const { return desc_; }
  dnnl_memory_t memory() const { return memory_.get(); }

 private:
  dnnl_memory_desc_t desc_;
  Memory memory_;
};

std::string KernelOf(const PrimitiveDesc& desc) {
  const char* name = nullptr;
  Check(dnnl_primitive_desc_query(desc.get(), dnnl_query_impl_info_str, 0, &name), "asking for a kernel's name");
  return name;
}

void CheckFits(const MatrixView& a, const MatrixView& b, MatrixType out_type, const MatMulOptions& options) {
  if (a.columns == b.rows && (options.packed_b != nullptr || a.type == b.type) &&
      (!options.accumulate || out_type == MatrixType::kFloat32)) {
    return;
  }
  throw std::runtime_error("a product of matrices that do not fit");
}

// Writes to `kernel`, if that is not null, which kernel it was.
void Multiply(const MatrixView& a, const MatrixView& b, void* out, MatrixType out_type, const MatMulOptions& options,
              std::string* kernel) {
  CheckFits(a, b, out_type, options);
  if (a.rows == 0 || b.columns == 0) return;
  const auto* const packed = static_cast<const Packed*>(options.packed_b);
  const dnnl_memory_desc_t a_desc = DescOf(a), b_desc = packed != nullptr ? packed->desc() : DescOf(b);
  const dnnl_memory_desc_t out_desc = DenseDesc(a.rows, b.columns, out_type);
  const dnnl_memory_desc_t bias_desc = DenseDesc(1, b.columns, MatrixType::kFloat32);
  const PrimitiveDesc desc =
      DescribeProduct(a_desc, b_desc, options.bias != nullptr ? &bias_desc : nullptr, out_desc, options.accumulate);
  if (kernel != nullptr) *kernel = KernelOf(desc);
  const Memory a_memory = MemoryAt(a_desc, a.data), out_memory = MemoryAt(out_desc, out);
  const Memory b_memory = packed != nullptr ? Memory() : MemoryAt(b_desc, b.data);
  const Memory bias_memory = options.bias != nullptr ? MemoryAt(bias_desc, options.bias) : Memory();
  std::vector<dnnl_exec_arg_t> arguments = {{DNNL_ARG_SRC, a_memory.get()},
                                            {DNNL_ARG_WEIGHTS, packed != nullptr ? packed->memory() : b_memory.get()},
                                            {DNNL_ARG_DST, out_memory.get()}};
  if (options.bias != nullptr) arguments.push_back({DNNL_ARG_BIAS, bias_memory.get()});
  Execute(desc, arguments);
}

MatMulTraits TryOut(MatrixType type) {
  if (type == MatrixType::kBfloat16 && !HasBfloat16Products()) {
    MatMulTraits traits = TryOut(MatrixType::kFloat32);
    traits.kernel = "float32 " + traits.kernel;
    return traits;
  }
  // Inner sizes of small and of common models; numbers of rows on both sides of what kernels take as a block.
  constexpr int64_t kMostRows = 2200;
  constexpr int64_t kRows[] = {1, 2, 7, 16, 32, 33, 52, 64, 100, 128, 256, 512, 1000, kMostRows};
  constexpr std::pair<int64_t, int64_t> kSizes[] = {{96, 192}, {576, 96}, {1536, 64}};
  const int64_t width = type == MatrixType::kBfloat16 ? 2 : 4;
  MatMulTraits traits = {.kernel = {}, .rows_independent = true};
  uint32_t state = 1;
  const auto fill = [&](std::vector<char>& bytes) {
    for (size_t i = 0; i < bytes.size(); i += width) {
      state = state * 1664525u + 1013904223u;
      const float value = static_cast<float>(state >> 8) * 0x1p-23f - 1.0f;
      const char* const from = reinterpret_cast<const char*>(&value);
      // bfloat16 is the upper half.
      std::memcpy(&bytes[i], from + (4 - width), width);
    }
  };
  for (const auto& [k, n] : kSizes) {
    std::vector<char> a(kMostRows * k * width), b(k * n * width);
    fill(a);
    fill(b);
    const MatrixView weights = {b.data(), type, k, n, 1, k};
    std::vector<float> all(kMostRows * n), some(kMostRows * n);
    Multiply({a.data(), type, kMostRows, k, k, 1}, weights, all.data(), MatrixType::kFloat32, {}, &traits.kernel);
    for (const int64_t rows : kRows) {
      const std::unique_ptr<const PackedMatrix> packed = PackMatrix(weights, rows);
      for (const PackedMatrix* const packed_b : {static_cast<const PackedMatrix*>(nullptr), packed.get()}) {
        Multiply({a.data(), type, rows, k, k, 1}, weights, some.data(), MatrixType::kFloat32, {.packed_b = packed_b},
                 nullptr);
        if (std::memcmp(some.data(), all.data(), rows * n * sizeof(float)) != 0) traits.rows_independent = false;
      }
    }
  }
  return traits;
}

}  // namespace

bool HasBfloat16Products() {
  static const bool has = [] {
    const dnnl_memory_desc_t square = DenseDesc(16, 16, MatrixType::kBfloat16);
    dnnl_matmul_desc_t matmul;
    Check(dnnl_matmul_desc_init(&matmul, &square, &square, nullptr, &square), "describing a product");
    PrimitiveDesc desc;
    return dnnl_primitive_desc_create(desc.out(), &matmul, nullptr, Engine(), nullptr) == dnnl_success;
  }();
  return has;
}

std::unique_ptr<PackedMatrix> PackMatrix(const MatrixView& b, int64_t rows) {
  return std::make_unique<Packed>(b, rows);
}

void MatMul(const MatrixView& a, const MatrixView& b, void* out, MatrixType out_type, const MatMulOptions& options) {
  // Longer sums over the rows of both, as gradients of weights are, oneDNN would cut into as many parts as there are
  // threads; in pieces of this size it does not, and the order of the sum is the same for any number of threads.
  constexpr int64_t kPiece = 1024;
  if (a.columns <= kPiece || a.column_stride == 1 || out_type != MatrixType::kFloat32) {
    return Multiply(a, b, out, out_type, options, nullptr);
  }
  CheckFits(a, b, out_type, options);
  const int64_t width = a.type == MatrixType::kFloat32 ? sizeof(float) : sizeof(uint16_t);
  MatMulOptions of_piece = options;
  MatrixView a_piece = a, b_piece = b;
  for (int64_t begin = 0; begin < a.columns; begin += kPiece) {
    a_piece.columns = b_piece.rows = std::min(kPiece, a.columns - begin);
    a_piece.data = static_cast<const char*>(a.data) + begin * a.column_stride * width;
    b_piece.data = static_cast<const char*>(b.data) + begin * b.row_stride * width;
    Multiply(a_piece, b_piece, out, out_type, of_piece, nullptr);
    of_piece = {.accumulate = true};
  }
}

const MatMulTraits& TraitsOfMatMul(MatrixType type) {
  if (type == MatrixType::kFloat32) {
    static const MatMulTraits& of_float32 = *new MatMulTraits(TryOut(type));
    return of_float32;
  }
  static const MatMulTraits& of_bfloat16 = *new MatMulTraits(TryOut(type));
  return of_bfloat16;
}

}  // namespace grpo
