// YAML text to ConfigNode, and overrides. The only file that sees yaml-cpp.
#include <sstream>
#include <utility>

#include "absl/strings/match.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "absl/strings/str_split.h"
#include "common/files.h"
#include "common/status_macros.h"
#include "configs/load.h"
#include "yaml-cpp/eventhandler.h"
#include "yaml-cpp/exceptions.h"
#include "yaml-cpp/mark.h"
#include "yaml-cpp/parser.h"

namespace grpo {
namespace {

using Kind = ConfigNode::Kind;

constexpr int64_t kMaxFileBytes = 1 << 20;
constexpr size_t kMaxDepth = 64;

// Builds the tree from the parser's events. Where a message needs a place, `place_of` makes it from a mark.
class TreeBuilder : public YAML::EventHandler {
 public:
  // `override_place` replaces file and line when not empty.
  TreeBuilder(std::string file, std::string override_place)
      : file_(std::move(file)), override_place_(std::move(override_place)) {}

  void OnDocumentStart(const YAML::Mark&) override {}
  void OnDocumentEnd() override {}
  void OnNull(const YAML::Mark& mark, YAML::anchor_t anchor) override {
    RefuseAnchor(mark, anchor);
    if (ExpectsKey()) Refuse(mark, "a key is empty; give it a name");
    Add(mark, Kind::kNull, "", false);
  }
  void OnAlias(const YAML::Mark& mark, YAML::anchor_t) override {
    Refuse(mark, "aliases (*name) are not supported; write the value out");
    Add(mark, Kind::kNull, "", false);
  }
  void OnScalar(const YAML::Mark& mark, const std::string& tag, YAML::anchor_t anchor,
                const std::string& value) override {
    RefuseAnchor(mark, anchor);
    // "?" and "!" are yaml-cpp's tags for plain and quoted scalars without a tag of their own.
    if (tag != "?" && tag != "!") Refuse(mark, "tags (!name) are not supported; remove it");
    Add(mark, Kind::kScalar, value, tag == "!");
  }
  void OnSequenceStart(const YAML::Mark& mark, const std::string& tag, YAML::anchor_t anchor,
                       YAML::EmitterStyle::value) override {
    Open(mark, tag, anchor, Kind::kList);
  }
  void OnSequenceEnd() override { Close(); }
  void OnMapStart(const YAML::Mark& mark, const std::string& tag, YAML::anchor_t anchor,
                  YAML::EmitterStyle::value) override {
    Open(mark, tag, anchor, Kind::kMap);
  }
  void OnMapEnd() override { Close(); }

  std::string PlaceOf(const YAML::Mark& mark) const {
    return override_place_.empty() ? absl::StrCat(file_, ":", mark.line + 1) : override_place_;
  }
  void Refuse(const YAML::Mark& mark, absl::string_view message) {
    errors_.push_back(absl::InvalidArgumentError(absl::StrCat(PlaceOf(mark), ": ", message)));
  }
  ConfigNode TakeRoot() { return std::move(root_); }
  absl::Status status() const { return JoinErrors(errors_); }

 private:
  // A list or map that is being read; in a map, keys and values take turns.
  struct Frame {
    ConfigNode node;
    bool expects_key = false;
    std::string key = {}, key_place = {};
  };

  bool ExpectsKey() const { return !stack_.empty() && stack_.back().expects_key; }

  void RefuseAnchor(const YAML::Mark& mark, YAML::anchor_t anchor) {
    if (anchor != YAML::NullAnchor)
      Refuse(mark, "anchors (&name) are not supported; write the value out where it is needed");
  }

  void Open(const YAML::Mark& mark, const std::string& tag, YAML::anchor_t anchor, Kind kind) {
    RefuseAnchor(mark, anchor);
    if (!tag.empty() && tag != "?" && tag != "!") Refuse(mark, "tags (!name) are not supported; remove it");
    if (ExpectsKey()) Refuse(mark, "a key must be a text; quote it if it holds [ or {");
    if (stack_.size() == kMaxDepth) Refuse(mark, absl::StrCat("nested deeper than ", kMaxDepth, " levels; flatten it"));
    ConfigNode node;
    node.kind = kind;
    node.place = PlaceOf(mark);
    stack_.push_back({.node = std::move(node), .expects_key = kind == Kind::kMap});
  }

  void Close() {
    ConfigNode node = std::move(stack_.back().node);
    stack_.pop_back();
    Put(std::move(node));
  }

  void Add(const YAML::Mark& mark, Kind kind, const std::string& scalar, bool quoted) {
    ConfigNode node;
    node.kind = kind;
    node.scalar = scalar;
    node.quoted = quoted;
    node.place = PlaceOf(mark);
    Put(std::move(node));
  }

  void Put(ConfigNode node) {
    if (stack_.empty()) {
      root_ = std::move(node);
      return;
    }
    Frame& parent = stack_.back();
    if (parent.node.kind == Kind::kList) {
      const std::string place = node.place;
      parent.node.entries.push_back({.key = "", .place = place, .value = std::move(node)});
    } else if (parent.expects_key) {
      parent.key = node.scalar;
      parent.key_place = node.place;
      parent.expects_key = false;
    } else {
      parent.expects_key = true;
      // yaml-cpp marks a missing value where the next thing begins.
      if (node.kind == Kind::kNull) node.place = parent.key_place;
      AddEntry(parent, std::move(node));
    }
  }

  void AddEntry(Frame& parent, ConfigNode node) {
    if (const ConfigEntry* first = parent.node.Find(parent.key)) {
      errors_.push_back(absl::InvalidArgumentError(absl::StrCat(
          parent.key_place, ": key ", parent.key, " was given before, at ", first->place, "; remove one of the two")));
      return;
    }
    parent.node.entries.push_back({.key = parent.key, .place = parent.key_place, .value = std::move(node)});
  }

  const std::string file_, override_place_;
  std::vector<Frame> stack_;
  ConfigNode root_;
  std::vector<absl::Status> errors_;
};

absl::StatusOr<ConfigNode> ParseYaml(const std::string& text, const std::string& file,
                                     const std::string& override_place) {
  if (static_cast<int64_t>(text.size()) > kMaxFileBytes) {
    return absl::InvalidArgumentError(
        absl::StrCat(file, ": longer than ", kMaxFileBytes, " bytes; a configuration is never that long"));
  }
  TreeBuilder builder(file, override_place);
  try {
    // The end marker makes a quote that is never closed an error, which yaml-cpp would let pass.
    std::istringstream stream(absl::StrCat(text, absl::EndsWith(text, "\n") ? "" : "\n", "...\n"));
    YAML::Parser parser(stream);
    if (parser.HandleNextDocument(builder)) {
      TreeBuilder second(file, override_place);
      if (parser.HandleNextDocument(second)) {
        return absl::InvalidArgumentError(
            absl::StrCat(file, ": holds more than one YAML document; keep one (no --- inside)"));
      }
    }
  } catch (const YAML::Exception& error) {
    builder.Refuse(error.mark, absl::StrCat("not YAML: ", error.msg,
                                            "; check indentation, quotes and brackets here and just above"));
  }
  RETURN_IF_ERROR(builder.status());
  return builder.TakeRoot();
}

// What an element of a list is called: its key `name`, or, where it has one key alone (`repeat`), that key's `name`.
const ConfigEntry* NameOf(const ConfigNode& element) {
  const ConfigEntry* const name = element.Find("name");
  if (name != nullptr || element.kind != Kind::kMap || element.entries.size() != 1) return name;
  return element.entries[0].value.Find("name");
}

// The element of a list that `name` selects: by position, or by what it is called.
absl::StatusOr<ConfigNode*> SelectElement(ConfigNode* list, const std::string& name, const std::string& place,
                                          const std::string& path) {
  std::vector<std::string> names;
  for (ConfigEntry& entry : list->entries) {
    const ConfigEntry* const element_name = NameOf(entry.value);
    if (element_name == nullptr) continue;
    if (element_name->value.scalar == name) return &entry.value;
    names.push_back(element_name->value.scalar);
  }
  size_t index = 0;
  if (absl::SimpleAtoi(name, &index) && index < list->entries.size()) return &list->entries[index].value;
  return absl::InvalidArgumentError(absl::StrCat(place, ": ", path, " has no element ", name, "; it has ",
                                                 list->entries.size(), ", counted from 0",
                                                 names.empty() ? "" : ", named ", absl::StrJoin(names, ", ")));
}

absl::Status ApplyOverride(const std::string& override_text, ConfigNode* root) {
  const std::string place = absl::StrCat("--set ", override_text);
  const size_t equals = override_text.find('=');
  if (equals == std::string::npos || equals == 0) {
    return absl::InvalidArgumentError(absl::StrCat(place, ": write it as KEY=VALUE, such as stages.0.steps=10"));
  }
  const std::string value_text = override_text.substr(equals + 1);
  ConfigNode value{.kind = Kind::kScalar, .quoted = true, .place = place};
  if (!value_text.empty()) {
    ASSIGN_OR_RETURN(value, ParseYaml(value_text, place, place));
  }
  const std::vector<std::string> keys = absl::StrSplit(override_text.substr(0, equals), '.');
  ConfigNode* node = root;
  std::string path;
  for (const std::string& key : keys) {
    if (key.empty())
      return absl::InvalidArgumentError(absl::StrCat(place, ": the key has an empty part; write it as a.b.c"));
    if (node->kind == Kind::kNull) *node = {.kind = Kind::kMap, .place = place};
    if (node->kind == Kind::kScalar) {
      return absl::InvalidArgumentError(absl::StrCat(place, ": ", path, " is a single value and has no key ", key));
    }
    if (node->kind == Kind::kList) {
      ASSIGN_OR_RETURN(node, SelectElement(node, key, place, path));
    } else {
      if (node->Find(key) == nullptr) node->entries.push_back({.key = key, .place = place, .value = {.place = place}});
      node = &node->Find(key)->value;
    }
    path = configs_internal::JoinPath(path, key);
  }
  *node = std::move(value);
  return absl::OkStatus();
}

}  // namespace

absl::StatusOr<Section> ParseConfigText(const std::string& text, const std::string& name,
                                        const std::vector<std::string>& overrides) {
  ASSIGN_OR_RETURN(ConfigNode root, ParseYaml(text, name, ""));
  // An empty file has no place of its own.
  if (root.place.empty()) root.place = name;
  std::vector<absl::Status> errors;
  for (const std::string& override_text : overrides) errors.push_back(ApplyOverride(override_text, &root));
  RETURN_IF_ERROR(JoinErrors(errors));
  return Section(std::make_shared<const ConfigNode>(std::move(root)), "");
}

absl::StatusOr<Section> ParseConfigFile(const std::string& path, const std::vector<std::string>& overrides) {
  const absl::StatusOr<std::string> text = ReadFile(path, kMaxFileBytes);
  if (!text.ok()) return Annotate(text.status(), "cannot read the configuration");
  return ParseConfigText(*text, path, overrides);
}

}  // namespace grpo
