// The three visitors behind configs/load.h. Included by it alone; everything that needs no template is in load.cc and
// emit.cc.
#ifndef GRPO_CONFIGS_LOAD_IMPL_H_
#define GRPO_CONFIGS_LOAD_IMPL_H_

#include <map>
#include <memory>
#include <string>
#include <type_traits>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "configs/node.h"

namespace grpo::configs_internal {

// The kinds of members that configs/visit.h allows: lists, maps by name, scalars; any other class is a nested struct.
template <class T>
struct IsVector : std::false_type {};
template <class T>
struct IsVector<std::vector<T>> : std::true_type {};
template <class T>
struct IsMap : std::false_type {};
template <class T>
struct IsMap<std::map<std::string, T>> : std::true_type {};
template <class T>
inline constexpr bool kIsScalar = std::is_same_v<T, bool> || std::is_same_v<T, int64_t> || std::is_same_v<T, double> ||
                                  std::is_same_v<T, std::string>;

// "a" + "b" = "a.b"; the root's path is empty.
std::string JoinPath(const std::string& path, absl::string_view key);

// --- Loading ---

// Messages in the order in which they were found. Loading goes on after an error, so that all are reported at once. One
// thread.
class ErrorSink {
 public:
  // `place` is "FILE:LINE" or "--set a=b", empty where nothing was given; `path` the dotted key, empty for the whole.
  void Add(const std::string& place, const std::string& path, absl::string_view message);
  // OK without messages; otherwise InvalidArgument, one message a line.
  absl::Status status() const;

 private:
  std::vector<std::string> messages_;
};

// The keys of one YAML map, handed out by name. What was not asked for is left over. `node` and `errors` must outlive
// it. One thread.
class MapReader {
 public:
  // A null node reads as an empty map. A node that is neither empty nor a map is an error of its own, and no key is
  // missed then. `outer_keys` are further names for "did you mean".
  MapReader(const ConfigNode* node, std::string path, std::vector<std::string> outer_keys, ErrorSink* errors);
  // Null when absent; an error if the key is required then.
  const ConfigEntry* Take(const char* key, const Doc& doc);
  // Leftovers go there instead of being errors. The section gets them with their places when Finish is called.
  void LeaveRestTo(Section* section) { rest_ = section; }
  // After all Take: refuses or hands over the leftovers.
  void Finish();

  // Of the map; empty for the root.
  const std::string& path() const { return path_; }
  ErrorSink* errors() const { return errors_; }

 private:
  const ConfigNode* const node_;
  const std::string path_;
  const std::vector<std::string> outer_keys_;
  ErrorSink* const errors_;
  // False when the node is no map: that error says it all.
  bool readable_ = true;
  // Keys that were asked for, for suggestions.
  std::vector<std::string> declared_;
  Section* rest_ = nullptr;
};

// Sets *value, or adds an error and leaves it: for another type, a number outside the range of `doc`, a text that is
// not among its choices.
void ReadScalar(const ConfigNode& node, const std::string& path, const Doc& doc, ErrorSink* errors, bool* value);
void ReadScalar(const ConfigNode& node, const std::string& path, const Doc& doc, ErrorSink* errors, int64_t* value);
void ReadScalar(const ConfigNode& node, const std::string& path, const Doc& doc, ErrorSink* errors, double* value);
void ReadScalar(const ConfigNode& node, const std::string& path, const Doc& doc, ErrorSink* errors, std::string* value);

// Whether a list (map) can be read from the node, which null can; an error otherwise. `path` names it in the error.
bool ExpectList(const ConfigNode& node, const std::string& path, ErrorSink* errors);
bool ExpectMap(const ConfigNode& node, const std::string& path, ErrorSink* errors);
// Names of a map's elements: letters, digits, _ and -, since they become parts of dotted keys. An error otherwise.
void CheckElementName(const ConfigEntry& entry, const std::string& path, ErrorSink* errors);

// Visits an options struct and gives each of its members the value of its key, if the key is there. Lives within
// ReadStruct.
class LoadVisitor {
 public:
  explicit LoadVisitor(MapReader* reader) : reader_(*reader) {}

  template <class T>
  void operator()(const char* key, T& member, const Doc& doc) {
    const ConfigEntry* entry = reader_.Take(key, doc);
    if (entry != nullptr) Read(entry->value, JoinPath(reader_.path(), key), doc, reader_.errors(), &member);
  }
  void Rest(Section& section) { reader_.LeaveRestTo(&section); }

  // Reads the keys of `node` (null: none are given) into *options and adds an error for each key that the struct
  // neither declares nor hands to a Section.
  template <class Options>
  static void ReadStruct(const ConfigNode* node, const std::string& path, const std::vector<std::string>& outer_keys,
                         ErrorSink* errors, Options* options) {
    MapReader reader(node, path, outer_keys, errors);
    LoadVisitor visitor(&reader);
    options->Visit(visitor);
    reader.Finish();
  }

 private:
  // One value, by its type: scalar, list, map or nested struct. A list's elements are path.0, path.1, ...
  template <class T>
  static void Read(const ConfigNode& node, const std::string& path, const Doc& doc, ErrorSink* errors, T* value) {
    if constexpr (kIsScalar<T>) {
      ReadScalar(node, path, doc, errors, value);
    } else if constexpr (IsVector<T>::value) {
      if (!ExpectList(node, path, errors)) return;
      value->clear();
      for (const ConfigEntry& entry : node.entries) {
        typename T::value_type element{};
        Read(entry.value, JoinPath(path, absl::StrCat(value->size())), doc, errors, &element);
        value->push_back(std::move(element));
      }
    } else if constexpr (IsMap<T>::value) {
      if (!ExpectMap(node, path, errors)) return;
      value->clear();
      for (const ConfigEntry& entry : node.entries) {
        CheckElementName(entry, path, errors);
        Read(entry.value, JoinPath(path, entry.key), doc, errors, &(*value)[entry.key]);
      }
    } else {
      ReadStruct(&node, path, {}, errors, value);
    }
  }

  MapReader& reader_;
};

// --- Dumping ---

// A value as parse.cc would have read it; a text is quoted, so that it stays a text.
ConfigNode ScalarNode(bool value);
ConfigNode ScalarNode(int64_t value);
ConfigNode ScalarNode(double value);
ConfigNode ScalarNode(const std::string& value);

// Block-style YAML of a map. In the order of its entries, two spaces a level; "{}" for an empty map. Ends with a
// newline.
std::string EmitYaml(const ConfigNode& map);

// Visits an options struct and makes a node of it with every key. The sections that the struct holds are copied in,
// behind its own keys.
class DumpVisitor {
 public:
  template <class T>
  void operator()(const char* key, T& member, const Doc& doc) {
    map_.entries.push_back({.key = key, .place = "", .value = ToNode(member)});
  }
  void Rest(Section& section) { rest_ = &section; }

  // A map without places; `options` is not changed.
  template <class Options>
  static ConfigNode StructNode(const Options& options) {
    DumpVisitor visitor;
    visitor.map_.kind = ConfigNode::Kind::kMap;
    // Visit is not const, since loading shares it; this visitor only reads.
    const_cast<Options&>(options).Visit(visitor);
    if (visitor.rest_ != nullptr && visitor.rest_->node() != nullptr) {
      const std::vector<ConfigEntry>& rest = visitor.rest_->node()->entries;
      visitor.map_.entries.insert(visitor.map_.entries.end(), rest.begin(), rest.end());
    }
    return std::move(visitor.map_);
  }

 private:
  template <class T>
  static ConfigNode ToNode(const T& value) {
    if constexpr (kIsScalar<T>) {
      return ScalarNode(value);
    } else if constexpr (IsVector<T>::value) {
      ConfigNode list;
      list.kind = ConfigNode::Kind::kList;
      for (const auto& element : value)
        list.entries.push_back({.key = "", .place = "", .value = ToNode<typename T::value_type>(element)});
      return list;
    } else if constexpr (IsMap<T>::value) {
      ConfigNode map;
      map.kind = ConfigNode::Kind::kMap;
      for (const auto& [name, element] : value)
        map.entries.push_back({.key = name, .place = "", .value = ToNode(element)});
      return map;
    } else {
      return StructNode(value);
    }
  }

  ConfigNode map_;
  Section* rest_ = nullptr;
};

// --- The reference ---

// The two lines of a Markdown table before its rows.
std::string ReferenceHeader();
// `value` is the default as YAML; empty for what has none. A required key shows "required" in its place.
std::string ReferenceRow(const std::string& key, const std::string& value, const Doc& doc);
// A scalar as YAML on one line.
std::string InlineYaml(const ConfigNode& node);

// Visits a default-constructed options struct and writes a row for each of its keys.
class ReferenceVisitor {
 public:
  explicit ReferenceVisitor(std::string prefix) : prefix_(std::move(prefix)) {}

  template <class T>
  void operator()(const char* key, T& member, const Doc& doc) {
    Describe<T>(prefix_ + key, &member, doc);
  }
  void Rest(Section& section) {}

  // The rows of Options{}, every key behind `prefix`. Sections have none: the plug-in that loads them has its own
  // table.
  template <class Options>
  static std::string Rows(const std::string& prefix) {
    ReferenceVisitor visitor(prefix);
    Options options;
    options.Visit(visitor);
    return std::move(visitor.rows_);
  }

 private:
  // `value` is null for an element, which has no default of its own.
  template <class T>
  void Describe(const std::string& key, const T* value, const Doc& doc) {
    if constexpr (kIsScalar<T>) {
      rows_ += ReferenceRow(key, value == nullptr ? "" : InlineYaml(ScalarNode(*value)), doc);
    } else if constexpr (IsVector<T>::value) {
      Describe<typename T::value_type>(key + "[]", nullptr, doc);
    } else if constexpr (IsMap<T>::value) {
      Describe<typename T::mapped_type>(key + ".<name>", nullptr, doc);
    } else {
      rows_ += ReferenceRow(key, "", doc) + Rows<T>(key + ".");
    }
  }

  const std::string prefix_;
  std::string rows_;
};

}  // namespace grpo::configs_internal

namespace grpo {

template <class Options>
absl::Status LoadOptions(const Section& section, Options* options) {
  configs_internal::ErrorSink errors;
  configs_internal::LoadVisitor::ReadStruct(section.node(), section.key_path(), section.outer_keys(), &errors, options);
  return errors.status();
}

template <class Options>
std::string DumpOptions(const Options& options) {
  return configs_internal::EmitYaml(configs_internal::DumpVisitor::StructNode(options));
}

template <class Options>
Section ToSection(const Options& options, const Section& origin) {
  auto node = std::make_shared<ConfigNode>(configs_internal::DumpVisitor::StructNode(options));
  if (origin.node() != nullptr) node->place = origin.node()->place;
  return Section(std::move(node), origin.key_path(), origin.outer_keys());
}

template <class Options>
std::string ReferenceTable(const std::string& prefix) {
  return configs_internal::ReferenceHeader() + configs_internal::ReferenceVisitor::Rows<Options>(prefix);
}

}  // namespace grpo

#endif  // GRPO_CONFIGS_LOAD_IMPL_H_
