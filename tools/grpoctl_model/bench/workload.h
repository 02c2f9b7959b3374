// The fixed work of `grpoctl bench`: a model, prompts and how much is done with them.
#ifndef GRPO_TOOLS_GRPOCTL_MODEL_BENCH_WORKLOAD_H_
#define GRPO_TOOLS_GRPOCTL_MODEL_BENCH_WORKLOAD_H_

#include <cstdint>
#include <map>
#include <string>
#include <vector>

#include "absl/functional/function_ref.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "model/config.h"
#include "model/transformer.h"
#include "tools/grpoctl/bench/report.h"
#include "tools/grpoctl_model/model_folder.h"

namespace grpo {

using PhaseSeconds = std::map<std::string, double>;

// The command line of `bench rollout|step|publish`; ranges are those of its --help.
struct BenchOptions {
  // One of the two: a Hugging Face folder or checkpoint; a config.json, whose shape gets random weights.
  std::string model, random;
  // Which policy of a checkpoint.
  std::string policy;
  int64_t prompts = 8, group = 8, prompt_tokens = 64, new_tokens = 64;
  // What is measured: this process's own (UseDevice).
  at::Device device = at::kCPU;
  // What layers and output head compute in. head_tf32: Placement's.
  at::ScalarType dtype = at::kFloat, head_dtype = at::kFloat;
  bool head_tf32 = false;
  int64_t threads = 1;
  uint64_t seed = 0;
  // Timed, after one that is not.
  int64_t repeats = 5;
  // Completions decoded at the same time; 0: all.
  int64_t slots = 0;
  int64_t micro_batch_tokens = 16384;
  bool activation_checkpointing = false;
  // Of `step`: publishing, sampling and scoring too.
  bool whole = false;
  // The weight channel (rollout/weight_channel.h); empty: what a run would take.
  std::string channel;
  // One repeat more, for figures["operators"] (OperatorTimes).
  bool profile = false;
  // Of MeasureLimits.
  int64_t gemm_size = 2048, stream_bytes = int64_t{256} << 20;
  // A repeat for each line of stdin (TimeRepeats).
  bool interleaved = false;

  int64_t completions() const { return prompts * group; }
  int64_t num_slots() const { return slots == 0 ? completions() : slots; }
  // Of one sequence.
  int64_t context_tokens() const { return prompt_tokens + new_tokens; }
};

// The model of the options, with a tokenizer; InvalidArgument when it is none, or a sequence does not fit its context.
// Errors as LoadModel; those of the config.json. `storage` is what the layers' matrices are kept in.
absl::StatusOr<LoadedModel> LoadBenchModel(const BenchOptions& options, at::ScalarType storage);

// Token ids of prompt `index`, [prompt_tokens]: random, the same for the same seed.
std::vector<uint32_t> PromptIds(const BenchOptions& options, int64_t vocab_size, int64_t index);

// Floating-point operations of the layers' matrices, and of the output head, for each token that goes through them
// forward. Attention's products depend on the context and are not in it.
double LinearFlopPerToken(const ModelConfig& config);
double HeadFlopPerToken(const ModelConfig& config);
// Bytes of the layers' matrices, and of the head, in a dtype.
double LinearBytes(const ModelConfig& config, at::ScalarType storage);
double HeadBytes(const ModelConfig& config, at::ScalarType dtype);
// `flop` in the dtype's column.
PhaseWork WorkIn(at::ScalarType dtype, double flop, double read_bytes = 0);
// The least that sampling needs, as the work of the phases prefix + "prefill", "decode" and "head". Every completion
// decodes all of its tokens but the first, which comes from its prompt; a decode step reads all weights once, whatever
// the number of its rows. `storage`: of the layers' matrices.
void SetSamplingWork(const BenchOptions& options, const ModelConfig& config, at::ScalarType storage,
                     const std::string& prefix, BenchReport* report);

// A report with the options and the model in its setting, and the limits of the machine where the work is the CPU's.
// Everything else is for the bench to fill.
BenchReport BeginReport(const std::string& bench, const BenchOptions& options, const ModelConfig& config);
// Of figures["operators"].
inline constexpr int64_t kLongestOperators = 24;

// Runs `body` once for nothing and options.repeats times for the report, which gets wall and processor time, memory
// and load, of a device its memory as figures["device_memory"]. `body` returns the seconds of its phases; its own are measured where it leaves them 0. Ends at the first
// error, which is returned. With options.interleaved, every repeat waits for a line on stdin and is written to stdout,
// as one JSON line, when it has ended; InvalidArgument when there is no line.
absl::Status TimeRepeats(const BenchOptions& options, absl::FunctionRef<absl::StatusOr<BenchRepeat>()> body,
                         BenchReport* report);

// What each phase grew by between two readings of seconds that only grow, added to *sum.
void AddDifference(const PhaseSeconds& before, const PhaseSeconds& after, PhaseSeconds* sum);

}  // namespace grpo

#endif  // GRPO_TOOLS_GRPOCTL_MODEL_BENCH_WORKLOAD_H_
