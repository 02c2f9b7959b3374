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

TEST(PolicyStoreTest, AnAddressIsFoundAndHasNoWeights) {
  PolicyOptions far;
  far.endpoint.url = "https://host/v1";
  far.endpoint.model = "m";
  PolicyStore store({{"base", Random(8)}, {"far", far}}, 1);
  EXPECT_EQ(store.Endpoint("base"), nullptr);
  EXPECT_EQ(store.Endpoint("none"), nullptr);
  ASSERT_NE(store.Endpoint("far"), nullptr);
  EXPECT_EQ(store.Endpoint("far")->model, "m");
  EXPECT_STATUS(store.Get("far"), absl::StatusCode::kFailedPrecondition, "policies.far is only an address");
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

TEST(PolicyStoreTest, WeightsAreTheSameSourceUntilAnUpdateBegins) {
  PolicyStore store({{"base", Random(8)}}, 1);
  ASSERT_OK_AND_ASSIGN(Policy * base, store.Get("base"));
  EXPECT_EQ(base->BeginUpdate(absl::InfiniteDuration()), absl::ZeroDuration()) << "nobody had asked for them";
  ASSERT_OK_AND_ASSIGN(const auto before, base->Weights());
  ASSERT_OK_AND_ASSIGN(const auto again, base->Weights());
  EXPECT_EQ(again, before);
  base->BeginUpdate(absl::ZeroDuration());
  base->model->NamedParameters().front().second.fill_(0.25);
  EXPECT_STATUS(before->Open(), absl::StatusCode::kUnavailable, "version 0 of policy base is being trained on");
  ASSERT_OK_AND_ASSIGN(const auto after, base->Weights());
  EXPECT_NE(after->manifest().digest(), before->manifest().digest());
  EXPECT_OK(VerifyWeights(*after));
}

// base is trained, copies of it were made before and after, and one policy is away from it all.
TEST(PolicyStoreTest, ACheckpointHoldsWhatWasTrainedAndNamesTheRest) {
  const std::map<std::string, PolicyOptions> options = {{"base", Random(8)},
                                                        {"before", From("base")},
                                                        {"after", From("base")},
                                                        {"other", Random(12)},
                                                        {"unused", Random(12)}};
  PolicyStore store(options, 1);
  ASSERT_OK_AND_ASSIGN(Policy * base, store.Get("base"));
  for (const char* id : {"before", "other"}) ASSERT_OK(store.Get(id));
  base->BeginUpdate(absl::ZeroDuration());
  base->model->NamedParameters().front().second.fill_(0.25);
  base->number = 3;
  ASSERT_OK(store.Get("after"));
  ASSERT_OK_AND_ASSIGN(const auto trained, store.Trained());
  ASSERT_OK_AND_ASSIGN(const auto frozen, store.Frozen());
  ASSERT_EQ(trained.size(), 2);
  EXPECT_EQ(trained[0]->manifest().policy().policy_id(), "after");
  EXPECT_EQ(trained[1]->manifest().policy().policy_id(), "base");
  ASSERT_EQ(frozen.size(), 2);
  EXPECT_EQ(frozen[0].id, "before");
  EXPECT_EQ(frozen[0].source,
            "initialised from base: random_init with run.seed 1 and configs/tokenizers/chickens_rabbits.json");
  EXPECT_EQ(frozen[1].id, "other");

  PolicyStore resumed(options, 1);
  for (const auto& weights : trained) ASSERT_OK(resumed.Restore(*weights));
  for (const UntrainedPolicy& policy : frozen) ASSERT_OK(resumed.Remake(policy));
  EXPECT_EQ(resumed.made().size(), 4);
  for (const auto& [id, policy] : store.made()) {
    ASSERT_OK_AND_ASSIGN(const Policy* same, resumed.Get(id));
    EXPECT_EQ(Digest(*same), Digest(*policy)) << id;
    EXPECT_EQ(same->number, policy->number) << id;
  }
}

TEST(PolicyStoreTest, AFrozenPolicyThatIsNotWhatItWasIsNamedWithBothDigests) {
  PolicyStore before({{"base", Random(8)}}, 1), after({{"base", Random(8)}}, 2);
  ASSERT_OK(before.Get("base"));
  ASSERT_OK_AND_ASSIGN(const auto frozen, before.Frozen());
  const std::string now = Digest(**PolicyStore({{"base", Random(8)}}, 2).Get("base"));
  EXPECT_STATUS(after.Remake(frozen[0]), absl::StatusCode::kDataLoss,
                "policies.base has changed: its digest was " + frozen[0].digest + ", now it is " + now);
  EXPECT_TRUE(after.made().empty());
  PolicyOptions gone;
  gone.path = "/nowhere";
  EXPECT_STATUS(PolicyStore({{"base", gone}}, 1).Remake(frozen[0]), absl::StatusCode::kNotFound,
                "of which the checkpoint has only the name and the digest");
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
