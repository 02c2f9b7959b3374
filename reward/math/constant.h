// Proofs about closed expressions by Calcium: exact numbers made of roots, logarithms, exponentials and trigonometric
// values.
#ifndef GRPO_REWARD_MATH_CONSTANT_H_
#define GRPO_REWARD_MATH_CONSTANT_H_

#include "reward/math/tree.h"
#include "reward/math/verdict.h"

namespace grpo::math {

// Whether `id`, in which no names occur, is zero: kEqual is a proof that it is, kDifferent that it is not. Its size,
// the bits of its integers and the degree of its roots are checked first.
Verdict IsZero(const Tree& tree, NodeId id, bool natural_log, Work* work);

}  // namespace grpo::math

#endif  // GRPO_REWARD_MATH_CONSTANT_H_
