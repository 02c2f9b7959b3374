// Products of float32 matrices in TF32, for a while.
#ifndef GRPO_MODEL_TF32_H_
#define GRPO_MODEL_TF32_H_

namespace grpo {

// Around the products that Placement.head_tf32 is about, their backward passes included: `on` lets accelerators round
// the operands of float32 products to TF32 until the scope's end; false changes nothing. The CPU's products stay as they
// are. Of the whole process, autograd's threads too: no other thread may multiply what is to stay float32 meanwhile.
// Scopes nest; one thread.
class [[nodiscard]] Tf32Scope {
 public:
  explicit Tf32Scope(bool on);
  ~Tf32Scope();
  Tf32Scope(const Tf32Scope&) = delete;
  Tf32Scope& operator=(const Tf32Scope&) = delete;

 private:
  // What was allowed before is to be forbidden again.
  const bool changed_;
};

}  // namespace grpo

#endif  // GRPO_MODEL_TF32_H_
