#include "model/transformer.h"

#include <ATen/ATen.h>
#include <ATen/core/grad_mode.h>
#include <gtest/gtest.h>

#include <cmath>
#include <map>

#include "common/seeds.h"
#include "common/status_testing.h"
#include "model/kv_cache.h"

namespace grpo {
namespace {

ModelConfig SmallConfig(int64_t num_heads = 4, int64_t num_kv_heads = 2) {
  ModelConfig config;
  config.vocab_size = 23;
  // No multiple of the vector width, so that the kernels' last partial vectors are covered.
  config.hidden_size = 10 * num_heads;
  config.head_dim = 10;
  config.intermediate_size = 37;
  config.num_layers = 2;
  config.num_heads = num_heads;
  config.num_kv_heads = num_kv_heads;
  config.max_positions = 64;
  config.eos_token_ids = {1};
  return config;
}

std::unique_ptr<Transformer> MakeModel(const ModelConfig& config, uint64_t seed = 1) {
  auto model = Transformer::Create(config);
  EXPECT_OK(model);
  (*model)->InitializeRandom(seed);
  // Norms of 1 would hide a norm weight that is not applied.
  for (auto& [name, tensor] : (*model)->NamedParameters()) {
    if (name.ends_with("norm.weight")) tensor.add_(at::linspace(-0.3, 0.3, tensor.numel()));
  }
  return std::move(model).value();
}

std::vector<int64_t> RandomIds(int64_t length, uint64_t seed) {
  Rng rng(seed);
  std::vector<int64_t> ids(length);
  for (int64_t& id : ids) id = rng.Below(23);
  return ids;
}

at::Tensor Positions(const std::vector<int64_t>& lengths) {
  std::vector<at::Tensor> parts;
  for (const int64_t length : lengths) parts.push_back(at::arange(length));
  return at::cat(parts);
}

at::Tensor ForwardLogits(const Transformer& model, const std::vector<std::vector<int64_t>>& sequences) {
  std::vector<int64_t> ids, lengths;
  for (const auto& sequence : sequences) {
    ids.insert(ids.end(), sequence.begin(), sequence.end());
    lengths.push_back(static_cast<int64_t>(sequence.size()));
  }
  PackedAttention attention(lengths);
  return model.Logits(model.Forward(at::tensor(ids), Positions(lengths), attention));
}

double MaxDifference(const at::Tensor& a, const at::Tensor& b) {
  return (a - b).abs().max().item<double>();
}

// As "Llama 3.1" describes it, for one frequency.
double ScaledFrequency(const ModelConfig& config, double frequency) {
  const RopeScaling& scaling = config.rope_scaling;
  if (scaling.type == RopeScaling::Type::kDefault) return frequency;
  if (scaling.type == RopeScaling::Type::kLinear) return frequency / scaling.factor;
  const double turns = scaling.original_max_positions * frequency / (2 * M_PI);
  if (turns < scaling.low_freq_factor) return frequency / scaling.factor;
  if (turns > scaling.high_freq_factor) return frequency;
  const double kept = (turns - scaling.low_freq_factor) / (scaling.high_freq_factor - scaling.low_freq_factor);
  return frequency * (kept + (1 - kept) / scaling.factor);
}

// The model written down a second time, from the papers, on one sequence in float64, with Hugging Face's separate
// tensors.
at::Tensor NaiveLogits(const Transformer& model, const std::vector<int64_t>& ids) {
  const ModelConfig& config = model.config();
  std::map<std::string, at::Tensor> weights;
  for (const auto& [name, tensor] : model.HuggingFaceTensors()) weights[name] = tensor.to(at::kDouble);
  const int64_t length = static_cast<int64_t>(ids.size()), half = config.head_dim / 2;
  const auto norm = [&](const at::Tensor& x, const std::string& name) {
    return x * (x.pow(2).mean(-1, true) + config.rms_norm_eps).rsqrt() * weights.at(name);
  };
  const auto rotate = [&](const at::Tensor& x) {  // [T, heads, K]
    at::Tensor out = at::empty_like(x);
    for (int64_t t = 0; t < length; ++t) {
      for (int64_t i = 0; i < half; ++i) {
        const double angle = t * ScaledFrequency(config, std::pow(config.rope_theta, -2.0 * i / config.head_dim));
        out.select(0, t).select(1, i) =
            x[t].select(1, i) * std::cos(angle) - x[t].select(1, i + half) * std::sin(angle);
        out.select(0, t).select(1, i + half) =
            x[t].select(1, i + half) * std::cos(angle) + x[t].select(1, i) * std::sin(angle);
      }
    }
    return out;
  };
  at::Tensor x = weights.at("model.embed_tokens.weight").index_select(0, at::tensor(ids));
  for (int64_t layer = 0; layer < config.num_layers; ++layer) {
    const std::string prefix = "model.layers." + std::to_string(layer) + ".";
    const auto project = [&](const at::Tensor& in, const std::string& name) {
      const auto bias = weights.find(prefix + name + ".bias");
      const at::Tensor out = in.matmul(weights.at(prefix + name + ".weight").t());
      return bias == weights.end() ? out : out + bias->second;
    };
    at::Tensor normed = norm(x, prefix + "input_layernorm.weight");
    const auto heads_of = [&](const std::string& name) {
      const at::Tensor in_heads = project(normed, name + "_proj").view({length, -1, config.head_dim});
      return rotate(config.qk_norm ? norm(in_heads, prefix + name + "_norm.weight") : in_heads);
    };
    const at::Tensor q = heads_of("self_attn.q"), k = heads_of("self_attn.k");
    const at::Tensor v = project(normed, "self_attn.v_proj").view({length, -1, config.head_dim});
    std::vector<at::Tensor> heads;
    for (int64_t head = 0; head < config.num_heads; ++head) {
      const int64_t kv = head / (config.num_heads / config.num_kv_heads);
      const at::Tensor scores =
          q.select(1, head).matmul(k.select(1, kv).t()) / std::sqrt(static_cast<double>(config.head_dim));
      const at::Tensor hidden = at::ones({length, length}, at::kBool).triu(1);
      heads.push_back(scores.masked_fill(hidden, -INFINITY).softmax(-1).matmul(v.select(1, kv)));
    }
    x = x + project(at::cat(heads, 1), "self_attn.o_proj");
    normed = norm(x, prefix + "post_attention_layernorm.weight");
    x = x + project(at::silu(project(normed, "mlp.gate_proj")) * project(normed, "mlp.up_proj"), "mlp.down_proj");
  }
  x = norm(x, "model.norm.weight");
  return x.matmul(weights.at(config.tie_word_embeddings ? "model.embed_tokens.weight" : "lm_head.weight").t());
}

class TransformerTest : public testing::Test {
  at::NoGradGuard no_grad_;
};

TEST_F(TransformerTest, EqualsTheModelWrittenDownASecondTime) {
  for (const bool tied : {true, false}) {
    for (const int64_t num_kv_heads : {1, 2, 4}) {
      ModelConfig config = SmallConfig(4, num_kv_heads);
      config.tie_word_embeddings = tied;
      const auto model = MakeModel(config);
      const std::vector<int64_t> ids = RandomIds(21, 5);
      EXPECT_LT(MaxDifference(ForwardLogits(*model, {ids}), NaiveLogits(*model, ids)), 1e-5)
          << tied << " " << num_kv_heads;
    }
  }
}

TEST_F(TransformerTest, EqualsTheModelWrittenDownASecondTimeInEveryFamilysParts) {
  ModelConfig config = SmallConfig();
  config.attention_bias = false;
  config.qk_norm = true;
  config.head_dim = 16;  // not hidden_size / num_heads
  const std::vector<int64_t> ids = RandomIds(60, 5);
  const auto expect_equal = [&] {
    const auto model = MakeModel(config);
    EXPECT_LT(MaxDifference(ForwardLogits(*model, {ids}), NaiveLogits(*model, ids)), 1e-5);
  };
  expect_equal();
  config.rope_scaling = {.type = RopeScaling::Type::kLinear, .factor = 4};
  expect_equal();
  // The eight frequencies fall on both sides of both bounds and between them.
  config.rope_scaling = {.type = RopeScaling::Type::kLlama3,
                         .factor = 8,
                         .low_freq_factor = 1,
                         .high_freq_factor = 4,
                         .original_max_positions = 256};
  expect_equal();
}

// Log-probabilities in bfloat16 stay near those in float32, and a model that keeps bfloat16 matrices computes the bits
// of one that rounds float32 ones.
TEST_F(TransformerTest, Bfloat16IsNearFloat32AndTheSameFromEitherStorage) {
  ModelConfig config = SmallConfig();
  config.qk_norm = true;
  const auto model = MakeModel(config);
  const auto with = [&](Placement placement) {
    auto other = Transformer::Create(config, placement);
    EXPECT_OK(other);
    (*other)->CopyWeights(*model);
    return *std::move(other);
  };
  const auto training = with({.compute = at::kBFloat16, .storage = at::kFloat});
  const auto sampling = with({.compute = at::kBFloat16, .storage = at::kBFloat16});
  const std::vector<std::vector<int64_t>> sequences = {RandomIds(21, 5), RandomIds(9, 6)};
  const at::Tensor exact = ForwardLogits(*model, sequences), rounded = ForwardLogits(*training, sequences);
  EXPECT_EQ(rounded.scalar_type(), at::kFloat);
  EXPECT_TRUE(at::equal(rounded, ForwardLogits(*sampling, sequences)));
  const double difference = MaxDifference(exact.log_softmax(-1), rounded.log_softmax(-1));
  EXPECT_GT(difference, 1e-4) << "nothing was rounded";
  EXPECT_LT(difference, 0.05);
}

// What leaves a layer is what a model of so many layers computes, before its final norm; with activation checkpointing
// and packing too, and it is a part of the graph.
TEST_F(TransformerTest, GivesWhatLeavesTheLayersThatItIsAskedFor) {
  ModelConfig config = SmallConfig();
  config.num_layers = 3;
  const auto model = MakeModel(config);
  config.num_layers = 2;
  const auto first_layers = MakeModel(config);
  std::map<std::string, at::Tensor> weights;
  for (const auto& [name, tensor] : model->NamedParameters()) weights[name] = tensor;
  for (auto& [name, tensor] : first_layers->NamedParameters()) tensor.copy_(weights.at(name));
  const at::AutoGradMode with_gradients(true);
  model->RequireGrad();
  const at::Tensor ids = at::tensor(RandomIds(9, 5)), positions = Positions({4, 5});
  const auto attention = std::make_shared<PackedAttention>(std::vector<int64_t>{4, 5});
  LayerOutputs plain = {{2, {}}, {3, {}}}, checkpointed = plain, of_two = {{2, {}}};
  const at::Tensor hidden = model->Forward(ids, positions, *attention, /*packed=*/nullptr, &plain);
  model->CheckpointedForward(ids, positions, attention, &checkpointed);
  {
    const at::NoGradGuard no_grad;
    first_layers->Forward(ids, positions, *attention, /*packed=*/nullptr, &of_two);
    // The final norm is all that is behind the last layer.
    const at::Tensor& last = plain.at(3);
    const at::Tensor norm = last / at::sqrt(last.square().mean(-1, true) + config.rms_norm_eps);
    EXPECT_LE((norm * weights.at("model.norm.weight") - hidden).abs().max().item<double>(), 1e-5);
  }
  EXPECT_TRUE(at::equal(plain.at(2), of_two.at(2)));
  for (const auto& [layer, output] : plain) EXPECT_TRUE(at::equal(output, checkpointed.at(layer))) << layer;
  checkpointed.at(2).sum().backward();
  const auto gradient = [&](const std::string& name) { return weights.at(name).grad(); };
  EXPECT_TRUE(gradient("model.layers.1.mlp.down_proj.weight").defined());
  EXPECT_FALSE(gradient("model.layers.2.mlp.down_proj.weight").defined());
  LayerOutputs beyond = {{4, {}}};
  EXPECT_ANY_THROW(model->Forward(ids, positions, *attention, /*packed=*/nullptr, &beyond));
}

TEST_F(TransformerTest, ADeviceThatThisBuildCannotComputeOnIsNamed) {
  EXPECT_STATUS(Transformer::Create(SmallConfig(), {.device = at::Device("cuda:1")}), absl::StatusCode::kUnimplemented,
                "cuda:1: this build computes on the CPU alone");
}

TEST_F(TransformerTest, LaterTokensDoNotChangeEarlierLogits) {
  const auto model = MakeModel(SmallConfig());
  std::vector<int64_t> ids = RandomIds(20, 6);
  const at::Tensor before = ForwardLogits(*model, {ids});
  ids[12] = (ids[12] + 1) % 23;
  const at::Tensor after = ForwardLogits(*model, {ids});
  EXPECT_LT(MaxDifference(before.narrow(0, 0, 12), after.narrow(0, 0, 12)), 1e-6);
  EXPECT_GT(MaxDifference(before.narrow(0, 12, 8), after.narrow(0, 12, 8)), 1e-3);
}

TEST_F(TransformerTest, PackedSequencesEqualEachAlone) {
  const auto model = MakeModel(SmallConfig());
  for (const std::vector<int64_t>& lengths : {std::vector<int64_t>{7, 7, 7}, {3, 19, 1, 8}}) {
    std::vector<std::vector<int64_t>> sequences;
    std::vector<at::Tensor> alone;
    for (const int64_t length : lengths) {
      sequences.push_back(RandomIds(length, 40 + sequences.size()));
      alone.push_back(ForwardLogits(*model, {sequences.back()}));
    }
    EXPECT_LT(MaxDifference(ForwardLogits(*model, sequences), at::cat(alone)), 1e-5);
  }
}

// Prefills the first `prefix` ids of each sequence into its slot and decodes the rest token by token; slots without a
// sequence idle.
at::Tensor CachedLogits(const Transformer& model, const std::vector<std::vector<int64_t>>& sequences,
                        const std::vector<int64_t>& slots, int64_t num_slots, int64_t prefix) {
  KvCache cache(model.config(), model.placement(), num_slots, 40);
  const int64_t count = static_cast<int64_t>(sequences.size()), length = static_cast<int64_t>(sequences[0].size());
  std::vector<int64_t> ids;
  for (const auto& sequence : sequences) ids.insert(ids.end(), sequence.begin(), sequence.begin() + prefix);
  const std::vector<int64_t> lengths(count, prefix);
  PrefillAttention prefill(&cache, lengths, slots);
  const at::Tensor first = model.Logits(model.Forward(at::tensor(ids), Positions(lengths), prefill));
  std::vector<at::Tensor> steps = {first.view({count, prefix, -1})};
  std::vector<int64_t> filled(num_slots, -1), next(num_slots, 0), positions(num_slots, 0);
  for (int64_t t = prefix; t < length; ++t) {
    for (int64_t i = 0; i < count; ++i) {
      next[slots[i]] = sequences[i][t];
      filled[slots[i]] = positions[slots[i]] = t;
    }
    DecodeAttention decode(&cache, &filled);
    const at::Tensor logits = model.Logits(model.Forward(at::tensor(next), at::tensor(positions), decode));
    steps.push_back(logits.index_select(0, at::tensor(slots)).unsqueeze(1));
  }
  return at::cat(steps, 1);  // [sequences, T, V]
}

TEST_F(TransformerTest, PrefillAndCachedDecodingEqualTheFullForward) {
  for (const int64_t num_kv_heads : {1, 4}) {
    const auto model = MakeModel(SmallConfig(4, num_kv_heads));
    const std::vector<std::vector<int64_t>> sequences = {RandomIds(37, 1), RandomIds(37, 2), RandomIds(37, 3)};
    const at::Tensor cached = CachedLogits(*model, sequences, /*slots=*/{4, 0, 2}, /*num_slots=*/6, /*prefix=*/5);
    for (int64_t i = 0; i < 3; ++i) EXPECT_LT(MaxDifference(cached[i], ForwardLogits(*model, {sequences[i]})), 1e-5);
  }
}

TEST_F(TransformerTest, GradientsOfEveryParameterAgreeWithFiniteDifferences) {
  const auto model = MakeModel(SmallConfig());
  const std::vector<std::vector<int64_t>> sequences = {RandomIds(9, 1), RandomIds(4, 2)};
  const at::Tensor weights = at::linspace(-1, 1, 13 * 23).view({13, 23});
  const auto loss = [&] { return (ForwardLogits(*model, sequences).log_softmax(-1) * weights).sum(); };
  model->RequireGrad();
  {
    at::AutoGradMode with_grad(true);
    loss().backward();
  }
  for (const auto& [name, parameter] : model->NamedParameters()) {
    ASSERT_TRUE(parameter.grad().defined()) << name;
    // Along one random direction; float32 limits the agreement.
    const at::Tensor tensor = parameter.detach(), kept = tensor.clone();
    at::Tensor direction = at::empty_like(tensor);
    Rng rng(HashName(name));
    for (int64_t i = 0; i < direction.numel(); ++i) direction.data_ptr<float>()[i] = rng.Uniform() < 0.5 ? -1 : 1;
    constexpr double kStep = 1e-3;
    tensor.copy_(kept + kStep * direction);
    const double above = loss().item<double>();
    tensor.copy_(kept - kStep * direction);
    const double below = loss().item<double>();
    tensor.copy_(kept);
    const double expected = (above - below) / (2 * kStep), got = (parameter.grad() * direction).sum().item<double>();
    EXPECT_NEAR(got, expected, 0.02 * (1 + std::abs(expected))) << name;
  }
}

TEST_F(TransformerTest, InitialisationHasThePrototypesStatistics) {
  ModelConfig config = SmallConfig();
  config.hidden_size = 160;
  config.head_dim = 40;
  config.intermediate_size = 480;
  config.vocab_size = 600;
  ASSERT_OK_AND_ASSIGN(const auto model, Transformer::Create(config));
  model->InitializeRandom(3);
  const auto expect_deviation = [](const std::string& name, const at::Tensor& tensor, double deviation) {
    EXPECT_NEAR(tensor.std().item<double>(), deviation, 0.02 * deviation) << name;
    EXPECT_NEAR(tensor.mean().item<double>(), 0, 0.02 * deviation) << name;
    EXPECT_GT(tensor.abs().max().item<double>(), 3.5 * deviation) << name;
  };
  for (const auto& [name, tensor] : model->NamedParameters()) {
    if (name.ends_with("norm.weight")) {
      EXPECT_TRUE(tensor.eq(1).all().item<bool>()) << name;
    } else if (name.ends_with(".bias")) {
      EXPECT_NEAR(tensor.std().item<double>(), 1 / std::sqrt(3.0 * 160), 0.1 / std::sqrt(3.0 * 160)) << name;
      EXPECT_LE(tensor.abs().max().item<double>(), 1 / std::sqrt(160.0)) << name;
    } else if (name.ends_with("embed_tokens.weight")) {
      expect_deviation(name, tensor, 0.02);
    } else if (name.ends_with("down_proj.weight")) {
      expect_deviation(name, tensor, 0.5 / std::sqrt(480.0));
    } else {
      expect_deviation(name, tensor, (name.ends_with("o_proj.weight") ? 0.5 : 1.0) / std::sqrt(160.0));
    }
  }
}

TEST_F(TransformerTest, TheSeedAloneDecidesTheWeights) {
  const auto a = MakeModel(SmallConfig(), 7), b = MakeModel(SmallConfig(), 7), c = MakeModel(SmallConfig(), 8);
  const at::Tensor weight = a->NamedParameters()[2].second;
  EXPECT_TRUE(weight.equal(b->NamedParameters()[2].second));
  EXPECT_FALSE(weight.equal(c->NamedParameters()[2].second));
  EXPECT_FALSE(a->NamedParameters()[2].second.equal(a->NamedParameters()[8].second))
      << "two layers drew the same numbers";
}

TEST_F(TransformerTest, HuggingFaceTensorsAreViewsOfEveryParameter) {
  for (const bool tied : {true, false}) {
    ModelConfig config = SmallConfig();
    config.tie_word_embeddings = tied;
    const auto model = MakeModel(config);
    int64_t leaves = 0, views = 0;
    for (const auto& [name, tensor] : model->NamedParameters()) leaves += tensor.numel();
    for (auto& [name, tensor] : model->HuggingFaceTensors()) {
      views += tensor.numel();
      tensor.fill_(2);
    }
    EXPECT_EQ(leaves, config.NumParameters());
    EXPECT_EQ(views, leaves);
    for (const auto& [name, tensor] : model->NamedParameters()) EXPECT_TRUE(tensor.eq(2).all().item<bool>()) << name;
  }
}

}  // namespace
}  // namespace grpo
