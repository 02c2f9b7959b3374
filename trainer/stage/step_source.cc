#include "trainer/stage/step_source.h"

#include <utility>

#include "absl/strings/str_cat.h"
#include "common/seeds.h"
#include "common/status_macros.h"
#include "model/tokenizer/prompt.h"
#include "trainer/stage/group_feed.h"

namespace grpo {
namespace {

// Rows filled with documents, each followed by the end-of-sequence token; the end of the last one is cut off.
class RowSource : public StepSource {
 public:
  RowSource(const StagePolicy& policy, std::unique_ptr<DataSource> data, uint64_t seed, CorpusPlan plan,
            int64_t data_position)
      : StepSource(std::move(data), seed, data_position), policy_(policy), plan_(plan) {}

  absl::StatusOr<StepInput> Next(int64_t step, const std::function<absl::Status()>& poll) override {
    CorpusInput input;
    const uint32_t eos = EndToken(policy_.config());
    for (int64_t i = 0; i < plan_.rows_per_step; ++i) {
      std::vector<uint32_t>& row = input.rows.emplace_back();
      while (static_cast<int64_t>(row.size()) <= plan_.row_tokens) {
        absl::StatusOr<std::vector<uint32_t>> ids = policy_.tokenizer().Encode(NextItem().document);
        RETURN_IF_ERROR(CheckData());
        if (!ids.ok()) return Annotate(ids.status(), absl::StrCat("document ", data_position() - 1));
        row.insert(row.end(), ids->begin(), ids->end());
        row.push_back(eos);
      }
      row.resize(plan_.row_tokens + 1);
    }
    return input;
  }

 private:
  const StagePolicy& policy_;
  const CorpusPlan plan_;
};

// Traces that others wrote, read by this policy's tokenizer: another policy may have another. With what was stored of
// the teacher beside them, where the plan asks for it.
class TraceSource : public StepSource {
 public:
  TraceSource(const StagePolicy& policy, std::unique_ptr<DataSource> data, uint64_t seed, TracesPlan plan,
              std::unique_ptr<StoredTopK> stored, int64_t data_position)
      : StepSource(std::move(data), seed, data_position), policy_(policy), plan_(plan), stored_(std::move(stored)) {}

  absl::StatusOr<StepInput> Next(int64_t step, const std::function<absl::Status()>& poll) override {
    ASSIGN_OR_RETURN(std::vector<TokenizedTrace> traces, Read());
    return TracesInput{std::move(traces)};
  }

  // The next step's.
  absl::StatusOr<std::vector<TokenizedTrace>> Read() {
    std::vector<TokenizedTrace> traces;
    for (int64_t i = 0; i < plan_.traces_per_step; ++i) {
      ASSIGN_OR_RETURN(traces.emplace_back(), stored_ == nullptr ? Read(NextItem()) : ReadWithTopK(NextIndex()));
    }
    return traces;
  }

 private:
  absl::StatusOr<TokenizedTrace> Read(const DataItem& item) const {
    RETURN_IF_ERROR(CheckData());
    ASSIGN_OR_RETURN(TokenizedTrace trace, TokenizeTrace(item, policy_.tokenizer(), EndToken(policy_.config())));
    const auto num_tokens = static_cast<int64_t>(trace.prompt_ids.size() + trace.completion_ids.size());
    if (num_tokens <= policy_.config().max_positions) return trace;
    // Of a file too large for preflight to tokenize all of it.
    return absl::InvalidArgumentError(absl::StrCat("trace ", item.prompt.id(), " has ", num_tokens,
                                                   " tokens, and the policy ", policy_.config().max_positions,
                                                   " positions: leave it out"));
  }
  absl::StatusOr<TokenizedTrace> ReadWithTopK(int64_t index) const {
    ASSIGN_OR_RETURN(TokenizedTrace trace, Read(data().At(index)));
    ASSIGN_OR_RETURN(TopK top, stored_->Of(index, trace, plan_.stored_top_k));
    trace.top_ids = std::move(top.ids);
    trace.top_logprobs = std::move(top.logprobs);
    return trace;
  }

  const StagePolicy& policy_;
  const TracesPlan plan_;
  // Null when the plan asks for none.
  const std::unique_ptr<StoredTopK> stored_;
};

// Synchronous: a step's groups are sampled from the weights that the step will change, and nothing is sampled ahead.
class GroupSource : public StepSource {
 public:
  // `traces` come beside the groups; may be null.
  GroupSource(StageContext& context, StagePolicy& policy, GroupTemplate group, std::unique_ptr<DataSource> data,
              uint64_t seed, int64_t prompts_per_step, int64_t data_position, std::unique_ptr<TraceSource> traces)
      : StepSource(std::move(data), seed, data_position),
        context_(context),
        policy_(policy),
        group_(std::move(group)),
        prompts_per_step_(prompts_per_step),
        traces_(std::move(traces)) {}

  absl::StatusOr<StepInput> Next(int64_t step, const std::function<absl::Status()>& poll) override {
    context_.board.SetPhase("publish");
    RETURN_IF_ERROR(Publish(context_, policy_));
    group_.policy = policy_.ref();
    const int64_t first = step * prompts_per_step_;
    GroupFeed feed(context_.groups, group_.stage, first, first + prompts_per_step_,
                   [&](int64_t i) { return MakeLease(group_, context_.config.run.seed, i, NextItem().prompt); });
    RolloutInput input;
    ASSIGN_OR_RETURN(input.groups, feed.Next(prompts_per_step_, poll));
    RETURN_IF_ERROR(CheckData());
    if (traces_ != nullptr) {
      ASSIGN_OR_RETURN(input.traces, traces_->Read());
    }
    return input;
  }

 private:
  StageContext& context_;
  StagePolicy& policy_;
  GroupTemplate group_;
  const int64_t prompts_per_step_;
  const std::unique_ptr<TraceSource> traces_;
};

absl::StatusOr<std::unique_ptr<TraceSource>> MakeTraceSource(const RunFiles& files, const std::string& name,
                                                             const StagePolicy& policy, const TracesPlan& plan,
                                                             std::unique_ptr<DataSource> data, uint64_t seed,
                                                             int64_t data_position) {
  std::unique_ptr<StoredTopK> stored;
  if (plan.stored_top_k > 0) {
    ASSIGN_OR_RETURN(stored, files.OpenStoredTopK(name));
    RETURN_IF_ERROR(stored->CheckFits(name, plan.stored_top_k, policy.tokenizer(), policy.config().vocab_size));
  }
  return std::make_unique<TraceSource>(policy, std::move(data), seed, plan, std::move(stored), data_position);
}

}  // namespace

uint32_t EndToken(const ModelConfig& config) {
  return static_cast<uint32_t>(config.eos_token_ids[0]);
}

absl::StatusOr<TokenizedTrace> TokenizeTrace(const DataItem& item, const Tokenizer& tokenizer, uint32_t eos) {
  if (item.completion.empty()) {
    return absl::InvalidArgumentError(absl::StrCat(
        item.prompt.id(), " has no completion to learn from: set completion_field if it has another name"));
  }
  TokenizedTrace trace;
  absl::StatusOr<std::vector<uint32_t>> prompt = EncodePrompt(tokenizer, item.prompt.text());
  if (!prompt.ok()) return Annotate(prompt.status(), absl::StrCat("the prompt of ", item.prompt.id()));
  absl::StatusOr<std::vector<uint32_t>> completion = tokenizer.Encode(item.completion);
  if (!completion.ok()) return Annotate(completion.status(), absl::StrCat("the completion of ", item.prompt.id()));
  trace.prompt_ids = *std::move(prompt);
  trace.completion_ids = *std::move(completion);
  trace.completion_ids.push_back(eos);
  return trace;
}

absl::StatusOr<std::unique_ptr<StepSource>> MakeStepSource(StageContext& context, const std::string& data,
                                                           const Algorithm& algorithm, StagePolicy& policy,
                                                           int64_t data_position) {
  ASSIGN_OR_RETURN(std::unique_ptr<DataSource> source, context.files.OpenData(data));
  const uint64_t seed = CombineSeeds(context.config.run.seed, HashName("data of " + context.name));
  const StepPlan step_plan = algorithm.plan();
  if (const auto* const corpus = std::get_if<CorpusPlan>(&step_plan))
    return std::make_unique<RowSource>(policy, std::move(source), seed, *corpus, data_position);
  if (const auto* const traces = std::get_if<TracesPlan>(&step_plan))
    return MakeTraceSource(context.files, data, policy, *traces, std::move(source), seed, data_position);
  const RolloutPlan& plan = std::get<RolloutPlan>(step_plan);
  ASSIGN_OR_RETURN(const v1::RewardProfileRef reward, ProfileRef(context.config, plan.rewards));
  GroupTemplate group{.stage = context.name,
                      .kind = v1::LEASE_KIND_TRAIN,
                      .policy = policy.ref(),
                      .reward = reward,
                      .sampling = ToProto(plan.sampling, plan.group_size)};
  std::unique_ptr<TraceSource> beside;
  if (!plan.traces_data.empty()) {
    ASSIGN_OR_RETURN(std::unique_ptr<DataSource> traces, context.files.OpenData(plan.traces_data));
    const uint64_t traces_seed = CombineSeeds(context.config.run.seed, HashName("traces of " + context.name));
    // A step reads so many problems, and so many traces: one position says both.
    const int64_t position = data_position / plan.prompts_per_step * plan.traces.traces_per_step;
    ASSIGN_OR_RETURN(beside, MakeTraceSource(context.files, plan.traces_data, policy, plan.traces, std::move(traces),
                                             traces_seed, position));
  }
  return std::make_unique<GroupSource>(context, policy, std::move(group), std::move(source), seed,
                                       plan.prompts_per_step, data_position, std::move(beside));
}

}  // namespace grpo
