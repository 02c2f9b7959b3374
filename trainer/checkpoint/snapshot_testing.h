// A small run's snapshot for tests.
#ifndef GRPO_TRAINER_CHECKPOINT_SNAPSHOT_TESTING_H_
#define GRPO_TRAINER_CHECKPOINT_SNAPSHOT_TESTING_H_

#include <ATen/ops/tensor.h>

#include <map>
#include <memory>
#include <string>

#include "common/status_testing.h"
#include "model/transformer.h"
#include "model/weights/live_weights.h"
#include "trainer/checkpoint/snapshot.h"

namespace grpo {

// The files whole, to look at and to change.
inline std::map<std::string, std::string> TextsOf(const absl::StatusOr<CheckpointFiles>& files) {
  std::map<std::string, std::string> texts;
  EXPECT_OK(files);
  if (!files.ok()) return texts;
  for (const auto& [name, content] : *files) {
    std::string& text = texts[name];
    EXPECT_OK(content.WriteTo([&](absl::string_view part) {
      text.append(part.data(), part.size());
      return absl::OkStatus();
    }));
  }
  return texts;
}

// What a store would have loaded; `files` outlives it.
inline std::shared_ptr<const CheckpointStore::Loaded> LoadedFrom(const std::map<std::string, std::string>& files) {
  auto loaded = std::make_shared<CheckpointStore::Loaded>();
  for (const auto& [name, text] : files) loaded->files[name] = text;
  return loaded;
}

// A policy's weights as a text that can be compared. Empty, and a failure of the test, when it cannot be read.
inline std::string PayloadOf(const WeightSource& weights) {
  std::string payload(static_cast<size_t>(weights.manifest().payload_bytes()), '\0');
  const auto reader = weights.Open();
  EXPECT_OK(reader);
  if (!reader.ok()) return "";
  EXPECT_OK(reader->Read(0, absl::MakeSpan(payload)));
  return payload;
}

// A model of one layer, in the middle of the second stage. The policy "base" has number 31; the optimizer holds one
// moment of two numbers. The same values at every call.
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
  snapshot.policies.push_back(*LiveWeights::Of(*model, "{\"tokenizer\": true}", policy));
  return snapshot;
}

}  // namespace grpo

#endif  // GRPO_TRAINER_CHECKPOINT_SNAPSHOT_TESTING_H_
