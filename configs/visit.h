// How an options struct declares its keys. One member template drives the loader, the resolved dump and configs/REFERENCE.md:
//
//   struct SamplerOptions {
//     double temperature = 1.0;
//     template <class V>
//     void Visit(V& v) {
//       v("temperature", temperature, {.help = "Softmax temperature.", .min = 0, .max = 100});
//     }
//   };
//
// Members may be bool, int64_t, double, std::string, another options struct, std::vector<T> or std::map<std::string, T> of these.
// The member's initialiser is the default. A Section member takes a subtree whose keys some plug-in declares.
#ifndef GRPO_CONFIGS_VISIT_H_
#define GRPO_CONFIGS_VISIT_H_

#include <limits>
#include <memory>
#include <string>
#include <vector>

#include "absl/strings/string_view.h"

namespace YAML {
class Node;
}

namespace grpo {

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
  // The key must be given.
  bool required = false;
};

// A YAML subtree with its place in the file, kept for a plug-in to load (configs/load.h). Empty: every default. Copies are cheap.
// Thread-compatible.
class Section {
 public:
  Section() = default;
  Section(std::shared_ptr<const YAML::Node> node, std::string file, std::string key_path)
      : node_(std::move(node)), file_(std::move(file)), key_path_(std::move(key_path)) {}

  // Null when empty.
  const YAML::Node* node() const { return node_.get(); }
  const std::string& file() const { return file_; }
  // "rewards.r1_zero.rules.math_answer", for messages.
  const std::string& key_path() const { return key_path_; }

 private:
  std::shared_ptr<const YAML::Node> node_;
  std::string file_;
  std::string key_path_;
};

// Besides operator(), a visitor has Rest(Section&): inside Visit, `v.Rest(section)` hands every key that the struct does not declare
// to `section` instead of refusing it. The plug-in that loads the section refuses what it does not know.

}  // namespace grpo

#endif  // GRPO_CONFIGS_VISIT_H_
