// `grpoctl bench` on a device: the work is done there, and what is said of it is the device's.
#include <fstream>
#include <string>

#include "common/status_testing.h"
#include "gtest/gtest.h"
#include "model/families.h"
#include "model/threads.h"
#include "tests/device/deterministic.h"
#include "tests/device/device_under_test.h"
#include "tools/grpoctl_model/bench/benches.h"

namespace grpo {
namespace {

// Heads of 8, which the kernels of GPUs take.
ModelConfig TinyConfig() {
  ModelConfig config;
  config.vocab_size = 31;
  config.hidden_size = 16;
  config.intermediate_size = 24;
  config.num_layers = 2;
  config.num_heads = 2;
  config.num_kv_heads = 1;
  config.head_dim = 8;
  config.max_positions = 40;
  config.eos_token_ids = {1};
  return config;
}

class DeviceBenchTest : public ::testing::Test {
 protected:
  void SetUp() override {
    ASSERT_OK(UseThreads(1));
    options_.random = ::testing::TempDir() + "/device_bench_config.json";
    std::ofstream(options_.random) << ModelConfigJson(TinyConfig());
    options_.device = DeviceUnderTest();
  }

  void ExpectOnDevice(const BenchReport& report) {
    EXPECT_EQ(report.repeats.size(), 1u);
    // They are of the CPU.
    EXPECT_FALSE(report.limits.has_value());
    EXPECT_NE(report.setting["device"].get<std::string>().find(NameOfDeviceUnderTest()), std::string::npos);
    const auto& memory = report.figures["device_memory"];
    // The weights alone.
    EXPECT_GE(memory["peak_bytes"].get<int64_t>(), TinyConfig().NumParameters() * 2);
    EXPECT_GE(memory["peak_bytes"].get<int64_t>(), memory["allocated_bytes"].get<int64_t>());
    EXPECT_TRUE(BenchJson(report).contains("tokens_per_second"));
  }

  BenchOptions options_ = {.prompts = 2, .group = 2, .prompt_tokens = 5, .new_tokens = 6, .repeats = 1};
};

TEST_F(DeviceBenchTest, RolloutSamplesThereInBothDtypes) {
  for (const at::ScalarType dtype : {at::kFloat, at::kBFloat16}) {
    options_.dtype = dtype;
    ASSERT_OK_AND_ASSIGN(BenchReport report, BenchRollout(options_));
    ExpectOnDevice(report);
    EXPECT_EQ(report.count, 2 * 2 * 6);
  }
}

TEST_F(DeviceBenchTest, StepLearnsThereFromGroupsThatAreOnPolicy) {
  for (const bool tf32 : {false, true}) {
    options_.head_tf32 = tf32;
    ASSERT_OK_AND_ASSIGN(BenchReport report, BenchStep(options_));
    ExpectOnDevice(report);
    EXPECT_LT(report.figures["logprob_abs_diff_max"].get<double>(), tf32 ? 1e-2 : 1e-4);
  }
}

}  // namespace
}  // namespace grpo
