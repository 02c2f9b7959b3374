// A generator that is added by one file and one line.
#include "common/status_testing.h"
#include "configs/load.h"
#include "gmock/gmock.h"
#include "rollout/generator.h"
#include "rollout/tiny_policy.h"

namespace grpo {
namespace {

class ParrotTest : public ::testing::Test {
 protected:
  static std::string Says(absl::StatusOr<std::unique_ptr<Generator>> generator) {
    EXPECT_OK(generator);
    GroupRequest request = {.id = 0, .prompt = "abc", .seed = 1, .sampling = {}};
    request.sampling.set_num_completions(1);
    request.sampling.set_max_new_tokens(4);
    EXPECT_OK((*generator)->Add(request));
    const auto whole = (*generator)->Step();
    EXPECT_OK(whole);
    return whole->at(0).completions.at(0).text();
  }

  const HeldPolicy policy_ = TinyPolicy(1);
  const RolloutOptions rollout_;
  const GeneratorContext context_ = {.policy = policy_, .rollout = rollout_};
};

TEST_F(ParrotTest, StandsBehindTheProductsOwnAndIsWhatWorkersSampleWith) {
  EXPECT_EQ(ListGenerators().front().name, "engine");
  EXPECT_EQ(ListGenerators().back().name, "parrot");
  EXPECT_EQ(Says(MakeDefaultGenerator(context_)), "abc");
}

TEST_F(ParrotTest, GetsItsOptions) {
  EXPECT_THAT(ListGenerators().back().reference_table, ::testing::HasSubstr("begins_with"));
  ASSERT_OK_AND_ASSIGN(const Section options, ParseConfigText("{begins_with: \"said \"}", "worker.yaml"));
  EXPECT_EQ(Says(MakeGenerator("parrot", options, context_)), "said abc");
  ASSERT_OK_AND_ASSIGN(const Section wrong, ParseConfigText("{begin_with: x}", "worker.yaml"));
  EXPECT_STATUS(MakeGenerator("parrot", wrong, context_), absl::StatusCode::kInvalidArgument,
                "did you mean begins_with?");
}

}  // namespace
}  // namespace grpo
