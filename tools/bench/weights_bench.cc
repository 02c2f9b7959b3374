// How long a new version of the weights takes from the trainer to a worker on the same machine:
//
//   bazel-bin/tools/weights_bench [--layers 30 --hidden-size 576 ...] [--dtype bfloat16] [--threads 2] [--versions 5]
//       [--grpc]
//
// Random weights of SmolLM2-135M's shape, changed a little for each version, go from a Coordinator to the weight
// channel that a worker would use, in one process. Prints a JSON line a version: seconds until it is published (hashed),
// until it lies in the shared memory (rounded, copied), until the worker holds it (copied into the model, hashed), and
// the processor time; and what the worker holds is compared with what was published.
#include <ATen/TensorOperators.h>
#include <ATen/ops/equal.h>
#include <sys/resource.h>
#include <unistd.h>

#include <filesystem>
#include <iostream>
#include <memory>
#include <nlohmann/json.hpp>
#include <string>

#include "CLI/CLI.hpp"
#include "absl/strings/str_cat.h"
#include "common/clock.h"
#include "common/exit_codes.h"
#include "common/log.h"
#include "common/peak_memory.h"
#include "common/rpc/client.h"
#include "common/rpc/server.h"
#include "common/status_macros.h"
#include "common/version.h"
#include "coordinator/coordinator.h"
#include "coordinator/local_weights.h"
#include "coordinator/service.h"
#include "coordinator/weight_channels.h"
#include "model/tensor.h"
#include "model/threads.h"
#include "model/transformer.h"
#include "model/weights/live_weights.h"
#include "model/weights/weight_set.h"
#include "rollout/session.h"
#include "rollout/weight_channel.h"

namespace grpo {
namespace {

constexpr char kTokenizer[] = R"({"decoder": {"type": "Fuse"},
    "added_tokens": [{"id": 0, "content": "<eos>", "special": true}],
    "model": {"type": "BPE", "merges": [], "vocab": {"<eos>": 0, "a": 1, "b": 2, "c": 3}}})";

struct Flags {
  ModelConfig shape;
  std::string dtype = "bfloat16";
  int64_t threads = 2, versions = 5;
  bool grpc = false;
};

ModelConfig SmolLm2() {
  ModelConfig config;
  config.vocab_size = 49152;
  config.hidden_size = 576;
  config.intermediate_size = 1536;
  config.num_layers = 30;
  config.num_heads = 9;
  config.num_kv_heads = 3;
  config.head_dim = 64;
  config.max_positions = 512;
  config.tie_word_embeddings = true;
  config.eos_token_ids = {0};
  return config;
}

double CpuSeconds() {
  rusage usage = {};
  ::getrusage(RUSAGE_SELF, &usage);
  const auto seconds = [](const timeval& time) {
    return static_cast<double>(time.tv_sec) + 1e-6 * static_cast<double>(time.tv_usec);
  };
  return seconds(usage.ru_utime) + seconds(usage.ru_stime);
}

// Whether the worker holds what the trainer has, in the dtype in which it keeps it.
bool Same(const Transformer& trained, const Transformer& held) {
  const NamedTensors a = trained.HuggingFaceTensors(), b = held.HuggingFaceTensors();
  for (size_t i = 0; i < a.size(); ++i) {
    if (!a[i].second.to(b[i].second.scalar_type()).equal(b[i].second)) return false;
  }
  return a.size() == b.size();
}

// A lease of the first version's, which is what a worker fetches weights for.
absl::Status TakeLease(Coordinator& coordinator, Session& session) {
  v1::Lease lease;
  lease.mutable_key()->set_stage("bench");
  lease.set_kind(v1::LEASE_KIND_TRAIN);
  lease.mutable_sampling()->set_num_completions(1);
  lease.mutable_sampling()->set_max_new_tokens(1);
  RETURN_IF_ERROR(coordinator.Offer({lease}));
  v1::WeightsManifest manifest;
  coordinator.Publish(std::make_shared<PayloadWeights>(manifest, std::vector<absl::string_view>{}));
  v1::LeaseGroupsRequest request;
  request.set_worker_id(session.WorkerId());
  request.set_max_groups(1);
  request.set_max_completions(1);
  request.set_wait_ms(1000);
  ASSIGN_OR_RETURN(const v1::LeaseGroupsResponse leases, coordinator.LeaseGroups(request));
  if (leases.leases().empty()) return absl::InternalError("the coordinator gave no lease");
  session.Track(1, leases.leases(0).key());
  return absl::OkStatus();
}

absl::Status Run(const Flags& flags) {
  RETURN_IF_ERROR(UseThreads(flags.threads));
  const Clock& clock = Clock::Real();
  const at::ScalarType compute = flags.dtype == "bfloat16" ? at::kBFloat16 : at::kFloat;
  ASSIGN_OR_RETURN(const std::unique_ptr<Transformer> model, Transformer::Create(flags.shape, {.compute = compute}));
  model->InitializeRandom(/*seed=*/1);
  Coordinator coordinator({}, {.run_id = "bench", .config_sha256 = "", .epoch = 1});
  CoordinatorService service(&coordinator);
  ASSIGN_OR_RETURN(const auto server, rpc::Server::Start({}, {&service}));
  std::unique_ptr<LocalWeights> local;
  if (!flags.grpc) {
    const std::string socket = std::filesystem::temp_directory_path() / absl::StrCat("weights_bench.", ::getpid());
    ASSIGN_OR_RETURN(local,
                     LocalWeights::Serve(&coordinator, {.socket = socket, .buffers = {.num_threads = flags.threads}}));
  }
  ASSIGN_OR_RETURN(const std::shared_ptr<rpc::Client> client, rpc::Client::Create(server->address()));
  Session session(
      client,
      {.run_id = "bench", .config_sha256 = "", .worker_name = "bench", .weight_channels = WeightChannelNames()});
  const std::string name = session.WeightChannelName();
  ASSIGN_OR_RETURN(const auto channel, MakeWeightChannel(name, client, &session));
  RETURN_IF_ERROR(TakeLease(coordinator, session));
  v1::PolicyRef policy;
  policy.set_policy_id("bench");
  HeldPolicy held;
  for (int64_t number = 1; number <= flags.versions; ++number) {
    policy.set_number(number);
    for (const auto& [tensor_name, tensor] : model->HuggingFaceTensors()) tensor.mul_(0.999);
    const absl::Duration started = clock.Now();
    const double cpu = CpuSeconds();
    ASSIGN_OR_RETURN(const auto live, LiveWeights::Of(*model, kTokenizer, policy, {}, WeightsForm::kSampled));
    coordinator.Publish(live);
    const absl::Duration published = clock.Now();
    const double published_cpu = CpuSeconds();
    // What the coordinator does once the first worker asks.
    if (local != nullptr) RETURN_IF_ERROR(local->buffers().Lend(*live).status());
    const absl::Duration filled = clock.Now();
    ASSIGN_OR_RETURN(held, channel->Fetch(policy, 1, number == 1 ? nullptr : &held));
    const absl::Duration fetched = clock.Now();
    const nlohmann::ordered_json line = {{"version", number},
                                         {"channel", ChannelName(name)},
                                         {"payload_bytes", held.manifest.payload_bytes()},
                                         {"publish_seconds", absl::ToDoubleSeconds(published - started)},
                                         {"fill_seconds", absl::ToDoubleSeconds(filled - published)},
                                         {"fetch_seconds", absl::ToDoubleSeconds(fetched - filled)},
                                         {"total_seconds", absl::ToDoubleSeconds(fetched - started)},
                                         {"publish_cpu_seconds", published_cpu - cpu},
                                         {"fetch_cpu_seconds", CpuSeconds() - published_cpu},
                                         {"peak_memory_bytes", PeakMemoryBytes()},
                                         {"same", Same(*model, *held.model)}};
    std::cout << line.dump() << std::endl;
    live->Retire(absl::Seconds(10));
  }
  return absl::OkStatus();
}

int Main(int argc, char** argv) {
  Flags flags = {.shape = SmolLm2()};
  CLI::App app("How long a new version of the weights takes to a worker on the same machine");
  app.add_option("--layers", flags.shape.num_layers, "Decoder layers");
  app.add_option("--hidden-size", flags.shape.hidden_size, "Width; a multiple of 9 heads");
  app.add_option("--intermediate-size", flags.shape.intermediate_size, "Width of the MLP");
  app.add_option("--vocab-size", flags.shape.vocab_size, "Rows of the embedding");
  app.add_option("--dtype", flags.dtype, "float32 or bfloat16");
  app.add_option("--threads", flags.threads, "Threads of the process");
  app.add_flag("--grpc", flags.grpc, "Not through shared memory");
  app.add_option("--versions", flags.versions, "Versions that are published");
  CLI11_PARSE(app, argc, argv);
  InitLogging("weights_bench");
  const absl::Status status = Run(flags);
  if (!status.ok()) std::cerr << status << "\n";
  return ExitCodeFor(status, kExitConfig);
}

}  // namespace
}  // namespace grpo

int main(int argc, char** argv) {
  return grpo::Main(argc, argv);
}
