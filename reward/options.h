// What the configuration says about rewards.
#ifndef GRPO_REWARD_OPTIONS_H_
#define GRPO_REWARD_OPTIONS_H_

#include <map>
#include <string>

#include "configs/visit.h"

namespace grpo {

// When a rule counts at all. What it names is checked by RewardProfile::Make.
struct GateOptions {
  std::string rule;
  double at_least = 1.0;

  template <class V>
  void Visit(V& v) {
    v("rule", rule,
      {.help = "Another rule of the profile: this one counts only where that one scored at least at_least. Empty: it "
               "always counts."});
    v("at_least", at_least, {.help = "Raw value from which on the gate is open.", .min = -1e6, .max = 1e6});
  }
};

// One rule of a profile: how it enters the sum, and whatever keys the rule itself declares. Of the rule's own keys
// MakeRule says what is wrong.
struct RuleOptions {
  std::string type;
  double weight = 1.0;
  std::map<std::string, double> weight_for;
  GateOptions when;
  double clip_min = -1e6, clip_max = 1e6;
  // The keys that the rule itself declares.
  Section rule;

  template <class V>
  void Visit(V& v) {
    v("type", type,
      {.help = "Which rule of reward/rules.inc this is, for a name of one's own or a second one of a kind; empty: the "
               "one of this name."});
    v("weight", weight, {.help = "Factor of the rule's value in the sum.", .min = -1e6, .max = 1e6});
    v("weight_for", weight_for,
      {.help = "Other weights by data source: the text under `source` in a prompt's metadata.",
       .min = -1e6,
       .max = 1e6});
    v("when", when, {.help = "A gate: the rule counts only where another one is satisfied."});
    v("clip_min", clip_min, {.help = "Smaller values enter the sum as this one.", .min = -1e6, .max = 1e6});
    v("clip_max", clip_max, {.help = "Larger values enter the sum as this one.", .min = -1e6, .max = 1e6});
    v.Rest(rule);
  }
};

// `rewards.<name>`: how one kind of completion is scored. The order of the rules is that of their names, and changes
// nothing.
struct RewardProfileOptions {
  std::map<std::string, RuleOptions> rules;
  std::string no_answer = "zero", undecided = "zero", over_budget = "zero";
  double clip_min = -1e9, clip_max = 1e9;

  template <class V>
  void Visit(V& v) {
    v("rules", rules,
      {.help = "Rules by name (reward/rules.inc lists them); their weighted values are added.", .required = true});
    v("no_answer", no_answer,
      {.help = "A completion without an answer counts as value 0, or is left out of baseline and loss.",
       .choices = {"zero", "exclude"}});
    v("undecided", undecided,
      {.help = "The same for an answer that a rule can neither accept nor reject.", .choices = {"zero", "exclude"}});
    v("over_budget", over_budget,
      {.help = "The same for an answer that asks for more work than the rule's budget.",
       .choices = {"zero", "exclude"}});
    v("clip_min", clip_min, {.help = "A smaller sum counts as this.", .min = -1e9, .max = 1e9});
    v("clip_max", clip_max, {.help = "A larger sum counts as this.", .min = -1e9, .max = 1e9});
  }
};

// `reward_server`: the processes that score.
struct RewardServerOptions {
  int64_t servers = 1;
  int64_t port = 0;
  int64_t threads = 1;
  int64_t max_waiting = 65536;
  double item_deadline_s = 10;
  int64_t metrics_port = -1;
  std::string sandbox = "best_effort";

  template <class V>
  void Visit(V& v) {
    v("servers", servers, {.help = "Reward server processes.", .min = 1, .max = 1024});
    v("port", port,
      {.help = "Port of the first server, the others follow; 0 lets the system choose.", .min = 0, .max = 65535});
    v("threads", threads,
      {.help = "Completions that each server scores at one time; those that take long make room for others.",
       .unit = "threads",
       .min = 1,
       .max = 1024});
    v("max_waiting", max_waiting,
      {.help = "A server with so many completions waiting refuses more groups (RESOURCE_EXHAUSTED); workers try again "
               "later or elsewhere.",
       .unit = "completions",
       .min = 1,
       .max = 1e8});
    v("item_deadline_s", item_deadline_s,
      {.help = "A completion whose rules have not answered after so long is a deadline outcome and left out of the "
               "loss; the call's own deadline bounds the whole group.",
       .unit = "seconds",
       .min = 0.001,
       .max = 3600});
    v("metrics_port", metrics_port,
      {.help = "Port of the first server for Prometheus (GET /metrics, on loopback), the others follow; 0 lets the "
               "system choose, -1 opens none.",
       .min = -1,
       .max = 65535});
    v("sandbox", sandbox,
      {.help =
           "required: the server refuses to start where the machine does not give all of the sandbox in which rules "
           "that are programs run; best_effort: it says in its log what is lacking.",
       .choices = {"best_effort", "required"}});
  }
};

}  // namespace grpo

#endif  // GRPO_REWARD_OPTIONS_H_
