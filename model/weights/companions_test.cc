#include "model/weights/companions.h"

#include <unistd.h>

#include <algorithm>
#include <filesystem>
#include <string>

#include "absl/strings/str_cat.h"
#include "common/files.h"
#include "common/status_testing.h"
#include "gmock/gmock.h"

namespace grpo {
namespace {

using ::testing::HasSubstr;
using ::testing::IsEmpty;

constexpr auto kInvalid = absl::StatusCode::kInvalidArgument;

TEST(CompanionsTest, OnlyTheFilesThatThereAreAreNames) {
  EXPECT_TRUE(std::is_sorted(CompanionNames().begin(), CompanionNames().end())) << "manifests have them in order";
  for (const std::string& name : CompanionNames()) EXPECT_TRUE(IsCompanionName(name));
  for (const char* const name :
       {"", "config.json", "tokenizer.json", "model.safetensors", "../tokenizer_config.json", "/etc/passwd",
        "Tokenizer_Config.json", "tokenizer_config.json ", "tokenizer_config"}) {
    EXPECT_FALSE(IsCompanionName(name)) << name;
    EXPECT_STATUS(CheckCompanion(name, "{}"), kInvalid,
                  absl::StrCat("\"", name, "\" is not a file that travels with a model"));
  }
}

TEST(CompanionsTest, AJsonFileIsAnObjectAndATemplateIsText) {
  EXPECT_OK(CheckCompanion("generation_config.json", "{\"top_p\": 0.9}"));
  for (const char* const content : {"", "[]", "3", "{", "{\"a\": 1} x", "{\"a\": \"\xff\"}"})
    EXPECT_STATUS(CheckCompanion("generation_config.json", content), kInvalid, "generation_config.json");
  EXPECT_OK(CheckCompanion("chat_template.jinja", "{% for m in messages %}\xc3\xa4{% endfor %}"));
  EXPECT_OK(CheckCompanion("chat_template.jinja", ""));
  EXPECT_STATUS(CheckCompanion("chat_template.jinja", "{{ m }}\xff"), kInvalid, "chat_template.jinja is not UTF-8");
  EXPECT_STATUS(CheckCompanion("chat_template.jinja", "cut off \xc3"), kInvalid, "chat_template.jinja is not UTF-8");
}

TEST(CompanionsTest, WhatIsTooLongSaysHowLongItIs) {
  EXPECT_OK(CheckCompanion("chat_template.jinja", std::string(kMaxCompanionBytes, 'x')));
  EXPECT_STATUS(CheckCompanion("chat_template.jinja", std::string(kMaxCompanionBytes + 1, 'x')), kInvalid,
                "chat_template.jinja has 4194305 bytes, allowed are 4194304");
}

class ReadCompanionsTest : public ::testing::Test {
 protected:
  void SetUp() override {
    std::filesystem::remove_all(folder_);
    ASSERT_OK(MakeFolders(folder_));
  }
  void TearDown() override { std::filesystem::remove_all(folder_); }
  void Write(const std::string& name, const std::string& content) {
    ASSERT_OK(WriteFileSynced(absl::StrCat(folder_, "/", name), content));
  }
  const std::string folder_ = absl::StrCat(::testing::TempDir(), "/companions_test.", ::getpid());
};

TEST_F(ReadCompanionsTest, TakesThoseThatThereAreAsTheyAreAndNothingElse) {
  EXPECT_THAT(*ReadCompanions(folder_), IsEmpty());
  Write("config.json", "{}");
  Write("tokenizer.json", "{}");
  Write("README.md", "hello");
  Write("tokenizer_config.json", "{ \"b\": 1,\n  \"a\": 2 }\n");
  Write("chat_template.jinja", "{{ messages }}");
  ASSERT_OK_AND_ASSIGN(const Companions companions, ReadCompanions(folder_));
  EXPECT_EQ(companions, (Companions{{"chat_template.jinja", "{{ messages }}"},
                                    {"tokenizer_config.json", "{ \"b\": 1,\n  \"a\": 2 }\n"}}));
}

TEST_F(ReadCompanionsTest, AFolderThatIsNotThereHoldsNone) {
  EXPECT_THAT(*ReadCompanions(folder_ + "/nowhere"), IsEmpty());
}

TEST_F(ReadCompanionsTest, OneThatIsBrokenIsNamedWithItsFolder) {
  Write("generation_config.json", "{\"top_p\": ");
  const absl::Status status = ReadCompanions(folder_).status();
  EXPECT_STATUS(status, kInvalid, folder_);
  EXPECT_THAT(std::string(status.message()), HasSubstr("generation_config.json"));
}

TEST_F(ReadCompanionsTest, OneThatIsTooLongIsNotReadWhole) {
  Write("chat_template.jinja", std::string(kMaxCompanionBytes + 1, 'x'));
  EXPECT_STATUS(ReadCompanions(folder_), kInvalid, folder_ + "/chat_template.jinja");
}

}  // namespace
}  // namespace grpo
