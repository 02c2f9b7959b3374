#include "model/tokenizer/regex.h"

#include <gtest/gtest.h>

#include "absl/strings/str_cat.h"
#include "common/cpu_time_testing.h"
#include "common/status_testing.h"
#include "common/wall_clock_testing.h"

namespace grpo {
namespace {

// Whether the pattern matches all of the text.
bool Matches(absl::string_view pattern, absl::string_view text) {
  const auto regex = Regex::FromPattern(pattern);
  EXPECT_OK(regex);
  RegexScratch scratch;
  return regex.ok() && regex->MatchAt(text, 0, scratch).value_or(-2) == static_cast<int64_t>(text.size());
}

TEST(RegexTest, ReadsWhatOnigurumaReadsDifferentlyAsOnigurumaDoes) {
  EXPECT_FALSE(Matches(R"(\s)", "\u180E")) << "PCRE2 has the Mongolian vowel separator among its spaces";
  EXPECT_TRUE(Matches(R"(\s)", "\u0085"));
  EXPECT_TRUE(Matches(R"([^\S\n]+)", "\u3000 \t"));
  EXPECT_TRUE(Matches(R"(\p{Han})", "\u4E00"));
  EXPECT_FALSE(Matches(R"(\p{Han})", "\u3001")) << "an extension of the script, not the script";
  EXPECT_TRUE(Matches(R"(\v)", "\v"));
  EXPECT_FALSE(Matches(R"(\v)", "\n"));
  EXPECT_FALSE(Matches(".", "\n"));
  EXPECT_TRUE(Matches("a$\nb", "a\nb"));
  EXPECT_TRUE(Matches("(?i:'s)", "'\u017F")) << "long s folds to s in both";
  EXPECT_TRUE(Matches("(?i:k)", "\u212A"));
  EXPECT_TRUE(Matches(R"([^\r\n\p{L}\p{N}]?+\p{L}++)", "-abc"));
  EXPECT_TRUE(Matches(R"([!-/:-@\[-`{-~\-\u0041\x{1F600}]+)", "a-+[^A\U0001F600") == false);
  EXPECT_TRUE(Matches(R"([!-/:-@\[-`{-~\-\u0041\x{1F600}]+)", "-+[^A\U0001F600"));
  EXPECT_TRUE(Matches(R"(\p{^L}\P{N}]{1,2}?)", "1a]"));
}

TEST(RegexTest, RefusesByNameWhatItCannotTranslate) {
  for (const char* pattern : {R"(\w+)",      R"(\bx)",      R"(\h)",
                              R"(\R)",       R"(\1)",       R"(\A)",
                              "[[:alpha:]]", "[a-z&&[^x]]", "[]a]",
                              "[^]",         "a{,3}",       "a{2}?",
                              "a{1,2}+",     "a{",          "(?i)x",
                              "(?m:x)",      "(?<name>x)",  "(*UTF)x",
                              "(?i:stop)",   "(?i:\u00E9)", R"([\s-x])",
                              R"([a-\d])",   R"(\pL)",      R"(\p{L&})",
                              R"(\xff)",     R"(\u12)",     R"(\x{110000000})",
                              "\\"}) {
    EXPECT_STATUS(Regex::FromPattern(pattern), absl::StatusCode::kInvalidArgument, "which is not supported");
  }
  for (const char* pattern :
       {"(", ")", "*a", R"(\p{Letter})", R"(\x{110000})", "a**", "(?<=a+)b", "(((((a{1000}){1000}){1000}"})
    EXPECT_STATUS(Regex::FromPattern(pattern), absl::StatusCode::kInvalidArgument, "the pattern ");
  EXPECT_STATUS(Regex::FromPattern(std::string(1 << 17, 'a')), absl::StatusCode::kInvalidArgument, "the pattern ");
  EXPECT_STATUS(Regex::FromPattern(std::string(10'000, '(')), absl::StatusCode::kInvalidArgument, "the pattern ");
}

// Matches at each byte of the text, as the pre-tokenizer does, until an error.
absl::Status RunAway(absl::string_view pattern, const std::string& text) {
  const auto regex = Regex::FromPattern(pattern);
  if (!regex.ok()) return regex.status();
  RegexScratch scratch;
  scratch.Begin(/*num_text_bytes=*/0);
  for (size_t position = 0; position < text.size(); ++position) {
    const auto match = regex->MatchAt(text, position, scratch);
    if (!match.ok()) return match.status();
  }
  return absl::OkStatus();
}

TEST(RegexTest, WhatRunsAwayIsAnError) {
  const auto begin = CpuTime();
  EXPECT_STATUS(RunAway(R"((?:a|a)*\d)", std::string(100'000, 'a')), absl::StatusCode::kInvalidArgument,
                R"((?:a|a)*\\d)");
  EXPECT_STATUS(RunAway(R"((?:a+)+\d)", std::string(100'000, 'a')), absl::StatusCode::kInvalidArgument,
                "cannot be matched");
  EXPECT_STATUS(RunAway(R"(a*\d)", std::string(1'000'000, 'a')), absl::StatusCode::kInvalidArgument, "takes too long");
  EXPECT_LT(CpuTime() - begin, std::chrono::minutes(1));
}

TEST(RegexTest, AWallClockThatIsSetAheadTakesNoTime) {
  const auto regex = Regex::FromText("a");
  ASSERT_OK(regex);
  RegexScratch scratch;
  scratch.Begin(/*num_text_bytes=*/0);
  const WallClockStep ahead(absl::Hours(1));
  for (int i = 0; i < 1000; ++i) ASSERT_OK(regex->MatchAt("a", 0, scratch));
}

}  // namespace
}  // namespace grpo
