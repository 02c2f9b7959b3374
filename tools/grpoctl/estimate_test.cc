#include "tools/grpoctl/estimate.h"

#include "common/status_testing.h"

namespace grpo {
namespace {

ModelConfig SmallModel() {
  ModelConfig model;
  model.vocab_size = 58;
  model.hidden_size = 64;
  model.intermediate_size = 192;
  model.num_layers = 3;
  model.num_heads = 4;
  model.num_kv_heads = 2;
  model.head_dim = 16;
  model.max_positions = 512;
  return model;
}

TEST(EstimateTest, TrainerHoldsWeightsGradientsAndTwoMoments) {
  const ModelConfig model = SmallModel();
  TrainerOptions options;
  options.micro_batch_tokens = 1000;
  const TrainerMemory memory = EstimateTrainer(model, "float32", options);
  const double weights = 4.0 * model.NumParameters();
  EXPECT_EQ(memory.weights, weights);
  EXPECT_EQ(memory.optimizer, 2 * weights);
  // 1000 tokens x 4 bytes x (3 layers x (10 x 64 + 3 x 192) + 58 logits).
  EXPECT_EQ(memory.activations, 1000 * 4 * (3 * (640 + 576) + 58));
  EXPECT_EQ(memory.Total(), 4 * weights + memory.activations);
}

TEST(EstimateTest, CheckpointingChunksAndBfloat16NeedLess) {
  const ModelConfig model = SmallModel();
  TrainerOptions options;
  options.micro_batch_tokens = 1000;
  options.head_chunk_bytes = 100;
  // Two float32 numbers of the residual stream stay; the layers' rounded weights come along.
  EXPECT_EQ(EstimateTrainer(model, "bfloat16", options).activations,
            1000 * 3 * (4 * 128 + 2 * (512 + 576)) + 100 + 2.0 * model.NumParameters());
  options.activation_checkpointing = true;
  EXPECT_EQ(EstimateTrainer(model, "float32", options).activations, 1000 * (3 * 4 * 64 + 4 * (640 + 576)) + 100);
}

TEST(EstimateTest, TheBuffersForWorkersHoldWhatTravelsTwice) {
  const ModelConfig model = SmallModel();
  EXPECT_EQ(EstimateWeightBuffers(model, "float32"), 2 * 4.0 * model.NumParameters());
  // 3 layers of q (64 x 64), k and v (32 x 64 each), o (64 x 64), gate, up and down (192 x 64 each).
  const double matrices = 3.0 * 64 * (64 + 32 + 32 + 64 + 3 * 192);
  EXPECT_EQ(EstimateWeightBuffers(model, "bfloat16"), 2 * (4.0 * model.NumParameters() - 2 * matrices));
}

TEST(EstimateTest, WorkerHoldsKeysAndValuesOfEverySlot) {
  RolloutOptions options;
  options.slots = 64;
  // 64 slots x 512 positions x 3 layers x 2 x 2 heads x 16 x 4 bytes.
  EXPECT_EQ(EstimateWorker(SmallModel(), options).kv_cache, 64.0 * 512 * 3 * 2 * 2 * 16 * 4);
  options.context_tokens = 100;
  EXPECT_EQ(EstimateWorker(SmallModel(), options).kv_cache, 64.0 * 100 * 3 * 2 * 2 * 16 * 4);
}

}  // namespace
}  // namespace grpo
