#include <utility>

#include "absl/strings/str_cat.h"
#include "common/sha256.h"
#include "common/utf8.h"
#include "reward/extract.h"
#include "reward/repetition.h"
#include "trainer/stage/rewrite.h"
#include "trainer/stage/traces.h"

namespace grpo {
namespace {

using nlohmann::ordered_json;

std::string Identity(absl::string_view prompt, absl::string_view completion) {
  return Sha256Hex(absl::StrCat(prompt.size(), ":", prompt, completion));
}

double RuleValue(const v1::Score& score, const std::string& name) {
  const v1::RuleScore* rule = FindRule(score, name);
  return rule == nullptr ? 0 : rule->value();
}

// In tokens; in words where only a text came.
int64_t LengthOf(const v1::Completion& completion) {
  if (completion.ids_size() > 0) return CompletionLength(completion);
  return static_cast<int64_t>(WordIds(completion.text()).size());
}

bool IsFinished(const v1::Completion& completion) {
  return completion.finish_reason() == v1::FINISH_REASON_STOP ||
         completion.finish_reason() == v1::FINISH_REASON_STOP_STRING;
}

// The problem that this one was made of, as an earlier stage wrote it; empty for all others.
std::string RewrittenFrom(const v1::Prompt& problem) {
  const auto& fields = problem.metadata().fields();
  const auto found = fields.find("rewritten_from");
  return found == fields.end() ? "" : found->second.string_value();
}

}  // namespace

struct TraceSelector::Judgement {
  // By sample: whether it counts, and whether it is right.
  std::vector<bool> is_counted = {}, is_right = {};
  int64_t num_counted = 0, num_right = 0;
  // The problem has no answer, and its samples are to give one.
  bool is_labelled = false;
  PseudoLabel label = {};
  // The data's, or the label.
  std::string answer = {};
  // Why no trace of the problem is kept, whatever its samples are; empty when they may be.
  std::string dropped = {};

  double solve_rate() const { return static_cast<double>(num_right) / static_cast<double>(num_counted); }
};

bool TraceSelector::IsCounted(const v1::Score& score, bool without_answer) {
  if (!score.excluded()) return true;
  if (!without_answer || score.rules().empty()) return false;
  // That a reference which is not there cannot be read is nobody's failure. Where every rule scored, one of them left
  // it out by name (RuleResult::excluded).
  bool is_all_scored = true;
  for (const v1::RuleScore& rule : score.rules()) {
    if (rule.outcome() == v1::OUTCOME_DEADLINE || rule.outcome() == v1::OUTCOME_RULE_ERROR) return false;
    is_all_scored = is_all_scored && rule.outcome() == v1::OUTCOME_SCORED;
  }
  return !is_all_scored;
}

TraceSelector::Judgement TraceSelector::Judge(const ScoredGroup& group, const v1::Prompt& problem) const {
  Judgement judgement{.answer = problem.answer()};
  judgement.is_labelled = !options_.rewrites && options_.pseudo_labels.enabled() && problem.answer().empty();
  for (const v1::ScoredCompletion& scored : group.completions) {
    const bool counts = IsCounted(scored.score(), judgement.is_labelled || options_.rewrites);
    judgement.is_counted.push_back(counts);
    judgement.is_right.push_back(counts && RuleValue(scored.score(), options_.accuracy_rule) >= 1);
    judgement.num_counted += counts;
    judgement.num_right += judgement.is_right.back();
  }
  if (judgement.is_labelled) LabelProblem(group, &judgement);
  judgement.dropped = DropReason(problem, judgement);
  return judgement;
}

std::string TraceSelector::DropReason(const v1::Prompt& problem, const Judgement& judgement) const {
  if (judgement.is_labelled && !judgement.label.is_strong) return "no_majority";
  if (options_.rewrites || judgement.num_counted == 0) return "";
  const double rate = judgement.is_labelled ? judgement.label.share : judgement.solve_rate();
  return KeepsProblem(options_.difficulty, rate, problem.id(), options_.seed) ? "" : "difficulty";
}

void TraceSelector::LabelProblem(const ScoredGroup& group, Judgement* judgement) const {
  std::vector<std::string> answers;
  for (size_t i = 0; i < group.completions.size(); ++i) {
    if (!judgement->is_counted[i]) continue;
    const v1::ScoredCompletion& scored = group.completions[i];
    const v1::RuleScore* const rule = FindRule(scored.score(), options_.accuracy_rule);
    answers.push_back(
        rule != nullptr
            ? rule->extracted()
            : ExtractAnswer(scored.completion().text(), {.prefill = IsPrefilled(group.lease.prompt())}).Text());
  }
  judgement->label = LabelByMajority(answers, options_.pseudo_labels);
  if (judgement->label.is_strong) judgement->answer = judgement->label.answer;
  size_t next = 0;
  for (size_t i = 0; i < group.completions.size(); ++i)
    judgement->is_right[i] = judgement->is_counted[i] && judgement->label.is_majority[next++];
}

std::string TraceSelector::RejectionReason(const ScoredGroup& group, const v1::Prompt& problem,
                                           const Judgement& judgement, size_t i) const {
  const v1::ScoredCompletion& scored = group.completions[i];
  if (!judgement.is_counted[i]) return "unscored";
  if (!IsFinished(scored.completion())) return "unfinished";
  if (judgement.dropped == "no_majority") return judgement.dropped;
  if (!options_.rewrites && !judgement.is_right[i]) return "wrong";
  if (!options_.format_rule.empty() && RuleValue(scored.score(), options_.format_rule) < 1) return "malformed";
  return TextReason(problem, scored.completion());
}

std::string TraceSelector::TextReason(const v1::Prompt& problem, const v1::Completion& completion) const {
  const std::string& text = completion.text();
  if (!IsUtf8(text)) return "not_utf8";
  const std::string rewritten = options_.rewrites ? RewrittenProblem(text) : "";
  if (options_.rewrites && (rewritten.empty() || rewritten == problem.text())) return "no_problem";
  const std::string filtered = filter_.RejectionReason(text, LengthOf(completion));
  if (!filtered.empty()) return filtered;
  if (contaminated_ == nullptr) return "";
  // The new problem by itself, too: one that is shorter than an n-gram is found by all of its words.
  const bool contaminated =
      contaminated_->IsContaminated(text) || (options_.rewrites && contaminated_->IsContaminated(rewritten));
  return contaminated ? "contaminated" : "";
}

std::string TraceSelector::IdentityOf(const v1::Prompt& problem, const std::string& text) const {
  return options_.rewrites ? Identity(RewrittenProblem(text), "") : Identity(problem.text(), text);
}

GroupTraces TraceSelector::Select(const ScoredGroup& group, const v1::Prompt& problem) {
  GroupTraces result;
  result.group_index = group.lease.key().group_index();
  result.usage = group.usage;
  result.num_tokens = NumSampledTokens(group);
  const Judgement judgement = Judge(group, problem);
  std::vector<size_t> places;
  std::vector<TraceCandidate> candidates;
  std::set<std::string> here;
  for (size_t i = 0; i < group.completions.size(); ++i) {
    const v1::Completion& completion = group.completions[i].completion();
    std::string reason = RejectionReason(group, problem, judgement, i);
    if (reason.empty()) {
      const std::string identity = IdentityOf(problem, completion.text());
      if (seen_.count(identity) > 0 || !here.insert(identity).second) reason = "duplicate";
    }
    if (reason.empty()) reason = judgement.dropped;
    if (!reason.empty()) {
      ++result.rejected[reason];
      continue;
    }
    places.push_back(i);
    candidates.push_back({.text = completion.text(), .num_tokens = LengthOf(completion)});
  }
  const std::vector<size_t> kept = ChooseTraces(candidates, options_.max_traces_per_problem, options_.select.prefer);
  if (kept.size() < places.size()) result.rejected["over_cap"] = static_cast<int64_t>(places.size() - kept.size());
  for (const size_t position : kept) {
    result.traces.push_back(TraceOf(group, problem, judgement, places[position]));
    seen_.insert(IdentityOf(problem, group.completions[places[position]].completion().text()));
  }
  result.problem = ProblemOf(group, problem, judgement, kept.size());
  return result;
}

ordered_json TraceSelector::TraceOf(const ScoredGroup& group, const v1::Prompt& problem, const Judgement& judgement,
                                    size_t i) const {
  const v1::Lease& lease = group.lease;
  const v1::ScoredCompletion& scored = group.completions[i];
  const v1::Completion& completion = scored.completion();
  ordered_json trace = {{"id", absl::StrCat(problem.id(), "#", lease.key().group_index(), ".", completion.index())}};
  if (options_.rewrites) {
    trace["problem"] = RewrittenProblem(completion.text());
    trace["rewritten_from"] = problem.id();
    trace["original"] = problem.text();
  } else {
    trace["problem"] = problem.text();
    trace["answer"] = judgement.answer;
    trace["completion"] = completion.text();
    if (const std::string from = RewrittenFrom(problem); !from.empty()) trace["rewritten_from"] = from;
  }
  if (!options_.data.empty()) trace["data"] = options_.data;
  trace["policy"] = lease.policy().policy_id();
  if (!model_.empty()) trace["model"] = model_;
  trace["policy_number"] = lease.policy().number();
  trace["stage"] = lease.key().stage();
  trace["group_index"] = lease.key().group_index();
  trace["sample_index"] = completion.index();
  trace["seed"] = std::to_string(lease.seed());
  if (!lease.endpoint()) trace["num_tokens"] = CompletionLength(completion);
  AddMeasured(judgement, &trace);
  trace["reward"] = scored.score().value();
  ordered_json rewards = ordered_json::object();
  for (const v1::RuleScore& rule : scored.score().rules()) rewards[rule.name()] = rule.value();
  trace["rewards"] = std::move(rewards);
  trace["reason"] = options_.rewrites ? "rewritten" : judgement.is_labelled ? "majority" : "right";
  return trace;
}

void TraceSelector::AddMeasured(const Judgement& judgement, ordered_json* line) const {
  if (judgement.is_labelled) {
    (*line)["majority_share"] = judgement.label.share;
    (*line)["majority_margin"] = judgement.label.margin;
  } else if (!options_.rewrites && judgement.num_counted > 0) {
    (*line)["solve_rate"] = judgement.solve_rate();
  }
}

ordered_json TraceSelector::ProblemOf(const ScoredGroup& group, const v1::Prompt& problem, const Judgement& judgement,
                                      size_t num_kept) const {
  const v1::Lease& lease = group.lease;
  ordered_json line = {{"id", problem.id()}, {"problem", problem.text()}, {"answer", judgement.answer}};
  if (!options_.data.empty()) line["data"] = options_.data;
  line["policy"] = lease.policy().policy_id();
  line["policy_number"] = lease.policy().number();
  line["stage"] = lease.key().stage();
  line["group_index"] = lease.key().group_index();
  line["num_samples"] = judgement.num_counted;
  if (!judgement.is_labelled && !options_.rewrites) line["num_solved"] = judgement.num_right;
  line["num_kept"] = num_kept;
  AddMeasured(judgement, &line);
  if (!judgement.dropped.empty()) line["dropped"] = judgement.dropped;
  return line;
}

void TraceSelector::Remember(const GroupTraces& group) {
  for (const ordered_json& trace : group.traces)
    seen_.insert(Identity(trace.at("problem").get_ref<const std::string&>(), trace.value("completion", "")));
}

}  // namespace grpo
