// One reward rule: a .cc in rules/ and a line in rules.inc. The contract suite (tests/contract) covers each.
#ifndef GRPO_REWARD_RULE_H_
#define GRPO_REWARD_RULE_H_

#include <chrono>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "absl/types/span.h"
#include "configs/visit.h"
#include "proto/types.pb.h"

namespace grpo {

// What a rule may look at. Views live as long as the call.
struct RuleInput {
  // Decoded completion without the end-of-sequence token; any bytes. May be empty, or megabytes.
  absl::string_view completion;
  // Text, reference answer (empty where there is none) and metadata.
  const v1::Prompt& prompt;
  // Asks for the forms in the result.
  bool explain = false;
  // The completion's token ids, the end-of-sequence token included. Never empty beside a text for a rule that needs
  // them.
  absl::Span<const uint32_t> ids = {};
  // What the rule named by RuleNeeds::basis said of this completion; null for rules that name none.
  const v1::RuleScore* basis = nullptr;
  // A rule that waits for something outside of it gives up then; others need not look.
  std::chrono::steady_clock::time_point give_up_at = std::chrono::steady_clock::time_point::max();
};

// What a rule says of one completion.
struct RuleResult {
  // SCORED, NO_ANSWER, UNDECIDED, OVER_BUDGET, REFERENCE_UNPARSABLE, DEADLINE or RULE_ERROR: the last three are our
  // failure, and leave the sample out (docs/design.md law 1).
  v1::Outcome outcome = v1::OUTCOME_SCORED;
  // In the rule's range; 0 unless outcome is SCORED.
  double value = 0;
  // What the answer was read from, for logs (cut when it is long); empty when the rule reads none.
  std::string extracted = {};
  // What decided, or what was missing, as a phrase; empty for rules that compare nothing.
  std::string decided_by = {};
  // Where the input asks for them: what reference and answer were read as.
  std::string reference_form = {}, answer_form = {};
  // The sample is to be left out whatever its outcome: a server that was asked says so.
  bool excluded = false;
  // What this rule needs and could not reach, and that the same call may succeed later: the group is then not scored at
  // all (UNAVAILABLE), and the run waits with this as the reason. Empty for rules that need nothing but their input.
  std::string unavailable = {};
};

// What a rule asks for besides the completion.
struct RuleNeeds {
  // RuleInput::ids: a completion that comes without them is then a rule_error.
  bool ids = false;
  // The whole group at once: ScoreGroup is called.
  bool group = false;
  // Another rule of the same profile, by its name there, that is run first.
  std::string basis = {};
};

// Of raw values, both ends included.
struct ValueRange {
  double min = 0, max = 1;
};

// Deterministic and stateless: Score depends on its input alone. Thread-safe. Never throws; time and memory are bounded
// whatever the completion holds.
class Rule {
 public:
  virtual ~Rule() = default;
  // What this rule says of one completion. For a rule about groups it is what it says of a group of one.
  virtual RuleResult Score(const RuleInput& input) const = 0;
  // The results of one group, in order. As many as there are inputs. All share one prompt.
  virtual std::vector<RuleResult> ScoreGroup(absl::Span<const RuleInput> group) const {
    std::vector<RuleResult> results;
    for (const RuleInput& input : group) results.push_back(Score(input));
    return results;
  }
  // The same at every call.
  virtual RuleNeeds Needs() const { return {}; }
  // Absent: RuleInfo's. A value outside it is a rule_error.
  virtual std::optional<ValueRange> Range() const { return std::nullopt; }
  // Whether the rule can read this reference answer; run on every answer before step 0 (docs/design.md law 1). OK for
  // rules without one. InvalidArgument, in words for whoever owns the data.
  virtual absl::Status CheckReference(const v1::Prompt& prompt) const { return absl::OkStatus(); }
  // Called by a server before it serves the rule, so that what cannot work is refused at once: starts what there is to
  // start. Processes that only read configurations do not call it. An error names what is missing.
  virtual absl::Status Prepare() const { return absl::OkStatus(); }
};

// What is said of a rule without making one.
struct RuleInfo {
  // As in rules.inc, and one sentence.
  std::string name = {}, summary = {};
  // With the default options.
  double min_value = 0, max_value = 1;
  // Keys of the rule's own options (configs/load.h ReferenceTable).
  std::string reference_table = {};
  // Those of them that are paths.
  std::vector<std::string> path_keys = {};
};

// In the order of rules.inc. Lives for ever; any thread.
const std::vector<RuleInfo>& ListRules();

// InvalidArgument for an unknown name (the nearest is named) and for options that the rule does not know or cannot use.
// Messages carry file, line and key.
absl::StatusOr<std::unique_ptr<Rule>> MakeRule(const std::string& name, const Section& options);

// The options with every key of the rule present, defaults filled in. Errors as MakeRule.
absl::StatusOr<Section> ResolveRuleOptions(const std::string& name, const Section& options);

}  // namespace grpo

#endif  // GRPO_REWARD_RULE_H_
