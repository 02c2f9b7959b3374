// A parsed configuration as a plain tree of values: what parse.cc makes of YAML, load_impl.h reads and emit.cc prints.
#ifndef GRPO_CONFIGS_NODE_H_
#define GRPO_CONFIGS_NODE_H_

#include <string>
#include <vector>

#include "absl/strings/string_view.h"

namespace grpo {

struct ConfigEntry;

// Value semantics; thread-compatible.
struct ConfigNode {
  // kNull is a key without a value, and an empty file.
  enum class Kind { kNull, kScalar, kList, kMap };

  Kind kind = Kind::kNull;
  // kScalar: its text. A quoted scalar is a text and nothing else.
  std::string scalar = {};
  bool quoted = false;
  // Where it was given: "run.yaml:12" or "--set a.b=c".
  std::string place = {};
  // kMap: in the file's order. kList: the same with empty keys.
  std::vector<ConfigEntry> entries;

  // Null when absent or when this is no map.
  const ConfigEntry* Find(absl::string_view key) const;
  ConfigEntry* Find(absl::string_view key);
};

struct ConfigEntry {
  std::string key = {};
  // Of the key.
  std::string place = {};
  ConfigNode value = {};
};

inline const ConfigEntry* ConfigNode::Find(absl::string_view key) const {
  if (kind != Kind::kMap) return nullptr;
  for (const ConfigEntry& entry : entries) {
    if (entry.key == key) return &entry;
  }
  return nullptr;
}
inline ConfigEntry* ConfigNode::Find(absl::string_view key) {
  return const_cast<ConfigEntry*>(static_cast<const ConfigNode*>(this)->Find(key));
}

}  // namespace grpo

#endif  // GRPO_CONFIGS_NODE_H_
