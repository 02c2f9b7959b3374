#include "tools/grpoctl_model/bench/verbs.h"

#include <iostream>
#include <memory>
#include <string>
#include <thread>

#include "common/exit_codes.h"
#include "common/log.h"
#include "common/status_macros.h"
#include "model/device.h"
#include "model/device_names.h"
#include "model/threads.h"
#include "tools/grpoctl/bench/options.h"
#include "tools/grpoctl/verb.h"
#include "tools/grpoctl_model/bench/benches.h"

namespace grpo {
namespace {

struct Flags {
  BenchOptions bench = {.threads = std::thread::hardware_concurrency()};
  std::string device = "auto";
  OutputFormat format = OutputFormat::kTable;
};

// As a run prepares it.
absl::StatusOr<c10::Device> PrepareDevice(const std::string& name) {
  ASSIGN_OR_RETURN(const int local_rank, LocalRank());
  ASSIGN_OR_RETURN(const c10::Device device, ResolveDevice(name, local_rank));
  RETURN_IF_ERROR(UseDevice(device, /*deterministic=*/true));
  return device;
}

int Run(Flags& flags, absl::StatusOr<BenchReport> (*bench)(const BenchOptions&)) {
  if (flags.bench.model.empty() == flags.bench.random.empty()) {
    std::cerr << "grpoctl: give one of --model and --random\n";
    return kExitUsage;
  }
  // A line for each version that the worker holds is of no use here.
  spdlog::set_level(spdlog::level::warn);
  if (const absl::Status status = UseThreads(flags.bench.threads); !status.ok()) return Fail(status);
  const absl::StatusOr<c10::Device> device = PrepareDevice(flags.device);
  if (!device.ok()) return Fail(device.status());
  flags.bench.device = *device;
  const absl::StatusOr<BenchReport> report = bench(flags.bench);
  if (!report.ok()) return Fail(report.status());
  std::cout << BenchText(*report, flags.format == OutputFormat::kJson) << std::flush;
  return kExitOk;
}

void AddWorkOptions(CLI::App& verb, BenchOptions& bench) {
  verb.add_option("--model", bench.model, "A Hugging Face folder, or a run's checkpoint")->option_text("DIR");
  verb.add_option("--random", bench.random, "In place of --model: a config.json, whose shape gets random weights")
      ->option_text("FILE");
  verb.add_option("--policy", bench.policy, "Which policy of a checkpoint; needed when it holds several")
      ->option_text("NAME");
  AddCount(verb, "--prompts", bench.prompts, "Groups");
  AddCount(verb, "--group", bench.group, "Completions of each");
  AddCount(verb, "--prompt-tokens", bench.prompt_tokens, "Tokens of each prompt, drawn at random");
  AddCount(verb, "--new-tokens", bench.new_tokens, "Tokens of each completion, whatever end token is drawn");
  const auto dtype_of = [](const std::string& name) { return name == "bfloat16" ? at::kBFloat16 : at::kFloat; };
  verb.add_option_function<std::string>(
          "--dtype", [=, &bench](const std::string& name) { bench.dtype = dtype_of(name); },
          "What the layers compute in (default: float32)")
      ->check(CLI::IsMember({"float32", "bfloat16"}))
      ->option_text("float32|bfloat16");
  verb.add_option_function<std::string>(
          "--head-dtype",
          [=, &bench](const std::string& name) {
            bench.head_dtype = dtype_of(name);
            bench.head_tf32 = name == "tf32";
          },
          "What the output head computes in (default: float32); tf32 on GPUs alone")
      ->check(CLI::IsMember({"float32", "bfloat16", "tf32"}))
      ->option_text("float32|bfloat16|tf32");
}

// Options that every verb has, and those of its work.
void AddOptions(CLI::App& verb, Flags& flags) {
  AddWorkOptions(verb, flags.bench);
  verb.add_option("--device", flags.device,
                  "What is measured (default: auto, a GPU where this build and the machine have one)")
      ->check(CLI::IsMember(DeviceNames()))
      ->option_text("auto|cpu|cuda");
  AddTimingOptions(verb, &flags.bench.threads, &flags.bench.seed, &flags.bench.repeats, &flags.format);
  verb.add_flag("--interleaved", flags.bench.interleaved,
                "A repeat for each line of stdin, told at once as a JSON line: to take turns with another program");
}

void AddProfileOption(CLI::App& verb, BenchOptions& bench) {
  verb.add_flag("--profile", bench.profile, "Once more, with the seconds of the longest of torch's operators");
}

void AddChannelOption(CLI::App& verb, BenchOptions& bench) {
  verb.add_option("--channel", bench.channel, "Weight channel (default: as a run, the best there is)")
      ->option_text("NAME");
}

void AddRollout(CLI::App& bench, int* exit_code) {
  const auto flags = std::make_shared<Flags>();
  CLI::App* verb = AddSubcommand(
      bench, "rollout", "Sample groups with the engine: prefill, decode, head, sample",
      "  grpoctl bench rollout --model models/smollm2-135m --prompts 8 --group 8 --prompt-tokens 128 --new-tokens 128\n"
      "  grpoctl bench rollout --random tools/bench/shapes/qwen2_3.7m.json --dtype bfloat16 --threads 2 --json",
      [flags] { return Run(*flags, BenchRollout); }, exit_code);
  AddOptions(*verb, *flags);
  AddCount(*verb, "--slots", flags->bench.slots, "Completions decoded at the same time; 0: all", 0);
  AddProfileOption(*verb, flags->bench);
}

void AddStep(CLI::App& bench, int* exit_code) {
  const auto flags = std::make_shared<Flags>();
  CLI::App* verb = AddSubcommand(
      bench, "step", "A trainer's step on groups that are there: forward, head, backward, optimizer",
      "  grpoctl bench step --model models/smollm2-135m --prompts 4 --group 8 --new-tokens 64 --dtype bfloat16\n"
      "  grpoctl bench step --whole --random tools/bench/shapes/qwen2_3.7m.json --repeats 9 --output json",
      [flags] { return Run(*flags, BenchStep); }, exit_code);
  AddOptions(*verb, *flags);
  verb->add_flag("--whole", flags->bench.whole,
                 "Publish, sample and score first, as a run does, with a worker and a reward server in this process");
  AddCount(*verb, "--slots", flags->bench.slots, "With --whole: completions decoded at the same time; 0: all", 0);
  AddCount(*verb, "--micro-batch-tokens", flags->bench.micro_batch_tokens, "As trainer.micro_batch_tokens");
  verb->add_flag("--activation-checkpointing", flags->bench.activation_checkpointing,
                 "As trainer.activation_checkpointing");
  AddChannelOption(*verb, flags->bench);
  AddProfileOption(*verb, flags->bench);
}

void AddPublish(CLI::App& bench, int* exit_code) {
  const auto flags = std::make_shared<Flags>();
  // Its first token is what it is about.
  flags->bench.prompts = flags->bench.group = 1;
  flags->bench.prompt_tokens = 8;
  flags->bench.new_tokens = 2;
  CLI::App* verb = AddSubcommand(
      bench, "publish", "A new version of the weights, from the update's end to a worker's first token",
      "  grpoctl bench publish --model models/smollm2-135m --dtype bfloat16 --threads 2",
      [flags] { return Run(*flags, BenchPublish); }, exit_code);
  AddOptions(*verb, *flags);
  AddChannelOption(*verb, flags->bench);
}

}  // namespace

void AddModelBenchVerbs(CLI::App& app, int* exit_code) {
  CLI::App* bench = app.add_subcommand("bench", "Fixed work, timed phase by phase: rollout, step, publish, reward");
  bench->footer("  grpoctl bench rollout --model models/smollm2-135m --dtype bfloat16 --threads 2");
  bench->require_subcommand(1);
  AddRollout(*bench, exit_code);
  AddStep(*bench, exit_code);
  AddPublish(*bench, exit_code);
}

}  // namespace grpo
