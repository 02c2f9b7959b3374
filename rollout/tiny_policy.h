// A policy of four tokens for tests: <eos>, a, b and c; and leases of it.
#ifndef GRPO_ROLLOUT_TINY_POLICY_H_
#define GRPO_ROLLOUT_TINY_POLICY_H_

#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <utility>

#include "absl/strings/str_cat.h"
#include "common/seeds.h"
#include "model/weights/weight_set.h"
#include "rollout/held_policy.h"

namespace grpo {

// Writes the letters a, b and c and nothing else; <eos> is token 0.
inline constexpr char kTinyTokenizer[] = R"({"decoder": {"type": "Fuse"},
    "added_tokens": [{"id": 0, "content": "<eos>", "special": true}],
    "model": {"type": "BPE", "merges": [], "vocab": {"<eos>": 0, "a": 1, "b": 2, "c": 3}}})";

// Random weights by `number`. intermediate_size is what makes one architecture differ from another.
inline std::shared_ptr<Transformer> TinyModel(int64_t number, int64_t intermediate_size = 32) {
  ModelConfig config;
  config.vocab_size = 4;
  config.hidden_size = 16;
  config.intermediate_size = intermediate_size;
  config.num_layers = 1;
  config.num_heads = 2;
  config.num_kv_heads = 1;
  config.head_dim = 8;
  config.max_positions = 32;
  config.eos_token_ids = {0};
  std::shared_ptr<Transformer> model = *Transformer::Create(config);
  model->InitializeRandom(number);
  return model;
}

// `model` packed as version `number` of the policy "tiny".
inline WeightSet TinyWeights(int64_t number, const Transformer& model) {
  v1::PolicyRef policy;
  policy.set_policy_id("tiny");
  policy.set_number(number);
  return *PackWeights(model, kTinyTokenizer, policy);
}

// The same of TinyModel(number) after `change`.
inline WeightSet TinyWeights(int64_t number, const std::function<void(Transformer&)>& change = {}) {
  const std::shared_ptr<Transformer> model = TinyModel(number);
  if (change) change(*model);
  return TinyWeights(number, *model);
}

// As a worker holds version `number`.
inline HeldPolicy TinyPolicy(int64_t number, int64_t intermediate_size = 32) {
  HeldPolicy policy;
  std::shared_ptr<Transformer> model = TinyModel(number, intermediate_size);
  policy.manifest = TinyWeights(number, *model).manifest;
  policy.model = std::move(model);
  policy.tokenizer = *Tokenizer::FromJson(kTinyTokenizer);
  return policy;
}

// Of four completions for version `number` of the policy.
inline v1::Lease TinyLease(int64_t group_index, const std::string& prompt = "abc", int64_t number = 1) {
  v1::Lease lease;
  lease.mutable_key()->set_stage("stage");
  lease.mutable_key()->set_group_index(group_index);
  lease.mutable_key()->set_attempt(1);
  lease.mutable_key()->set_epoch(1);
  lease.set_kind(v1::LEASE_KIND_TRAIN);
  lease.set_seed(GroupSeed(1, "stage", group_index));
  lease.mutable_policy()->set_policy_id("tiny");
  lease.mutable_policy()->set_number(number);
  lease.mutable_sampling()->set_num_completions(4);
  lease.mutable_sampling()->set_max_new_tokens(8);
  lease.mutable_sampling()->set_temperature(1);
  lease.mutable_prompt()->set_id(absl::StrCat("train/", group_index));
  lease.mutable_prompt()->set_text(prompt);
  lease.mutable_reward()->set_name("profile");
  lease.set_ttl_ms(30000);
  return lease;
}

}  // namespace grpo

#endif  // GRPO_ROLLOUT_TINY_POLICY_H_
