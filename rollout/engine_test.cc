#include "rollout/engine.h"

#include <ATen/Parallel.h>
#include <ATen/ops/arange.h>
#include <ATen/ops/from_blob.h>
#include <c10/core/InferenceMode.h>

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <limits>
#include <map>

#include "common/seeds.h"
#include "common/status_testing.h"
#include "rollout/engine_testing.h"

namespace grpo {
namespace {

constexpr auto kInvalid = absl::StatusCode::kInvalidArgument;

std::map<int64_t, GenerateResult> RunAll(const std::vector<GenerateRequest>& requests, int64_t num_slots) {
  Engine engine(TinyModel(), /*number=*/1, {.num_slots = num_slots, .max_tokens = kMaxTokens});
  return RunAll(engine, requests);
}

// The oracle: one completion at a time, no cache, the whole sequence anew for each token, probabilities in double.
v1::Completion NaiveCompletion(const Transformer& model, const GenerateRequest& request, int32_t index) {
  const c10::InferenceMode guard;
  v1::Completion completion;
  std::vector<int64_t> ids(request.prompt_ids.begin(), request.prompt_ids.end());
  while (completion.ids_size() < request.sampling.max_new_tokens()) {
    const int64_t length = ids.size();
    PackedAttention attention({length});
    const at::Tensor hidden =
        model.Forward(at::from_blob(ids.data(), {length}, at::kLong), at::arange(length, at::kLong), attention);
    const at::Tensor logits = model.Logits(hidden.narrow(0, length - 1, 1)).contiguous();
    const float* row = logits.const_data_ptr<float>();
    const double temperature = request.sampling.temperature();
    std::vector<double> weights(kVocab);
    double total = 0;
    for (int64_t i = 0; i < kVocab; ++i) total += weights[i] = std::exp(row[i] / temperature);
    const double target =
        UniformAt(SampleSeed(request.seed, index), static_cast<uint64_t>(completion.ids_size())) * total;
    int64_t id = 0;
    for (double sum = weights[0]; sum <= target; sum += weights[id]) ++id;
    completion.add_ids(id);
    completion.add_sample_logprob(std::log(weights[id] / total));
    ids.push_back(id);
    if (id == kEos) break;
  }
  return completion;
}

TEST(Engine, EqualsANaiveSamplerThatKnowsNeitherCacheNorBatch) {
  const std::vector<GenerateRequest> requests = Requests();
  const std::map<int64_t, GenerateResult> results = RunAll(requests, /*num_slots=*/6);
  const std::shared_ptr<Transformer> model = TinyModel();
  std::map<int64_t, GenerateResult> naive;
  int64_t num_stopped = 0, num_long = 0;
  for (const GenerateRequest& request : requests) {
    GenerateResult& result = naive[request.id];
    for (int32_t i = 0; i < request.sampling.num_completions(); ++i) {
      result.completions.push_back(NaiveCompletion(*model, request, i));
      const v1::Completion& completion = results.at(request.id).completions.at(i);
      EXPECT_EQ(completion.index(), i);
      EXPECT_EQ(completion.logprob_kind(), v1::LOGPROB_KIND_FULL);
      const bool stopped = completion.ids().at(completion.ids_size() - 1) == kEos;
      EXPECT_EQ(completion.finish_reason(), stopped ? v1::FINISH_REASON_STOP : v1::FINISH_REASON_LENGTH);
      if (!stopped) {
        EXPECT_EQ(completion.ids_size(), request.sampling.max_new_tokens());
      }
      ++(stopped ? num_stopped : num_long);
    }
  }
  EXPECT_GT(num_stopped, 0);  // or the test shows nothing
  EXPECT_GT(num_long, 0);
  const double difference = CompareResults(results, naive);
  std::printf("max |engine - naive| of sample_logprob: %g\n", difference);
  EXPECT_LT(difference, kRounding);
}

TEST(Engine, ResultsDoNotDependOnSlotsNeighboursOrOrder) {
  const std::vector<GenerateRequest> requests = Requests();
  const std::map<int64_t, GenerateResult> together = RunAll(requests, /*num_slots=*/8);
  double by_order = 0, by_neighbours = 0, by_slots = 0;

  const std::vector<GenerateRequest> backwards(requests.rbegin(), requests.rend());
  by_order = CompareResults(RunAll(backwards, /*num_slots=*/8), together);
  for (const GenerateRequest& request : requests) {
    const std::map<int64_t, GenerateResult> alone = RunAll({request}, /*num_slots=*/8);
    by_neighbours = std::max(by_neighbours, CompareResults(alone, {*together.find(request.id)}));
  }
  for (const int64_t num_slots : {1, 3, 16, 40}) {
    by_slots = std::max(by_slots, CompareResults(RunAll(requests, num_slots), together));
  }
  std::printf("max difference of sample_logprob by order %g, by neighbours %g, by number of slots %g\n", by_order,
              by_neighbours, by_slots);
  EXPECT_LT(by_order, kRounding);
  EXPECT_LT(by_neighbours, kRounding);
  EXPECT_LT(by_slots, kRounding);
}

TEST(Engine, DecodesAGroupThatIsLargerThanItsSlots) {
  const GenerateRequest request = Request(3, {5, 6, 7}, /*num_completions=*/11, /*max_new_tokens=*/12);
  EXPECT_LT(CompareResults(RunAll({request}, /*num_slots=*/4), RunAll({request}, /*num_slots=*/11)), kRounding);
}

TEST(Engine, GreedyTakesTheMostLikelyTokenInEveryCompletion) {
  const std::map<int64_t, GenerateResult> results = RunAll({Request(0, {9, 8}, 3, 10, /*temperature=*/0)}, 4);
  const std::vector<v1::Completion>& completions = results.at(0).completions;
  EXPECT_EQ(Ids(completions[0]), Ids(completions[1]));
  EXPECT_EQ(Ids(completions[0]), Ids(completions[2]));
}

TEST(Engine, AStopStringEndsACompletionAsCuttingTheWholeOneWould) {
  const auto tokenizer = PairTokenizer();
  std::vector<GenerateRequest> plain = Requests(), stopped = Requests();
  const std::vector<std::string> stops = {"ab", "ca", "d", "bcd", "zz"};
  for (GenerateRequest& request : stopped) {
    for (const std::string& stop : stops) request.sampling.add_stop(stop);
    request.tokenizer = tokenizer.get();
  }
  const auto whole = RunAll(plain, 16), cut = RunAll(stopped, 16);
  int64_t num_across = 0;
  for (const auto& [id, result] : whole) {
    for (size_t i = 0; i < result.completions.size(); ++i) {
      const v1::Completion &full = result.completions[i], &got = cut.at(id).completions[i];
      // The naive way: decode ever more of the whole completion, and look.
      std::vector<uint32_t> ids;
      bool found = false;
      for (const uint32_t token : Ids(full)) {
        ids.push_back(token);
        if (token == kEos) break;
        const std::string text = tokenizer->Decode(ids);
        found = std::any_of(stops.begin(), stops.end(),
                            [&](const std::string& stop) { return text.find(stop) != std::string::npos; });
        if (found) break;
      }
      EXPECT_EQ(Ids(got), ids);
      EXPECT_EQ(got.finish_reason() == v1::FINISH_REASON_STOP_STRING, found);
      for (int t = 0; t < got.ids_size(); ++t) EXPECT_EQ(got.sample_logprob(t), full.sample_logprob(t));
      if (!found) {
        EXPECT_EQ(got.finish_reason(), full.finish_reason());
        continue;
      }
      const std::string text = tokenizer->Decode(ids), kept = BeforeStop(text, stopped[0].sampling);
      EXPECT_LT(kept.size(), text.size());
      for (const std::string& stop : stops) EXPECT_EQ(kept.find(stop), std::string::npos);
      num_across += kept.size() % 2;
    }
  }
  EXPECT_GT(num_across, 0);
}

TEST(Engine, RefusesStopStringsAndCutsThatMakeNoSense) {
  const auto tokenizer = PairTokenizer();
  Engine engine(TinyModel(), 1, {.num_slots = 2, .max_tokens = kMaxTokens});
  const auto add = [&](const auto& change) {
    GenerateRequest request = Request(1, {2, 3}, 1, 4);
    request.tokenizer = tokenizer.get();
    change(request);
    return engine.Add(request);
  };
  EXPECT_STATUS(add([](auto& r) { r.sampling.set_top_k(-1); }), kInvalid, "top_k is -1");
  EXPECT_STATUS(add([](auto& r) { r.sampling.set_min_p(1.5); }), kInvalid, "min_p is 1.5");
  EXPECT_STATUS(add([](auto& r) { r.sampling.add_stop(""); }), kInvalid, "a stop string has 0 bytes");
  EXPECT_STATUS(add([](auto& r) { r.sampling.add_stop(std::string(257, 'x')); }), kInvalid, "has 257 bytes");
  EXPECT_STATUS(add([](auto& r) {
                  for (int i = 0; i < 17; ++i) r.sampling.add_stop("x");
                }),
                kInvalid, "there are 17 stop strings");
  EXPECT_STATUS(add([](auto& r) {
                  r.sampling.add_stop("x");
                  r.tokenizer = nullptr;
                }),
                kInvalid, "no tokenizer");
}

TEST(Engine, ACutMakesTheLogprobRenormalized) {
  std::vector<GenerateRequest> requests = {Request(0, {2, 3}, 1, 3), Request(1, {2, 3}, 1, 3),
                                           Request(2, {2, 3}, 1, 3)};
  requests[1].sampling.set_top_k(1);
  requests[2].sampling.set_min_p(0.5);
  const auto results = RunAll(requests, 4);
  EXPECT_EQ(results.at(0).completions[0].logprob_kind(), v1::LOGPROB_KIND_FULL);
  EXPECT_EQ(results.at(1).completions[0].logprob_kind(), v1::LOGPROB_KIND_RENORMALIZED);
  EXPECT_EQ(results.at(2).completions[0].logprob_kind(), v1::LOGPROB_KIND_RENORMALIZED);
  for (const float logprob : results.at(1).completions[0].sample_logprob()) EXPECT_EQ(logprob, 0);
}

TEST(Engine, AdmitsFirstComeFirstServed) {
  Engine engine(TinyModel(), 1, {.num_slots = 2, .max_tokens = kMaxTokens});
  // Greedy from a prompt whose completion is long: the first group holds the slots for 10 steps.
  ASSERT_OK(engine.Add(Request(0, {9, 8}, 2, 10)));
  ASSERT_OK(engine.Add(Request(1, {9, 8}, 1, 1)));
  ASSERT_OK(engine.Add(Request(2, {9, 8}, 1, 1)));
  EXPECT_EQ(engine.num_unfinished(), 4);
  EXPECT_EQ(engine.num_free_slots(), 2);
  ASSERT_OK(engine.Step());
  EXPECT_LE(engine.num_free_slots(), 1);
  std::vector<int64_t> order;
  while (!engine.idle()) {
    ASSERT_OK_AND_ASSIGN(const std::vector<GenerateResult> whole, engine.Step());
    for (const GenerateResult& result : whole) order.push_back(result.id);
  }
  // 1 was admitted before 2, whichever slot became free first.
  EXPECT_LT(std::find(order.begin(), order.end(), 1), std::find(order.begin(), order.end(), 2));
  EXPECT_EQ(engine.num_unfinished(), 0);
  EXPECT_EQ(engine.num_free_slots(), 2);
}

TEST(Engine, OneTokenCompletionsNeedNoDecodeStep) {
  Engine engine(TinyModel(), 1, {.num_slots = 4, .max_tokens = kMaxTokens});
  ASSERT_OK(engine.Add(Request(0, {9, 8}, 3, /*max_new_tokens=*/1)));
  ASSERT_OK_AND_ASSIGN(const std::vector<GenerateResult> whole, engine.Step());
  ASSERT_EQ(whole.size(), 1);
  EXPECT_EQ(engine.num_tokens_generated(), 3);
  EXPECT_TRUE(engine.idle());
}

TEST(Engine, SpansRecordWhereTheWeightsChanged) {
  const std::shared_ptr<Transformer> first = TinyModel(1), second = TinyModel(2);
  Engine engine(first, /*number=*/7, {.num_slots = 2, .max_tokens = kMaxTokens});
  const GenerateRequest request = Request(0, {3, 4, 5}, 2, 12);
  ASSERT_OK(engine.Add(request));
  ASSERT_OK(engine.Step());  // the token after the prompt, and one decode step
  engine.SwapWeights(second, /*number=*/8);
  std::vector<GenerateResult> whole;
  while (!engine.idle()) {
    ASSERT_OK_AND_ASSIGN(whole, engine.Step());
  }
  for (const v1::Completion& completion : whole.at(0).completions) {
    ASSERT_GT(completion.ids_size(), 2) << "choose another prompt";
    ASSERT_EQ(completion.spans_size(), 2);
    EXPECT_EQ(completion.spans(0).policy_number(), 7);
    EXPECT_EQ(completion.spans(0).num_tokens(), 2);
    EXPECT_EQ(completion.spans(1).policy_number(), 8);
    EXPECT_EQ(completion.spans(1).num_tokens(), completion.ids_size() - 2);
    EXPECT_EQ(completion.spans(1).source(), v1::SPAN_SOURCE_POLICY);
    EXPECT_TRUE(completion.spans(1).trainable());
    // The first two tokens are the first model's; the rest is not.
    const v1::Completion alone = NaiveCompletion(*first, request, completion.index());
    EXPECT_EQ(completion.ids(0), alone.ids(0));
    EXPECT_EQ(completion.ids(1), alone.ids(1));
    EXPECT_NE(Ids(completion), Ids(alone));
  }
}

TEST(Engine, CancelFreesSlotsAndLeavesTheOthersAsTheyAre) {
  const std::vector<GenerateRequest> requests = Requests();
  const std::map<int64_t, GenerateResult> undisturbed = RunAll({requests[1]}, /*num_slots=*/8);
  Engine engine(TinyModel(), 1, {.num_slots = 8, .max_tokens = kMaxTokens});
  ASSERT_OK(engine.Add(Request(100, {2, 3}, 6, 30)));
  ASSERT_OK(engine.Add(Request(101, {2, 3}, 6, 30)));  // waits for four of its slots
  ASSERT_OK(engine.Step());
  engine.Cancel(100);
  engine.Cancel(101);
  engine.Cancel(12345);
  EXPECT_TRUE(engine.idle());
  EXPECT_EQ(engine.num_free_slots(), 8);
  EXPECT_LT(CompareResults(RunAll(engine, {requests[1]}), undisturbed), kRounding);
}

TEST(Engine, RefusesWhatItCannotSample) {
  Engine engine(TinyModel(), 1, {.num_slots = 2, .max_tokens = 20});
  EXPECT_STATUS(engine.Add(Request(0, {}, 1, 4)), kInvalid, "the prompt is empty");
  EXPECT_STATUS(engine.Add(Request(0, {kVocab}, 1, 4)), kInvalid, "token 40");
  EXPECT_STATUS(engine.Add(Request(0, std::vector<uint32_t>(17, 2), 1, 4)), kInvalid, "17 tokens and up to 4 new ones");
  EXPECT_STATUS(engine.Add(Request(0, {2}, 0, 4)), kInvalid, "num_completions is 0");
  EXPECT_STATUS(engine.Add(Request(0, {2}, 2'000'000'000, 4)), kInvalid, "num_completions is 2000000000");
  EXPECT_STATUS(engine.Add(Request(0, {2}, 1, 0)), kInvalid, "max_new_tokens is 0");
  EXPECT_STATUS(engine.Add(Request(0, {2}, 1, 4, -1)), kInvalid, "temperature is -1");
  EXPECT_STATUS(engine.Add(Request(0, {2}, 1, 4, 1e-9)), kInvalid, "temperature is 1e-09");
  EXPECT_STATUS(engine.Add(Request(0, {2}, 1, 4, std::nan(""))), kInvalid, "temperature is nan");
  EXPECT_TRUE(engine.idle());
  EXPECT_OK(engine.Add(Request(0, std::vector<uint32_t>(16, 2), 1, 4)));
}

TEST(Engine, NonFiniteLogitsAreAnErrorThatNamesThePolicyVersion) {
  const std::shared_ptr<Transformer> broken = TinyModel();
  for (auto& [name, tensor] : broken->HuggingFaceTensors()) {
    if (name == "model.norm.weight") tensor.fill_(std::numeric_limits<float>::quiet_NaN());
  }
  Engine engine(broken, /*number=*/31, {.num_slots = 2, .max_tokens = 20});
  ASSERT_OK(engine.Add(Request(0, {2, 3}, 2, 4)));
  EXPECT_STATUS(engine.Step(), kInvalid, "version 31 of the policy: row 0: the logit of token 0 is");
}

}  // namespace
}  // namespace grpo
