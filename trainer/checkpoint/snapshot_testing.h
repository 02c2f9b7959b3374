// A small run's snapshot for tests.
#ifndef GRPO_TRAINER_CHECKPOINT_SNAPSHOT_TESTING_H_
#define GRPO_TRAINER_CHECKPOINT_SNAPSHOT_TESTING_H_

#include <ATen/ops/tensor.h>

#include <memory>

#include "trainer/checkpoint/snapshot.h"

namespace grpo {

// A model of one layer, in the middle of the second stage.
inline Snapshot ExampleSnapshot() {
  ModelConfig config;
  config.vocab_size = 7;
  config.hidden_size = 4;
  config.intermediate_size = 6;
  config.num_layers = 1;
  config.num_heads = config.num_kv_heads = 2;
  config.head_dim = 2;
  config.max_positions = 16;
  config.eos_token_ids = {1};
  const std::unique_ptr<Transformer> model = *Transformer::Create(config);
  model->InitializeRandom(5);
  v1::PolicyRef policy;
  policy.set_policy_id("base");
  policy.set_number(31);
  Snapshot snapshot;
  snapshot.state.run_id = "run";
  snapshot.state.epoch = 3;
  snapshot.state.sequence = 40;
  snapshot.state.stage_index = 1;
  snapshot.state.stage = "tune";
  snapshot.state.progress = {.step = 9, .data_position = 144, .seconds = 2.5, .optimizer_steps = 18};
  snapshot.state.stage_reports = {{{"name", "pretrain"}, {"seconds", 1.5}}};
  snapshot.state.config_sha256 = "c0";
  snapshot.state.data_sha256 = {{"problems", "d0"}};
  snapshot.state.environment = {.build = "0.1.0", .world_size = 1, .threads = 2, .cpu_capability = "AVX2"};
  snapshot.resolved_yaml = "run: {}\n";
  snapshot.optimizer["w.exp_avg"] = at::tensor({1.0f, -2.5f});
  snapshot.policies.push_back(*PackWeights(*model, "{\"tokenizer\": true}", policy));
  return snapshot;
}

}  // namespace grpo

#endif  // GRPO_TRAINER_CHECKPOINT_SNAPSHOT_TESTING_H_
