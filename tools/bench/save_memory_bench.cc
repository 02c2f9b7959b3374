// What the trainer's peak of memory grows by when it publishes and when it saves:
//
//   bazel-bin/tools/save_memory_bench [--layers 12 --hidden-size 768 --intermediate-size 3072 --vocab-size 16384]
//       [--tokens 512] [--folder DIR]
//
// Random weights of that shape take two optimizer steps; then a client pulls all of them from a Coordinator over
// loopback, as a worker does, but keeps nothing; then weights and AdamW's moments go into a checkpoint in DIR (of the
// system's temporary folder), which is removed. Prints one JSON line. The peaks are of the whole process so far, so each
// one less the one before it is what that part needed beyond.
#include <ATen/Parallel.h>
#include <ATen/TensorOperators.h>
#include <ATen/ops/arange.h>
#include <ATen/ops/randint.h>
#include <unistd.h>

#include <algorithm>
#include <filesystem>
#include <iostream>
#include <memory>
#include <nlohmann/json.hpp>
#include <string>

#include "CLI/CLI.hpp"
#include "absl/cleanup/cleanup.h"
#include "absl/strings/str_cat.h"
#include "common/clock.h"
#include "common/exit_codes.h"
#include "common/files.h"
#include "common/peak_memory.h"
#include "common/rpc/client.h"
#include "common/rpc/server.h"
#include "common/rpc/status.h"
#include "common/status_macros.h"
#include "coordinator/coordinator.h"
#include "coordinator/service.h"
#include "model/lm_head.h"
#include "model/tensor.h"
#include "model/transformer.h"
#include "model/weights/live_weights.h"
#include "trainer/checkpoint/snapshot.h"
#include "trainer/checkpoint/store.h"
#include "trainer/optim/adamw.h"

namespace grpo {
namespace {

struct Flags {
  ModelConfig shape;
  int64_t tokens = 512;
  std::string folder;
};

ModelConfig DefaultShape() {
  ModelConfig config;
  config.vocab_size = 16384;
  config.hidden_size = 768;
  config.intermediate_size = 3072;
  config.num_layers = 12;
  config.num_heads = config.num_kv_heads = 12;
  config.max_positions = 1024;
  config.eos_token_ids = {0};
  return config;
}

absl::Status TakeStep(const Transformer& model, AdamW& optimizer, int64_t num_tokens) {
  return TorchGuard([&] {
    optimizer.ZeroGrad();
    const at::Tensor ids = at::randint(model.config().vocab_size, {num_tokens}, at::kLong);
    PackedAttention attention({num_tokens});
    const at::Tensor hidden = model.Forward(ids, at::arange(num_tokens), attention);
    (-TargetLogprobs(hidden, model.head(), ids, /*temperature=*/1).mean()).backward();
    optimizer.Step(/*learning_rate=*/1e-6);
    return absl::OkStatus();
  });
}

// Publishes the weights and pulls them over loopback. Returns how many bytes came.
absl::StatusOr<int64_t> PublishAndPull(std::shared_ptr<const WeightSource> weights) {
  Coordinator coordinator({}, {.run_id = "bench", .config_sha256 = "", .epoch = 1});
  CoordinatorService service(&coordinator);
  ASSIGN_OR_RETURN(const auto server, rpc::Server::Start({}, {&service}));
  v1::PullWeightsRequest request;
  *request.mutable_policy() = weights->manifest().policy();
  coordinator.Publish(std::move(weights));
  ASSIGN_OR_RETURN(const auto client, rpc::Client::Create(server->address()));
  const auto stub = v1::Coordinator::NewStub(client->channel());
  rpc::CallContext context(*client, absl::Minutes(10));
  const auto reader = stub->PullWeights(&context, request);
  v1::PullWeightsResponse message;
  int64_t num_bytes = 0;
  while (reader->Read(&message)) num_bytes += static_cast<int64_t>(message.chunk().data().size());
  RETURN_IF_ERROR(rpc::FromGrpc(context.Ended(reader->Finish())));
  return num_bytes;
}

absl::Status Run(const Flags& flags) {
  const Clock& clock = Clock::Real();
  ASSIGN_OR_RETURN(const std::unique_ptr<Transformer> model, Transformer::Create(flags.shape));
  model->InitializeRandom(/*seed=*/1);
  model->RequireGrad();
  AdamW optimizer(model->NamedParameters(), {});
  for (int i = 0; i < 2; ++i) RETURN_IF_ERROR(TakeStep(*model, optimizer, flags.tokens));
  const int64_t step_bytes = PeakMemoryBytes();

  const absl::Duration started = clock.Now();
  v1::PolicyRef policy;
  policy.set_policy_id("bench");
  ASSIGN_OR_RETURN(const auto weights, LiveWeights::Of(*model, "{}", policy));
  const absl::Duration hashed = clock.Now();
  ASSIGN_OR_RETURN(const int64_t num_pulled, PublishAndPull(weights));
  const absl::Duration pulled = clock.Now();
  const int64_t publish_bytes = PeakMemoryBytes();

  const std::string folder = absl::StrCat(flags.folder, "/save_memory_bench.", ::getpid());
  const absl::Cleanup remove = [&] { RemoveAll(folder).IgnoreError(); };
  Snapshot snapshot;
  for (const auto& [name, tensor] : optimizer.State()) snapshot.optimizer[name] = tensor;
  snapshot.policies = {weights};
  ASSIGN_OR_RETURN(const CheckpointFiles files, SnapshotToFiles(snapshot));
  RETURN_IF_ERROR(CheckpointStore(folder, /*keep=*/2).Save(1, files).status());
  const int64_t save_bytes = PeakMemoryBytes();
  const nlohmann::ordered_json line = {{"num_parameters", flags.shape.NumParameters()},
                                       {"pulled_bytes", num_pulled},
                                       {"peak_step_bytes", step_bytes},
                                       {"peak_publish_bytes", publish_bytes},
                                       {"peak_save_bytes", save_bytes},
                                       {"growth_bytes", save_bytes - step_bytes},
                                       {"hash_seconds", absl::ToDoubleSeconds(hashed - started)},
                                       {"pull_seconds", absl::ToDoubleSeconds(pulled - hashed)},
                                       {"save_seconds", absl::ToDoubleSeconds(clock.Now() - pulled)}};
  std::cout << line.dump() << "\n";
  return absl::OkStatus();
}

int Main(int argc, char** argv) {
  Flags flags = {.shape = DefaultShape(), .folder = std::filesystem::temp_directory_path().string()};
  CLI::App app("The memory that publishing and saving take beyond a training step's");
  app.add_option("--layers", flags.shape.num_layers, "Decoder layers");
  app.add_option("--hidden-size", flags.shape.hidden_size, "Width; a multiple of 12 heads");
  app.add_option("--intermediate-size", flags.shape.intermediate_size, "Width inside the SwiGLU");
  app.add_option("--vocab-size", flags.shape.vocab_size, "Rows of the embedding");
  app.add_option("--tokens", flags.tokens, "Tokens of a training step");
  app.add_option("--folder", flags.folder, "Where the checkpoint is written, and removed");
  CLI11_PARSE(app, argc, argv);
  flags.shape.head_dim = flags.shape.hidden_size / flags.shape.num_heads;
  flags.shape.max_positions = std::max(flags.shape.max_positions, flags.tokens);
  const absl::Status status = Run(flags);
  if (status.ok()) return kExitOk;
  std::cerr << status.message() << "\n";
  return kExitRunFailed;
}

}  // namespace
}  // namespace grpo

int main(int argc, char** argv) {
  return grpo::Main(argc, argv);
}
