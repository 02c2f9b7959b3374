#include "configs/load.h"

#include <cmath>
#include <map>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "common/files.h"
#include "common/seeds.h"
#include "common/status_testing.h"
#include "gmock/gmock.h"

namespace grpo {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;

struct Inner {
  int64_t steps = 3;
  double rate = 0.5;

  template <class V>
  void Visit(V& v) {
    v("steps", steps, {.help = "How many.", .unit = "steps", .min = 1, .max = 100});
    v("rate", rate, {.help = "How fast.", .min = 0});
  }
};

struct Element {
  std::string name;
  Section rest;

  template <class V>
  void Visit(V& v) {
    v("name", name, {.help = "Its name.", .required = true});
    v.Rest(rest);
  }
};

struct Outer {
  bool enabled = true;
  std::string color = "red";
  std::string title;
  Inner inner;
  std::vector<Element> elements;
  std::vector<int64_t> sizes;
  std::map<std::string, Inner> named;

  template <class V>
  void Visit(V& v) {
    v("enabled", enabled, {.help = "Whether."});
    v("color", color, {.help = "Which | of two.", .choices = {"red", "green"}});
    v("title", title, {.help = "What to call it, as <this>."});
    v("inner", inner, {.help = "A struct."});
    v("elements", elements, {.help = "A list of structs."});
    v("sizes", sizes, {.help = "A list of numbers.", .min = 0});
    v("named", named, {.help = "A map of structs."});
  }
};

absl::StatusOr<Outer> Load(const std::string& text, const std::vector<std::string>& overrides = {}) {
  ASSIGN_OR_RETURN(const Section section, ParseConfigText(text, "run.yaml", overrides));
  Outer outer;
  RETURN_IF_ERROR(LoadOptions(section, &outer));
  return outer;
}

std::string ErrorOf(const std::string& text, const std::vector<std::string>& overrides = {}) {
  const absl::StatusOr<Outer> outer = Load(text, overrides);
  if (outer.ok()) return "no error";
  EXPECT_EQ(outer.status().code(), absl::StatusCode::kInvalidArgument);
  return std::string(outer.status().message());
}

TEST(LoadTest, FillsEveryKindOfMemberAndKeepsDefaultsOfAbsentKeys) {
  ASSERT_OK_AND_ASSIGN(const Outer outer, Load(R"(
enabled: false
title: 007
inner: {rate: 1e-3}
elements:
  - name: first
    steps: 9
  - name: "second"
sizes: [1, +2]
named:
  a: {steps: 4}
  b:
)"));
  EXPECT_FALSE(outer.enabled);
  EXPECT_EQ(outer.color, "red");
  EXPECT_EQ(outer.title, "007");
  EXPECT_EQ(outer.inner.steps, 3);
  EXPECT_EQ(outer.inner.rate, 1e-3);
  ASSERT_EQ(outer.elements.size(), 2u);
  EXPECT_EQ(outer.elements[1].name, "second");
  EXPECT_THAT(outer.sizes, ElementsAre(1, 2));
  ASSERT_EQ(outer.named.size(), 2u);
  EXPECT_EQ(outer.named.at("a").steps, 4);
  EXPECT_EQ(outer.named.at("b").steps, 3);

  Inner plugin;
  ASSERT_OK(LoadOptions(outer.elements[0].rest, &plugin));
  EXPECT_EQ(plugin.steps, 9);
  Inner defaults;
  ASSERT_OK(LoadOptions(Section(), &defaults));
  EXPECT_EQ(defaults.steps, 3);
}

TEST(LoadTest, AnEmptyFileIsEveryDefault) {
  ASSERT_OK_AND_ASSIGN(const Outer outer, Load("# nothing\n"));
  EXPECT_EQ(outer.inner.steps, 3);
}

TEST(LoadTest, UnknownKeyNamesTheNearestKeyWithFileLineAndPath) {
  EXPECT_EQ(ErrorOf("enabled: true\ninner:\n  setps: 4\n"),
            "run.yaml:3: inner.setps: unknown key; did you mean steps?");
  EXPECT_EQ(ErrorOf("inner:\n  zzzzzz: 4\n"), "run.yaml:2: inner.zzzzzz: unknown key; known are steps, rate");
}

TEST(LoadTest, AKeyLeftToAPlugInIsComparedWithTheOuterKeysToo) {
  ASSERT_OK_AND_ASSIGN(const Section section, ParseConfigText("name: x\nnmae: y\nstep: 3\n", "f.yaml"));
  Element element;
  ASSERT_OK(LoadOptions(section, &element));
  Inner plugin;
  const absl::Status status = LoadOptions(element.rest, &plugin);
  EXPECT_EQ(status.message(),
            "f.yaml:2: nmae: unknown key; did you mean name?\n"
            "f.yaml:3: step: unknown key; did you mean steps?");
}

TEST(LoadTest, AllErrorsAreReportedTogetherOneALine) {
  EXPECT_EQ(ErrorOf("enabled: 1\ncolor: blue\ninner: {steps: 0, rate: -1}\nelements: [{}]\n"),
            "run.yaml:1: enabled: is 1; write true or false\n"
            "run.yaml:2: color: is blue; it must be one of red, green\n"
            "run.yaml:3: inner.steps: is 0; it must be between 1 and 100 steps\n"
            "run.yaml:3: inner.rate: is -1; it must be at least 0\n"
            "run.yaml:4: elements.0.name: is missing; add it (Its name.)");
}

TEST(LoadTest, DuplicateKeysAreRefusedWithBothPlaces) {
  EXPECT_EQ(ErrorOf("title: a\ncolor: red\ntitle: b\n"),
            "run.yaml:3: key title was given before, at run.yaml:1; remove one of the two");
}

TEST(LoadTest, RefusesWhatIsNoWholeNumber) {
  for (const std::string text : {"1.5", "1e400", "0x10", "1_000", "nan", ".inf", "9223372036854775808", "\"4\"", "",
                                 "[4]", "{a: 4}", "four", "-", "+", "4 5", "true"}) {
    EXPECT_THAT(ErrorOf(absl::StrCat("inner: {steps: ", text, "}")), HasSubstr("run.yaml:1: inner.steps: is ")) << text;
  }
  EXPECT_THAT(ErrorOf("inner: {steps: 1e1}"), HasSubstr("write a whole number without point or exponent: 10"));
  EXPECT_THAT(ErrorOf("inner: {steps: \"4\"}"), HasSubstr("without quotes"));
}

TEST(LoadTest, RefusesWhatIsNoFiniteNumber) {
  for (const std::string text :
       {"nan", ".nan", "inf", ".inf", "-.inf", "1e400", "0x1p3", "1e", ".", "1.2.3", "\"0.5\"", "", "1,5"}) {
    EXPECT_THAT(ErrorOf(absl::StrCat("inner:\n  rate: ", text, "\n")), HasSubstr("run.yaml:2: inner.rate: is "))
        << text;
  }
  for (const std::string text : {"1", "1.", ".5", "1E+3", "+0.5"}) {
    EXPECT_OK(Load(absl::StrCat("inner:\n  rate: ", text, "\n"))) << text;
  }
}

TEST(LoadTest, RefusesWrongTypes) {
  EXPECT_EQ(ErrorOf("inner: 4"), "run.yaml:1: inner: is 4; write keys with values, such as {key: value}");
  EXPECT_EQ(ErrorOf("sizes: 4"), "run.yaml:1: sizes: is 4; write a list, such as [a, b] or lines that start with -");
  EXPECT_EQ(ErrorOf("sizes: [1, -2]"), "run.yaml:1: sizes.1: is -2; it must be at least 0");
  EXPECT_EQ(ErrorOf("title:"), "run.yaml:1: title: is nothing; write a text (\"\" for an empty one)");
  EXPECT_THAT(ErrorOf("enabled: yes"), HasSubstr("write true or false"));
  EXPECT_THAT(ErrorOf("- a\n- b\n"), HasSubstr("run.yaml:1: the whole: is a list; write keys"));
  EXPECT_THAT(ErrorOf("named: {\"a.b\": {}}"), HasSubstr("\"a.b\" cannot be a name"));
}

TEST(LoadTest, RefusesBrokenAndExoticYaml) {
  EXPECT_THAT(ErrorOf("inner: {steps: 4\ntitle: x\n"), HasSubstr("not YAML"));
  EXPECT_THAT(ErrorOf("title: 'x\n"), HasSubstr("not YAML"));
  EXPECT_THAT(ErrorOf("title: \"x\ninner: {steps: 4}"), HasSubstr("not YAML"));
  EXPECT_THAT(ErrorOf("inner: &a {steps: 4}\nnamed: {x: *a}\n"),
              HasSubstr("run.yaml:1: anchors (&name) are not supported"));
  EXPECT_THAT(ErrorOf("title: !!str x\n"), HasSubstr("tags (!name) are not supported"));
  EXPECT_THAT(ErrorOf("title: x\n---\ntitle: y\n"), HasSubstr("more than one YAML document"));
  EXPECT_THAT(ErrorOf("? [a]\n: b\n"), HasSubstr("a key must be a text"));
  EXPECT_THAT(ErrorOf(std::string(100, '[') + std::string(100, ']')), HasSubstr("nested deeper than 64"));
  EXPECT_THAT(ErrorOf(std::string(500'000, '[')), HasSubstr("not YAML"));
  EXPECT_THAT(ErrorOf(std::string((1 << 20) + 1, '#')), HasSubstr("longer than 1048576 bytes"));
  EXPECT_EQ(ParseConfigFile("/no/such/file.yaml").status().code(), absl::StatusCode::kNotFound);
}

TEST(LoadTest, ReadsAFileAndNamesItInMessages) {
  const std::string path = ::testing::TempDir() + "/options.yaml";
  ASSERT_OK(WriteFileAtomically(path, "steps: 0\n"));
  ASSERT_OK_AND_ASSIGN(const Section section, ParseConfigFile(path));
  Inner inner;
  EXPECT_STATUS(LoadOptions(section, &inner), absl::StatusCode::kInvalidArgument, path + ":1: steps: is 0");
}

TEST(OverrideTest, SetsKeysElementsByIndexAndElementsByName) {
  const std::string text = "inner: {steps: 4}\nelements:\n  - name: a\n  - name: b\n    steps: 1\nsizes: [1, 2]\n";
  ASSERT_OK_AND_ASSIGN(const Outer outer,
                       Load(text, {"inner.steps=5", "inner.rate=2.5", "elements.0.steps=6", "elements.b.steps=7",
                                   "sizes.1=9", "named.new.steps=8", "title=", "enabled=false"}));
  EXPECT_EQ(outer.inner.steps, 5);
  EXPECT_EQ(outer.inner.rate, 2.5);
  EXPECT_EQ(SectionText(outer.elements[0].rest, "steps"), "6");
  EXPECT_EQ(SectionText(outer.elements[1].rest, "steps"), "7");
  EXPECT_THAT(outer.sizes, ElementsAre(1, 9));
  EXPECT_EQ(outer.named.at("new").steps, 8);
  EXPECT_EQ(outer.title, "");
  EXPECT_FALSE(outer.enabled);
}

TEST(OverrideTest, AValueMayBeAnyYamlAndTheLastWins) {
  ASSERT_OK_AND_ASSIGN(const Outer outer, Load("", {"sizes=[3, 4]", "inner={steps: 8}", "title=a=b", "inner.steps=9"}));
  EXPECT_THAT(outer.sizes, ElementsAre(3, 4));
  EXPECT_EQ(outer.inner.steps, 9);
  EXPECT_EQ(outer.title, "a=b");
}

TEST(OverrideTest, MessagesNameTheOption) {
  EXPECT_EQ(ErrorOf("inner: {steps: 4}", {"inner.steps=0"}),
            "--set inner.steps=0: inner.steps: is 0; it must be between 1 and 100 steps");
  EXPECT_EQ(ErrorOf("", {"innr.steps=2"}), "--set innr.steps=2: innr: unknown key; did you mean inner?");
  EXPECT_THAT(
      ErrorOf("elements: [{name: a}]", {"elements.c.steps=2", "nonsense"}),
      HasSubstr("elements has no element c; it has 1, counted from 0, named a\n--set nonsense: write it as KEY=VALUE"));
  EXPECT_THAT(ErrorOf("title: x", {"title.y=2"}), HasSubstr("title is a single value and has no key y"));
  EXPECT_THAT(ErrorOf("", {"a..b=2"}), HasSubstr("empty part"));
  EXPECT_THAT(ErrorOf("", {"title=[a"}), HasSubstr("--set title=[a: not YAML"));
}

TEST(DumpTest, HasEveryKeyInDeclarationOrderWithSectionsInPlace) {
  ASSERT_OK_AND_ASSIGN(const Outer outer,
                       Load("elements: [{alpha: 1.50, name: a, deep: {x: [], y: ~, z: [{k: v}]}}]\nnamed: {n: }\n"));
  EXPECT_EQ(DumpOptions(outer), R"(enabled: true
color: "red"
title: ""
inner:
  steps: 3
  rate: 0.5
elements:
  - name: "a"
    alpha: 1.50
    deep:
      x: []
      y: null
      z:
        - k: v
sizes: []
named:
  n:
    steps: 3
    rate: 0.5
)");
}

TEST(DumpTest, RoundTripsTextsThatLookLikeSomethingElse) {
  for (const std::string text : {"",    "1",      "1e3",    "true",     "null",
                                 "~",   "a: b",   "- a",    "#x",       "'",
                                 "\"",  "\\",     "a\nb\n", "\t",       " x ",
                                 "[1]", "{a: 1}", "*a",     "&a",       "!t",
                                 "%",   "---",    "...",    "\x01\x7f", "\xc3\xa4\xe2\x82\xac"}) {
    Outer outer;
    outer.title = text;
    ASSERT_OK_AND_ASSIGN(outer.elements.emplace_back().rest, ParseConfigText("{}", "x"));
    outer.elements[0].name = text;
    outer.elements[0].rest = WithText(outer.elements[0].rest, "key", text);
    const std::string yaml = DumpOptions(outer);
    ASSERT_OK_AND_ASSIGN(const Outer again, Load(yaml));
    EXPECT_EQ(again.title, text) << yaml;
    EXPECT_EQ(again.elements[0].name, text);
    EXPECT_EQ(SectionText(again.elements[0].rest, "key"), text);
    EXPECT_EQ(DumpOptions(again), yaml);
  }
}

TEST(DumpTest, RoundTripsRandomNumbersExactly) {
  Rng rng(7);
  for (int i = 0; i < 500; ++i) {
    Outer outer;
    outer.inner.steps = 1 + rng.Below(100);
    outer.inner.rate = rng.Uniform() * std::pow(10.0, static_cast<double>(rng.Below(600)) - 300);
    outer.sizes = {rng.Below(int64_t{1} << 53)};
    ASSERT_OK_AND_ASSIGN(const Outer again, Load(DumpOptions(outer)));
    EXPECT_EQ(again.inner.steps, outer.inner.steps);
    EXPECT_EQ(again.inner.rate, outer.inner.rate);
    EXPECT_EQ(again.sizes, outer.sizes);
  }
}

TEST(DumpTest, AStructBecomesASectionThatLoadsBack) {
  ASSERT_OK_AND_ASSIGN(const Section origin, ParseConfigText("name: a\nsteps: 7\n", "run.yaml"));
  Element element;
  ASSERT_OK(LoadOptions(origin, &element));
  Inner inner;
  ASSERT_OK(LoadOptions(element.rest, &inner));
  element.rest = ToSection(inner, element.rest);
  EXPECT_EQ(DumpOptions(element), "name: \"a\"\nsteps: 7\nrate: 0.5\n");
  EXPECT_STATUS(SectionError(element.rest, "", "bad"), absl::StatusCode::kInvalidArgument, "run.yaml:1: ");
}

TEST(SectionErrorTest, NamesThePlaceOfTheKeyOrElseOfTheSection) {
  ASSERT_OK_AND_ASSIGN(const Outer outer, Load("elements:\n  - name: a\n    key: v\n"));
  const Section& rest = outer.elements[0].rest;
  EXPECT_EQ(SectionError(rest, "key", "is bad").message(), "run.yaml:3: elements.0.key: is bad");
  EXPECT_EQ(SectionError(rest, "other", "is bad").message(), "run.yaml:2: elements.0.other: is bad");
  ASSERT_OK_AND_ASSIGN(const Section root, ParseConfigText("a:\n  - b:\n    - 5\n    - c: 1\n", "f"));
  EXPECT_EQ(SectionError(root, "a.0.b.1.c", "is bad").message(), "f:4: a.0.b.1.c: is bad");
  EXPECT_EQ(SectionError(root, "a.0.b.7", "is bad").message(), "f:3: a.0.b.7: is bad");
  EXPECT_EQ(SectionError(WithText(rest, "key", "/v"), "key", "is bad").message(), "run.yaml:3: elements.0.key: is bad");
}

TEST(ReferenceTest, ListsEveryKeyWithDefaultUnitRangeAndMeaning) {
  const std::string table = ReferenceTable<Outer>();
  EXPECT_THAT(table, HasSubstr("| `enabled` | `true` |  |  | Whether. |\n"));
  EXPECT_THAT(table, HasSubstr("| `color` | `\"red\"` |  | red, green | Which \\| of two. |\n"));
  EXPECT_THAT(table, HasSubstr("| `title` | `\"\"` |  |  | What to call it, as &lt;this>. |\n"));
  EXPECT_THAT(table, HasSubstr("| `inner.steps` | `3` | steps | 1 to 100 | How many. |\n"));
  EXPECT_THAT(table, HasSubstr("| `inner.rate` | `0.5` |  | at least 0 | How fast. |\n"));
  EXPECT_THAT(table, HasSubstr("| `elements[].name` | required |  |  | Its name. |\n"));
  EXPECT_THAT(table, HasSubstr("| `named.<name>.steps` | `3` | steps |"));
  EXPECT_THAT(ReferenceTable<Inner>("stages[]."), HasSubstr("| `stages[].steps` |"));
}

TEST(SuggestNameTest, PrefersTheNearestAndElseListsAll) {
  EXPECT_EQ(SuggestName("grp", {"pretrain", "grpo"}), "did you mean grpo?");
  EXPECT_EQ(SuggestName("xyz", {"pretrain", "grpo"}), "known are pretrain, grpo");
  EXPECT_EQ(SuggestName("xyz", {}), "none is known here");
  EXPECT_EQ(SuggestName(std::string(1 << 20, 'a'), {"grpo"}), "known are grpo");
}

}  // namespace
}  // namespace grpo
