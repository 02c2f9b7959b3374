// Decode steps as CUDA graphs.
#include <ATen/cuda/CUDAGraph.h>
#include <c10/core/Event.h>
#include <c10/core/StreamGuard.h>
#include <c10/cuda/CUDAStream.h>

#include <map>
#include <utility>

#include "absl/status/status.h"
#include "common/log.h"
#include "model/tensor.h"
#include "rollout/decode_graph.h"

namespace grpo {
namespace {

// Each holds the memory of a step's intermediate results; works beyond them are done as they stand.
constexpr size_t kMaxGraphs = 8;

class CudaDecodeGraph final : public DecodeGraph {
 public:
  explicit CudaDecodeGraph(c10::Device device)
      : stream_(c10::cuda::getStreamFromPool(/*isHighPriority=*/false, device.index()).unwrap()) {}

  void Run(int64_t key, absl::FunctionRef<void()> work) override {
    if (failed_ || (steps_.size() >= kMaxGraphs && !steps_.contains(key))) return work();
    Step& step = steps_[key];
    if (step.graph != nullptr) return step.graph->replay();
    // Once on the stream that is recorded, so that libraries have set themselves up there, outside of the graph's memory.
    if (!std::exchange(step.warm, true)) return OnStream(work);
    const absl::Status status = Record(step, work);
    if (status.ok()) return step.graph->replay();
    spdlog::warn("decode steps are not recorded in a CUDA graph, and cost more launches: {}", status.ToString());
    failed_ = true;
    steps_.clear();
    work();
  }

  void Forget() override { steps_.clear(); }

 private:
  struct Step {
    bool warm = false;
    // Null until it is recorded.
    std::unique_ptr<at::cuda::CUDAGraph> graph;
  };

  c10::Stream Current() const { return c10::cuda::getCurrentCUDAStream(stream_.device_index()).unwrap(); }

  // After what the current stream has to do, and before what it will be given.
  void OnStream(absl::FunctionRef<void()> work) const {
    const c10::Stream current = Current();
    c10::Event before(stream_.device_type()), after(stream_.device_type());
    before.record(current);
    before.block(stream_);
    {
      const c10::StreamGuard on(stream_);
      work();
    }
    after.record(stream_);
    after.block(current);
  }

  // Nothing is computed yet.
  absl::Status Record(Step& step, absl::FunctionRef<void()> work) const {
    auto graph = std::make_unique<at::cuda::CUDAGraph>();
    const c10::StreamGuard on(stream_);
    const absl::Status recorded = TorchGuard([&] {
      // Other threads may go on using the device.
      graph->capture_begin({0, 0}, cudaStreamCaptureModeThreadLocal);
      work();
      graph->capture_end();
      return absl::OkStatus();
    });
    if (recorded.ok()) {
      step.graph = std::move(graph);
      return recorded;
    }
    // The stream would go on recording.
    const absl::Status ended = TorchGuard([&] {
      graph->capture_end();
      return absl::OkStatus();
    });
    if (!ended.ok()) spdlog::debug("ending the recording: {}", ended.ToString());
    return recorded;
  }

  const c10::Stream stream_;
  std::map<int64_t, Step> steps_;
  // Recording has failed, and is not tried again.
  bool failed_ = false;
};

}  // namespace

std::unique_ptr<DecodeGraph> MakeDecodeGraph(c10::Device device) {
  if (device.is_cuda()) return std::make_unique<CudaDecodeGraph>(device);
  return std::make_unique<PlainDecodeGraph>();
}

}  // namespace grpo
