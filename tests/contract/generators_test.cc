// What every generator promises (rollout/generator.h), checked on each that generators.inc lists: a new generator is
// covered by being there. //tests/toy:generators_test is the same with those that tests add.
#include <cmath>
#include <map>
#include <utility>

#include "absl/strings/str_cat.h"
#include "common/seeds.h"
#include "common/status_testing.h"
#include "configs/load.h"
#include "gmock/gmock.h"
#include "model/tokenizer/prompt.h"
#include "rollout/generator.h"
#include "rollout/tiny_policy.h"

namespace grpo {
namespace {

using ::testing::ElementsAre;
using ::testing::IsEmpty;

constexpr auto kInvalid = absl::StatusCode::kInvalidArgument;
constexpr int32_t kMaxNewTokens = 8;

GroupRequest Request(int64_t id, const std::string& prompt = "abc", int32_t num_completions = 3,
                     int32_t max_new_tokens = kMaxNewTokens) {
  GroupRequest request = {.id = id, .prompt = prompt, .seed = GroupSeed(1, "contract", id), .sampling = {}};
  request.sampling.set_num_completions(num_completions);
  request.sampling.set_max_new_tokens(max_new_tokens);
  request.sampling.set_temperature(1);
  return request;
}

// Prompts and groups of different lengths.
std::vector<GroupRequest> Requests() {
  std::vector<GroupRequest> requests;
  for (int64_t id = 0; id < 6; ++id) {
    requests.push_back(Request(id, std::string("abcabcab").substr(id % 3, 1 + id), 1 + static_cast<int32_t>(id % 4)));
  }
  return requests;
}

using Groups = std::map<int64_t, SampledGroup>;

// Steps until nothing is under way.
Groups RunDry(Generator& generator) {
  Groups groups;
  for (int64_t step = 0; !generator.idle(); ++step) {
    absl::StatusOr<std::vector<SampledGroup>> whole = generator.Step();
    EXPECT_OK(whole);
    EXPECT_LT(step, 10000) << "nothing becomes whole";
    if (!whole.ok() || step >= 10000) break;
    for (SampledGroup& group : *whole) {
      EXPECT_FALSE(groups.contains(group.id)) << "group " << group.id << " came twice";
      groups[group.id] = std::move(group);
    }
  }
  EXPECT_EQ(generator.num_unfinished(), 0);
  return groups;
}

Groups RunDry(Generator& generator, const std::vector<GroupRequest>& requests) {
  for (const GroupRequest& request : requests) EXPECT_OK(generator.Add(request));
  return RunDry(generator);
}

class GeneratorContract : public ::testing::TestWithParam<GeneratorInfo> {
 protected:
  std::unique_ptr<Generator> Make(const HeldPolicy& policy, int64_t slots = 4) {
    RolloutOptions rollout;
    rollout.slots = slots;
    auto generator = MakeGenerator(GetParam().name, Section(), {.policy = policy, .rollout = rollout});
    EXPECT_OK(generator);
    return *std::move(generator);
  }

  // The same text and ids, and log-probabilities up to rounding.
  static void ExpectSame(const SampledGroup& got, const SampledGroup& want) {
    EXPECT_EQ(got.prompt_ids, want.prompt_ids);
    EXPECT_EQ(got.policy_digest, want.policy_digest);
    ASSERT_EQ(got.completions.size(), want.completions.size());
    for (size_t i = 0; i < got.completions.size(); ++i) {
      const v1::Completion &a = got.completions[i], &b = want.completions[i];
      EXPECT_EQ(a.text(), b.text()) << "group " << got.id << " completion " << i;
      EXPECT_EQ(a.finish_reason(), b.finish_reason());
      ASSERT_EQ(a.ids_size(), b.ids_size());
      for (int t = 0; t < a.ids_size(); ++t) {
        EXPECT_EQ(a.ids(t), b.ids(t));
        if (GetParam().carries.sample_logprob) {
          EXPECT_NEAR(a.sample_logprob(t), b.sample_logprob(t), 1e-6);
        }
      }
    }
  }

  static void ExpectSame(const Groups& got, const Groups& want) {
    ASSERT_EQ(got.size(), want.size());
    for (const auto& [id, group] : want) {
      ASSERT_TRUE(got.contains(id)) << id;
      ExpectSame(got.at(id), group);
    }
  }

  const HeldPolicy policy_ = TinyPolicy(1);
};

TEST_P(GeneratorContract, DescribesItself) {
  EXPECT_FALSE(GetParam().summary.empty());
}

TEST_P(GeneratorContract, AGroupIsWholeAndItsTextIsThatOfItsIds) {
  const auto generator = Make(policy_);
  const std::vector<GroupRequest> requests = Requests();
  const Groups groups = RunDry(*generator, requests);
  ASSERT_EQ(groups.size(), requests.size());
  int64_t num_completions = 0;
  for (const GroupRequest& request : requests) {
    const SampledGroup& group = groups.at(request.id);
    ASSERT_EQ(group.completions.size(), request.sampling.num_completions());
    EXPECT_GE(group.generate_seconds, 0);
    for (int32_t i = 0; i < request.sampling.num_completions(); ++i) {
      const v1::Completion& completion = group.completions[i];
      EXPECT_EQ(completion.index(), i);
      EXPECT_NE(completion.finish_reason(), v1::FINISH_REASON_UNSPECIFIED);
      ++num_completions;
      if (!GetParam().carries.ids) continue;
      std::vector<uint32_t> ids(completion.ids().begin(), completion.ids().end());
      if (completion.finish_reason() == v1::FINISH_REASON_STOP) ids.pop_back();
      EXPECT_EQ(completion.text(), policy_.tokenizer->Decode(ids));
    }
  }
  EXPECT_GE(generator->num_tokens_generated(), num_completions);
}

TEST_P(GeneratorContract, CompletionsCarryWhatItDeclares) {
  const Carries carries = GetParam().carries;
  const auto generator = Make(policy_);
  for (const double top_p : {1.0, 0.5}) {
    GroupRequest request = Request(0);
    request.sampling.set_top_p(top_p);
    const Groups groups = RunDry(*generator, {request});
    const SampledGroup& group = groups.at(0);
    EXPECT_EQ(group.policy_digest, carries.digest ? policy_.manifest.digest() : "");
    EXPECT_EQ(group.prompt_ids, carries.ids ? *EncodePrompt(*policy_.tokenizer, "abc") : std::vector<uint32_t>());
    for (const v1::Completion& completion : group.completions) {
      EXPECT_EQ(completion.ids_size() >= 1, carries.ids);
      EXPECT_LE(completion.ids_size(), kMaxNewTokens);
      ASSERT_EQ(completion.sample_logprob_size(), carries.sample_logprob ? completion.ids_size() : 0);
      for (const float logprob : completion.sample_logprob()) {
        EXPECT_TRUE(std::isfinite(logprob) && logprob <= 1e-4f) << logprob;
      }
      const v1::LogprobKind kind = top_p < 1 ? v1::LOGPROB_KIND_RENORMALIZED : v1::LOGPROB_KIND_FULL;
      EXPECT_EQ(completion.logprob_kind(), carries.sample_logprob ? kind : v1::LOGPROB_KIND_UNSPECIFIED);
      EXPECT_EQ(completion.spans_size(), carries.spans ? 1 : 0);
      for (const v1::Span& span : completion.spans()) {
        EXPECT_EQ(span.num_tokens(), completion.ids_size());
        EXPECT_EQ(span.policy_number(), 1);
        EXPECT_EQ(span.source(), v1::SPAN_SOURCE_POLICY);
        EXPECT_TRUE(span.trainable());
      }
    }
  }
}

TEST_P(GeneratorContract, AGroupDependsOnNeitherNeighboursNorTheOrderOfAdd) {
  const std::vector<GroupRequest> requests = Requests();
  const Groups together = RunDry(*Make(policy_), requests);
  ExpectSame(RunDry(*Make(policy_), {requests.rbegin(), requests.rend()}), together);
  const auto alone = Make(policy_);
  for (const GroupRequest& request : requests)
    ExpectSame(RunDry(*alone, {request}).at(request.id), together.at(request.id));
}

TEST_P(GeneratorContract, TheSeedDecidesWhatIsSampled) {
  const auto generator = Make(policy_);
  GroupRequest request = Request(0, "abc", /*num_completions=*/16);
  const Groups first = RunDry(*generator, {request});
  ExpectSame(RunDry(*generator, {request}), first);
  // One without ids may have too few words to choose from.
  if (!GetParam().carries.ids) return;
  request.seed += 1;
  const Groups other = RunDry(*generator, {request});
  int64_t num_equal = 0;
  for (size_t i = 0; i < 16; ++i) num_equal += other.at(0).completions[i].text() == first.at(0).completions[i].text();
  EXPECT_LT(num_equal, 16);
}

TEST_P(GeneratorContract, ServesAGroupThatIsLargerThanItsSlots) {
  const auto generator = Make(policy_, /*slots=*/2);
  EXPECT_EQ(RunDry(*generator, {Request(0, "abc", /*num_completions=*/7)}).at(0).completions.size(), 7u);
}

TEST_P(GeneratorContract, FirstComeFirstServed) {
  const auto generator = Make(policy_, /*slots=*/1);
  std::vector<int64_t> order;
  for (const int64_t id : {4, 2, 9}) ASSERT_OK(generator->Add(Request(id, "abc", /*num_completions=*/1)));
  EXPECT_EQ(generator->num_unfinished(), 3);
  for (int64_t step = 0; !generator->idle() && step < 10000; ++step) {
    ASSERT_OK_AND_ASSIGN(const std::vector<SampledGroup> whole, generator->Step());
    for (const SampledGroup& group : whole) order.push_back(group.id);
  }
  EXPECT_THAT(order, ElementsAre(4, 2, 9));
}

TEST_P(GeneratorContract, ACancelledGroupNeverComesAndChangesNoOther) {
  const Groups undisturbed = RunDry(*Make(policy_), {Request(1)});
  const auto generator = Make(policy_);
  // More than the slots: not whole after a step.
  ASSERT_OK(generator->Add(Request(0, "ab", /*num_completions=*/16)));
  ASSERT_OK(generator->Add(Request(1)));
  ASSERT_OK(generator->Add(Request(2)));
  ASSERT_OK_AND_ASSIGN(const std::vector<SampledGroup> whole, generator->Step());
  ASSERT_THAT(whole, IsEmpty());
  generator->Cancel(0);
  generator->Cancel(2);
  generator->Cancel(12345);
  EXPECT_EQ(generator->num_unfinished(), 3);
  ExpectSame(RunDry(*generator), undisturbed);
  // Its id is free again.
  EXPECT_TRUE(RunDry(*generator, {Request(0)}).contains(0));
}

TEST_P(GeneratorContract, WeightsAreSwappedBetweenStepsAndGroupsSayWhich) {
  const HeldPolicy second = TinyPolicy(2);
  ASSERT_NE(second.manifest.digest(), policy_.manifest.digest());
  const auto generator = Make(policy_);
  // More than the slots: not whole after a step.
  ASSERT_OK(generator->Add(Request(0, "ab", /*num_completions=*/16)));
  ASSERT_OK_AND_ASSIGN(const std::vector<SampledGroup> early, generator->Step());
  ASSERT_THAT(early, IsEmpty());
  ASSERT_OK(generator->SwapWeights(second));
  const Groups groups = RunDry(*generator);
  const SampledGroup& group = groups.at(0);
  EXPECT_EQ(group.policy_digest, GetParam().carries.digest ? second.manifest.digest() : "");
  if (GetParam().carries.spans) {
    bool swapped = false;
    for (const v1::Completion& completion : group.completions) {
      int64_t num_covered = 0, number = 1;
      for (const v1::Span& span : completion.spans()) {
        EXPECT_GE(span.policy_number(), number);
        number = span.policy_number();
        num_covered += span.num_tokens();
      }
      EXPECT_EQ(num_covered, completion.ids_size());
      swapped |= number == 2;
    }
    EXPECT_TRUE(swapped);
  }
  // What comes next is the new weights' alone.
  ExpectSame(RunDry(*generator, {Request(1)}), RunDry(*Make(second), {Request(1)}));
}

TEST_P(GeneratorContract, AnotherArchitectureIsTakenWhileNothingIsUnderWay) {
  const HeldPolicy other = TinyPolicy(3, /*intermediate_size=*/48);
  const Groups undisturbed = RunDry(*Make(policy_), {Request(0)});
  const auto generator = Make(policy_);
  ASSERT_OK(generator->Add(Request(0)));
  EXPECT_STATUS(generator->SwapWeights(other), absl::StatusCode::kFailedPrecondition, "under way");
  ExpectSame(RunDry(*generator), undisturbed);
  const int64_t num_tokens = generator->num_tokens_generated();
  ASSERT_OK(generator->SwapWeights(other));
  ExpectSame(RunDry(*generator, {Request(1)}), RunDry(*Make(other), {Request(1)}));
  EXPECT_GT(generator->num_tokens_generated(), num_tokens);
}

TEST_P(GeneratorContract, RefusesWhatCannotBeSampledAndSaysWhatToDo) {
  const auto generator = Make(policy_);
  EXPECT_STATUS(generator->Add(Request(0, "")), kInvalid, "the prompt is empty; give");
  EXPECT_STATUS(generator->Add(Request(0, std::string(30, 'a'))), kInvalid, "shorten the prompt");
  EXPECT_STATUS(generator->Add(Request(0, std::string(30, 'a'))), kInvalid, "the prompt has 30 tokens");
  EXPECT_STATUS(generator->Add(Request(0, "abXc")), kInvalid, "\"X\"");
  EXPECT_STATUS(generator->Add(Request(0, "abc", /*num_completions=*/0)), kInvalid, "num_completions is 0");
  EXPECT_STATUS(generator->Add(Request(0, "abc", 1, /*max_new_tokens=*/0)), kInvalid, "at least 1");
  EXPECT_TRUE(generator->idle());
  EXPECT_EQ(generator->num_unfinished(), 0);
  EXPECT_EQ(RunDry(*generator, {Request(0, std::string(24, 'a'))}).size(), 1u);
}

INSTANTIATE_TEST_SUITE_P(All, GeneratorContract, ::testing::ValuesIn(ListGenerators()),
                         [](const auto& info) { return info.param.name; });

TEST(GeneratorRegistry, RefusesNamesAndKeysThatItDoesNotKnow) {
  const HeldPolicy policy = TinyPolicy(1);
  const RolloutOptions rollout;
  const GeneratorContext context = {.policy = policy, .rollout = rollout};
  EXPECT_STATUS(MakeGenerator("engin", Section(), context), kInvalid,
                "there is no generator engin; did you mean engine?");
  ASSERT_OK_AND_ASSIGN(const Section unknown, ParseConfigText("{temperature: 1}", "worker.yaml"));
  for (const GeneratorInfo& info : ListGenerators()) {
    EXPECT_STATUS(MakeGenerator(info.name, unknown, context), kInvalid, "temperature");
  }
}

}  // namespace
}  // namespace grpo
