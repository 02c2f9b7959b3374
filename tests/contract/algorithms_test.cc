// The contract of every algorithm in trainer/algorithms.inc (docs/design.md section 3).
#include <algorithm>
#include <cmath>
#include <map>
#include <set>
#include <variant>

#include "common/seeds.h"
#include "common/status_testing.h"
#include "configs/load.h"
#include "gmock/gmock.h"
#include "trainer/algorithm/algorithm.h"
#include "trainer/loss/loss.h"

namespace grpo {
namespace {

struct Case {
  std::string algorithm, options;
};

// The keys that have no default, and the switches that change what Prepare does.
const std::vector<Case>& Cases() {
  static const auto* cases = new std::vector<Case>{
      {"grpo", "{rewards: r}"},
      {"grpo", "{rewards: r, scale_rewards: none, loss_reduction: sequence_mean}"},
      {"grpo",
       "{rewards: r, kl_coefficient: 0.1, reference_policy: base, minibatches_per_iteration: 2, iterations_per_step: "
       "2}"},
      {"pretrain", "{}"},
      {"sft", "{}"},
      {"sft", "{loss_reduction: sequence_mean}"},
      {"logit_distill", "{teachers: [{policy: teacher}]}"},
      {"logit_distill",
       "{teachers: [{policy: teacher, weight: 2}, {policy: other, temperature: {start: 3, end: 1, shape: cosine}}], "
       "alpha: {start: 0}, divergence: {type: skewed_kl, skew: 0.2}, loss_reduction: sequence_mean}"},
      {"logit_distill", "{teachers: [{stored: true}], top_k: 4}"},
      {"feature_distill", "{features: {teacher: teacher, pairs: [{student: 1, teacher: 2}]}}"},
      {"feature_distill", "{features: {teacher: teacher}, teachers: [{policy: teacher}]}"},
      {"on_policy_distill", "{rewards: r, teachers: [{policy: teacher}]}"},
      {"on_policy_distill",
       "{rewards: r, teachers: [{policy: teacher}], reward_weight: 0.5, lambda: 0.7, traces: t, "
       "features: {teacher: other}}"},
      {"on_policy_distill",
       "{rewards: r, teachers: [{policy: teacher}], sampled_token: true, lambda: 0.5, traces: t, loss_reduction: "
       "sequence_mean}"},
  };
  return *cases;
}

ScoredGroup MakeGroup(Rng& rng, int64_t group_index, int64_t group_size) {
  ScoredGroup group;
  group.lease.mutable_key()->set_group_index(group_index);
  for (int64_t i = 0, size = 2 + rng.Below(4); i < size; ++i)
    group.prompt_ids.push_back(static_cast<uint32_t>(rng.Below(50)));
  for (int64_t i = 0; i < group_size; ++i) {
    v1::ScoredCompletion& scored = group.completions.emplace_back();
    v1::Completion& completion = *scored.mutable_completion();
    const int64_t length = 1 + rng.Below(6);
    for (int64_t t = 0; t < length; ++t) {
      completion.add_ids(static_cast<uint32_t>(rng.Below(50)));
      completion.add_sample_logprob(static_cast<float>(-rng.Uniform()));
    }
    // Two spans, the first of which the loss may not read.
    v1::Span& first = *completion.add_spans();
    first.set_num_tokens(static_cast<int32_t>(length / 2));
    v1::Span& second = *completion.add_spans();
    second.set_num_tokens(static_cast<int32_t>(length - length / 2));
    second.set_trainable(true);
    scored.mutable_score()->set_value(static_cast<double>(rng.Below(3)));
    scored.mutable_score()->set_outcome(v1::OUTCOME_SCORED);
  }
  return group;
}

// Groups (or traces, or rows) of a random input, and traces beside the groups where an algorithm asks for them.
constexpr int64_t kGroups = 6, kTracesBeside = 4;

StepInput RandomInput(const Algorithm& algorithm, uint64_t seed) {
  Rng rng(seed);
  const StepPlan plan = algorithm.plan();
  const auto random_ids = [&rng](int64_t size) {
    std::vector<uint32_t> ids;
    for (int64_t t = 0; t < size; ++t) ids.push_back(static_cast<uint32_t>(rng.Below(50)));
    return ids;
  };
  const auto random_traces = [&](int64_t count, const TracesPlan& of) {
    std::vector<TokenizedTrace> traces;
    for (int64_t i = 0; i < count; ++i) {
      TokenizedTrace& trace = traces.emplace_back();
      trace.prompt_ids = random_ids(2 + rng.Below(4));
      trace.completion_ids = random_ids(1 + rng.Below(6));
      const int64_t num_stored = of.stored_top_k * static_cast<int64_t>(trace.completion_ids.size());
      trace.top_ids = random_ids(num_stored);
      trace.top_logprobs.assign(num_stored, -3.0f);
    }
    return traces;
  };
  if (const auto* const rollouts = std::get_if<RolloutPlan>(&plan)) {
    RolloutInput input;
    for (int64_t g = 0; g < kGroups; ++g) input.groups.push_back(MakeGroup(rng, g, rollouts->group_size));
    if (!rollouts->traces_data.empty()) input.traces = random_traces(kTracesBeside, rollouts->traces);
    return input;
  }
  if (const auto* const traces = std::get_if<TracesPlan>(&plan)) return TracesInput{random_traces(kGroups, *traces)};
  CorpusInput input;
  for (int64_t r = 0; r < kGroups; ++r) input.rows.push_back(random_ids(std::get<CorpusPlan>(plan).row_tokens + 1));
  return input;
}

StepInput Reversed(StepInput input) {
  struct Reverse {
    void operator()(RolloutInput& of) const {
      std::reverse(of.groups.begin(), of.groups.end());
      std::reverse(of.traces.begin(), of.traces.end());
    }
    void operator()(CorpusInput& of) const { std::reverse(of.rows.begin(), of.rows.end()); }
    void operator()(TracesInput& of) const { std::reverse(of.traces.begin(), of.traces.end()); }
  };
  std::visit(Reverse(), input);
  return input;
}

// What a section holds.
struct Anything {
  Section rest;

  template <class V>
  void Visit(V& v) {
    v.Rest(rest);
  }
};
std::string Yaml(const Section& section) {
  return DumpOptions(Anything{section});
}

class AlgorithmContractTest : public ::testing::TestWithParam<Case> {
 protected:
  AlgorithmContractTest() {
    auto section = ParseConfigText(GetParam().options, "case");
    algorithm_ = *MakeAlgorithm(GetParam().algorithm, *section);
  }
  bool OfRollouts() const { return std::holds_alternative<RolloutPlan>(algorithm_->plan()); }
  std::unique_ptr<Algorithm> algorithm_;
};

TEST_P(AlgorithmContractTest, KnowsItsLosses) {
  EXPECT_OK(MakeLosses(algorithm_->losses()));
}

TEST_P(AlgorithmContractTest, ResolvesItsOptionsToTheSameOptions) {
  ASSERT_OK_AND_ASSIGN(const Section given, ParseConfigText(GetParam().options, "case"));
  ASSERT_OK_AND_ASSIGN(const Section resolved, ResolveAlgorithm(GetParam().algorithm, given));
  ASSERT_OK_AND_ASSIGN(const Section again, ResolveAlgorithm(GetParam().algorithm, resolved));
  EXPECT_EQ(Yaml(again), Yaml(resolved));
  EXPECT_GE(Yaml(resolved).size(), Yaml(given).size());
}

TEST_P(AlgorithmContractTest, RefusesAKeyThatItDoesNotDeclare) {
  ASSERT_OK_AND_ASSIGN(const Section section, ParseConfigText("{no_such_key: 1}", "case"));
  EXPECT_STATUS(MakeAlgorithm(GetParam().algorithm, section), absl::StatusCode::kInvalidArgument, "no_such_key");
}

// Whoever checks a configuration finds a frozen policy among the references.
TEST_P(AlgorithmContractTest, RefersToItsFrozenPoliciesAndRefusesTheTrainedOneAmongThem) {
  for (const FrozenPolicy& frozen : algorithm_->frozen()) {
    std::string key;
    for (const Reference& reference : algorithm_->references()) {
      if (reference.section == "policies" && reference.value == frozen.policy) key = reference.key;
    }
    EXPECT_NE(key, "") << frozen.policy;
    const std::vector<Conflict> conflicts = algorithm_->Conflicts(/*trained_policy=*/frozen.policy);
    EXPECT_TRUE(std::any_of(conflicts.begin(), conflicts.end(), [&](const Conflict& c) { return c.key == key; }));
  }
  EXPECT_TRUE(algorithm_->Conflicts("another").empty());
}

// Of models of different widths, before any of them is there: what `grpoctl validate` counts.
TEST_P(AlgorithmContractTest, SaysWhatItsLossesHoldAndWhichLayersTheyRead) {
  ModelConfig student, teacher;
  student.hidden_size = 6;
  student.num_layers = 2;
  teacher.hidden_size = 10;
  teacher.num_layers = 4;
  std::map<std::string, const ModelConfig*> frozen;
  for (const FrozenPolicy& policy : algorithm_->frozen()) frozen[policy.policy] = &teacher;
  ASSERT_OK_AND_ASSIGN(const auto losses, MakeLosses(algorithm_->losses()));
  int64_t num_parameters = 0;
  std::map<std::string, std::set<int64_t>> layers;
  for (const auto& loss : losses) {
    ASSERT_OK(loss->Begin({.policy = student, .frozen = frozen, .seed = 1}));
    for (const auto& [name, parameter] : loss->parameters()) num_parameters += parameter.numel();
    for (const NeededOutputs& needed : loss->outputs()) {
      if (!needed.policy.empty()) layers[needed.policy].insert(needed.layers.begin(), needed.layers.end());
    }
  }
  LossNeed said = algorithm_->loss_need(student, frozen);
  EXPECT_EQ(said.num_parameters, num_parameters);
  for (const auto& [policy, read] : layers)
    EXPECT_EQ(said.num_layers_read[policy], static_cast<int64_t>(read.size())) << policy;
}

TEST_P(AlgorithmContractTest, FillsEveryStreamThatItsLossesRead) {
  ASSERT_OK_AND_ASSIGN(const StepBatch batch, algorithm_->Prepare(RandomInput(*algorithm_, 1)));
  std::set<std::string> filled_by_the_loop;
  for (const FrozenPolicy& frozen : algorithm_->frozen()) filled_by_the_loop.insert(frozen.stream);
  ASSERT_OK_AND_ASSIGN(const auto losses, MakeLosses(algorithm_->losses()));
  for (const auto& loss : losses) {
    for (const std::string& name : loss->streams()) {
      if (filled_by_the_loop.contains(name)) continue;
      for (const auto& sequences : batch.minibatches) {
        for (const TokenStreams& sequence : sequences) EXPECT_TRUE(sequence.streams.contains(name)) << name;
      }
    }
  }
}

TEST_P(AlgorithmContractTest, RefusesInputOfAnotherKind) {
  const StepInput other = OfRollouts() ? StepInput(CorpusInput()) : StepInput(RolloutInput());
  EXPECT_STATUS(algorithm_->Prepare(other), absl::StatusCode::kInternal, "kind");
}

// Completions of one prompt share a group; everything else is a group of its own.
TEST_P(AlgorithmContractTest, ASequenceSaysWhichGroupItBelongsTo) {
  const StepInput input = RandomInput(*algorithm_, 8);
  ASSERT_OK_AND_ASSIGN(const StepBatch batch, algorithm_->Prepare(input));
  std::map<int64_t, size_t> sizes;
  for (const auto& sequences : batch.minibatches) {
    for (const TokenStreams& sequence : sequences) ++sizes[sequence.group];
  }
  const size_t num_beside = OfRollouts() ? std::get<RolloutInput>(input).traces.size() : 0;
  EXPECT_EQ(sizes.size(), kGroups + num_beside);
  const size_t of_group = OfRollouts() ? std::get<RolloutInput>(input).groups[0].completions.size() : 1;
  for (const auto& [group, size] : sizes) EXPECT_EQ(size, group < kGroups ? of_group : 1) << group;
}

TEST_P(AlgorithmContractTest, TheWeightsOfEachUpdateSumToOne) {
  ASSERT_OK_AND_ASSIGN(const StepBatch batch, algorithm_->Prepare(RandomInput(*algorithm_, 2)));
  for (const auto& sequences : batch.minibatches) {
    double sum = 0;
    for (const TokenStreams& sequence : sequences) {
      const std::vector<float>& weights =
          sequence.streams.at(OfRollouts() ? stream::kRlWeight : stream::kCeWeight).floats();
      for (size_t t = 0; t < weights.size(); ++t) {
        if (sequence.trainable_mask[t]) sum += weights[t];
      }
    }
    EXPECT_NEAR(sum, 1, 1e-5);
  }
}

// However sampled completions and traces share an update, the distillation terms of its targets have the weight 1.
TEST_P(AlgorithmContractTest, TheShareOfTheDistillationTermsIsWhole) {
  ASSERT_OK_AND_ASSIGN(const StepBatch batch, algorithm_->Prepare(RandomInput(*algorithm_, 7)));
  for (const auto& sequences : batch.minibatches) {
    if (!sequences[0].streams.contains(stream::kDistillWeight)) return;
    std::map<std::string, double> sums;
    for (const TokenStreams& sequence : sequences) {
      for (const char* const name : {stream::kDistillWeight, stream::kCeWeight}) {
        const std::vector<float>& weights = sequence.streams.at(name).floats();
        for (size_t t = 0; t < weights.size(); ++t) sums[name] += sequence.trainable_mask[t] ? weights[t] : 0;
      }
    }
    // On traces alone, the cross-entropy has as much, and alpha says which counts.
    const double whole = OfRollouts() ? sums[stream::kDistillWeight] + sums[stream::kCeWeight]
                                      : (sums[stream::kDistillWeight] + sums[stream::kCeWeight]) / 2;
    EXPECT_NEAR(whole, 1, 1e-5);
  }
}

TEST_P(AlgorithmContractTest, OnlyTrainableCompletionTokensAreTargets) {
  if (!OfRollouts()) return;
  const StepInput input = RandomInput(*algorithm_, 3);
  ASSERT_OK_AND_ASSIGN(const StepBatch batch, algorithm_->Prepare(input));
  const std::vector<ScoredGroup>& groups = std::get<RolloutInput>(input).groups;
  size_t index = 0;
  const size_t group_size = groups[0].completions.size();
  for (const auto& sequences : batch.minibatches) {
    for (const TokenStreams& sequence : sequences) {
      // Behind the groups stand traces.
      if (index / group_size == groups.size()) break;
      const ScoredGroup& group = groups[index / group_size];
      const v1::Completion& completion = group.completions[index % group_size].completion();
      const size_t first = group.prompt_ids.size() + completion.spans(0).num_tokens();
      for (size_t t = 0; t < sequence.ids.size(); ++t) EXPECT_EQ(sequence.trainable_mask[t], t >= first);
      ++index;
    }
  }
}

TEST_P(AlgorithmContractTest, OfATraceOnlyTheCompletionIsTarget) {
  if (!std::holds_alternative<TracesPlan>(algorithm_->plan())) return;
  const StepInput input = RandomInput(*algorithm_, 3);
  ASSERT_OK_AND_ASSIGN(const StepBatch batch, algorithm_->Prepare(input));
  const std::vector<TokenizedTrace>& traces = std::get<TracesInput>(input).traces;
  ASSERT_EQ(batch.minibatches[0].size(), traces.size());
  for (size_t i = 0; i < traces.size(); ++i) {
    const TokenStreams& sequence = batch.minibatches[0][i];
    const TokenizedTrace& trace = traces[i];
    ASSERT_EQ(sequence.ids.size(), trace.prompt_ids.size() + trace.completion_ids.size());
    for (size_t t = 0; t < sequence.ids.size(); ++t) {
      const bool in_prompt = t < trace.prompt_ids.size();
      EXPECT_EQ(sequence.ids[t], in_prompt ? trace.prompt_ids[t] : trace.completion_ids[t - trace.prompt_ids.size()]);
      EXPECT_EQ(sequence.trainable_mask[t], !in_prompt);
    }
  }
}

TEST_P(AlgorithmContractTest, ExcludedSamplesAreNotLearnedFrom) {
  if (!OfRollouts()) return;
  StepInput input = RandomInput(*algorithm_, 4);
  std::get<RolloutInput>(input).groups[0].completions[1].mutable_score()->set_excluded(true);
  ASSERT_OK_AND_ASSIGN(const StepBatch batch, algorithm_->Prepare(input));
  const std::vector<bool>& mask = batch.minibatches[0][1].trainable_mask;
  EXPECT_EQ(std::count(mask.begin(), mask.end(), true), 0);
  EXPECT_EQ(batch.metrics.at("samples_excluded"), 1);
}

TEST_P(AlgorithmContractTest, AStepWithoutGroupsMakesNoUpdate) {
  if (!OfRollouts()) return;
  ASSERT_OK_AND_ASSIGN(const StepBatch batch, algorithm_->Prepare(RolloutInput()));
  EXPECT_TRUE(batch.minibatches.empty());
  for (const auto& [name, value] : batch.metrics) EXPECT_TRUE(std::isfinite(value)) << name;
}

TEST_P(AlgorithmContractTest, EqualRewardsGiveNoAdvantage) {
  if (!OfRollouts()) return;
  StepInput input = RandomInput(*algorithm_, 5);
  for (ScoredGroup& group : std::get<RolloutInput>(input).groups) {
    for (v1::ScoredCompletion& scored : group.completions) scored.mutable_score()->set_value(0.1);
  }
  ASSERT_OK_AND_ASSIGN(const StepBatch batch, algorithm_->Prepare(input));
  for (const auto& sequences : batch.minibatches) {
    for (const TokenStreams& sequence : sequences)
      EXPECT_THAT(sequence.streams.at(stream::kAdvantage).floats(), ::testing::Each(0.0f));
  }
  EXPECT_EQ(batch.metrics.at("frac_reward_zero_std"), 1);
}

TEST_P(AlgorithmContractTest, TheOrderOfGroupsInAnUpdateDoesNotMatter) {
  const StepInput input = RandomInput(*algorithm_, 6);
  ASSERT_OK_AND_ASSIGN(const StepBatch batch, algorithm_->Prepare(input));
  if (batch.minibatches.size() > 1) return;
  ASSERT_OK_AND_ASSIGN(const StepBatch other, algorithm_->Prepare(Reversed(input)));
  const auto same = [](const TokenStreams& a, const TokenStreams& b) {
    return a.ids == b.ids && a.trainable_mask == b.trainable_mask && a.streams == b.streams;
  };
  EXPECT_TRUE(std::is_permutation(batch.minibatches[0].begin(), batch.minibatches[0].end(),
                                  other.minibatches[0].begin(), other.minibatches[0].end(), same));
}

INSTANTIATE_TEST_SUITE_P(EveryAlgorithm, AlgorithmContractTest, ::testing::ValuesIn(Cases()),
                         [](const auto& info) { return info.param.algorithm + std::to_string(info.index); });

// A new line in algorithms.inc without a case here is an uncovered algorithm.
TEST(AlgorithmsIncTest, EveryAlgorithmHasACaseAndSaysWhatItIs) {
  for (const AlgorithmInfo& info : ListAlgorithms()) {
    const auto is_this = [&](const Case& c) { return c.algorithm == info.name; };
    EXPECT_TRUE(std::any_of(Cases().begin(), Cases().end(), is_this)) << info.name;
    EXPECT_NE(info.summary, "") << info.name;
    EXPECT_NE(info.reference_table, "") << info.name;
  }
}

TEST(AlgorithmsIncTest, AnUnknownAlgorithmIsRefusedAndTheNearestNamed) {
  EXPECT_STATUS(MakeAlgorithm("gpro", {}), absl::StatusCode::kInvalidArgument,
                "there is no algorithm gpro; did you mean grpo?");
}

}  // namespace
}  // namespace grpo
