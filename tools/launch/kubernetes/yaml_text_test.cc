#include "tools/launch/kubernetes/yaml_text.h"

#include "gmock/gmock.h"
#include "yaml-cpp/yaml.h"

namespace grpo {
namespace {

using Json = nlohmann::ordered_json;

TEST(YamlText, IsWhatAPersonWouldWrite) {
  const Json document = {{"kind", "ConfigMap"},
                         {"number", 3},
                         {"on", true},
                         {"list", {"/bin/trainer", "--port", "7000", Json{{"name", "x"}, {"value", "1"}}}},
                         {"nothing", Json::object()},
                         {"data", {{"config.yaml", "run:\n  name: x\n\nstages: []\n"}}}};
  const Json other = {{"kind", "Secret"}};
  EXPECT_EQ(YamlText({document, other}), R"(kind: ConfigMap
number: 3
"on": true
list:
  - /bin/trainer
  - "--port"
  - "7000"
  - name: x
    value: "1"
nothing: {}
data:
  config.yaml: |
    run:
      name: x

    stages: []
---
kind: Secret
)");
}

TEST(YamlText, EveryTextIsReadBackAsItself) {
  for (const char* text : {"",
                           "yes",
                           "No",
                           "null",
                           "~",
                           "12",
                           "1e3",
                           "0x10",
                           ".5",
                           "-",
                           "- a",
                           "a: b",
                           "# c",
                           "a #c",
                           "{x}",
                           "[x]",
                           "&a",
                           "*a",
                           "!t",
                           "| x",
                           "'q'",
                           "\"q\"",
                           "back\\slash",
                           "$(JOB_INDEX)",
                           "tab\there",
                           " leading",
                           "trailing ",
                           "two\nlines",
                           "two\nlines\n",
                           "three\nlines\n\n",
                           "\nfirst is empty\n",
                           "  indented\nfirst\n",
                           "bell\a\n",
                           "ümläut",
                           "日本\n語\n",
                           "2026-01-01",
                           "12:30",
                           "=",
                           "<<",
                           "\x7f",
                           "a\r\nb\n"}) {
    const Json document = {{"map", {{"key", text}}}, {"list", Json::array({text})}};
    const std::string yaml = YamlText({document});
    const YAML::Node node = YAML::Load(yaml);
    EXPECT_EQ(node["map"]["key"].as<std::string>(), text) << yaml;
    EXPECT_EQ(node["list"][0].as<std::string>(), text) << yaml;
  }
}

TEST(YamlText, KeysAreQuotedWhereTheyMustBe) {
  const Json document = {{"a b: c", 1}, {"true", 2}, {"kueue.x-k8s.io/queue-name", 3}};
  EXPECT_EQ(YamlText({document}), "\"a b: c\": 1\n\"true\": 2\nkueue.x-k8s.io/queue-name: 3\n");
}

}  // namespace
}  // namespace grpo
