// Finite sums and products, carried out: \sum_{k=1}^{10} k is 55.
#ifndef GRPO_REWARD_MATH_SERIES_H_
#define GRPO_REWARD_MATH_SERIES_H_

#include "reward/math/tree.h"
#include "reward/math/verdict.h"

namespace grpo::math {

// `id` with its sums and products (functions "sum" and "prod" of term, variable, first and last value) written without
// them, where their bounds are integers: term by term, up to some hundred terms, and sums of polynomials by their
// differences however long they are, also up to a name. What is larger, empty or has no value somewhere stays as it is.
NodeId ExpandSeries(Tree* tree, NodeId id, Work* work);

}  // namespace grpo::math

#endif  // GRPO_REWARD_MATH_SERIES_H_
