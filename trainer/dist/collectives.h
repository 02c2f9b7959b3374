// Sums over trainer ranks, by c10d: Gloo between CPUs (NCCL is the same c10d::Backend, another constructor).
#ifndef GRPO_TRAINER_DIST_COLLECTIVES_H_
#define GRPO_TRAINER_DIST_COLLECTIVES_H_

#include <ATen/core/Tensor.h>
#include <c10/util/intrusive_ptr.h>

#include <memory>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/time/time.h"

namespace c10d {
class Backend;
}

namespace grpo {

// Every rank makes the same calls in the same order. One thread.
class Collectives {
 public:
  // One process that is all ranks there are. Its backend listens on loopback only.
  static absl::StatusOr<std::unique_ptr<Collectives>> SingleRank(absl::Duration timeout);
  ~Collectives();

  // Replaces each tensor by its sum over the ranks. float32, contiguous.
  absl::Status AllReduceSum(std::vector<at::Tensor>& tensors);

  int rank() const;
  int world_size() const;

 private:
  explicit Collectives(c10::intrusive_ptr<c10d::Backend> backend);
  const c10::intrusive_ptr<c10d::Backend> backend_;
};

}  // namespace grpo

#endif  // GRPO_TRAINER_DIST_COLLECTIVES_H_
