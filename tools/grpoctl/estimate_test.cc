#include "tools/grpoctl/estimate.h"

#include "common/status_testing.h"
#include "trainer/memory_need_testing.h"

namespace grpo {
namespace {

TEST(EstimateTest, WorkerHoldsKeysAndValuesOfEverySlot) {
  RolloutOptions options;
  options.slots = 64;
  // 64 slots x 512 positions x 3 layers x 2 x 2 heads x 16 x 4 bytes.
  EXPECT_EQ(EstimateWorker(SmallModel(), {}, options).kv_cache, 64.0 * 512 * 3 * 2 * 2 * 16 * 4);
  options.context_tokens = 100;
  EXPECT_EQ(EstimateWorker(SmallModel(), {}, options).kv_cache, 64.0 * 100 * 3 * 2 * 2 * 16 * 4);
}

TEST(EstimateTest, WorkerHoldsItsWeightsThoseThatArriveAndTheMatricesPacked) {
  const ModelConfig model = SmallModel();
  const double numbers = static_cast<double>(model.NumParameters());
  const WorkerMemory exact = EstimateWorker(model, {}, RolloutOptions());
  EXPECT_EQ(exact.weights, 2 * 4 * numbers);
  EXPECT_EQ(exact.packed, 4 * (kMatrices + kHead));
  EXPECT_EQ(exact.Total(), exact.weights + exact.packed + exact.kv_cache);
  // Only the layers' matrices travel rounded; each type of product has its own.
  PolicyOptions policy;
  policy.compute_dtype = "bfloat16";
  const WorkerMemory rounded = EstimateWorker(model, policy, RolloutOptions());
  EXPECT_EQ(rounded.weights, 2 * (4 * numbers - 2 * kMatrices));
  EXPECT_EQ(rounded.packed, 2 * kMatrices + 4 * kHead);
  policy.head_dtype = "bfloat16";
  EXPECT_EQ(EstimateWorker(model, policy, RolloutOptions()).packed, 2 * (kMatrices + kHead));
}

TEST(EstimateTest, AWorkersGpuHoldsItsModelOnceAndWhatItSamplesWith) {
  const ModelConfig model = SmallModel();
  RolloutOptions options;
  options.slots = 8;
  PolicyOptions policy;
  const GpuWorkerMemory exact = EstimateGpuWorker(model, policy, options);
  EXPECT_EQ(exact.weights, EstimateSentWeights(model, "float32"));
  EXPECT_EQ(exact.kv_cache, EstimateWorker(model, policy, options).kv_cache);
  EXPECT_EQ(exact.sampling, 20.0 * 8 * static_cast<double>(model.vocab_size));
  EXPECT_EQ(exact.Total(), exact.weights + exact.kv_cache + exact.sampling + kGpuLibrariesBytes);
  policy.compute_dtype = "bfloat16";
  const GpuWorkerMemory rounded = EstimateGpuWorker(model, policy, options);
  EXPECT_EQ(rounded.weights, EstimateSentWeights(model, "bfloat16"));
  EXPECT_EQ(rounded.kv_cache, exact.kv_cache / 2);
}

}  // namespace
}  // namespace grpo
