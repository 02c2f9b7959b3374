// What the configuration says about rewards.
#ifndef GRPO_REWARD_OPTIONS_H_
#define GRPO_REWARD_OPTIONS_H_

#include <map>
#include <string>

#include "configs/visit.h"

namespace grpo {

// One rule of a profile: its weight, and whatever keys the rule itself declares.
struct RuleOptions {
  double weight = 1.0;
  Section rule;

  template <class V>
  void Visit(V& v) {
    v("weight", weight, {.help = "Factor of the rule's value in the sum.", .min = -1e6, .max = 1e6});
    v.Rest(rule);
  }
};

// `rewards.<name>`: how one kind of completion is scored.
struct RewardProfileOptions {
  std::map<std::string, RuleOptions> rules;
  std::string no_answer = "zero", undecided = "zero", over_budget = "zero";

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
  }
};

// `reward_server`: the processes that score.
struct RewardServerOptions {
  int64_t servers = 1;
  int64_t port = 0;
  int64_t threads = 1;

  template <class V>
  void Visit(V& v) {
    v("servers", servers, {.help = "Reward server processes.", .min = 1, .max = 1024});
    v("port", port,
      {.help = "Port of the first server, the others follow; 0 lets the system choose.", .min = 0, .max = 65535});
    v("threads", threads, {.help = "Threads that score in each server.", .unit = "threads", .min = 1, .max = 1024});
  }
};

}  // namespace grpo

#endif  // GRPO_REWARD_OPTIONS_H_
