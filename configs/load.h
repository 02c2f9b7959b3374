// From YAML to options structs, strictly, and back. yaml-cpp and its exceptions stay in parse.cc.
//
// Refused, each with file, line, key path and what to do: text that is not YAML, unknown keys (the nearest known key is
// named), keys given twice, wrong types, numbers out of range, texts that are no choice, missing required keys,
// anchors, aliases and tags, files above 1 MiB, nesting deeper than 64.
//
// An empty value ("rules: {format_tags: }") is an empty list, map or struct; for a number or text it is an error. A
// text may be written without quotes whatever it looks like; a number in quotes is a text. Numbers are decimal, whole
// numbers without point or exponent.
//
// Functions here are pure; any thread.
#ifndef GRPO_CONFIGS_LOAD_H_
#define GRPO_CONFIGS_LOAD_H_

#include <optional>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "configs/visit.h"

namespace grpo {

// Parses a file and applies overrides "a.b=c" (also "stages.2.steps=10", "stages.NAME.steps=10" where the list's
// elements have a `name`, or one key alone that has one: "stages.NAME.repeat.times=2"; values are YAML, and nothing
// after the = is the empty text). An override replaces the whole value at its key. NotFound when there is no such file,
// InvalidArgument otherwise. Messages about an overridden value name `--set`, not a line. Overrides are applied in
// order, all of their errors are reported together, and keys that are not there yet are made; whether they are known is
// found when the options are loaded.
absl::StatusOr<Section> ParseConfigFile(const std::string& path, const std::vector<std::string>& overrides = {});
// The same for text; `name` stands for the file in messages. An empty text is a section without keys.
absl::StatusOr<Section> ParseConfigText(const std::string& text, const std::string& name,
                                        const std::vector<std::string>& overrides = {});

// Fills *options from the section; keys that are absent keep their defaults. InvalidArgument with every message of this
// file's top comment; all errors of the section are reported together, one a line, and what could be read is filled in
// even then. A list or map that is given replaces what *options held there; of a nested struct only the keys that are
// given change.
template <class Options>
absl::Status LoadOptions(const Section& section, Options* options);

// YAML with every key present, in declaration order; ParseConfigText reads it back to equal options. The keys of a
// Section stand beside those of the struct that holds it. Numbers are written so that they read back to the same bits.
// Comments and the order of the file it came from are gone.
template <class Options>
std::string DumpOptions(const Options& options);

// The same as a section: LoadOptions reads it back to equal options. Place, key path and suggestions are those of
// `origin`.
template <class Options>
Section ToSection(const Options& options, const Section& origin);

// A Markdown table of the struct's keys: key, default, unit, range or choices, help. Nested structs, lists and maps
// appear with dotted keys ("stages[].name", "policies.<name>.hidden_size"). The defaults are those of Options{}.
// `prefix` stands before every key.
template <class Options>
std::string ReferenceTable(const std::string& prefix = "");

// The text at `key`, if the section has such a key and its value is a number or text. Nothing for an absent key, an
// empty value, a list or a map. `key` is one key, not a path.
std::optional<std::string> SectionText(const Section& section, absl::string_view key);

// The section with `key` set to a text; the place of a value that was there is kept. `section` itself stays as it is.
Section WithText(const Section& section, absl::string_view key, const std::string& text);
// The same with a number, which reads back to the same bits.
Section WithNumber(const Section& section, absl::string_view key, double number);

// "FILE:LINE: KEY.PATH: message", InvalidArgument: for what a component finds wrong after loading. `key` may be dotted,
// with indices for lists ("stages.2.policy"), or empty for the section itself. The place is that of the innermost part
// that was given. Without a place (an empty section) the message begins with "configuration".
absl::Status SectionError(const Section& section, absl::string_view key, absl::string_view message);

// All messages of the errors among these, one a line, under the first error's code; OK when there is none. The codes of
// the later ones are lost.
absl::Status JoinErrors(const std::vector<absl::Status>& statuses);

// "did you mean NEAREST?", or, when no candidate is near by edit distance, "known are A, B, C" ("none is known" without
// candidates). Near means less than a third of the letters + 2 changed, added or left out.
std::string SuggestName(absl::string_view given, const std::vector<std::string>& candidates);

}  // namespace grpo

#include "configs/load_impl.h"

#endif  // GRPO_CONFIGS_LOAD_H_
