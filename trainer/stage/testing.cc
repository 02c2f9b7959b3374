#include "trainer/stage/testing.h"

#include <algorithm>
#include <filesystem>
#include <fstream>
#include <numbers>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "common/files.h"
#include "common/seeds.h"
#include "common/status_macros.h"
#include "coordinator/testing.h"
#include "model/tokenizer/prompt.h"
#include "trainer/preflight.h"
#include "trainer/stage/endpoint_policy.h"

namespace grpo {
namespace {

constexpr char kTokenizer[] = "configs/tokenizers/chickens_rabbits.json";

constexpr char kConfig[] = R"(run: {name: contract, seed: 5}
checkpoint: {every_steps: 2}
policies:
  model: {random_init: {tokenizer: tokenizer.json, hidden_size: 8, intermediate_size: 12, num_layers: 1, num_heads: 2, num_kv_heads: 1, max_positions: 1024}}
  frozen: {initialize_from: model}
data:
  problems: {source: chickens_rabbits, max_heads: 14}
  corpus: {source: chickens_rabbits_corpus}
  traces: {source: jsonl, path: traces.jsonl}
  written: {source: jsonl, artifact: out}
rewards:
  rules: {rules: {math_answer: , format_tags: }}
artifacts:
  out: {path: out}
  other: {path: other}
stages:
)";

void AddRule(const std::string& name, double value, v1::Score* score) {
  v1::RuleScore& rule = *score->add_rules();
  rule.set_name(name);
  rule.set_outcome(v1::OUTCOME_SCORED);
  rule.set_value(value);
  rule.set_weight(1);
  score->set_value(score->value() + value);
}

// Completions that depend on the group's seed alone.
std::vector<v1::ScoredCompletion> Sample(const v1::Lease& lease) {
  std::vector<v1::ScoredCompletion> completions = TestCompletions(lease);
  Rng rng(lease.seed());
  for (v1::ScoredCompletion& scored : completions) {
    const int64_t draw = rng.Below(1000);
    scored.mutable_completion()->set_text(absl::StrCat("it is ", draw));
    scored.mutable_score()->set_value(0);
    AddRule("math_answer", draw % 2 == 0, scored.mutable_score());
    AddRule("format_tags", draw % 8 != 0, scored.mutable_score());
    scored.mutable_score()->mutable_rules(0)->set_extracted(std::to_string(draw));
  }
  return completions;
}

class FakeState : public LearnerState {
 public:
  explicit FakeState(uint64_t moments) : moments(moments) {}
  const uint64_t moments;
};

// Polls are counted, and one of them kills; saves always succeed.
class KillingSaver : public Saver {
 public:
  KillingSaver(std::optional<int64_t> kill_at_poll, std::function<void(const StageCursor&)> save)
      : kill_at_poll_(kill_at_poll), save_(std::move(save)) {}

  absl::Status Poll(Cursor) override {
    if (kill_at_poll_ && num_polls_ >= *kill_at_poll_) return absl::AbortedError("killed");
    ++num_polls_;
    return absl::OkStatus();
  }
  absl::Status Save(const std::string&, Cursor cursor) override {
    save_(cursor());
    return absl::OkStatus();
  }
  int64_t num_polls() const { return num_polls_; }

 private:
  const std::optional<int64_t> kill_at_poll_;
  const std::function<void(const StageCursor&)> save_;
  int64_t num_polls_ = 0;
};

}  // namespace

absl::StatusOr<LoadedConfig> LoadTestConfig(const std::string& folder, const std::string& stages,
                                            const std::vector<std::string>& overrides) {
  RETURN_IF_ERROR(MakeFolders(folder));
  ASSIGN_OR_RETURN(const std::string tokenizer, ReadFile(kTokenizer));
  RETURN_IF_ERROR(WriteFileAtomically(folder + "/tokenizer.json", tokenizer));
  std::string traces;
  for (int i = 0; i < 5; ++i)
    absl::StrAppendFormat(&traces, "{\"problem\": \"H%d\", \"completion\": \"%d\", \"answer\": \"%d\"}\n", i, i, i);
  RETURN_IF_ERROR(WriteFileAtomically(folder + "/traces.jsonl", traces));
  RETURN_IF_ERROR(WriteFileAtomically(folder + "/run.yaml", kConfig + stages));
  return LoadRunConfig(folder + "/run.yaml", overrides);
}

class FakeModels::Handle : public StagePolicy {
 public:
  Handle(std::string name, const FakeWeights* weights, Coordinator* coordinator, std::unique_ptr<Tokenizer> tokenizer)
      : name_(std::move(name)), weights_(*weights), coordinator_(*coordinator), tokenizer_(std::move(tokenizer)) {
    config_.vocab_size = tokenizer_->vocab_size();
    config_.max_positions = 1024;
    config_.eos_token_ids = {0};
  }

  v1::PolicyRef ref() const override {
    v1::PolicyRef ref;
    ref.set_policy_id(name_);
    ref.set_number(weights_.number);
    return ref;
  }
  const ModelConfig& config() const override { return config_; }
  const Tokenizer& tokenizer() const override { return *tokenizer_; }
  std::string WeightsHash() const override { return absl::StrCat(weights_.hash); }
  absl::Status Publish() override {
    coordinator_.Publish(TestWeights(weights_.number, "payload", name_));
    return absl::OkStatus();
  }
  absl::Status ExportTo(const std::string& folder) const override {
    RETURN_IF_ERROR(MakeFolders(folder));
    return WriteFileAtomically(folder + "/weights", WeightsHash());
  }
  absl::StatusOr<std::vector<TopK>> TopLogprobs(const std::vector<TokenizedTrace>& traces, int64_t k) const override {
    std::vector<TopK> tops;
    for (const TokenizedTrace& trace : traces) {
      TopK& top = tops.emplace_back();
      uint64_t hash = weights_.hash;
      for (const uint32_t id : trace.prompt_ids) hash = CombineSeeds(hash, id);
      for (const uint32_t id : trace.completion_ids) {
        for (int64_t i = 0; i < k; ++i) {
          top.ids.push_back(static_cast<uint32_t>((hash % 1000 + static_cast<uint64_t>(i)) % config_.vocab_size));
          top.logprobs.push_back(-static_cast<float>(i + 1) * std::numbers::ln2_v<float>);
        }
        hash = CombineSeeds(hash, id);
      }
    }
    return tops;
  }

 private:
  const std::string name_;
  const FakeWeights& weights_;
  Coordinator& coordinator_;
  const std::unique_ptr<Tokenizer> tokenizer_;
  ModelConfig config_;
};

namespace {

class FakeLearner : public StepLearner {
 public:
  FakeLearner(FakeWeights* weights, StagePolicy* policy, int64_t optimizer_steps, uint64_t moments,
              int64_t skip_updates_from)
      : weights_(*weights),
        policy_(*policy),
        optimizer_steps_(optimizer_steps),
        moments_(moments),
        skip_updates_from_(skip_updates_from) {}

  StagePolicy& policy() override { return policy_; }

  absl::StatusOr<StepOutcome> Step(StepBatch batch, int64_t step) override {
    if (step >= skip_updates_from_)
      return StepOutcome{.metrics = {{"skipped_updates", 1}}, .token_ids_hash = "", .weights_hash = ""};
    uint64_t hash = CombineSeeds(moments_, static_cast<uint64_t>(step));
    for (const auto& sequences : batch.minibatches) {
      for (const TokenStreams& sequence : sequences) {
        for (const int64_t id : sequence.ids) hash = CombineSeeds(hash, static_cast<uint64_t>(id));
      }
    }
    moments_ = hash;
    weights_.hash = CombineSeeds(weights_.hash, hash);
    ++weights_.number;
    ++optimizer_steps_;
    StepOutcome outcome{
        .metrics = batch.metrics, .token_ids_hash = absl::StrCat(hash), .weights_hash = policy_.WeightsHash()};
    outcome.metrics["loss"] = static_cast<double>(hash % 1000);
    outcome.metrics["grad_norm"] = 1;
    // Largest in some step, and not in the last.
    outcome.metrics["logprob_abs_diff_max"] = static_cast<double>(hash % 997);
    return outcome;
  }

  void Save(StageCursor* cursor) const override {
    cursor->progress.optimizer_steps = optimizer_steps_;
    cursor->learner = std::make_shared<FakeState>(moments_);
  }

 private:
  FakeWeights& weights_;
  StagePolicy& policy_;
  int64_t optimizer_steps_;
  // Of all steps so far: what a resumed learner must have back.
  uint64_t moments_;
  const int64_t skip_updates_from_;
};

}  // namespace

FakeModels::FakeModels(const RunConfig& config, Coordinator* coordinator, FakeWeights weights) : weights_(weights) {
  const std::string tokenizer = ReadFile(config.policies.at(kTestPolicy).random_init.tokenizer).value();
  handle_ = std::make_unique<Handle>(kTestPolicy, &weights_, coordinator, Tokenizer::FromJson(tokenizer).value());
  other_handle_ =
      std::make_unique<Handle>(kOtherTestPolicy, &other_weights_, coordinator, Tokenizer::FromJson(tokenizer).value());
  for (const auto& [name, policy] : config.policies) {
    if (policy.endpoint.given()) endpoints_[name] = MakeEndpointPolicy(name, policy.endpoint);
  }
}

FakeModels::~FakeModels() = default;

absl::StatusOr<StagePolicy*> FakeModels::Get(const std::string& policy) {
  if (const auto endpoint = endpoints_.find(policy); endpoint != endpoints_.end()) return endpoint->second.get();
  if (policy != kTestPolicy && policy != kOtherTestPolicy) return absl::NotFoundError(policy);
  return policy == kTestPolicy ? handle_.get() : other_handle_.get();
}

absl::StatusOr<std::unique_ptr<StepLearner>> FakeModels::BeginTraining(const LearnerSpec&, const StageCursor& start) {
  const auto* const state = dynamic_cast<const FakeState*>(start.learner.get());
  return std::make_unique<FakeLearner>(&weights_, handle_.get(), start.progress.optimizer_steps,
                                       state == nullptr ? 0 : state->moments, skip_updates_from_);
}

FakeWorker::FakeWorker(Coordinator* coordinator, FakeJudge judge)
    : coordinator_(*coordinator), judge_(std::move(judge)), thread_([this] { Work(); }) {}

FakeWorker::~FakeWorker() {
  coordinator_.End();
  thread_.join();
}

void FakeWorker::LeaveTextAlone(v1::SubmitHeader* header, std::vector<v1::ScoredCompletion>* completions) {
  header->clear_policy_digest();
  header->clear_prompt_ids();
  header->mutable_usage()->set_num_requests(2);
  header->mutable_usage()->set_input_tokens(10);
  header->mutable_usage()->set_output_tokens(20);
  header->mutable_usage()->set_usd(0.25);
  for (v1::ScoredCompletion& scored : *completions) {
    scored.mutable_completion()->clear_ids();
    scored.mutable_completion()->clear_sample_logprob();
    scored.mutable_completion()->clear_logprob_kind();
    scored.mutable_completion()->clear_spans();
  }
}

namespace {

// What an Engine would have handed in, and a reward server: the prompt's own ids, where its text has some, and rules in
// their profile's order.
void MakeWhole(const Tokenizer& tokenizer, const v1::Lease& lease, v1::SubmitHeader* header,
               std::vector<v1::ScoredCompletion>* completions) {
  if (const auto ids = EncodePrompt(tokenizer, lease.prompt().text()); ids.ok() && !ids->empty()) {
    header->mutable_prompt_ids()->Assign(ids->begin(), ids->end());
  }
  for (v1::ScoredCompletion& scored : *completions) {
    auto& rules = *scored.mutable_score()->mutable_rules();
    std::sort(rules.pointer_begin(), rules.pointer_end(),
              [](const v1::RuleScore* a, const v1::RuleScore* b) { return a->name() < b->name(); });
  }
}

}  // namespace

void FakeWorker::Work() {
  const std::unique_ptr<Tokenizer> tokenizer = Tokenizer::FromJson(ReadFile(kTokenizer).value()).value();
  const auto registered = coordinator_.Register(TestWorker("rollout-0"));
  ASSERT_OK(registered);
  while (true) {
    v1::LeaseGroupsRequest request;
    request.set_worker_id(registered->worker_id());
    request.set_max_groups(3);
    request.set_max_completions(1000);
    request.set_max_endpoint_groups(3);
    request.set_wait_ms(100);
    const auto response = coordinator_.LeaseGroups(request);
    ASSERT_OK(response);
    if (response->run_ended()) return;
    for (const v1::Lease& lease : response->leases()) {
      std::vector<v1::ScoredCompletion> completions = Sample(lease);
      for (v1::ScoredCompletion& completion : completions) {
        if (judge_) judge_(lease, &completion);
      }
      // A run that was killed in between does not take it.
      v1::SubmitHeader header = TestHeader(lease, registered->worker_id());
      if (const auto weights = coordinator_.Weights(lease.policy()); weights.ok())
        header.set_policy_digest((*weights)->manifest().digest());
      MakeWhole(*tokenizer, lease, &header, &completions);
      if (lease.endpoint()) LeaveTextAlone(&header, &completions);
      const auto submitted = coordinator_.Submit(header, std::move(completions));
      if (!submitted.ok() && !absl::IsFailedPrecondition(submitted.status())) ADD_FAILURE() << submitted.status();
    }
  }
}

absl::StatusOr<StageReport> StageRun::Start(std::optional<int64_t> kill_at_poll) {
  RETURN_IF_ERROR(MakeFolders(run_dir_));
  const RunConfig& config = loaded_.config;
  const ConfiguredStage& stage = config.stages[0];
  const StageCursor start = checkpoint_ ? checkpoint_->cursor : StageCursor();
  const FakeClock clock;
  Coordinator coordinator(config.coordinator, {.run_id = "run-a", .config_sha256 = "abc", .epoch = ++epoch_}, clock);
  for (const int64_t group_index : quarantined_) coordinator.Quarantine(stage.name, group_index);
  v1::RunStatus status;
  status.set_state(v1::RUN_STATE_RUNNING);
  status.add_stages()->set_type(stage.type);
  StatusBoard board(status, &coordinator, clock);
  RunControl control(&board);
  // What trainer/run.cc does when it starts again.
  ASSIGN_OR_RETURN(const auto metrics,
                   MetricsLog::Open(run_dir_ + "/metrics.jsonl", {}, stage.name, start.progress.step));
  ASSIGN_OR_RETURN(const auto completions, CompletionsLog::Open(run_dir_ + "/completions.sqlite", {stage.name}));
  ASSIGN_OR_RETURN(const auto quarantine, QuarantineLog::Open(run_dir_ + "/quarantine.jsonl", checkpoint_.has_value()));
  SpendingLog spending(run_dir_ + "/spending.json", /*resume=*/epoch_ > 1, clock);
  FakeModels models(config, &coordinator, checkpoint_ ? checkpoint_->weights : FakeWeights());
  models.SkipUpdatesFrom(skip_updates_from_);
  const RunFiles files(config, run_dir_, loaded_.data_sha256, {});
  KillingSaver saver(kill_at_poll,
                     [&](const StageCursor& cursor) { checkpoint_ = {.cursor = cursor, .weights = models.weights()}; });
  StageContext context{.name = stage.name,
                       .config = config,
                       .clock = clock,
                       .models = models,
                       .groups = {.options = config.coordinator,
                                  .coordinator = coordinator,
                                  .quarantine = *quarantine,
                                  .board = board,
                                  .control = control},
                       .board = board,
                       .records = {.metrics = *metrics, .completions = *completions},
                       .files = files,
                       .saver = saver,
                       .spending = spending};
  spending.Begin(stage.name);
  RETURN_IF_ERROR(Preflight(config).CheckAhead(files).status());
  const FakeWorker worker(&coordinator, judge_);
  absl::StatusOr<StageReport> report = stage.stage->Run(context, start);
  spent_ = spending.End();
  num_polls_ = saver.num_polls();
  weights_ = models.weights();
  pause_reason_ = board.Snapshot().state_reason();
  board.UpdateStage([&](v1::StageStatus& row) {
    if (report.ok()) ShowReport(*report, &row);
    status_ = row;
  });
  return report;
}

}  // namespace grpo
