// How an options struct declares its keys. One member template drives the loader, the resolved dump and
// configs/REFERENCE.md:
//
//   struct SamplerOptions {
//     double temperature = 1.0;
//     template <class V>
//     void Visit(V& v) {
//       v("temperature", temperature, {.help = "Softmax temperature.", .min = 0, .max = 100});
//     }
//   };
//
// Members may be bool, int64_t, double, std::string, another options struct, std::vector<T> or std::map<std::string, T>
// of these. The member's initialiser is the default. A Section member takes a subtree whose keys some plug-in declares.
#ifndef GRPO_CONFIGS_VISIT_H_
#define GRPO_CONFIGS_VISIT_H_

#include <cstdint>
#include <limits>
#include <memory>
#include <string>
#include <vector>

namespace grpo {

struct ConfigNode;

// What a key means. Everything but `help` is optional.
struct Doc {
  // One sentence: the effect, and when to change it.
  const char* help;
  // "tokens", "seconds", ...; empty for a pure number or text.
  const char* unit = "";
  // Numbers outside [min, max] are refused. For vectors and maps: of each element.
  double min = -std::numeric_limits<double>::infinity();
  double max = std::numeric_limits<double>::infinity();
  // Texts that are not among these are refused; empty allows all.
  std::vector<const char*> choices = {};
  // The key must be given. Its default is never used then.
  bool required = false;
};

// A YAML subtree with its place in the file, kept for a plug-in to load (configs/load.h). Empty: every default.
// Immutable, copies are cheap. Thread-compatible.
class Section {
 public:
  Section() = default;
  Section(std::shared_ptr<const ConfigNode> node, std::string key_path, std::vector<std::string> outer_keys = {})
      : node_(std::move(node)), key_path_(std::move(key_path)), outer_keys_(std::move(outer_keys)) {}

  // Null when empty.
  const ConfigNode* node() const { return node_.get(); }
  // "rewards.r1_zero.rules.math_answer", for messages; empty for a whole file.
  const std::string& key_path() const { return key_path_; }
  // Keys beside the section's that the struct which held it declares: candidates for "did you mean".
  const std::vector<std::string>& outer_keys() const { return outer_keys_; }

 private:
  std::shared_ptr<const ConfigNode> node_;
  std::string key_path_;
  std::vector<std::string> outer_keys_;
};

// Besides operator(), a visitor has Rest(Section&): inside Visit, `v.Rest(section)` hands every key that the struct
// does not declare to `section` instead of refusing it. The plug-in that loads the section refuses what it does not
// know.

}  // namespace grpo

#endif  // GRPO_CONFIGS_VISIT_H_
