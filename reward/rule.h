// One reward rule: a .cc in rules/ and a line in rules.inc. The contract suite (tests/contract) covers each.
#ifndef GRPO_REWARD_RULE_H_
#define GRPO_REWARD_RULE_H_

#include <memory>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "configs/visit.h"
#include "proto/types.pb.h"

namespace grpo {

// What a rule may look at. Views live as long as the call.
struct RuleInput {
  // Decoded completion without the end-of-sequence token; any bytes.
  absl::string_view completion;
  const v1::Prompt& prompt;
  // Asks for the forms in the result.
  bool explain = false;
};

struct RuleResult {
  v1::Outcome outcome = v1::OUTCOME_SCORED;
  // In the rule's range; 0 unless outcome is SCORED.
  double value = 0;
  // What the answer was read from, for logs (cut when it is long); empty when the rule reads none.
  std::string extracted = {};
  // What decided, or what was missing, as a phrase; empty for rules that compare nothing.
  std::string decided_by = {};
  // Where the input asks for them: what reference and answer were read as.
  std::string reference_form = {}, answer_form = {};
};

// Deterministic and stateless: Score depends on its input alone. Thread-safe. Never throws; time and memory are bounded
// whatever the completion holds.
class Rule {
 public:
  virtual ~Rule() = default;
  virtual RuleResult Score(const RuleInput& input) const = 0;
  // Whether the rule can read this reference answer; run on every answer before step 0 (DESIGN.md law 1). OK for rules
  // without one.
  virtual absl::Status CheckReference(const v1::Prompt& prompt) const { return absl::OkStatus(); }
};

struct RuleInfo {
  std::string name = {}, summary = {};
  double min_value = 0, max_value = 1;
  // Keys of the rule's own options (configs/load.h ReferenceTable).
  std::string reference_table = {};
};

// In the order of rules.inc.
const std::vector<RuleInfo>& ListRules();

// InvalidArgument for an unknown name (the nearest is named) and for options the rule does not know.
absl::StatusOr<std::unique_ptr<Rule>> MakeRule(const std::string& name, const Section& options);

// The options with every key of the rule present, defaults filled in. Errors as MakeRule.
absl::StatusOr<Section> ResolveRuleOptions(const std::string& name, const Section& options);

}  // namespace grpo

#endif  // GRPO_REWARD_RULE_H_
