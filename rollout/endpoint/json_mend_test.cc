#include "rollout/endpoint/json_mend.h"

#include "common/status_testing.h"
#include "common/utf8.h"
#include "nlohmann/json.hpp"

namespace grpo {
namespace {

// The JSON string as it is read, or "no JSON".
std::string Read(const std::string& json) {
  const MendedJson mended = MendJson(json);
  EXPECT_TRUE(IsUtf8(mended.text));
  const nlohmann::json value = nlohmann::json::parse(mended.text, nullptr, /*allow_exceptions=*/false);
  if (!value.is_string()) return "no JSON";
  return mended.mended ? RestoreBytes(value.get<std::string>()) : value.get<std::string>();
}

TEST(MendJson, LeavesGoodTextsAsTheyAre) {
  for (const char* json : {R"("plain")", R"("a \"quote\" and \\ud83d")", R"("\u00e9 \ud83d\ude00")", "\"\xC3\xA9\""}) {
    const MendedJson mended = MendJson(json);
    EXPECT_FALSE(mended.mended) << json;
    EXPECT_EQ(mended.text, json);
  }
}

TEST(MendJson, KeepsBytesThatAreNoUtf8) {
  EXPECT_EQ(Read("\"cut \xF0\x9F\x98\""), "cut \xF0\x9F\x98");
  EXPECT_EQ(Read("\"\xFF\xC3\xA9\""), "\xFF\xC3\xA9");
}

TEST(MendJson, KeepsHalvesOfPairsAsWhatNoUtf8Holds) {
  for (const char* json :
       {R"("a\ud83d")", R"("a\ude00")", R"("a\ud83d\n")", R"("a\ud83d\u0041")", R"("\ud83d\ud83d")"}) {
    const std::string text = Read(json);
    EXPECT_NE(text, "no JSON") << json;
    EXPECT_FALSE(IsUtf8(text)) << json;
  }
  EXPECT_EQ(Read(R"("a\ud83d\u0041")"),
            "a\xED\xA0\xBD"
            "A");
}

TEST(MendJson, DoesNotMakeJsonOfWhatIsNone) {
  for (const char* json : {R"("a)", R"("\x")", R"("\u12")", R"("\)", "\"\\\xFF\""})
    EXPECT_EQ(Read(json), "no JSON") << json;
}

}  // namespace
}  // namespace grpo
