// A generator that needs no model: it says words of the prompt back. That it is added by this file and one line of
// generators.inc is what it proves; and that text and digest are enough for groups that only measure.
#include <deque>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "common/seeds.h"
#include "model/tokenizer/prompt.h"
#include "rollout/generator_plugin.h"

namespace grpo {
namespace {

struct ParrotOptions {
  std::string begins_with;

  template <class V>
  void Visit(V& v) {
    v("begins_with", begins_with, {.help = "What it says before every word."});
  }
};

class Parrot final : public Generator {
 public:
  static absl::StatusOr<std::unique_ptr<Generator>> Create(const ParrotOptions& options,
                                                           const GeneratorContext& context) {
    return std::unique_ptr<Generator>(new Parrot(options, context));
  }

  absl::Status Add(GroupRequest request) override {
    ASSIGN_OR_RETURN(const std::vector<uint32_t> ids, EncodePrompt(*policy_.tokenizer, request.prompt));
    const v1::SamplingParams& sampling = request.sampling;
    if (ids.empty()) return absl::InvalidArgumentError("the prompt is empty; give the parrot something to say");
    if (sampling.num_completions() < 1 || sampling.max_new_tokens() < 1) {
      return absl::InvalidArgumentError(absl::StrCat("num_completions is ", sampling.num_completions(),
                                                     " and max_new_tokens ", sampling.max_new_tokens(),
                                                     "; both must be at least 1"));
    }
    const int64_t context_tokens = rollout_.ContextTokens(policy_.model->config().max_positions);
    if (static_cast<int64_t>(ids.size()) + sampling.max_new_tokens() > context_tokens) {
      return absl::InvalidArgumentError(absl::StrCat("the prompt has ", ids.size(),
                                                     " tokens, too many for a context of ", context_tokens,
                                                     "; shorten the prompt"));
    }
    groups_.push_back({.id = request.id, .request = std::move(request), .completions = {}});
    return absl::OkStatus();
  }

  void Cancel(int64_t id) override {
    std::erase_if(groups_, [id](const Group& group) { return group.id == id; });
  }

  absl::Status SwapWeights(const HeldPolicy& policy) override {
    if (!idle() && policy.manifest.config_json() != policy_.manifest.config_json()) {
      return absl::FailedPreconditionError("another architecture cannot go on with the groups that are under way");
    }
    policy_ = policy;
    return absl::OkStatus();
  }

  // One completion.
  absl::StatusOr<std::vector<SampledGroup>> Step() override {
    if (groups_.empty()) return std::vector<SampledGroup>();
    Group& group = groups_.front();
    const std::vector<std::string> words = absl::StrSplit(group.request.prompt, ' ');
    const int32_t index = static_cast<int32_t>(group.completions.size());
    Rng rng(SampleSeed(group.request.seed, index));
    v1::Completion& completion = group.completions.emplace_back();
    completion.set_index(index);
    completion.set_text(absl::StrCat(options_.begins_with, words[rng.Below(words.size())]));
    completion.set_finish_reason(v1::FINISH_REASON_STOP);
    ++num_tokens_generated_;
    if (index + 1 < group.request.sampling.num_completions()) return std::vector<SampledGroup>();
    std::vector<SampledGroup> whole;
    whole.push_back({.id = group.id,
                     .prompt_ids = {},
                     .policy_digest = policy_.manifest.digest(),
                     .completions = std::move(group.completions),
                     .generate_seconds = 0});
    groups_.pop_front();
    return whole;
  }

  bool idle() const override { return groups_.empty(); }
  int64_t num_unfinished() const override {
    int64_t count = 0;
    for (const Group& group : groups_) count += group.request.sampling.num_completions() - group.completions.size();
    return count;
  }
  int64_t num_tokens_generated() const override { return num_tokens_generated_; }

 private:
  struct Group {
    int64_t id = 0;
    GroupRequest request;
    std::vector<v1::Completion> completions;
  };

  Parrot(const ParrotOptions& options, const GeneratorContext& context)
      : options_(options), rollout_(context.rollout), policy_(context.policy) {}

  const ParrotOptions options_;
  const RolloutOptions rollout_;
  HeldPolicy policy_;
  std::deque<Group> groups_;
  int64_t num_tokens_generated_ = 0;
};

}  // namespace

GeneratorPlugin Generator_parrot() {
  return MakeGeneratorPlugin<ParrotOptions, Parrot>("Says words of the prompt back.", {.digest = true});
}

}  // namespace grpo
