// From YAML to options structs, strictly, and back. yaml-cpp and its exceptions stay behind this file.
//
// Refused, each with file, line, key path and what to do: text that is not YAML, unknown keys (the nearest known key is named), keys
// given twice, wrong types, numbers out of range, texts that are no choice, missing required keys, files above 1 MiB.
#ifndef GRPO_CONFIGS_LOAD_H_
#define GRPO_CONFIGS_LOAD_H_

#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "configs/visit.h"

namespace grpo {

// Parses a file and applies overrides "a.b=c" (also "stages.2.steps=10", "stages.NAME.steps=10" where the list's elements have a
// `name`; values are YAML). NotFound when there is no such file, InvalidArgument otherwise. Messages about an overridden value name
// `--set`, not a line.
absl::StatusOr<Section> ParseConfigFile(const std::string& path, const std::vector<std::string>& overrides = {});
// The same for text; `name` stands for the file in messages.
absl::StatusOr<Section> ParseConfigText(const std::string& text, const std::string& name, const std::vector<std::string>& overrides = {});

// Fills *options from the section; keys that are absent keep their defaults. InvalidArgument with every message of this file's top
// comment; all errors of the section are reported together, one a line.
template <class Options>
absl::Status LoadOptions(const Section& section, Options* options);

// YAML with every key present, in declaration order; ParseConfigText reads it back to equal options.
template <class Options>
std::string DumpOptions(const Options& options);

// A Markdown table of the struct's keys: key, default, unit, range or choices, help. Nested structs, lists and maps appear with
// dotted keys ("stages[].name", "policies.<name>.hidden_size").
template <class Options>
std::string ReferenceTable(const std::string& prefix = "");

// "line 12: " for an error that a plug-in finds after loading; empty when unknown.
absl::Status SectionError(const Section& section, const std::string& key, const std::string& message);

}  // namespace grpo

#include "configs/load_impl.h"

#endif  // GRPO_CONFIGS_LOAD_H_
