#include "trainer/preflight.h"

#include <algorithm>
#include <optional>
#include <utility>

#include "absl/cleanup/cleanup.h"
#include "absl/strings/str_cat.h"
#include "common/status_macros.h"
#include "common/utf8.h"
#include "configs/load.h"
#include "data/sources.h"
#include "model/tokenizer/prompt.h"
#include "trainer/algorithm/algorithm.h"
#include "trainer/stage/context.h"
#include "trainer/stage/step_source.h"

namespace grpo {
namespace {

// Of `count` items, or, where that is -1, of those that stand for all.
int64_t NumChecked(const DataSource& source, int64_t count) {
  return count >= 0 ? count : source.num_checked(kEndlessSourceSample);
}

DataItem ItemAt(const DataSource& source, int64_t count, int64_t index) {
  return count >= 0 ? source.At(index) : source.CheckedAt(index, kEndlessSourceSample);
}

// How many items the use is checked by, from the start of the source; -1 for those that stand for all.
absl::StatusOr<int64_t> CountOf(const DataUse& use, const DataSource& source) {
  if (!use.num_items.has_value()) return -1;
  if (use.kind == DataUse::Kind::kTexts && source.size() < 0) {
    return absl::InvalidArgumentError(
        absl::StrCat("data.", use.data, " has no end, and ", use.reader, " reads all of it: name data that can be"));
  }
  ASSIGN_OR_RETURN(const int64_t count, CountProblems(source, use.data, *use.num_items));
  return use.all_of_finite && source.size() >= 0 ? source.size() : count;
}

std::string HoldsInstead(const DataUse& use, absl::string_view holds, absl::string_view reads) {
  return absl::StrCat("data.", use.data, " holds ", holds, ", and ", use.reader, " reads ", reads);
}

// How many items are read that nobody here turns into tokens: that they are problems is all that can be checked, and,
// where a policy behind an endpoint is sent them, that each has a text.
absl::StatusOr<int64_t> CountTexts(const DataUse& use, const DataSource& source, int64_t count) {
  const int64_t num_items = NumChecked(source, count);
  if (num_items == 0) return absl::InvalidArgumentError(absl::StrCat("data.", use.data, " holds nothing"));
  for (int64_t i = 0; i < num_items; ++i) {
    const DataItem item = ItemAt(source, count, i);
    RETURN_IF_ERROR(source.Check());
    if (!item.document.empty()) return absl::InvalidArgumentError(HoldsInstead(use, "documents", "problems"));
    const std::string& text = item.prompt.text();
    if (use.kind == DataUse::Kind::kTexts || (!text.empty() && IsUtf8(text))) continue;
    return absl::InvalidArgumentError(absl::StrCat("problem ", item.prompt.id(), " of data.", use.data,
                                                   text.empty() ? " has no text" : " is not UTF-8", ", and policy ",
                                                   use.policy, " is sent its text: mend it"));
  }
  return num_items;
}

absl::StatusOr<int64_t> NumPromptTokens(const DataUse& use, const Tokenizer& tokenizer, const DataItem& item) {
  if (!item.document.empty()) return absl::InvalidArgumentError(HoldsInstead(use, "documents", "problems"));
  const absl::StatusOr<std::vector<uint32_t>> ids = EncodePrompt(tokenizer, item.prompt.text());
  if (ids.ok()) return static_cast<int64_t>(ids->size());
  return Annotate(ids.status(), absl::StrCat("problem ", item.prompt.id(), " of data.", use.data,
                                             " cannot be tokenized for policy ", use.policy));
}

absl::StatusOr<int64_t> NumDocumentTokens(const DataUse& use, const Tokenizer& tokenizer, const DataItem& item) {
  if (item.document.empty()) return absl::InvalidArgumentError(HoldsInstead(use, "problems", "documents"));
  const absl::StatusOr<std::vector<uint32_t>> ids = tokenizer.Encode(item.document);
  if (ids.ok()) return static_cast<int64_t>(ids->size());
  return Annotate(ids.status(), absl::StrCat("document ", item.prompt.id(), " of data.", use.data,
                                             " cannot be tokenized for policy ", use.policy));
}

absl::StatusOr<int64_t> NumTraceTokens(const DataUse& use, const PolicyShape& shape, const DataItem& item) {
  if (!item.document.empty()) return absl::InvalidArgumentError(HoldsInstead(use, "documents", "traces"));
  const absl::StatusOr<TokenizedTrace> trace = TokenizeTrace(item, *shape.tokenizer, EndToken(shape.config));
  if (!trace.ok()) return Annotate(trace.status(), absl::StrCat("data.", use.data));
  return static_cast<int64_t>(trace->prompt_ids.size() + trace->completion_ids.size());
}

absl::StatusOr<int64_t> NumTokens(const DataUse& use, const PolicyShape& shape, const DataItem& item) {
  switch (use.kind) {
    case DataUse::Kind::kProblems:
      return NumPromptTokens(use, *shape.tokenizer, item);
    case DataUse::Kind::kDocuments:
      return NumDocumentTokens(use, *shape.tokenizer, item);
    case DataUse::Kind::kTraces:
      return NumTraceTokens(use, shape, item);
    case DataUse::Kind::kTexts:
      break;
  }
  return absl::InternalError("a stage reads data of no known kind");
}

// Of a prompt that no completion can follow.
absl::Status DoesNotFit(const DataUse& use, const std::string& id, int64_t num_tokens, int64_t context_tokens) {
  return absl::InvalidArgumentError(absl::StrCat(
      "the prompt of problem ", id, " has ", num_tokens, " tokens, the ", num_tokens == 0 ? "fewest" : "most",
      " of data.", use.data, "; with max_new_tokens ", use.max_new_tokens, " it must be between 1 and ", context_tokens,
      " together, the context of policy ", use.policy,
      ": shorten the prompt, lower sampling.max_new_tokens or raise rollout_worker.context_tokens"));
}

absl::Status CheckFits(const DataUse& use, const TokenLengths& lengths, int64_t max_positions, int64_t context_tokens) {
  switch (use.kind) {
    case DataUse::Kind::kProblems:
      if (!lengths.empty_id.empty()) return DoesNotFit(use, lengths.empty_id, 0, context_tokens);
      if (lengths.longest + use.max_new_tokens <= context_tokens) return absl::OkStatus();
      return DoesNotFit(use, lengths.longest_id, lengths.longest, context_tokens);
    case DataUse::Kind::kDocuments:
      if (use.row_tokens <= max_positions) return absl::OkStatus();
      return absl::InvalidArgumentError(absl::StrCat("row_tokens is ", use.row_tokens, ", and policies.", use.policy,
                                                     " has ", max_positions, " positions: lower it"));
    case DataUse::Kind::kTraces:
      if (lengths.longest <= max_positions) return absl::OkStatus();
      return absl::InvalidArgumentError(absl::StrCat("data.", use.data, ": trace ", lengths.longest_id, " has ",
                                                     lengths.longest, " tokens, policy ", use.policy, " has ",
                                                     max_positions, " positions: leave it out"));
    case DataUse::Kind::kTexts:
      break;
  }
  return absl::InternalError("a stage reads data of no known kind");
}

absl::Status CheckSameTokens(const std::string& policy, const PolicyShape& shape, const std::string& frozen,
                             const PolicyShape& other) {
  if (shape.origin == other.origin) return absl::OkStatus();
  const std::string need =
      absl::StrCat("; policies.", frozen, ", which is only read, needs the tokenizer of policies.", policy,
                   ", which is trained: take another policy, or let a synthesize stage write a "
                   "teacher's traces, which are text, and learn those with `algorithm: sft`");
  const int64_t num_ids = std::max(shape.tokenizer->vocab_size(), other.tokenizer->vocab_size());
  for (int64_t id = 0; id < num_ids; ++id) {
    const auto token = static_cast<uint32_t>(id);
    if (shape.tokenizer->TokenBytes(token) == other.tokenizer->TokenBytes(token)) continue;
    return absl::InvalidArgumentError(absl::StrCat("token ", id, " is not the same text to both", need));
  }
  if (other.config.vocab_size >= shape.config.vocab_size) return absl::OkStatus();
  return absl::InvalidArgumentError(absl::StrCat("policies.", frozen, " has ", other.config.vocab_size,
                                                 " rows in its embedding, and policies.", policy, " has ",
                                                 shape.config.vocab_size, need));
}

// Of whoever reads the stage's sequences.
int64_t NeededPositions(const CheckedData& checked) {
  if (checked.use.kind == DataUse::Kind::kDocuments) return checked.use.row_tokens;
  return checked.longest_tokens + checked.use.max_new_tokens;
}

}  // namespace

std::vector<std::string> DataParts(const RunConfig& config, const std::string& data) {
  const auto found = config.data.find(data);
  if (found == config.data.end()) return {};
  std::vector<std::string> parts;
  for (const std::string& part : MixedSources(found->second)) {
    for (std::string& source : DataParts(config, part)) parts.push_back(std::move(source));
  }
  if (parts.empty()) parts.push_back(data);
  return parts;
}

std::vector<std::string> DataReadBy(const RunConfig& config, const ConfiguredStage& stage) {
  std::vector<std::string> names;
  for (const Reference& reference : stage.stage->references()) {
    if (reference.section != "data") continue;
    const std::vector<std::string> parts = DataParts(config, reference.value);
    names.insert(names.end(), parts.begin(), parts.end());
  }
  return names;
}

std::vector<std::string> Notes(const std::vector<CheckedData>& checked) {
  std::vector<std::string> notes;
  for (const CheckedData& data : checked) {
    if (!data.unreadable.empty()) notes.push_back(absl::StrCat("stage ", data.stage, ": ", data.unreadable));
    if (data.written_by.empty()) continue;
    notes.push_back(absl::StrCat("stage ", data.stage, ": data.", data.use.data, " is what stage ", data.written_by,
                                 " will write; its lengths and texts are checked when stage ", data.stage, " begins"));
  }
  return notes;
}

absl::StatusOr<const PolicyShape*> Preflight::Shape(const std::string& policy) {
  ASSIGN_OR_RETURN(const std::string origin, PolicyOrigin(config_, policy));
  if (const auto known = shapes_.find(origin); known != shapes_.end()) return &known->second;
  ASSIGN_OR_RETURN(PolicyShape shape, ReadPolicyShape(config_, origin));
  return &shapes_.emplace(origin, std::move(shape)).first->second;
}

std::string Preflight::WriterOf(const std::string& data, int64_t stage_index) const {
  for (const std::string& part : DataParts(config_, data)) {
    const auto found = config_.data.find(part);
    if (found == config_.data.end() || found->second.artifact.empty()) continue;
    for (int64_t i = stage_index - 1; i >= 0; --i) {
      const std::vector<std::string> written = config_.stages[i].stage->writes();
      if (std::count(written.begin(), written.end(), found->second.artifact) > 0) return config_.stages[i].name;
    }
    return found->second.artifact;
  }
  return "";
}

absl::StatusOr<std::vector<CheckedData>> Preflight::CheckAhead(const RunFiles& files, int64_t first_stage,
                                                               const std::set<std::string>& made) {
  const absl::Cleanup close = [this] { open_.clear(); };
  std::vector<CheckedData> all;
  std::vector<absl::Status> errors;
  // Of what several stages need, once.
  std::set<std::string> said;
  for (int64_t i = first_stage; i < static_cast<int64_t>(config_.stages.size()); ++i) {
    const ConfiguredStage& stage = config_.stages[i];
    const auto add_error = [&](const absl::Status& status) {
      if (said.emplace(status.message()).second) errors.push_back(Annotate(status, absl::StrCat("stage ", stage.name)));
    };
    const absl::Status policies = CheckPolicies(stage, made);
    add_error(policies);
    if (!policies.ok()) continue;
    int64_t needed_positions = 0;
    for (const DataUse& use : stage.stage->reads()) {
      add_error(CheckTopKAhead(files, use, i, first_stage));
      if (const std::string writer = WriterOf(use.data, i); !writer.empty()) {
        all.push_back({.stage = stage.name, .use = use, .written_by = writer});
        continue;
      }
      absl::StatusOr<CheckedData> checked = CheckUse(files, stage.name, use);
      add_error(checked.status());
      if (!checked.ok()) continue;
      needed_positions = std::max(needed_positions, NeededPositions(*checked));
      all.push_back(*std::move(checked));
    }
    add_error(CheckFrozen(stage, needed_positions));
    add_error(CheckTopKOutput(stage));
  }
  RETURN_IF_ERROR(JoinErrors(errors));
  return all;
}

absl::StatusOr<std::vector<CheckedData>> Preflight::CheckBefore(const RunFiles& files, int64_t stage_index) {
  const absl::Cleanup close = [this] { open_.clear(); };
  std::vector<CheckedData> all;
  const ConfiguredStage& stage = config_.stages[stage_index];
  int64_t needed_positions = 0;
  for (const DataUse& use : stage.stage->reads()) {
    if (WriterOf(use.data, stage_index).empty()) continue;
    ASSIGN_OR_RETURN(all.emplace_back(), CheckUse(files, stage.name, use));
    RETURN_IF_ERROR(CheckTopKFiles(files, use));
    needed_positions = std::max(needed_positions, NeededPositions(all.back()));
  }
  RETURN_IF_ERROR(CheckFrozen(stage, needed_positions));
  return all;
}

absl::Status Preflight::CheckPolicies(const ConfiguredStage& stage, const std::set<std::string>& made) {
  std::vector<absl::Status> errors;
  for (const Reference& reference : stage.stage->references()) {
    if (reference.section != "policies" || reference.value.empty()) continue;
    // What is only an address has neither files nor a shape.
    if (IsEndpoint(config_, reference.value)) continue;
    const absl::StatusOr<const PolicyShape*> shape = Shape(reference.value);
    errors.push_back(shape.status());
    if (shape.ok()) errors.push_back(CheckPolicyWeights(config_, reference.value, (*shape)->config, made));
  }
  return JoinErrors(errors);
}

absl::Status Preflight::CheckFrozen(const ConfiguredStage& stage, int64_t needed_positions) {
  const std::optional<LearnerSpec> learner = stage.stage->learner();
  if (!learner.has_value()) return absl::OkStatus();
  ASSIGN_OR_RETURN(const PolicyShape* const shape, Shape(learner->policy));
  std::map<std::string, const ModelConfig*> shapes;
  for (const FrozenPolicy& frozen : learner->algorithm.frozen()) {
    ASSIGN_OR_RETURN(const PolicyShape* const other, Shape(frozen.policy));
    shapes[frozen.policy] = &other->config;
    RETURN_IF_ERROR(CheckSameTokens(learner->policy, *shape, frozen.policy, *other));
    if (other->config.max_positions >= needed_positions) continue;
    return absl::InvalidArgumentError(absl::StrCat("policies.", frozen.policy, " has ", other->config.max_positions,
                                                   " positions, and the stage's data need ", needed_positions));
  }
  std::vector<absl::Status> errors;
  for (const Conflict& conflict : learner->algorithm.ShapeConflicts(shape->config, shapes))
    errors.push_back(absl::InvalidArgumentError(absl::StrCat(conflict.key, " ", conflict.message)));
  return JoinErrors(errors);
}

absl::StatusOr<const DataSource*> Preflight::Open(const RunFiles& files, const std::string& data) {
  std::unique_ptr<DataSource>& source = open_[data];
  if (source == nullptr) {
    ASSIGN_OR_RETURN(source, files.OpenData(data));
  }
  return source.get();
}

absl::StatusOr<CheckedData> Preflight::CheckUse(const RunFiles& files, const std::string& stage, const DataUse& use) {
  ASSIGN_OR_RETURN(const DataSource* const source, Open(files, use.data));
  ASSIGN_OR_RETURN(const int64_t count, CountOf(use, *source));
  CheckedData checked{.stage = stage, .use = use};
  if (use.kind == DataUse::Kind::kTexts || IsEndpoint(config_, use.policy)) {
    ASSIGN_OR_RETURN(checked.num_items, CountTexts(use, *source, count));
  } else {
    ASSIGN_OR_RETURN(const PolicyShape* const shape, Shape(use.policy));
    ASSIGN_OR_RETURN(const TokenLengths* const lengths, Measure(use, *source, count));
    const int64_t max_positions = shape->config.max_positions;
    RETURN_IF_ERROR(CheckFits(use, *lengths, max_positions, config_.rollout_worker.ContextTokens(max_positions)));
    checked.num_items = lengths->num_items;
    checked.longest_tokens = lengths->longest;
  }
  if (use.kind == DataUse::Kind::kProblems) RETURN_IF_ERROR(CheckReferences(*source, count, &checked));
  return checked;
}

absl::StatusOr<const TokenLengths*> Preflight::Measure(const DataUse& use, const DataSource& source, int64_t count) {
  ASSIGN_OR_RETURN(const PolicyShape* const shape, Shape(use.policy));
  const auto measure = [&]() -> absl::StatusOr<TokenLengths> {
    TokenLengths lengths;
    lengths.num_items = NumChecked(source, count);
    if (lengths.num_items == 0) return absl::InvalidArgumentError(absl::StrCat("data.", use.data, " holds nothing"));
    for (int64_t i = 0; i < lengths.num_items; ++i) {
      const DataItem item = ItemAt(source, count, i);
      RETURN_IF_ERROR(source.Check());
      ASSIGN_OR_RETURN(const int64_t num_tokens, NumTokens(use, *shape, item));
      if (num_tokens == 0 && lengths.empty_id.empty()) lengths.empty_id = item.prompt.id();
      if (num_tokens <= lengths.longest) continue;
      lengths.longest = num_tokens;
      lengths.longest_id = item.prompt.id();
    }
    return lengths;
  };
  const std::tuple key{use.data, shape->origin, use.kind, count};
  auto known = lengths_.find(key);
  if (known == lengths_.end()) known = lengths_.emplace(key, measure()).first;
  RETURN_IF_ERROR(known->second.status());
  return &*known->second;
}

absl::Status Preflight::CheckReferences(const DataSource& source, int64_t count, CheckedData* checked) {
  const DataUse& use = checked->use;
  Profile& profile = audits_[{use.data, use.rewards, count, use.answers_may_lack}];
  if (profile.audit == nullptr) {
    ASSIGN_OR_RETURN(profile.rules, RewardProfile::Make(use.rewards, config_.rewards.at(use.rewards)));
    profile.audit = std::make_unique<ReferenceAudit>(*profile.rules);
    for (int64_t i = 0; i < checked->num_items; ++i) {
      const v1::Prompt prompt = ItemAt(source, count, i).prompt;
      if (!use.answers_may_lack || !prompt.answer().empty()) profile.audit->Add(prompt).IgnoreError();
    }
    RETURN_IF_ERROR(source.Check());
  }
  checked->num_answers = profile.audit->num_answers();
  checked->num_unreadable = profile.audit->num_unreadable();
  checked->unreadable = profile.audit->Summary(use.data);
  return profile.audit->Judge(use.data, config_.run.max_unreadable_reference_frac);
}

}  // namespace grpo
