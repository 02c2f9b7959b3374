// The engine on a device: what it samples is what the CPU's samples, and it waits for the device as said in
// rollout/device_decoder.h.
#include "rollout/engine.h"

#include <ATen/TensorOperators.h>
#include <ATen/core/Tensor.h>
#include <ATen/ops/arange.h>
#include <c10/core/InferenceMode.h>

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <limits>
#include <map>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "model/device.h"
#include "model/weights/weight_set.h"
#include "rollout/engine_testing.h"
#include "tests/device/deterministic.h"
#include "tests/device/device_under_test.h"

namespace grpo {
namespace {

constexpr auto kInvalid = absl::StatusCode::kInvalidArgument;
// Full of requests, and waiting ones.
constexpr int64_t kSlots = 16;

Placement OnDevice(at::ScalarType compute = at::kFloat) {
  return {.device = DeviceUnderTest(), .compute = compute};
}

Engine::Options Options(int64_t num_slots = kSlots) {
  return {.num_slots = num_slots, .max_tokens = kMaxTokens};
}

// 200 completions: 10 groups of 20 of all kinds of sampling.
std::vector<GenerateRequest> ManyRequests(const Tokenizer& tokenizer) {
  std::vector<GenerateRequest> requests;
  Rng rng(11);
  for (int64_t id = 0; id < 10; ++id) {
    std::vector<uint32_t> prompt;
    for (int64_t t = rng.Below(20) + 1; t > 0; --t) prompt.push_back(rng.Below(kVocab));
    GenerateRequest request = Request(id, prompt, /*num_completions=*/20, /*max_new_tokens=*/1 + 3 * id);
    if (id == 3) request.sampling.set_temperature(0);
    if (id == 4) request.sampling.set_temperature(0.6);
    if (id == 5) request.sampling.set_top_p(0.8);
    if (id == 6) request.sampling.set_top_k(7);
    if (id == 7) request.sampling.set_min_p(0.05);
    if (id == 8) {
      for (const char* stop : {"ab", "ca", "bcd"}) request.sampling.add_stop(stop);
      request.tokenizer = &tokenizer;
    }
    requests.push_back(std::move(request));
  }
  return requests;
}

TEST(DeviceEngineTest, SamplesWhatTheEngineOfTheCpuSamples) {
  const auto tokenizer = PairTokenizer();
  const std::vector<GenerateRequest> requests = ManyRequests(*tokenizer);
  Engine engine(TinyModel(1, OnDevice()), /*number=*/1, Options()), on_cpu(TinyModel(), /*number=*/1, Options());
  const auto got = RunAll(engine, requests), want = RunAll(on_cpu, requests);
  int64_t num_completions = 0, num_different = 0;
  std::map<int, int64_t> num_ended;
  double difference = 0;
  ASSERT_EQ(got.size(), want.size());
  for (const auto& [id, result] : want) {
    ASSERT_EQ(got.at(id).completions.size(), result.completions.size());
    for (size_t i = 0; i < result.completions.size(); ++i) {
      const v1::Completion &a = got.at(id).completions[i], &b = result.completions[i];
      ++num_completions;
      ++num_ended[b.finish_reason()];
      EXPECT_EQ(a.logprob_kind(), b.logprob_kind());
      if (Ids(a) != Ids(b)) {
        ++num_different;
        continue;
      }
      EXPECT_EQ(a.finish_reason(), b.finish_reason());
      for (int t = 0; t < a.ids_size(); ++t) {
        difference = std::max<double>(difference, std::abs(a.sample_logprob(t) - b.sample_logprob(t)));
      }
    }
  }
  std::printf("of %d completions %d differ; log-probabilities of the others by %g\n", static_cast<int>(num_completions),
              static_cast<int>(num_different), difference);
  EXPECT_EQ(num_completions, 200);
  EXPECT_EQ(num_ended.size(), 3u) << "by end tokens, lengths and stop strings, or the test shows less";
  // Another machine's kernels may round a uniform number across a token's edge: one draw in some 100,000.
  EXPECT_LE(num_different, 1);
  EXPECT_LT(difference, 2e-5);
}

// Log-probabilities of the completion's tokens by one pass over all of it, as a trainer computes them.
std::vector<double> FullLogprobs(const Transformer& model, const GenerateResult& result, const v1::Completion& tokens) {
  std::vector<int64_t> ids(result.prompt_ids.begin(), result.prompt_ids.end());
  const int64_t num_prompt = static_cast<int64_t>(ids.size());
  ids.insert(ids.end(), tokens.ids().begin(), tokens.ids().end());
  const int64_t length = static_cast<int64_t>(ids.size());
  PackedAttention attention({length});
  const at::Tensor given = ToDevice(absl::MakeConstSpan(ids), DeviceUnderTest());
  const at::Tensor hidden = model.Forward(given, at::arange(length, given.options()), attention);
  const at::Tensor logprobs = model.Logits(hidden).cpu().log_softmax(1);
  std::vector<double> chosen;
  for (int64_t t = num_prompt; t < length; ++t) chosen.push_back(logprobs[t - 1][ids[t]].item<double>());
  return chosen;
}

TEST(DeviceEngineTest, SampledLogprobsAreThoseOfTheFullForward) {
  for (const auto& [dtype, tolerance] : {std::pair<at::ScalarType, double>{at::kFloat, 1e-4}, {at::kBFloat16, 5e-2}}) {
    const auto model = TinyModel(1, OnDevice(dtype));
    Engine engine(model, /*number=*/1, Options());
    const auto results = RunAll(engine, Requests());
    const c10::InferenceMode without_autograd;
    double difference = 0;
    for (const auto& [id, result] : results) {
      for (const v1::Completion& completion : result.completions) {
        const std::vector<double> want = FullLogprobs(*model, result, completion);
        for (int t = 0; t < completion.ids_size(); ++t) {
          difference = std::max(difference, std::abs(completion.sample_logprob(t) - want[t]));
        }
      }
    }
    std::printf("%s: sampled against full log-probabilities %g\n", at::toString(dtype), difference);
    EXPECT_LT(difference, tolerance);
  }
}

TEST(DeviceEngineTest, WeightsOfABfloat16PolicyComeInItWithADigestOfTheirOwn) {
  const auto packed = [](const Transformer& model, WeightsForm form) {
    v1::PolicyRef policy;
    policy.set_policy_id("policy");
    return *PackWeights(model, /*tokenizer_json=*/"{}", policy, /*companions=*/{}, form);
  };
  const auto sample = [](const std::shared_ptr<const Transformer>& model) {
    Engine engine(model, /*number=*/1, Options());
    return RunAll(engine, Requests());
  };
  // As a worker keeps them; a trainer keeps float32.
  Placement placement = OnDevice(at::kBFloat16);
  placement.storage = at::kBFloat16;
  std::shared_ptr<Transformer> worker;
  for (const uint64_t version : {3, 4}) {
    const auto trainer = TinyModel(version, OnDevice(at::kBFloat16));
    const WeightSet whole = packed(*trainer, WeightsForm::kTrained), rounded = packed(*trainer, WeightsForm::kSampled);
    EXPECT_NE(whole.manifest.digest(), rounded.manifest.digest());
    EXPECT_LT(rounded.payload.size(), 0.7 * static_cast<double>(whole.payload.size()));
    const PayloadWeights source(rounded.manifest, {rounded.payload});
    if (worker == nullptr) {
      ASSERT_OK_AND_ASSIGN(MadePolicy made, ReadPolicy(source, placement));
      worker = std::move(made.model);
    } else {
      ASSERT_OK(ReadInto(source, *worker));
    }
    EXPECT_EQ(CompareResults(sample(worker), sample(trainer)), 0) << "version " << version;
    std::string damaged = rounded.payload;
    damaged.back() ^= 1;
    EXPECT_STATUS(ReadPolicy(PayloadWeights(rounded.manifest, {damaged}), placement), absl::StatusCode::kDataLoss,
                  "another SHA-256");
  }
}

TEST(DeviceEngineTest, ResultsDependOnNeitherNeighboursNorOrder) {
  const std::vector<GenerateRequest> requests = Requests();
  const std::vector<GenerateRequest> backwards(requests.rbegin(), requests.rend());
  const auto model = TinyModel(1, OnDevice());
  const auto run = [&](const std::vector<GenerateRequest>& some) {
    Engine engine(model, /*number=*/1, Options(8));
    return RunAll(engine, some);
  };
  const auto together = run(requests);
  EXPECT_LT(CompareResults(run(backwards), together), kRounding);
  for (const GenerateRequest& request : requests) {
    EXPECT_LT(CompareResults(run({request}), {*together.find(request.id)}), kRounding);
  }
}

TEST(DeviceEngineTest, AStepWaitsAtMostOnceAndNeverForTheNewestToken) {
  if (!OnFakeDevice()) GTEST_SKIP() << "only the fake device counts";
  Engine::Options options = Options();
  options.ignore_end_tokens = true;
  Engine engine(TinyModel(1, OnDevice()), /*number=*/1, options);
  ASSERT_OK(engine.Add(Request(0, {3, 4, 5}, /*num_completions=*/6, /*max_new_tokens=*/12)));
  for (int step = 0; step < 12; ++step) {
    const bool prompt = step == 0 || step == 5;
    if (step == 5) {
      ASSERT_OK(engine.Add(Request(1, {8, 9}, /*num_completions=*/4, /*max_new_tokens=*/12)));
    }
    const fake::Counters before = fake::CountersNow();
    ASSERT_OK(engine.Step());
    const fake::Counters spent = fake::CountersNow() - before;
    EXPECT_LE(spent.waits, 1) << "step " << step;
    EXPECT_EQ(spent.drains, 0) << "step " << step;
    EXPECT_EQ(spent.copies_to_host, 1) << "step " << step;
    if (!prompt) {
      EXPECT_EQ(spent.copies_to_device, 1) << "step " << step;
    }
  }
  // The first group is whole; of the second, whose first step drew two, all but the newest.
  EXPECT_EQ(engine.num_tokens_generated(), 6 * 12 + 4 * 7);
}

TEST(DeviceEngineTest, EndingAnEngineGivesItsMemoryBack) {
  const auto remaining = [] { return MemoryOf(DeviceUnderTest()).allocated_bytes; };
  int64_t after_first = 0;
  for (int round = 0; round < 2; ++round) {
    {
      Engine engine(TinyModel(1, OnDevice()), /*number=*/1, Options());
      for (const GenerateRequest& request : Requests()) ASSERT_OK(engine.Add(request));
      // In mid-stream, with tokens on their way.
      for (int step = 0; step < 5; ++step) ASSERT_OK(engine.Step());
      EXPECT_GT(remaining(), 0);
    }
    // A GPU's libraries keep workspaces of theirs from the first time on.
    if (round == 0) after_first = remaining();
    EXPECT_EQ(remaining(), after_first);
  }
  if (OnFakeDevice()) {
    EXPECT_EQ(after_first, 0);
  }
}

// Samples with `model`, whose weights become those of TinyModel(2) after two steps: in place, or by another model.
std::map<int64_t, GenerateResult> SampleAcrossASwap(const std::vector<GenerateRequest>& requests,
                                                    const Placement& placement, bool in_place) {
  const auto first = TinyModel(1, placement), second = TinyModel(2, placement);
  Engine::Options options = Options();
  // Slots become free at another step here than on the CPU; none does before the swap.
  options.ignore_end_tokens = true;
  Engine engine(first, /*number=*/7, options);
  for (const GenerateRequest& request : requests) EXPECT_OK(engine.Add(request));
  for (int step = 0; step < 2; ++step) EXPECT_OK(engine.Step());
  if (in_place) {
    const c10::InferenceMode without_autograd;
    first->CopyWeights(*second);
  }
  engine.SwapWeights(in_place ? first : second, /*number=*/8);
  return RunAll(engine, {});
}

TEST(DeviceEngineTest, WeightsChangeInMidStreamAsOnTheCpu) {
  // More completions than slots: some are sampled with the new weights alone.
  const std::vector<GenerateRequest> requests = {Request(0, {3, 4, 5}, 5, 12), Request(1, {8, 9}, 9, 12),
                                                 Request(2, {2, 30, 7}, 8, 6)};
  const auto want = SampleAcrossASwap(requests, {}, /*in_place=*/false);
  for (const bool in_place : {false, true}) {
    for (const at::ScalarType head : {at::kFloat, at::kBFloat16}) {
      Placement placement = OnDevice();
      placement.head = head;
      const auto got = SampleAcrossASwap(requests, placement, in_place);
      if (head == at::kFloat) {
        EXPECT_LT(CompareResults(got, want), kRounding);
      }
      int64_t num_changed = 0;
      for (const auto& [id, result] : got) {
        for (const v1::Completion& completion : result.completions) {
          const auto& spans = completion.spans();
          ASSERT_FALSE(spans.empty());
          EXPECT_EQ(spans.rbegin()->policy_number(), spans.size() == 2 ? 8 : spans[0].policy_number());
          int64_t num_tokens = 0;
          for (const v1::Span& span : spans) num_tokens += span.num_tokens();
          EXPECT_EQ(num_tokens, completion.ids_size());
          if (spans.size() < 2) continue;
          ++num_changed;
          // The prompt's, and those of two steps, whether the host had them or not.
          EXPECT_EQ(spans[0].policy_number(), 7);
          EXPECT_EQ(spans[0].num_tokens(), 3);
        }
      }
      EXPECT_GT(num_changed, 3);
    }
  }
}

TEST(DeviceEngineTest, ACancelledGroupLeavesNothingInItsSlots) {
  const std::vector<GenerateRequest> requests = Requests();
  const auto model = TinyModel(1, OnDevice());
  Engine undisturbed(model, 1, Options(8)), engine(model, 1, Options(8));
  const auto want = RunAll(undisturbed, {requests[1]});
  ASSERT_OK(engine.Add(Request(100, {2, 3}, 6, 30)));
  ASSERT_OK(engine.Add(Request(101, {2, 3}, 6, 30)));  // waits for four of its slots
  ASSERT_OK(engine.Step());
  engine.Cancel(100);
  engine.Cancel(101);
  EXPECT_TRUE(engine.idle());
  EXPECT_EQ(engine.num_free_slots(), 8);
  EXPECT_LT(CompareResults(RunAll(engine, {requests[1]}), want), kRounding);
}

TEST(DeviceEngineTest, OneTokenCompletionsAndMoreOfThemThanSlotsComeToAnEnd) {
  Engine engine(TinyModel(1, OnDevice()), 1, Options(4));
  const auto results = RunAll(engine, {Request(0, {9, 8}, 11, /*max_new_tokens=*/1), Request(1, {4}, 7, 2)});
  ASSERT_EQ(results.size(), 2u);
  for (const v1::Completion& completion : results.at(0).completions) EXPECT_EQ(completion.ids_size(), 1);
  EXPECT_TRUE(engine.idle());
  // Nothing is left to be returned.
  ASSERT_OK_AND_ASSIGN(const std::vector<GenerateResult> nothing, engine.Step());
  EXPECT_TRUE(nothing.empty());
}

TEST(DeviceEngineTest, LogitsThatAreNotFiniteAreAnErrorThatNamesThePolicyVersion) {
  const auto broken = TinyModel(1, OnDevice());
  for (auto& [name, tensor] : broken->HuggingFaceTensors()) {
    if (name == "model.norm.weight") tensor.fill_(std::numeric_limits<float>::quiet_NaN());
  }
  Engine engine(broken, /*number=*/31, Options());
  ASSERT_OK(engine.Add(Request(0, {2, 3}, 2, 4)));
  absl::Status status;
  while (status.ok() && !engine.idle()) status = engine.Step().status();
  EXPECT_STATUS(status, kInvalid, "version 31 of the policy: slot 0: a logit is not finite");
}

}  // namespace
}  // namespace grpo
