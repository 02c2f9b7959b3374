// The dialect of every list of plug-ins (x.inc): how an options struct and a class become an entry, and how an entry is
// found by its name.
//
//   x.inc           PLUGIN(name), one line a plug-in
//   name.cc         options struct, class, and XPlugin X_name() { return MakePlugin<X, Options, Class>("..."); }
//   the registry    a Registry<XPlugin> made of the list
#ifndef GRPO_CONFIGS_REGISTRY_H_
#define GRPO_CONFIGS_REGISTRY_H_

#include <functional>
#include <memory>
#include <string>
#include <type_traits>
#include <utility>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/strings/str_cat.h"
#include "common/status_macros.h"
#include "configs/load.h"

namespace grpo {

// Options of a plug-in that has none; its class is constructed from nothing.
struct NoOptions {
  template <class V>
  void Visit(V& v) {}
};

// One way to make an `Interface`.
template <class Interface>
struct Plugin {
  // One sentence. For lists on a page and `--help`.
  std::string summary;
  // Its keys (ReferenceTable).
  std::string reference_table;
  // InvalidArgument for options that do not fit: file, line, key (LoadOptions). Checks each key by its Doc; what keys
  // must have in common is for the class to say. Both functions may be called from any thread.
  std::function<absl::StatusOr<std::unique_ptr<Interface>>(const Section& options)> make;
  // The same options with every key present. The errors of `make`; places are those of `options`.
  std::function<absl::StatusOr<Section>(const Section& options)> resolve;
};

// `Class` is an Interface that is constructed from its Options, or made of them by a static Class::Create, which may
// refuse them; `key_prefix` stands before the keys in the table. That happens when the entry's `make` is called, never
// here.
template <class Interface, class Options, class Class>
Plugin<Interface> MakePlugin(std::string summary, const std::string& key_prefix = "") {
  return {.summary = std::move(summary),
          .reference_table = ReferenceTable<Options>(key_prefix),
          .make = [](const Section& section) -> absl::StatusOr<std::unique_ptr<Interface>> {
            Options options;
            RETURN_IF_ERROR(LoadOptions(section, &options));
            if constexpr (std::is_same_v<Options, NoOptions>) {
              return std::make_unique<Class>();
            } else if constexpr (requires { Class::Create(options); }) {
              return Class::Create(options);
            } else {
              return std::make_unique<Class>(options);
            }
          },
          .resolve = [](const Section& section) -> absl::StatusOr<Section> {
            Options options;
            RETURN_IF_ERROR(LoadOptions(section, &options));
            return ToSection(options, section);
          }};
}

template <class PluginType>
struct Named {
  std::string name;
  PluginType plugin;
};

// The plug-ins of one list, in its order. Immutable; any thread.
template <class PluginType>
class Registry {
 public:
  using Entries = std::vector<Named<PluginType>>;

  // `kind` is the word for one of them ("algorithm"). `more` is null but in the binaries of tests that add entries
  // (tests/toy/README.md). Its entries stand behind those of the list. Names are unique: of two, the first is found.
  Registry(std::string kind, Entries entries, Entries (*more)())
      : kind_(std::move(kind)), entries_(std::move(entries)) {
    if (more == nullptr) return;
    for (Named<PluginType>& entry : more()) entries_.push_back(std::move(entry));
  }

  // As they were given, with those of `more` behind.
  const Entries& entries() const { return entries_; }

  // InvalidArgument for an unknown name; the nearest is named. The pointer is good as long as the registry.
  absl::StatusOr<const PluginType*> Find(const std::string& name) const {
    std::vector<std::string> names;
    for (const Named<PluginType>& entry : entries_) {
      if (entry.name == name) return &entry.plugin;
      names.push_back(entry.name);
    }
    return absl::InvalidArgumentError(absl::StrCat("there is no ", kind_, " ", name, "; ", SuggestName(name, names)));
  }

 private:
  // The word for one of them, in messages.
  const std::string kind_;
  Entries entries_;
};

}  // namespace grpo

#endif  // GRPO_CONFIGS_REGISTRY_H_
