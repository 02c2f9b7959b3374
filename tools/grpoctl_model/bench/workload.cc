#include "tools/grpoctl_model/bench/workload.h"

#include <malloc.h>

#include <algorithm>
#include <fstream>
#include <iostream>
#include <utility>

#include "absl/strings/str_cat.h"
#include "common/clock.h"
#include "common/files.h"
#include "common/peak_memory.h"
#include "common/seeds.h"
#include "common/status_macros.h"
#include "model/device.h"
#include "model/families.h"
#include "model/tensor.h"
#include "nlohmann/json.hpp"
#include "tools/grpoctl_model/bench/limits.h"

namespace grpo {
namespace {

const char* DtypeName(at::ScalarType dtype) {
  return dtype == at::kBFloat16 ? "bfloat16" : "float32";
}

// A tokenizer of as many tokens, which are their own numbers: what a model of random weights writes has no meaning.
std::string NumberTokenizer(int64_t vocab_size) {
  nlohmann::ordered_json vocab = nlohmann::ordered_json::object();
  for (int64_t id = 0; id < vocab_size; ++id) vocab[absl::StrCat(id, " ")] = id;
  return nlohmann::ordered_json{
      {"decoder", {{"type", "Fuse"}}},
      {"model", {{"type", "BPE"}, {"merges", nlohmann::ordered_json::array()}, {"vocab", vocab}}}}
      .dump();
}

absl::StatusOr<LoadedModel> MakeRandomModel(const BenchOptions& options, Placement placement) {
  ASSIGN_OR_RETURN(const std::string config_json, ReadFile(options.random));
  const absl::StatusOr<ModelConfig> config = ParseModelConfig(config_json);
  if (!config.ok()) return Annotate(config.status(), options.random);
  LoadedModel loaded;
  const at::ScalarType storage = placement.storage;
  placement.storage = at::kFloat;
  ASSIGN_OR_RETURN(loaded.model, Transformer::Create(*config, placement));
  loaded.model->InitializeRandom(options.seed);
  if (storage != at::kFloat) {
    placement.storage = storage;
    ASSIGN_OR_RETURN(std::unique_ptr<Transformer> kept, Transformer::Create(*config, placement));
    RETURN_IF_ERROR(TorchGuard([&] {
      kept->CopyWeights(*loaded.model);
      return absl::OkStatus();
    }));
    loaded.model = std::move(kept);
  }
  loaded.tokenizer_json = NumberTokenizer(config->vocab_size);
  ASSIGN_OR_RETURN(loaded.tokenizer, Tokenizer::FromJson(loaded.tokenizer_json));
  return loaded;
}

// The limits' buffers, and a second copy while loading, are no part of the work's peak: PeakMemoryBytes counts anew.
void ForgetPeakMemory() {
  ::malloc_trim(0);
  std::ofstream("/proc/self/clear_refs") << "5";
}

double HeadParameters(const ModelConfig& c) {
  return static_cast<double>(c.hidden_size) * static_cast<double>(c.vocab_size);
}

}  // namespace

absl::StatusOr<LoadedModel> LoadBenchModel(const BenchOptions& options, at::ScalarType storage) {
  const Placement placement = {.device = options.device,
                               .compute = options.dtype,
                               .storage = storage,
                               .head = options.head_dtype,
                               .head_tf32 = options.head_tf32};
  ASSIGN_OR_RETURN(LoadedModel loaded, options.random.empty() ? LoadModel(options.model, options.policy, placement)
                                                              : MakeRandomModel(options, placement));
  const int64_t context = loaded.model->config().max_positions;
  if (options.context_tokens() > context) {
    return absl::InvalidArgumentError(absl::StrCat("--prompt-tokens ", options.prompt_tokens, " and --new-tokens ",
                                                   options.new_tokens, " are more than the model's context of ",
                                                   context));
  }
  return loaded;
}

std::vector<uint32_t> PromptIds(const BenchOptions& options, int64_t vocab_size, int64_t index) {
  Rng rng(CombineSeeds(options.seed, HashName(absl::StrCat("bench prompt ", index))));
  std::vector<uint32_t> ids(options.prompt_tokens);
  for (uint32_t& id : ids) id = static_cast<uint32_t>(rng.Below(vocab_size));
  return ids;
}

double LinearFlopPerToken(const ModelConfig& config) {
  return 2 * static_cast<double>(config.NumMatrixParameters());
}
double HeadFlopPerToken(const ModelConfig& config) {
  return 2 * HeadParameters(config);
}
double LinearBytes(const ModelConfig& config, at::ScalarType storage) {
  return static_cast<double>(config.NumMatrixParameters()) * static_cast<double>(c10::elementSize(storage));
}
double HeadBytes(const ModelConfig& config, at::ScalarType dtype) {
  return HeadParameters(config) * static_cast<double>(c10::elementSize(dtype));
}
PhaseWork WorkIn(at::ScalarType dtype, double flop, double read_bytes) {
  PhaseWork work{.read_bytes = read_bytes};
  (dtype == at::kBFloat16 ? work.bfloat16_flop : work.float32_flop) = flop;
  return work;
}

void SetSamplingWork(const BenchOptions& options, const ModelConfig& config, at::ScalarType storage,
                     const std::string& prefix, BenchReport* report) {
  const int64_t waves = (options.completions() + options.num_slots() - 1) / options.num_slots();
  const double steps = static_cast<double>(waves * (options.new_tokens - 1));
  const double prompts = static_cast<double>(options.prompts);
  const double decoded = static_cast<double>(options.completions() * (options.new_tokens - 1));
  report->work[prefix + "prefill"] =
      WorkIn(options.dtype, LinearFlopPerToken(config) * prompts * static_cast<double>(options.prompt_tokens));
  report->work[prefix + "decode"] =
      WorkIn(options.dtype, LinearFlopPerToken(config) * decoded, LinearBytes(config, storage) * steps);
  report->work[prefix + "head"] = WorkIn(options.head_dtype, HeadFlopPerToken(config) * (decoded + prompts),
                                         HeadBytes(config, options.head_dtype) * (steps + prompts));
}

BenchReport BeginReport(const std::string& bench, const BenchOptions& options, const ModelConfig& config) {
  BenchReport report{.bench = bench};
  report.setting = {{"model", options.random.empty() ? options.model : options.random},
                    {"family", config.family},
                    {"parameters", config.NumParameters()},
                    {"prompts", options.prompts},
                    {"group", options.group},
                    {"prompt_tokens", options.prompt_tokens},
                    {"new_tokens", options.new_tokens},
                    {"dtype", DtypeName(options.dtype)},
                    {"head_dtype", options.head_tf32 ? "tf32" : DtypeName(options.head_dtype)},
                    {"device", DeviceText(options.device)},
                    {"threads", options.threads},
                    {"seed", options.seed}};
  report.load_before = LoadAverage();
  if (options.device.is_cpu()) report.limits = MeasureLimits(options.gemm_size, options.stream_bytes);
  ForgetPeakMemory();
  return report;
}

absl::Status TimeRepeats(const BenchOptions& options, absl::FunctionRef<absl::StatusOr<BenchRepeat>()> body,
                         BenchReport* report) {
  const Clock& clock = Clock::Real();
  for (int64_t i = 0; i <= options.repeats; ++i) {
    // The first one allocates what the others find.
    const bool timed = i > 0;
    std::string line;
    if (timed && options.interleaved && !std::getline(std::cin, line)) {
      return absl::InvalidArgumentError(absl::StrCat("stdin ended after ", i - 1, " of ", options.repeats, " repeats"));
    }
    const absl::Duration begin = clock.Now();
    const double processor = ProcessorSeconds();
    ASSIGN_OR_RETURN(BenchRepeat repeat, body());
    if (repeat.seconds == 0) repeat.seconds = absl::ToDoubleSeconds(clock.Now() - begin);
    repeat.processor_seconds = ProcessorSeconds() - processor;
    if (options.interleaved) {
      std::cout << nlohmann::ordered_json{{"repeat", i}, {"seconds", repeat.seconds}, {"phases", repeat.phases}}
                << std::endl;
    }
    if (timed) report->repeats.push_back(std::move(repeat));
  }
  report->peak_memory_bytes = PeakMemoryBytes();
  if (!options.device.is_cpu()) {
    const DeviceMemory memory = MemoryOf(options.device);
    report->figures["device_memory"] = {{"allocated_bytes", memory.allocated_bytes},
                                        {"peak_bytes", memory.peak_bytes},
                                        {"reserved_bytes", memory.reserved_bytes}};
  }
  report->load_after = LoadAverage();
  return absl::OkStatus();
}

void AddDifference(const PhaseSeconds& before, const PhaseSeconds& after, PhaseSeconds* sum) {
  for (const auto& [name, seconds] : after) {
    const auto found = before.find(name);
    (*sum)[name] += seconds - (found == before.end() ? 0 : found->second);
  }
}

}  // namespace grpo
