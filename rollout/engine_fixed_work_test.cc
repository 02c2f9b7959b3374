// What measurements of fixed work ask of the engine.
#include <memory>
#include <utility>
#include <vector>

#include "common/seeds.h"
#include "common/status_testing.h"
#include "rollout/engine.h"
#include "rollout/tiny_policy.h"

namespace grpo {
namespace {

// Of the tiny policy, whose end token is one of four: hardly a completion of this length is without it.
constexpr int32_t kNewTokens = 20, kGroup = 6;

GenerateRequest Request() {
  GenerateRequest request{.id = 1, .prompt_ids = {1, 2, 3}, .seed = GroupSeed(42, "test", 1), .sampling = {}};
  request.sampling.set_num_completions(kGroup);
  request.sampling.set_max_new_tokens(kNewTokens);
  request.sampling.set_temperature(1);
  return request;
}

std::vector<v1::Completion> Sample(Engine& engine) {
  EXPECT_OK(engine.Add(Request()));
  std::vector<v1::Completion> completions;
  while (!engine.idle()) {
    auto whole = engine.Step();
    EXPECT_OK(whole);
    if (!whole.ok()) break;
    for (GenerateResult& result : *whole) completions = std::move(result.completions);
  }
  return completions;
}

std::vector<v1::Completion> Sample(bool ignore_end_tokens) {
  Engine engine(TinyModel(1), /*number=*/1, {.num_slots = 4, .max_tokens = 32, .ignore_end_tokens = ignore_end_tokens});
  return Sample(engine);
}

// Up to its first end token a completion is what it is without the option.
TEST(EngineTest, EndTokensCanBeIgnored) {
  const std::vector<v1::Completion> whole = Sample(true), usual = Sample(false);
  ASSERT_EQ(whole.size(), static_cast<size_t>(kGroup));
  ASSERT_EQ(usual.size(), whole.size());
  int num_ended = 0;
  for (size_t i = 0; i < whole.size(); ++i) {
    EXPECT_EQ(whole[i].ids_size(), kNewTokens);
    EXPECT_EQ(whole[i].finish_reason(), v1::FINISH_REASON_LENGTH);
    num_ended += usual[i].ids_size() < kNewTokens;
    for (int t = 0; t < usual[i].ids_size(); ++t) EXPECT_EQ(whole[i].ids(t), usual[i].ids(t));
  }
  EXPECT_GT(num_ended, 0) << "or the test shows nothing";
}

TEST(EngineTest, SaysWhereItsTimeWent) {
  FakeClock clock;
  Engine engine(TinyModel(1), /*number=*/1, {.num_slots = 4, .max_tokens = 32}, clock);
  EXPECT_TRUE(engine.seconds().empty());
  // What is between the steps is nobody's.
  clock.Advance(absl::Seconds(5));
  Sample(engine);
  EXPECT_EQ(engine.seconds().size(), 4u);
  for (const char* phase : {"prefill", "decode", "head", "sample"}) EXPECT_EQ(engine.seconds().at(phase), 0) << phase;
}

}  // namespace
}  // namespace grpo
