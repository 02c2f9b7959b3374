// The tree as YAML text, and the rows of the reference.
#include <cmath>
#include <functional>
#include <limits>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "common/seeds.h"
#include "common/status_testing.h"
#include "configs/load.h"
#include "configs/node.h"
#include "gmock/gmock.h"

namespace grpo::configs_internal {
namespace {

using Kind = ConfigNode::Kind;
using ::testing::HasSubstr;

ConfigNode Plain(const std::string& text) {
  return {.kind = Kind::kScalar, .scalar = text, .entries = {}};
}
ConfigNode Map(std::vector<std::pair<std::string, ConfigNode>> entries) {
  ConfigNode map{.kind = Kind::kMap, .entries = {}};
  for (auto& [key, value] : entries) map.entries.push_back({.key = key, .value = std::move(value)});
  return map;
}
ConfigNode List(std::vector<ConfigNode> elements) {
  ConfigNode list{.kind = Kind::kList, .entries = {}};
  for (ConfigNode& element : elements) list.entries.push_back({.value = std::move(element)});
  return list;
}

// The same but for the places, and for quotes that a text may do without.
bool Same(const ConfigNode& a, const ConfigNode& b) {
  if (a.kind != b.kind || a.scalar != b.scalar || a.entries.size() != b.entries.size()) return false;
  for (size_t i = 0; i < a.entries.size(); ++i) {
    if (a.entries[i].key != b.entries[i].key || !Same(a.entries[i].value, b.entries[i].value)) return false;
  }
  return true;
}

TEST(EmitTest, NestedListsAndMapsAreIndentedByTwo) {
  const ConfigNode tree = Map({{"a", Plain("1")},
                               {"b", Map({{"c", List({Plain("x"), Map({{"d", Plain("2")}, {"e", Plain("3")}})})}})},
                               {"f", List({List({Plain("4")}), List({}), Map({})})},
                               {"g", Map({})},
                               {"h", ConfigNode()}});
  EXPECT_EQ(EmitYaml(tree),
            "a: 1\n"
            "b:\n"
            "  c:\n"
            "    - x\n"
            "    - d: 2\n"
            "      e: 3\n"
            "f:\n"
            "  -\n"
            "    - 4\n"
            "  - []\n"
            "  - {}\n"
            "g: {}\n"
            "h: null\n");
}

TEST(EmitTest, AnEmptyTreeIsAnEmptyMap) {
  EXPECT_EQ(EmitYaml(Map({})), "{}\n");
}

TEST(EmitTest, WhatNeedsQuotesHasThem) {
  const std::pair<const char*, const char*> cases[] = {
      {"word", "word"},
      {"1.5e-3", "1.5e-3"},
      {"a b", "\"a b\""},
      {"", "\"\""},
      {"a: b", "\"a: b\""},
      {"#x", "\"#x\""},
      {"say \"hi\"", "\"say \\\"hi\\\"\""},
      {"back\\slash", "\"back\\\\slash\""},
      {"two\nlines", "\"two\\nlines\""},
      {"a\tb", "\"a\\tb\""},
      {"\x01\x7f", "\"\\x01\\x7f\""},
      {"\xc3\xa4", "\"\xc3\xa4\""},
      {"-", "\"-\""},
      {"...", "\"...\""},
      {"+-.", "\"+-.\""},
  };
  for (const auto& [text, yaml] : cases) EXPECT_EQ(InlineYaml(Plain(text)), yaml);
  EXPECT_EQ(InlineYaml(ConfigNode()), "null");
}

// A text that looks like a number stays a text.
TEST(EmitTest, AQuotedTextKeepsItsQuotes) {
  EXPECT_EQ(InlineYaml(ScalarNode(std::string("1"))), "\"1\"");
  EXPECT_EQ(InlineYaml(ScalarNode(std::string("true"))), "\"true\"");
  EXPECT_EQ(InlineYaml(ScalarNode(std::string(""))), "\"\"");
}

TEST(EmitTest, KeysThatYamlWouldReadAsNothingAreQuoted) {
  EXPECT_EQ(EmitYaml(Map({{"null", Plain("1")}, {"Null", Plain("2")}, {"~", Plain("3")}, {"a b", Plain("4")}})),
            "\"null\": 1\n\"Null\": 2\n\"~\": 3\n\"a b\": 4\n");
}

TEST(EmitTest, NumbersAndTruthsAreAsTheLoaderReadsThem) {
  EXPECT_EQ(ScalarNode(true).scalar, "true");
  EXPECT_EQ(ScalarNode(false).scalar, "false");
  EXPECT_EQ(ScalarNode(std::numeric_limits<int64_t>::min()).scalar, "-9223372036854775808");
  EXPECT_EQ(ScalarNode(0.1).scalar, "0.1");
  EXPECT_EQ(ScalarNode(1e-4).scalar, "0.0001");
  EXPECT_EQ(ScalarNode(1.0).scalar, "1");
  EXPECT_EQ(ScalarNode(-0.0).scalar, "-0");
  EXPECT_EQ(ScalarNode(1.0 / 3).scalar, "0.3333333333333333") << "one digit more than 15, since it takes one more";
}

TEST(EmitTest, ANumberReadsBackToTheSameBits) {
  Rng rng(3);
  for (int i = 0; i < 2000; ++i) {
    const double value = (rng.Uniform() - 0.5) * std::pow(10.0, static_cast<double>(rng.Below(600)) - 300);
    EXPECT_EQ(std::stod(ScalarNode(value).scalar), value);
  }
  for (const double value : {std::numeric_limits<double>::max(), std::numeric_limits<double>::min()})
    EXPECT_EQ(std::stod(ScalarNode(value).scalar), value);
}

// Trees of any shape with texts of any bytes, written and read.
TEST(EmitTest, WhatIsWrittenIsReadBack) {
  Rng rng(9);
  const auto text = [&] {
    std::string made;
    for (int64_t i = rng.Below(6); i > 0; --i) made.push_back(static_cast<char>(1 + rng.Below(0x7e)));
    return made;
  };
  const std::function<ConfigNode(int)> tree = [&](int depth) -> ConfigNode {
    const int64_t kind = depth == 0 ? 0 : rng.Below(4);
    if (kind == 1) return ConfigNode();
    if (kind == 2) {
      std::vector<ConfigNode> elements;
      for (int64_t i = rng.Below(4); i > 0; --i) elements.push_back(tree(depth - 1));
      return List(std::move(elements));
    }
    if (kind == 3) {
      ConfigNode map{.kind = Kind::kMap, .entries = {}};
      for (int64_t i = rng.Below(4); i > 0; --i)
        map.entries.push_back({.key = absl::StrCat(text(), i), .value = tree(depth - 1)});
      return map;
    }
    return {.kind = Kind::kScalar, .scalar = text(), .quoted = true, .entries = {}};
  };
  for (int i = 0; i < 300; ++i) {
    const ConfigNode given = Map({{"root", tree(4)}});
    const std::string yaml = EmitYaml(given);
    ASSERT_OK_AND_ASSIGN(const Section read, ParseConfigText(yaml, "f.yaml"));
    EXPECT_TRUE(Same(*read.node(), given)) << yaml;
  }
}

TEST(ReferenceTest, ARowHasKeyDefaultUnitRangeAndMeaning) {
  EXPECT_EQ(ReferenceRow("a.b", "3", {.help = "How many.", .unit = "tokens", .min = 1, .max = 10}),
            "| `a.b` | `3` | tokens | 1 to 10 | How many. |\n");
  EXPECT_EQ(ReferenceRow("a", "", {.help = "What.", .required = true}), "| `a` | required |  |  | What. |\n");
  EXPECT_EQ(ReferenceRow("a", "", {.help = "What."}), "| `a` |  |  |  | What. |\n");
}

TEST(ReferenceTest, RangesAreInWords) {
  EXPECT_THAT(ReferenceRow("a", "0", {.help = "", .min = 0}), HasSubstr("| at least 0 |"));
  EXPECT_THAT(ReferenceRow("a", "0", {.help = "", .max = 0.5}), HasSubstr("| at most 0.5 |"));
  EXPECT_THAT(ReferenceRow("a", "0", {.help = "", .min = 0, .max = 9e15}), HasSubstr("| 0 to 9e+15 |"));
  EXPECT_THAT(ReferenceRow("a", "0", {.help = "", .min = 1, .max = 1 << 24}), HasSubstr("| 1 to 16777216 |"));
  EXPECT_THAT(ReferenceRow("a", "\"x\"", {.help = "", .choices = {"x", "y"}}), HasSubstr("| x, y |"));
}

TEST(ReferenceTest, NothingInACellEndsIt) {
  const std::string row = ReferenceRow("a", "\"|\"", {.help = "One | or\ntwo <b>.", .unit = "a|b"});
  EXPECT_EQ(row, "| `a` | `\"\\|\"` | a\\|b |  | One \\| or two &lt;b>. |\n");
}

}  // namespace
}  // namespace grpo::configs_internal
