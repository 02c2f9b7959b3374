// What a plug-in of the trainer (algorithm, stage) declares about its own keys. One place, run_config.cc, checks it for
// all of them and says key, value and the nearest name.
#ifndef GRPO_TRAINER_PLUGIN_H_
#define GRPO_TRAINER_PLUGIN_H_

#include <string>

namespace grpo {

// Something that a plug-in's options name elsewhere in the configuration.
struct Reference {
  std::string key;        // of the plug-in's own section, such as "reference_policy"
  std::string section;    // "policies", "data", "rewards" or "artifacts"
  std::string value;      // the name; an empty one refers to nothing
  bool required = false;  // whether an empty one is an error
  bool teaches = false;   // whether it is a policy from which another learns
  // Of a policy: whether one that is only an address will do (policies.<name>.endpoint), since only its text is read.
  bool takes_endpoint = false;
};

// A rule that a profile must have: {"accuracy_rule", profile "gsm8k", rule "math_answer"}.
struct RuleReference {
  std::string key, rewards, rule;
};

// What is wrong about keys that are each in range. `key` is of the plug-in's own section and may be dotted; `message`
// goes on after it: "is 0: ...".
struct Conflict {
  std::string key, message;
};

}  // namespace grpo

#endif  // GRPO_TRAINER_PLUGIN_H_
