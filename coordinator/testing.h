// Groups, weights and results for the coordinator's tests: well-formed, and telling which attempt made them; and a
// coordinator on a fake clock with the calls of its workers.
#ifndef GRPO_COORDINATOR_TESTING_H_
#define GRPO_COORDINATOR_TESTING_H_

#include <algorithm>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "common/clock.h"
#include "common/status_testing.h"
#include "common/version.h"
#include "coordinator/coordinator.h"
#include "coordinator/weight_source.h"
#include "proto/coordinator.pb.h"

namespace grpo {

// A training group of `stage` as a stage offers it: policy "model" in version 7, seed 1000 + index, prompt "problem
// <index>", completions of at most 8 tokens. Attempt and epoch are the coordinator's to fill.
inline v1::Lease TestGroup(const std::string& stage, int64_t index, int32_t num_completions = 2) {
  v1::Lease group;
  group.mutable_key()->set_stage(stage);
  group.mutable_key()->set_group_index(index);
  group.set_kind(v1::LEASE_KIND_TRAIN);
  group.set_seed(1000 + static_cast<uint64_t>(index));
  group.mutable_policy()->set_policy_id("model");
  group.mutable_policy()->set_number(7);
  group.mutable_sampling()->set_num_completions(num_completions);
  group.mutable_sampling()->set_max_new_tokens(8);
  group.mutable_sampling()->set_temperature(1);
  group.mutable_prompt()->set_text(absl::StrCat("problem ", index));
  return group;
}

// TestGroup of the indices first .. first + count - 1, in order.
inline std::vector<v1::Lease> TestGroups(const std::string& stage, int64_t first, int64_t count,
                                         int32_t num_completions = 2) {
  std::vector<v1::Lease> groups;
  for (int64_t i = first; i < first + count; ++i) groups.push_back(TestGroup(stage, i, num_completions));
  return groups;
}

// Any bytes under a manifest that says little of them.
class TestWeightSource : public WeightSource {
 public:
  TestWeightSource(v1::WeightsManifest manifest, std::string payload)
      : WeightSource(std::move(manifest)), payload_(std::move(payload)) {}

 private:
  absl::Status Copy(int64_t offset, absl::Span<char> out) const override {
    payload_.copy(out.data(), out.size(), static_cast<size_t>(offset));
    return absl::OkStatus();
  }
  const std::string payload_;
};

// Version `number` of the policy; its digest is "digest-<number>", which TestHeader names.
inline std::shared_ptr<WeightSource> TestWeights(int64_t number, std::string payload = "payload",
                                                 const std::string& policy = "model") {
  v1::WeightsManifest manifest;
  manifest.mutable_policy()->set_policy_id(policy);
  manifest.mutable_policy()->set_number(number);
  manifest.set_digest(absl::StrCat("digest-", number));
  manifest.set_payload_bytes(static_cast<int64_t>(payload.size()));
  return std::make_shared<TestWeightSource>(std::move(manifest), std::move(payload));
}

// The registration of a worker of this build that joins whatever run is served.
inline v1::RegisterRequest TestWorker(const std::string& name, int32_t attempt = 1) {
  v1::RegisterRequest request;
  request.set_protocol_version(kProtocolVersion);
  request.set_build(kBuild);
  request.set_role("rollout_worker");
  request.set_worker_name(name);
  request.set_worker_attempt(attempt);
  return request;
}

// The header under which `worker_id` hands in TestCompletions of the lease, with the digest of TestWeights.
inline v1::SubmitHeader TestHeader(const v1::Lease& lease, const std::string& worker_id) {
  v1::SubmitHeader header;
  header.set_worker_id(worker_id);
  *header.mutable_key() = lease.key();
  header.set_policy_digest(absl::StrCat("digest-", lease.policy().number()));
  header.add_prompt_ids(3);
  header.set_num_completions(lease.sampling().num_completions());
  header.set_generate_seconds(0.5);
  return header;
}

// Completion i has i + 1 tokens (8 at most); its text names the group and the attempt. Each is scored with 1. They pass
// CheckSubmission for a TestGroup.
inline std::vector<v1::ScoredCompletion> TestCompletions(const v1::Lease& lease) {
  std::vector<v1::ScoredCompletion> completions;
  for (int32_t i = 0; i < lease.sampling().num_completions(); ++i) {
    v1::ScoredCompletion& scored = completions.emplace_back();
    v1::Completion& completion = *scored.mutable_completion();
    completion.set_index(i);
    completion.set_text(absl::StrCat(lease.key().group_index(), "/", lease.key().attempt()));
    const int32_t num_tokens = std::min(i + 1, 8);
    for (int32_t t = 0; t < num_tokens; ++t) {
      completion.add_ids(static_cast<uint32_t>(t));
      completion.add_sample_logprob(-0.25f);
    }
    completion.set_logprob_kind(v1::LOGPROB_KIND_FULL);
    v1::Span& span = *completion.add_spans();
    span.set_num_tokens(num_tokens);
    span.set_policy_number(lease.policy().number());
    span.set_source(v1::SPAN_SOURCE_POLICY);
    span.set_trainable(true);
    completion.set_finish_reason(v1::FINISH_REASON_STOP);
    scored.mutable_score()->set_outcome(v1::OUTCOME_SCORED);
    scored.mutable_score()->set_value(1);
  }
  return completions;
}

// The groups' indices, in the order of the leases.
inline std::vector<int64_t> IndicesOf(const std::vector<v1::Lease>& leases) {
  std::vector<int64_t> indices;
  for (const v1::Lease& lease : leases) indices.push_back(lease.key().group_index());
  return indices;
}

// A coordinator of run "run-a" in epoch 3 that serves version 7 of the policy "model". Its clock stands still until a
// test moves it, so that leases and workers live as long as the test wants. What a helper finds wrong is a failure of
// the test.
class CoordinatorFixture : public ::testing::Test {
 protected:
  explicit CoordinatorFixture(const CoordinatorOptions& options = {})
      : coordinator_(options, {.run_id = "run-a", .config_sha256 = "abc", .epoch = 3}, clock_) {}

  void SetUp() override { coordinator_.Publish(TestWeights(7)); }

  // Registers the worker of this name and attempt; its id, empty when it was refused.
  std::string Join(const std::string& name, int32_t attempt = 1) {
    const auto response = coordinator_.Register(TestWorker(name, attempt));
    EXPECT_OK(response);
    return response.ok() ? response->worker_id() : "";
  }

  // What one call leases to the worker without waiting: maybe nothing.
  std::vector<v1::Lease> Take(const std::string& worker_id, int32_t max_groups = 1, int32_t max_completions = 1000) {
    v1::LeaseGroupsRequest request;
    request.set_worker_id(worker_id);
    request.set_max_groups(max_groups);
    request.set_max_completions(max_completions);
    const auto response = coordinator_.LeaseGroups(request);
    EXPECT_OK(response);
    if (!response.ok()) return {};
    return {response->leases().begin(), response->leases().end()};
  }

  // Hands in a whole group that is well-formed; the lease may be any.
  absl::StatusOr<v1::SubmitCompletionResponse> Submit(const v1::Lease& lease, const std::string& worker_id) {
    return coordinator_.Submit(TestHeader(lease, worker_id), TestCompletions(lease));
  }

  // The same, which must be answered with `expected`.
  void ExpectSubmit(const v1::Lease& lease, const std::string& worker_id, v1::SubmitResult expected) {
    const auto response = Submit(lease, worker_id);
    ASSERT_OK(response);
    EXPECT_EQ(response->result(), expected);
  }

  // Returns the keys that the worker has lost.
  std::vector<v1::LeaseKey> Beat(const std::string& worker_id, const std::vector<v1::Lease>& active,
                                 const std::string& blocked = "", int64_t blocked_for_ms = 0) {
    v1::HeartbeatRequest request;
    request.set_worker_id(worker_id);
    for (const v1::Lease& lease : active) *request.add_active() = lease.key();
    request.set_blocked_reason(blocked);
    request.set_blocked_for_ms(blocked_for_ms);
    const auto response = coordinator_.Heartbeat(request);
    EXPECT_OK(response);
    if (!response.ok()) return {};
    return {response->lost().begin(), response->lost().end()};
  }

  FakeClock clock_;
  // Leases of 30 s, heartbeats of 2 s, epoch 3.
  Coordinator coordinator_;
};

}  // namespace grpo

#endif  // GRPO_COORDINATOR_TESTING_H_
