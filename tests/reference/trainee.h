// A small student, its teachers and whatever learns by an algorithm, for tests of the whole way from an input through
// algorithm, losses, packing, loop and optimizer; on the CPU or on a device.
#ifndef GRPO_TESTS_REFERENCE_TRAINEE_H_
#define GRPO_TESTS_REFERENCE_TRAINEE_H_

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <map>
#include <memory>
#include <ostream>
#include <string>
#include <vector>

#include "model/lm_head.h"
#include "model/transformer.h"
#include "trainer/algorithm/algorithm.h"
#include "trainer/dist/collectives.h"
#include "trainer/loop.h"
#include "trainer/optim/adamw.h"

namespace grpo {

// An algorithm by its keys, which name the policies `teacher` and `other`, the rewards `r` and the data `t`; `name` is
// that of the test.
struct TraineeCase {
  std::string name, algorithm, keys;
};
// As a test's parameter is printed.
void PrintTo(const TraineeCase& of, std::ostream* out);
// Every way of distilling.
const std::vector<TraineeCase>& DistillationCases();

// A student, a wider and deeper teacher and another one, an algorithm, and what learns by it. The same numbers at every
// call, wherever they lie.
struct Trainee {
  struct Switches {
    int64_t micro_batch_tokens = 1 << 20;
    int64_t head_chunk_bytes = kDefaultHeadChunkBytes;
    bool activation_checkpointing = false;
    c10::Device device = c10::kCPU;
  };

  // What cannot be made is a failure of the test. `collectives` outlives it.
  Trainee(const std::string& name, const std::string& keys, Switches switches, Collectives* collectives);

  // The weights after some steps, the losses' own behind the policy's, and the last step's metrics.
  struct Outcome {
    // On the CPU.
    std::vector<at::Tensor> weights;
    std::map<std::string, double> metrics;
  };
  Outcome Learn(const StepInput& input, Collectives& collectives);

  std::unique_ptr<Transformer> student, teacher, other;
  std::unique_ptr<Algorithm> algorithm;
  // The losses' parameters.
  NamedTensors own;
  std::unique_ptr<AdamW> optimizer;
  std::unique_ptr<Loop> loop;
};

// A random input of the kind that the algorithm asks for, with ids of the trainee's vocabulary.
StepInput InputFor(const Algorithm& algorithm, uint64_t seed);

// |a - b| / |b|, 2-norms; each may lie anywhere.
double RelativeDifference(const at::Tensor& a, const at::Tensor& b);

}  // namespace grpo

#endif  // GRPO_TESTS_REFERENCE_TRAINEE_H_
