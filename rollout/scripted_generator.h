// A generator for tests of what is around it: no model, groups that are whole when the test says so, and a record of
// what was asked.
#ifndef GRPO_ROLLOUT_SCRIPTED_GENERATOR_H_
#define GRPO_ROLLOUT_SCRIPTED_GENERATOR_H_

#include <cstdint>
#include <deque>
#include <functional>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/time/time.h"
#include "common/mutex.h"
#include "rollout/generator.h"
#include "rollout/testing.h"

namespace grpo {

// What the test tells the generators of one worker, and what they were told; fields under `mutex`. The test waits for
// events under the same mutex.
struct GeneratorScript : Watched {
  // While it is set, no group becomes whole.
  bool hold = false;
  // The next steps' errors.
  std::deque<absl::Status> step_errors;
  // Completions have a text and a finish reason alone.
  bool text_alone = false;

  // "make 1", "swap 2" (policy numbers), "add PROMPT", "cancel PROMPT", "whole PROMPT", in order.
  std::vector<std::string> events;

  bool Has(const std::string& event) const {
    for (const std::string& past : events) {
      if (past == event) return true;
    }
    return false;
  }
};

// Completion i of prompt P has the text "P/i". It takes every group and every policy, and a group is whole at the first
// step at which the script does not hold.
class ScriptedGenerator final : public Generator {
 public:
  // `script` must outlive what is made.
  static std::function<absl::StatusOr<std::unique_ptr<Generator>>(const GeneratorContext&)> Factory(
      GeneratorScript* script) {
    return [script](const GeneratorContext& context) -> absl::StatusOr<std::unique_ptr<Generator>> {
      return std::make_unique<ScriptedGenerator>(script, context.policy);
    };
  }

  ScriptedGenerator(GeneratorScript* script, const HeldPolicy& policy) : script_(*script) { Use("make ", policy); }

  absl::Status Add(GroupRequest request) override {
    Record(absl::StrCat("add ", request.prompt));
    groups_.push_back(std::move(request));
    return absl::OkStatus();
  }

  void Cancel(int64_t id) override {
    std::erase_if(groups_, [&](const GroupRequest& group) {
      if (group.id == id) Record(absl::StrCat("cancel ", group.prompt));
      return group.id == id;
    });
  }

  absl::Status SwapWeights(const HeldPolicy& policy) override {
    Use("swap ", policy);
    return absl::OkStatus();
  }

  absl::StatusOr<std::vector<SampledGroup>> Step() override {
    MutexLock lock(&script_.mutex);
    if (!script_.step_errors.empty()) {
      absl::Status error = std::move(script_.step_errors.front());
      script_.step_errors.pop_front();
      return error;
    }
    // A step takes a while: whoever calls it again and again leaves the others room.
    const auto go_on = [this] { return !script_.hold; };
    if (!script_.mutex.AwaitFor(go_on, absl::Milliseconds(1))) {
      return std::vector<SampledGroup>();
    }
    std::vector<SampledGroup> whole;
    for (const GroupRequest& request : groups_) whole.push_back(Whole(request));
    groups_.clear();
    return whole;
  }

  bool idle() const override { return groups_.empty(); }
  int64_t num_unfinished() const override {
    int64_t count = 0;
    for (const GroupRequest& group : groups_) count += group.sampling.num_completions();
    return count;
  }
  int64_t num_tokens_generated() const override { return num_tokens_; }

 private:
  void Record(const std::string& event) {
    MutexLock lock(&script_.mutex);
    script_.events.push_back(event);
  }

  void Use(const std::string& how, const HeldPolicy& policy) {
    manifest_ = policy.manifest;
    Record(absl::StrCat(how, manifest_.policy().number()));
  }

  // With the script's lock held.
  SampledGroup Whole(const GroupRequest& request) {
    script_.events.push_back(absl::StrCat("whole ", request.prompt));
    SampledGroup group;
    group.id = request.id;
    group.policy_digest = manifest_.digest();
    group.generate_seconds = 0.5;
    if (!script_.text_alone) group.prompt_ids = {1};
    for (int32_t i = 0; i < request.sampling.num_completions(); ++i) {
      v1::Completion& completion = group.completions.emplace_back();
      completion.set_index(i);
      completion.set_text(absl::StrCat(request.prompt, "/", i));
      completion.set_finish_reason(v1::FINISH_REASON_LENGTH);
      ++num_tokens_;
      if (script_.text_alone) continue;
      completion.add_ids(1);
      completion.add_sample_logprob(-1);
      completion.set_logprob_kind(v1::LOGPROB_KIND_FULL);
      v1::Span& span = *completion.add_spans();
      span.set_num_tokens(1);
      span.set_policy_number(manifest_.policy().number());
      span.set_source(v1::SPAN_SOURCE_POLICY);
      span.set_trainable(true);
    }
    return group;
  }

  GeneratorScript& script_;
  v1::WeightsManifest manifest_;
  std::vector<GroupRequest> groups_;
  int64_t num_tokens_ = 0;
};

}  // namespace grpo

#endif  // GRPO_ROLLOUT_SCRIPTED_GENERATOR_H_
