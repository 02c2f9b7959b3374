// Work for a device that is the same at every decode step, launched as one. On CUDA it is recorded in a graph, whose
// replay costs the host one launch in place of some thousand; elsewhere it is done as it stands.
#ifndef GRPO_ROLLOUT_DECODE_GRAPH_H_
#define GRPO_ROLLOUT_DECODE_GRAPH_H_

#include <c10/core/Device.h>

#include <cstdint>
#include <memory>

#include "absl/functional/function_ref.h"

namespace grpo {

// One thread.
class DecodeGraph {
 public:
  virtual ~DecodeGraph() = default;

  // Has the device do `work`, after all that it was given before. The first times `work` is called, later perhaps not
  // any more: what it launches must be the same for the same `key`, and must read and write what lies at the same
  // addresses; it may not wait for the device, nor copy between it and the host. What torch throws passes through.
  virtual void Run(int64_t key, absl::FunctionRef<void()> work) = 0;
  // Something that `work` reads or writes lies elsewhere from now on.
  virtual void Forget() = 0;
};

// Calls the work each time.
class PlainDecodeGraph final : public DecodeGraph {
 public:
  void Run(int64_t key, absl::FunctionRef<void()> work) override { work(); }
  void Forget() override {}
};

// The best that this build has for the device: decode_graph_cuda.cc by --config=cuda, else decode_graph_none.cc.
std::unique_ptr<DecodeGraph> MakeDecodeGraph(c10::Device device);

}  // namespace grpo

#endif  // GRPO_ROLLOUT_DECODE_GRAPH_H_
