#include "tools/grpoctl_model/verbs.h"

#include <algorithm>
#include <iostream>
#include <map>
#include <memory>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "common/exit_codes.h"
#include "model/matmul.h"
#include "model/threads.h"
#include "model/weights/folder.h"
#include "nlohmann/json.hpp"
#include "tools/grpoctl/verb.h"
#include "tools/grpoctl_model/model_folder.h"
#include "tools/grpoctl_model/model_lines.h"
#include "tools/grpoctl_model/prune.h"

namespace grpo {
namespace {

struct Flags {
  std::string model, policy, out;
  at::ScalarType dtype = at::kFloat;
  int threads = static_cast<int>(std::thread::hardware_concurrency());
  OutputFormat format = OutputFormat::kJson;
  GenerateOptions generate;
  PruneOptions prune;
};

// Loads the model and hands it on; the exit code.
template <typename Body>
int WithModel(const Flags& flags, Placement placement, const Body& body) {
  if (const absl::Status status = UseThreads(flags.threads); !status.ok()) return Fail(status);
  absl::StatusOr<LoadedModel> loaded = LoadModel(flags.model, flags.policy, placement);
  if (!loaded.ok()) return Fail(loaded.status());
  if (!loaded->source.empty()) {
    std::cerr << flags.model
              << " holds no weights of this policy, which was never trained; they come from: " << loaded->source
              << "\n";
  }
  return body(*std::move(loaded));
}

int Inspect(const Flags& flags) {
  return WithModel(flags, {}, [&](LoadedModel loaded) {
    std::cout << (flags.format == OutputFormat::kJson ? ModelJson(loaded) : ModelTable(loaded)) << std::flush;
    return kExitOk;
  });
}

int Tokenize(const Flags& flags) {
  const absl::StatusOr<std::unique_ptr<Tokenizer>> tokenizer = LoadTokenizer(flags.model, flags.policy);
  if (!tokenizer.ok()) return Fail(tokenizer.status());
  return ExitCodeForLines(TokenizeLines(std::cin, std::cout, **tokenizer));
}

int Logprobs(const Flags& flags) {
  return WithModel(flags, {.compute = flags.dtype, .storage = flags.dtype}, [&](LoadedModel loaded) {
    return ExitCodeForLines(LogprobLines(std::cin, std::cout, *loaded.model));
  });
}

int Generate(const Flags& flags) {
  return WithModel(flags, {.compute = flags.dtype, .storage = flags.dtype}, [&](LoadedModel loaded) {
    return ExitCodeForLines(
        GenerateLines(std::cin, std::cout, std::move(loaded.model), *loaded.tokenizer, flags.generate));
  });
}

int Products(const Flags& flags) {
  nlohmann::ordered_json json;
  std::string text = "Products on this machine:";
  for (const auto& [name, type] : {std::pair{"float32", MatrixType::kFloat32}, {"bfloat16", MatrixType::kBfloat16}}) {
    const MatMulTraits& traits = TraitsOfMatMul(type);
    json[name] = {{"kernel", traits.kernel}, {"rows_independent", traits.rows_independent}};
    absl::StrAppend(&text, "\n  ", name, ": ", traits.kernel, ", ",
                    traits.rows_independent
                        ? "a row's bits do not depend on how many rows there are: sampler and trainer agree to 2e-6"
                        : "a row's bits depend on how many rows there are: sampler and trainer differ by rounding, and "
                          "each prompt is computed by itself");
  }
  std::cout << (flags.format == OutputFormat::kJson ? json.dump() : text) << std::endl;
  return kExitOk;
}

int Export(const Flags& flags) {
  return WithModel(flags, {}, [&](LoadedModel loaded) {
    const ExportOptions options = {.dtype = flags.dtype == at::kBFloat16 ? v1::DTYPE_BFLOAT16 : v1::DTYPE_FLOAT32};
    const absl::Status exported =
        ExportFolder(*loaded.model, loaded.tokenizer_json, loaded.companions, flags.out, options);
    if (!exported.ok()) return Fail(exported);
    std::cout << nlohmann::json{{"exported_to", flags.out}}.dump(-1, ' ', false,
                                                                 nlohmann::json::error_handler_t::replace)
              << "\n";
    return static_cast<int>(kExitOk);
  });
}

int Prune(const Flags& flags) {
  const absl::StatusOr<std::vector<int64_t>> layers = PruneFolder(flags.model, flags.prune, flags.out);
  if (!layers.ok()) return Fail(layers.status());
  std::cout << (flags.format == OutputFormat::kJson ? PrunedJson(*layers, flags.out) : PrunedTable(*layers))
            << std::flush;
  return kExitOk;
}

void AddPruneOptions(CLI::App& verb, Flags& flags) {
  verb.add_option("--model", flags.model, "A Hugging Face folder; `grpoctl model export` makes one of a checkpoint")
      ->required()
      ->option_text("DIR");
  verb.add_option("--layers", flags.prune.layers,
                  "Which layers stay: numbers from 1 in rising order with commas between, or even (default). Even: the "
                  "first, the last, and the others at equal distances between them; the k-th of N is layer 1 + (k - 1) "
                  "(L - 1) / (N - 1) of L, rounded to the nearest, halves up. The first alone where one stays")
      ->option_text("even|A,B,...");
  verb.add_option("--keep", flags.prune.keep, "How many stay of --layers even (default: half, rounded up)")
      ->option_text("N");
  verb.add_option("--out", flags.out, "The folder to write; it must not be there, or be empty")
      ->required()
      ->option_text("DIR");
  AddOutputOption(verb, &flags.format);
}

void AddModelOptions(CLI::App& verb, Flags& flags) {
  verb.add_option("--model", flags.model, "A Hugging Face folder, or a run's checkpoint (RUN/checkpoints/step-...)")
      ->required()
      ->option_text("DIR");
  verb.add_option("--policy", flags.policy, "Which policy of a checkpoint; needed when it holds several")
      ->option_text("NAME");
}

void AddDtypeOption(CLI::App& verb, Flags& flags, const char* help) {
  static const std::map<std::string, at::ScalarType> kDtypes = {{"float32", at::kFloat}, {"bfloat16", at::kBFloat16}};
  verb.add_option("--dtype", flags.dtype, help)
      ->transform(CLI::CheckedTransformer(kDtypes, CLI::ignore_case).description("float32|bfloat16"))
      ->option_text("float32|bfloat16");
}

void AddComputeOptions(CLI::App& verb, Flags& flags) {
  AddDtypeOption(verb, flags, "What the layers compute in (default: float32)");
  verb.add_option("--threads", flags.threads, "Threads (default: one for each core)")
      ->check(CLI::Range(1, 1024))
      ->option_text("N");
}

void AddGenerateOptions(CLI::App& verb, GenerateOptions& generate) {
  verb.add_option("--max-new-tokens", generate.max_new_tokens, "Longest completion (default: 128)")
      ->check(CLI::Range(int64_t{1}, int64_t{1} << 24))
      ->option_text("N");
  verb.add_option("--temperature", generate.temperature, "0 takes the most likely token (default: 1)")
      ->check(CLI::Range(0.0, 100.0))
      ->option_text("T");
  verb.add_option("--top-p", generate.top_p, "Draw from the most likely tokens that sum to this (default: 1)")
      ->check(CLI::Range(0.001, 1.0))
      ->option_text("P");
  verb.add_option("--top-k", generate.top_k, "Draw from so many of the most likely tokens (default: 0, all)")
      ->check(CLI::Range(int64_t{0}, int64_t{1} << 24))
      ->option_text("K");
  verb.add_option("--min-p", generate.min_p,
                  "Draw from tokens at least this many times as likely as the most likely one (default: 0, all)")
      ->check(CLI::Range(0.0, 1.0))
      ->option_text("P");
  verb.add_option("--stop", generate.stop,
                  "A text that ends a completion, which keeps what is before it; may be repeated")
      ->allow_extra_args(false)
      ->option_text("TEXT");
  verb.add_option("--seed", generate.seed, "Same seed and line, same completion (default: 0)")->option_text("S");
  verb.add_option("-n", generate.num_completions, "Completions for each line (default: 1)")
      ->check(CLI::Range(int64_t{1}, int64_t{4096}))
      ->option_text("N");
  verb.add_option("--slots", generate.slots, "Completions decoded at the same time (default: 16)")
      ->check(CLI::Range(int64_t{1}, int64_t{65536}))
      ->option_text("N");
}

}  // namespace

void AddModelVerbs(CLI::App& app, int* exit_code) {
  CLI::App* model =
      app.add_subcommand("model", "A model's folder: inspect, tokenize, logprobs, generate, export, prune");
  model->footer(
      "  grpoctl model inspect --model models/smollm2-135m\n"
      "  echo '{\"prompt\":\"1, 2, 3,\"}' | grpoctl model generate --model models/smollm2-135m --temperature 0");
  model->require_subcommand(1);
  const auto flags = std::make_shared<Flags>();
  CLI::App* inspect = AddSubcommand(
      *model, "inspect", "Read all of it and say its shape",
      "  grpoctl model inspect --model models/smollm2-135m\n"
      "  grpoctl model inspect --model runs/quickstart/checkpoints/step-000000000120 --policy r1_zero --output table",
      [flags] { return Inspect(*flags); }, exit_code);
  AddOutputOption(*inspect, &flags->format);
  CLI::App* tokenize = AddSubcommand(
      *model, "tokenize", "Text to token ids: {\"text\"} in, {\"ids\",\"decoded\"} out",
      "  echo '{\"id\":1,\"text\":\"What is 12 + 30?\"}' | grpoctl model tokenize --model models/smollm2-135m",
      [flags] { return Tokenize(*flags); }, exit_code);
  CLI::App* logprobs = AddSubcommand(
      *model, "logprobs", "Log-probability of each token after the first: {\"ids\"} in, {\"logprobs\"} out",
      "  echo '{\"ids\":[40,1079,264]}' | grpoctl model logprobs --model models/smollm2-135m --dtype bfloat16",
      [flags] { return Logprobs(*flags); }, exit_code);
  AddComputeOptions(*logprobs, *flags);
  CLI::App* generate = AddSubcommand(
      *model, "generate",
      "Sample: {\"prompt\"} or {\"ids\"} in, {\"completions\":[{\"text\",\"ids\",\"logprobs\",...}]} out",
      "  echo '{\"prompt\":\"1, 2, 3,\"}' | grpoctl model generate --model models/smollm2-135m --temperature 0\n"
      "  grpoctl model generate --model models/smollm2-135m -n 8 --temperature 0.6 --top-p 0.95 < prompts.jsonl",
      [flags] { return Generate(*flags); }, exit_code);
  AddComputeOptions(*generate, *flags);
  AddGenerateOptions(*generate, flags->generate);
  CLI::App* exporting = AddSubcommand(
      *model, "export", "Write a folder that transformers loads; an export that is there already is replaced",
      "  grpoctl model export --model runs/quickstart/checkpoints/step-000000000120 --policy r1_zero --out exported\n"
      "  grpoctl model export --model models/smollm2-135m --dtype bfloat16 --out models/small",
      [flags] { return Export(*flags); }, exit_code);
  exporting->add_option("--out", flags->out, "The folder to write")->required()->option_text("DIR");
  AddDtypeOption(*exporting, *flags, "What the file holds (default: float32)");
  CLI::App* pruning = AddSubcommand(
      *model, "prune",
      "Write a folder with fewer layers, for a student of this model; says which layer of the teacher each one was",
      "  grpoctl model prune --model models/smollm2-135m --out models/smollm2-135m-half\n"
      "  grpoctl model prune --model models/smollm2-135m --layers even --keep 10 --out models/third --output table\n"
      "  grpoctl model prune --model models/smollm2-135m --layers 1,2,3,28,29,30 --out models/ends",
      [flags] { return Prune(*flags); }, exit_code);
  AddPruneOptions(*pruning, *flags);
  CLI::App* products = AddSubcommand(
      *model, "products",
      "Which kernels multiply matrices on this machine, and whether sampler and trainer agree with them",
      "  grpoctl model products", [flags] { return Products(*flags); }, exit_code);
  AddOutputOption(*products, &flags->format);
  for (CLI::App* verb : {inspect, tokenize, logprobs, generate, exporting}) AddModelOptions(*verb, *flags);
}

}  // namespace grpo
