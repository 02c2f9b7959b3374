// Neither publishing nor saving needs a copy of the weights: the trainer's peak of memory stays that of its steps.
#include <filesystem>

#include "common/peak_memory.h"
#include "common/status_testing.h"
#include "model/weights/live_weights.h"
#include "model/weights/weight_set.h"
#include "trainer/checkpoint/snapshot.h"
#include "trainer/optim/adamw.h"

namespace grpo {
namespace {

constexpr int64_t kMiB = int64_t{1} << 20;

TEST(SaveMemoryTest, ThePeakGrowsByLessThanAnyCopyOfTheWeights) {
  ModelConfig config;
  config.vocab_size = 8192;
  config.hidden_size = 512;
  config.intermediate_size = 1536;
  config.num_layers = 8;
  config.num_heads = config.num_kv_heads = 8;
  config.head_dim = 64;
  config.max_positions = 64;
  config.eos_token_ids = {1};
  ASSERT_GE(config.NumParameters() * 4, 110 * kMiB);
  ASSERT_OK_AND_ASSIGN(const auto model, Transformer::Create(config));
  for (const auto& [name, parameter] : model->NamedParameters()) parameter.fill_(0.5);
  model->RequireGrad();
  AdamW optimizer(model->NamedParameters(), {});
  optimizer.Gradients();
  optimizer.Step(/*learning_rate=*/1e-3);
  const int64_t of_a_step = PeakMemoryBytes();

  v1::PolicyRef policy;
  policy.set_policy_id("large");
  policy.set_number(1);
  ASSERT_OK_AND_ASSIGN(const auto weights, LiveWeights::Of(*model, "{}", policy));
  ASSERT_OK(VerifyWeights(*weights)) << "read as a worker reads it";
  EXPECT_LE(PeakMemoryBytes() - of_a_step, 64 * kMiB) << "published";

  const std::string folder = ::testing::TempDir() + "/save_memory";
  std::filesystem::remove_all(folder);
  Snapshot snapshot;
  for (const auto& [name, tensor] : optimizer.State()) snapshot.optimizer[name] = tensor;
  snapshot.policies = {weights};
  CheckpointStore store(folder, 2);
  // The second time it is only looked at whether it is whole.
  for (int i = 0; i < 2; ++i) ASSERT_OK(store.Save(1, *SnapshotToFiles(snapshot)));
  EXPECT_LE(PeakMemoryBytes() - of_a_step, 64 * kMiB) << "saved";
  std::filesystem::remove_all(folder);
}

}  // namespace
}  // namespace grpo
