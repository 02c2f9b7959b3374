// Calcium's headers, which are C, for C++: they assign what flint_malloc returns without a cast.
#ifndef GRPO_REWARD_MATH_CALCIUM_H_
#define GRPO_REWARD_MATH_CALCIUM_H_

#include <acb.h>
#include <flint/flint.h>
#include <flint/fmpz.h>
// Needs fmpz.h before it.
#include <flint/fmpz_factor.h>
#include <flint/fmpz_mpoly.h>
#include <flint/fmpz_mpoly_factor.h>
#include <string.h>

namespace grpo::math {

struct AnyPointer {
  void* pointer;
  template <class T>
  operator T*() const {  // NOLINT(google-explicit-constructor): as a void* does in C
    return static_cast<T*>(pointer);
  }
};
inline AnyPointer CalciumMalloc(size_t size) {
  return {flint_malloc(size)};
}
inline AnyPointer CalciumRealloc(void* pointer, size_t size) {
  return {flint_realloc(pointer, size)};
}

}  // namespace grpo::math

#define flint_malloc(size) ::grpo::math::CalciumMalloc(size)
#define flint_realloc(pointer, size) ::grpo::math::CalciumRealloc(pointer, size)
#include <calcium/ca.h>
#undef flint_malloc
#undef flint_realloc

#endif  // GRPO_REWARD_MATH_CALCIUM_H_
