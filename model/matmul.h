// Products of matrices on the CPU, by oneDNN: what all of a model's linear layers come to, forward and backward. It has
// what ATen's products lack: bfloat16 operands with a float32 result, a float32 sum to add to, weights packed once, and
// AVX-512 on every maker's processors. No torch: LibTorch's headers hold another oneDNN.
//
// A row of the result has the same bits however many rows are computed with it, with weights packed or not, and
// whatever the number of threads, where MatMulTraits says so (docs/design.md laws 3 and 5); else only on the next run.
#ifndef GRPO_MODEL_MATMUL_H_
#define GRPO_MODEL_MATMUL_H_

#include <cstdint>
#include <memory>
#include <string>

namespace grpo {

enum class MatrixType { kFloat32, kBfloat16 };

// rows x columns numbers, one of the two strides 1; strides in numbers. A view.
struct MatrixView {
  const void* data;
  MatrixType type;
  int64_t rows, columns, row_stride, column_stride;

  MatrixView Transposed() const { return {data, type, columns, rows, column_stride, row_stride}; }
};

// The right-hand side of products in the layout that the kernels like best, for a number of rows on the left that is
// known ahead. Holds a copy. Thread-compatible.
class PackedMatrix {
 public:
  virtual ~PackedMatrix() = default;
  // Takes other numbers, of the same shape and type, in the same memory.
  virtual void Fill(const MatrixView& b) = 0;
  virtual int64_t size_bytes() const = 0;
};

// For products of `rows` rows. The errors of MatMul.
std::unique_ptr<PackedMatrix> PackMatrix(const MatrixView& b, int64_t rows);

struct MatMulOptions {
  // [n] float32, added to every row; may be null.
  const float* bias = nullptr;
  // Adds to what `out` holds, which is then float32, in place of writing over it.
  bool accumulate = false;
  // b, packed for a's number of rows; may be null. Of b itself only the shape is then looked at.
  const PackedMatrix* packed_b = nullptr;
};

// Whether oneDNN has products of bfloat16 for this processor: not for those without AVX-512. Where it has none, MatMul
// and PackMatrix throw for them (model/linear.h computes them in float32).
bool HasBfloat16Products();

// out [m, n], dense, = a [m, k] b [k, n]. a and b are of one type; out is float32 or that type, rounded once at the end;
// sums are float32. Any of m, n, k may be 0. Throws std::runtime_error when memory is short, and for what does not fit
// (a bug of the caller). Any thread; computes on OpenMP's.
void MatMul(const MatrixView& a, const MatrixView& b, void* out, MatrixType out_type,
            const MatMulOptions& options = {});

// What this machine's products are.
struct MatMulTraits {
  // The kernels' name ("brg:avx512_core_bf16"); "float32 " and float32's where there are none of bfloat16.
  std::string kernel;
  // Tried out: rows of products of 1 to 2,200 rows, packed or not, had equal bits.
  bool rows_independent = false;
};

// Tried once a process and type. Takes some milliseconds.
const MatMulTraits& TraitsOfMatMul(MatrixType type);

}  // namespace grpo

#endif  // GRPO_MODEL_MATMUL_H_
