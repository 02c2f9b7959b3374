// Small models of every family against transformers: goldens of tools/parity/make_model_goldens.
#include <ATen/ATen.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <filesystem>
#include <iostream>
#include <map>
#include <nlohmann/json.hpp>

#include "absl/strings/str_cat.h"
#include "common/files.h"
#include "common/seeds.h"
#include "common/status_testing.h"
#include "model/families.h"
#include "model/lm_head.h"
#include "model/transformer.h"
#include "model/weights/safetensors.h"
#include "rollout/engine.h"

namespace grpo {
namespace {

using nlohmann::json;

constexpr char kFolder[] = "tests/parity/models/";
constexpr double kLogprobTolerance = 2e-4, kGradientTolerance = 1e-4;

std::string MustRead(const std::string& path) {
  auto content = ReadFile(path);
  EXPECT_OK(content);
  return content.value_or("");
}

// `weight` of make_model_goldens.
void DrawWeights(const std::string& name, const at::Tensor& tensor) {
  const at::Tensor values = at::empty({tensor.numel()});
  const uint64_t seed = HashName(name);
  for (int64_t i = 0; i < tensor.numel(); ++i) {
    const int64_t draw = static_cast<int64_t>(Mix64(seed + i) >> 40) - (1 << 23);
    values.data_ptr<float>()[i] = static_cast<float>(draw) * 0x1p-23f;
  }
  const at::Tensor shaped = values.view(tensor.sizes());
  if (name.ends_with("norm.weight")) {
    tensor.copy_(1 + 0.25 * shaped);
  } else {
    tensor.copy_(shaped * (name.find("embed_tokens") != std::string::npos ? 1.0 : 0.5));
  }
}

at::Tensor Logprobs(const Transformer& model, const std::vector<int64_t>& ids, bool checkpointed, int64_t chunk_bytes) {
  const int64_t length = static_cast<int64_t>(ids.size()) - 1;
  const at::Tensor all = at::tensor(ids), positions = at::arange(length);
  const auto attention = std::make_shared<PackedAttention>(std::vector<int64_t>{length});
  const at::Tensor inputs = all.narrow(0, 0, length);
  const at::Tensor hidden = checkpointed ? model.CheckpointedForward(inputs, positions, attention)
                                         : model.Forward(inputs, positions, *attention);
  return TargetLogprobs(hidden, model.head(), all.narrow(0, 1, length), 1.0, chunk_bytes);
}

class ModelsTest : public testing::TestWithParam<std::string> {
 protected:
  ModelsTest() : folder_(kFolder + GetParam() + "/"), goldens_(json::parse(MustRead(folder_ + "goldens.json"))) {
    const auto config = ParseModelConfig(MustRead(folder_ + "config.json"));
    EXPECT_OK(config);
    model_ = *Transformer::Create(*config);
    for (const auto& [name, tensor] : model_->HuggingFaceTensors()) DrawWeights(name, tensor);
  }

  // The fused gradients under Hugging Face's names.
  std::map<std::string, at::Tensor> Gradients() {
    auto gradients = *Transformer::Create(model_->config());
    const NamedTensors from = model_->NamedParameters(), to = gradients->NamedParameters();
    for (size_t i = 0; i < from.size(); ++i) to[i].second.copy_(from[i].second.grad());
    const NamedTensors named = gradients->HuggingFaceTensors();
    return {named.begin(), named.end()};
  }

  const std::string folder_;
  const json goldens_;
  std::unique_ptr<Transformer> model_;
};

TEST_P(ModelsTest, BothSpellingsOfTheConfigurationAreOneModel) {
  const auto version_4 = ParseModelConfig(MustRead(folder_ + "config_v4.json"));
  ASSERT_OK(version_4);
  EXPECT_EQ(ModelConfigJson(*version_4), ModelConfigJson(model_->config()));
}

TEST_P(ModelsTest, LogprobsAndGradientsEqualThoseOfTransformers) {
  const std::string file = MustRead(folder_ + "gradients.safetensors");
  ASSERT_OK_AND_ASSIGN(const std::vector<SafetensorsEntry> expected, ParseSafetensors(file));
  model_->RequireGrad();
  // Kept and computed again; in one piece and one token at a time.
  for (const auto& [checkpointed, chunk_bytes] : {std::pair{false, kDefaultHeadChunkBytes}, {true, int64_t{1}}}) {
    for (auto& [name, parameter] : model_->NamedParameters()) parameter.mutable_grad().reset();
    std::vector<at::Tensor> logprobs;
    double largest = 0;
    for (size_t i = 0; i < goldens_["sequences"].size(); ++i) {
      logprobs.push_back(Logprobs(*model_, goldens_["sequences"][i], checkpointed, chunk_bytes));
      const std::vector<float> golden = goldens_["logprobs"][i];
      largest = std::max(largest, (logprobs.back().detach() - at::tensor(golden)).abs().max().item<double>());
    }
    EXPECT_LE(largest, kLogprobTolerance);
    at::cat(logprobs).mean().backward();
    const std::map<std::string, at::Tensor> gradients = Gradients();
    EXPECT_EQ(gradients.size(), expected.size());
    double largest_gradient = 0;
    for (const SafetensorsEntry& entry : expected) {
      const at::Tensor golden = at::empty(entry.shape);
      std::copy(entry.bytes.begin(), entry.bytes.end(), static_cast<char*>(golden.mutable_data_ptr()));
      ASSERT_TRUE(gradients.contains(entry.name)) << entry.name;
      const double relative = ((gradients.at(entry.name) - golden).norm() / golden.norm()).item<double>();
      EXPECT_LE(relative, kGradientTolerance) << entry.name;
      largest_gradient = std::max(largest_gradient, relative);
    }
    std::cout << GetParam() << (checkpointed ? ", checkpointed" : "") << ": largest difference of a log-probability "
              << largest << ", of a gradient " << largest_gradient << " of its norm\n";
  }
}

// Where the ids first differ, both must be as likely as the tolerance can tell: rounding decides between them, and what
// follows is another text.
void ExpectSameOrTied(const Transformer& model, std::vector<int64_t> ids, const std::vector<int64_t>& got,
                      const std::vector<int64_t>& golden) {
  const auto [mine, theirs] = std::mismatch(got.begin(), got.end(), golden.begin(), golden.end());
  if (mine == got.end() && theirs == golden.end()) return;
  ASSERT_TRUE(mine != got.end() && theirs != golden.end()) << got.size() << " tokens and not " << golden.size();
  const c10::InferenceMode guard;
  ids.insert(ids.end(), golden.begin(), theirs);
  const auto logprob_of = [&](int64_t id) {
    std::vector<int64_t> with = ids;
    with.push_back(id);
    return Logprobs(model, with, /*checkpointed=*/false, kDefaultHeadChunkBytes)[-1].item<double>();
  };
  EXPECT_NEAR(logprob_of(*mine), logprob_of(*theirs), 2 * kLogprobTolerance)
      << "token " << theirs - golden.begin() << " is " << *mine << " and not " << *theirs;
}

TEST_P(ModelsTest, GreedyCompletionsEqualThoseOfTransformers) {
  const std::shared_ptr<const Transformer> model = std::move(model_);
  Engine engine(model, 0, {.num_slots = 5, .max_tokens = 128});
  const size_t num_prompts = goldens_["prompts"].size();
  for (size_t i = 0; i < num_prompts; ++i) {
    GenerateRequest request = {
        .id = static_cast<int64_t>(i), .prompt_ids = goldens_["prompts"][i], .seed = 0, .sampling = {}};
    request.sampling.set_num_completions(1);
    request.sampling.set_max_new_tokens(64);
    request.sampling.set_temperature(0);
    ASSERT_OK(engine.Add(std::move(request)));
  }
  size_t num_done = 0;
  while (!engine.idle()) {
    ASSERT_OK_AND_ASSIGN(const std::vector<GenerateResult> results, engine.Step());
    for (const GenerateResult& result : results) {
      SCOPED_TRACE(absl::StrCat("prompt ", result.id));
      const auto& ids = result.completions[0].ids();
      ExpectSameOrTied(*model, goldens_["prompts"][result.id], {ids.begin(), ids.end()},
                       goldens_["completions"][result.id]);
      ++num_done;
    }
  }
  EXPECT_EQ(num_done, num_prompts);
}

std::vector<std::string> ModelNames() {
  std::vector<std::string> names;
  for (const auto& entry : std::filesystem::directory_iterator(kFolder)) {
    if (entry.is_directory()) names.push_back(entry.path().filename());
  }
  return names;
}

INSTANTIATE_TEST_SUITE_P(All, ModelsTest, testing::ValuesIn(ModelNames()), [](const auto& info) { return info.param; });

}  // namespace
}  // namespace grpo
