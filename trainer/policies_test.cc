#include "trainer/policies.h"

#include "common/status_testing.h"

namespace grpo {
namespace {

PolicyOptions Random(int64_t hidden_size) {
  PolicyOptions options;
  options.random_init.tokenizer = "configs/tokenizers/chickens_rabbits.json";
  options.random_init.hidden_size = hidden_size;
  options.random_init.intermediate_size = 12;
  options.random_init.num_layers = 1;
  options.random_init.num_heads = 2;
  options.random_init.num_kv_heads = 2;
  return options;
}

PolicyOptions From(const std::string& origin) {
  PolicyOptions options;
  options.initialize_from = origin;
  return options;
}

std::string Digest(const Policy& policy) {
  return policy.Pack()->manifest.digest();
}

TEST(PolicyStoreTest, APolicyStartsFromAnotherAsThatIsWhenFirstUsed) {
  PolicyStore store({{"base", Random(8)}, {"tuned", From("base")}}, 1);
  ASSERT_OK_AND_ASSIGN(Policy * base, store.Get("base"));
  const std::string before = Digest(*base);
  for (const auto& [name, parameter] : base->model->NamedParameters()) parameter.data().fill_(0.25);
  base->number = 7;
  ASSERT_OK_AND_ASSIGN(Policy * tuned, store.Get("tuned"));
  EXPECT_NE(Digest(*tuned), before);
  EXPECT_EQ(Digest(*tuned), Digest(*base));
  EXPECT_EQ(tuned->number, 7);
  for (const auto& [name, parameter] : base->model->NamedParameters()) parameter.data().fill_(0.5);
  EXPECT_NE(Digest(*tuned), Digest(*base)) << "the weights are a copy";
}

TEST(PolicyStoreTest, TheSeedAndTheNameFixRandomWeights) {
  const auto digest = [](uint64_t seed, const std::string& name) {
    PolicyStore store({{name, Random(8)}}, seed);
    return Digest(**store.Get(name));
  };
  EXPECT_EQ(digest(1, "a"), digest(1, "a"));
  EXPECT_NE(digest(1, "a"), digest(2, "a"));
  EXPECT_NE(digest(1, "a"), digest(1, "b"));
}

TEST(PolicyStoreTest, RestoredWeightsTakeThePlaceOfInitialOnes) {
  PolicyStore before({{"base", Random(8)}}, 1), after({{"base", Random(8)}}, 2);
  ASSERT_OK_AND_ASSIGN(Policy * saved, before.Get("base"));
  saved->number = 12;
  saved->companions = {{"chat_template.jinja", "{{ messages }}"}};
  ASSERT_OK_AND_ASSIGN(const WeightSet weights, saved->Pack());
  ASSERT_OK(after.Restore(weights));
  ASSERT_OK_AND_ASSIGN(const Policy* restored, after.Get("base"));
  EXPECT_EQ(Digest(*restored), Digest(*saved));
  EXPECT_EQ(restored->number, 12);
  EXPECT_EQ(restored->companions, saved->companions);
}

TEST(PolicyStoreTest, ErrorsNameThePolicy) {
  PolicyStore store({{"bad", Random(7)}}, 1);
  EXPECT_STATUS(store.Get("nobody"), absl::StatusCode::kNotFound, "nobody");
  EXPECT_FALSE(store.Get("bad").ok());
  EXPECT_STATUS(store.Get("bad"), absl::StatusCode::kInvalidArgument, "policies.bad");
  EXPECT_TRUE(store.made().empty());
}

}  // namespace
}  // namespace grpo
