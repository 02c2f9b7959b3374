// What becomes of YAML text before anybody knows what its keys mean; load_test.cc has what the keys mean.
#include <memory>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "common/files.h"
#include "common/status_testing.h"
#include "configs/load.h"
#include "configs/node.h"
#include "gmock/gmock.h"

namespace grpo {
namespace {

using Kind = ConfigNode::Kind;
using ::testing::HasSubstr;
using ::testing::StartsWith;

constexpr auto kInvalid = absl::StatusCode::kInvalidArgument;

absl::StatusOr<Section> Parse(const std::string& text, const std::vector<std::string>& overrides = {}) {
  return ParseConfigText(text, "f.yaml", overrides);
}

std::string ErrorOf(const std::string& text, const std::vector<std::string>& overrides = {}) {
  const absl::StatusOr<Section> section = Parse(text, overrides);
  EXPECT_EQ(section.status().code(), kInvalid) << text;
  return std::string(section.status().message());
}

// The node at a path such as {"a", "0", "b"}; null when there is none.
const ConfigNode* At(const Section& section, const std::vector<std::string>& path) {
  const ConfigNode* node = section.node();
  for (const std::string& key : path) {
    if (node == nullptr) return nullptr;
    if (node->kind == Kind::kList) {
      const size_t index = std::stoul(key);
      node = index < node->entries.size() ? &node->entries[index].value : nullptr;
    } else {
      const ConfigEntry* const entry = node->Find(key);
      node = entry == nullptr ? nullptr : &entry->value;
    }
  }
  return node;
}

// "KIND:text@place".
std::string Shown(const ConfigNode* node) {
  if (node == nullptr) return "nothing";
  const char* const kinds[] = {"null", "scalar", "list", "map"};
  return absl::StrCat(kinds[static_cast<int>(node->kind)], ":", node->scalar, node->quoted ? "(quoted)" : "", "@",
                      node->place);
}

TEST(ParseTest, EveryValueKnowsItsLine) {
  ASSERT_OK_AND_ASSIGN(const Section section, Parse("# a comment\n"
                                                    "a: 1\n"
                                                    "\n"
                                                    "b:\n"
                                                    "  - x\n"
                                                    "  - c: \"y\"\n"
                                                    "    d: {e: 2,\n"
                                                    "        f: 3}\n"
                                                    "g:\n"
                                                    "h: ~\n"
                                                    "i: |\n"
                                                    "  two\n"
                                                    "  lines\n"
                                                    "j: 'k'\n"));
  EXPECT_EQ(Shown(At(section, {"a"})), "scalar:1@f.yaml:2");
  EXPECT_EQ(Shown(At(section, {"b", "0"})), "scalar:x@f.yaml:5");
  EXPECT_EQ(Shown(At(section, {"b", "1", "c"})), "scalar:y(quoted)@f.yaml:6");
  EXPECT_EQ(Shown(At(section, {"b", "1", "d", "e"})), "scalar:2@f.yaml:7");
  EXPECT_EQ(Shown(At(section, {"b", "1", "d", "f"})), "scalar:3@f.yaml:8");
  EXPECT_EQ(Shown(At(section, {"g"})), "null:@f.yaml:9") << "where its key is, not where the next thing begins";
  EXPECT_EQ(Shown(At(section, {"h"})), "null:@f.yaml:10");
  EXPECT_EQ(At(section, {"i"})->scalar, "two\nlines\n");
  EXPECT_TRUE(At(section, {"i"})->quoted) << "a block of text is a text";
  EXPECT_EQ(Shown(At(section, {"j"})), "scalar:k(quoted)@f.yaml:14");
}

TEST(ParseTest, KeysKeepTheFilesOrder) {
  ASSERT_OK_AND_ASSIGN(const Section section, Parse("z: 1\na: 2\nm: 3\n"));
  std::vector<std::string> keys;
  for (const ConfigEntry& entry : section.node()->entries) keys.push_back(entry.key);
  EXPECT_EQ(keys, (std::vector<std::string>{"z", "a", "m"}));
}

// Files that Windows wrote are files.
TEST(ParseTest, LineEndsOfWindowsCountAsLineEnds) {
  ASSERT_OK_AND_ASSIGN(const Section section, Parse("a: 1\r\nb: two\r\n"));
  EXPECT_EQ(Shown(At(section, {"a"})), "scalar:1@f.yaml:1");
  EXPECT_EQ(Shown(At(section, {"b"})), "scalar:two@f.yaml:2");
}

TEST(ParseTest, AFileWithoutANewlineAtItsEndIsRead) {
  for (const char* const text : {"a: 1", "a: 1\n", "a: 1\n\n", "a: 1\n...\n", "---\na: 1\n", "a: 1 # why"}) {
    ASSERT_OK_AND_ASSIGN(const Section section, Parse(text));
    ASSERT_NE(At(section, {"a"}), nullptr) << text;
    EXPECT_EQ(At(section, {"a"})->scalar, "1") << text;
  }
}

TEST(ParseTest, NothingIsAnEmptySectionOfThatFile) {
  for (const char* const text : {"", "\n\n", "# only a comment\n", "~\n", "---\n"}) {
    ASSERT_OK_AND_ASSIGN(const Section section, Parse(text));
    EXPECT_EQ(section.node()->kind, Kind::kNull) << text;
    EXPECT_THAT(section.node()->place, StartsWith("f.yaml")) << text;
  }
}

TEST(ParseTest, BytesAboveAsciiPassAsTheyAre) {
  ASSERT_OK_AND_ASSIGN(const Section section, Parse("\xc3\xa4: \xe2\x82\xac\n"));
  EXPECT_EQ(At(section, {"\xc3\xa4"})->scalar, "\xe2\x82\xac");
}

TEST(ParseTest, WhatIsNoYamlSaysWhereAndWhatToLookAt) {
  for (const char* const text :
       {"a: [1, 2\n", "a: {b: 1\n", "a: 'x\n", "a: \"x\n", "a: b: c\n", "\ta: 1\n", "a: 1\n b: 2\n", "a: @x\n"}) {
    const std::string error = ErrorOf(text);
    EXPECT_THAT(error, StartsWith("f.yaml:")) << text;
    EXPECT_THAT(error, HasSubstr("check indentation, quotes and brackets here and just above")) << text;
  }
}

TEST(ParseTest, WhatIsNotSupportedSaysWhatToWriteInstead) {
  const struct {
    const char *text, *error;
  } cases[] = {
      {"a: &x 1\n", "f.yaml:1: anchors (&name) are not supported; write the value out where it is needed"},
      {"a: &x [1]\n", "f.yaml:1: anchors (&name) are not supported; write the value out where it is needed"},
      {"\na: !!int 1\n", "f.yaml:2: tags (!name) are not supported; remove it"},
      {"a: !x {b: 1}\n", "f.yaml:1: tags (!name) are not supported; remove it"},
      {"a: !x [1]\n", "f.yaml:1: tags (!name) are not supported; remove it"},
      {"~: 1\n", "f.yaml:1: a key is empty; give it a name"},
      {"[a]: 1\n", "f.yaml:1: a key must be a text; quote it if it holds [ or {"},
      {"{a: 1}: 1\n", "f.yaml:1: a key must be a text; quote it if it holds [ or {"},
      {"a: 1\n---\nb: 2\n", "f.yaml: holds more than one YAML document; keep one (no --- inside)"},
  };
  for (const auto& [text, error] : cases) EXPECT_EQ(ErrorOf(text), error) << text;
}

TEST(ParseTest, EveryAnchorAndAliasOfAFileIsNamed) {
  const std::string error = ErrorOf("a: &x 1\nb: *x\nc: *x\n");
  EXPECT_THAT(error, HasSubstr("f.yaml:1: anchors (&name) are not supported"));
  EXPECT_THAT(error, HasSubstr("f.yaml:2: aliases (*name) are not supported; write the value out"));
  EXPECT_THAT(error, HasSubstr("f.yaml:3: aliases (*name) are not supported; write the value out"));
}

TEST(ParseTest, AKeyTwiceInOneMapIsRefusedAndInTwoMapsIsNot) {
  EXPECT_EQ(ErrorOf("a:\n  b: 1\n  c: 2\n  b: 3\n  b: 4\n"),
            "f.yaml:4: key b was given before, at f.yaml:2; remove one of the two\n"
            "f.yaml:5: key b was given before, at f.yaml:2; remove one of the two");
  EXPECT_THAT(ErrorOf("a: {b: 1, \"b\": 2}\n"), HasSubstr("key b was given before"));
  EXPECT_OK(Parse("a: {b: 1}\nc: {b: 1}\n"));
}

TEST(ParseTest, NestingIsBoundedAndTheLastLevelCounts) {
  const auto nested = [](int levels) {
    return absl::StrCat("a: ", std::string(levels, '['), std::string(levels, ']'), "\n");
  };
  EXPECT_OK(Parse(nested(63))) << "with the map around it 64";
  EXPECT_THAT(ErrorOf(nested(64)), HasSubstr("nested deeper than 64 levels; flatten it"));
}

TEST(ParseTest, TheLengthIsBounded) {
  const std::string line = "a: 1\n#";
  EXPECT_OK(Parse(line + std::string((1 << 20) - line.size(), 'x')));
  EXPECT_EQ(ErrorOf(line + std::string((1 << 20) - line.size() + 1, 'x')),
            "f.yaml: longer than 1048576 bytes; a configuration is never that long");
}

TEST(ParseFileTest, AFileThatCannotBeReadSaysWhatItWasFor) {
  EXPECT_STATUS(ParseConfigFile("/no/such/run.yaml"), absl::StatusCode::kNotFound, "cannot read the configuration");
  EXPECT_STATUS(ParseConfigFile("/no/such/run.yaml"), absl::StatusCode::kNotFound, "/no/such/run.yaml");
  EXPECT_FALSE(ParseConfigFile(::testing::TempDir()).ok()) << "a folder is no file";
  const std::string path = ::testing::TempDir() + "/parse_test.yaml";
  ASSERT_OK(WriteFileSynced(path, std::string((1 << 20) + 1, '#')));
  EXPECT_STATUS(ParseConfigFile(path), kInvalid, path);
}

TEST(OverrideTest, ReplacesTheWholeValueAtItsKey) {
  ASSERT_OK_AND_ASSIGN(const Section section, Parse("a: {b: 1, c: 2}\nd: [1, 2]\n", {"a={e: 3}", "d=4"}));
  EXPECT_EQ(At(section, {"a", "b"}), nullptr);
  EXPECT_EQ(At(section, {"a", "e"})->scalar, "3");
  EXPECT_EQ(Shown(At(section, {"d"})), "scalar:4@--set d=4");
}

TEST(OverrideTest, MakesTheMapsOnItsWay) {
  ASSERT_OK_AND_ASSIGN(const Section section, Parse("a:\nb: ~\n", {"a.x.y=1", "b.z=2", "new.deep.key=3"}));
  EXPECT_EQ(At(section, {"a", "x", "y"})->scalar, "1");
  EXPECT_EQ(At(section, {"b", "z"})->scalar, "2");
  EXPECT_EQ(At(section, {"new", "deep", "key"})->scalar, "3");
  ASSERT_OK_AND_ASSIGN(const Section from_nothing, Parse("", {"a.b=1"}));
  EXPECT_EQ(At(from_nothing, {"a", "b"})->scalar, "1");
}

TEST(OverrideTest, ALaterOneSeesWhatAnEarlierOneMade) {
  ASSERT_OK_AND_ASSIGN(const Section section, Parse("a: [{name: x}]\n", {"a=[{name: y, b: 1}]", "a.y.b=2", "a.0.c=3"}));
  EXPECT_EQ(At(section, {"a", "0", "b"})->scalar, "2");
  EXPECT_EQ(At(section, {"a", "0", "c"})->scalar, "3");
}

// What stands after the first = is the value, whatever it holds.
TEST(OverrideTest, ValuesAreYamlAndNothingIsTheEmptyText) {
  const struct {
    const char *override, *shown;
  } cases[] = {
      {"a=", "scalar:(quoted)@--set a="},
      {"a=1", "scalar:1@--set a=1"},
      {"a=\"1\"", "scalar:1(quoted)@--set a=\"1\""},
      {"a=b=c", "scalar:b=c@--set a=b=c"},
      {"a=~", "null:@--set a=~"},
      {"a=http://x:1/y?z=1", "scalar:http://x:1/y?z=1@--set a=http://x:1/y?z=1"},
      {"a= spaces  ", "scalar:spaces@--set a= spaces  "},
      {"a=[1, 2]", "list:@--set a=[1, 2]"},
      {"a={b: c}", "map:@--set a={b: c}"},
  };
  for (const auto& [override, shown] : cases) {
    ASSERT_OK_AND_ASSIGN(const Section section, Parse("a: 0\n", {override}));
    EXPECT_EQ(Shown(At(section, {"a"})), shown);
  }
}

TEST(OverrideTest, AnElementIsNamedByItsNameOrElseByItsPlace) {
  // The second is called as the place of the first is.
  ASSERT_OK_AND_ASSIGN(const Section section,
                       Parse("a: [{name: x, v: 0}, {name: 0, v: 0}, {v: 0}]\n", {"a.0.v=1", "a.x.v=2", "a.2.v=3"}));
  EXPECT_EQ(At(section, {"a", "0", "v"})->scalar, "2");
  EXPECT_EQ(At(section, {"a", "1", "v"})->scalar, "1") << "a name goes before a place";
  EXPECT_EQ(At(section, {"a", "2", "v"})->scalar, "3");
}

TEST(OverrideTest, WhatCannotBeSetSaysWhy) {
  const struct {
    const char *text, *override, *error;
  } cases[] = {
      {"", "a", "--set a: write it as KEY=VALUE, such as stages.0.steps=10"},
      {"", "=1", "--set =1: write it as KEY=VALUE, such as stages.0.steps=10"},
      {"", "", "--set : write it as KEY=VALUE, such as stages.0.steps=10"},
      {"", ".a=1", "--set .a=1: the key has an empty part; write it as a.b.c"},
      {"", "a.=1", "--set a.=1: the key has an empty part; write it as a.b.c"},
      {"a: 1\n", "a.b=1", "--set a.b=1: a is a single value and has no key b"},
      {"a: {b: x}\n", "a.b.c.d=1", "--set a.b.c.d=1: a.b is a single value and has no key c"},
      {"a: [1, 2]\n", "a.2=1", "--set a.2=1: a has no element 2; it has 2, counted from 0"},
      {"a: [1, 2]\n", "a.-1=1", "--set a.-1=1: a has no element -1; it has 2, counted from 0"},
      {"a: []\n", "a.0=1", "--set a.0=1: a has no element 0; it has 0, counted from 0"},
      {"a: [{name: x}, {name: y}]\n", "a.z.v=1",
       "--set a.z.v=1: a has no element z; it has 2, counted from 0, named x, y"},
      {"", "a=*x", "--set a=*x: "},
      {"", "a={b: 1, b: 2}", "--set a={b: 1, b: 2}: key b was given before, at --set a={b: 1, b: 2}"},
  };
  for (const auto& [text, override, error] : cases) EXPECT_THAT(ErrorOf(text, {override}), StartsWith(error));
}

TEST(OverrideTest, AllThatAreWrongAreSaidTogether) {
  EXPECT_EQ(ErrorOf("a: 1\n", {"a.b=1", "c=2", "d"}),
            "--set a.b=1: a is a single value and has no key b\n"
            "--set d: write it as KEY=VALUE, such as stages.0.steps=10");
}

}  // namespace
}  // namespace grpo
