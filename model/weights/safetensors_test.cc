#include "model/weights/safetensors.h"

#include <gtest/gtest.h>

#include "absl/strings/str_cat.h"
#include "common/seeds.h"
#include "common/status_testing.h"

namespace grpo {
namespace {

// The container around any header text.
std::string File(absl::string_view header, absl::string_view data) {
  std::string file;
  for (int i = 0; i < 8; ++i) file.push_back(static_cast<char>(uint64_t{header.size()} >> (8 * i)));
  return absl::StrCat(file, header, data);
}

TEST(SafetensorsTest, ReadsWhatTheReferenceLibraryWrites) {
  const std::string file =
      File(R"({"__metadata__":{"format":"pt"},"b":{"dtype":"F32","shape":[2],"data_offsets":[4,12]},)"
           R"("a":{"dtype":"BF16","shape":[1,2],"data_offsets":[0,4]}}  )",
           "ABCDabcdefgh");
  std::map<std::string, std::string> metadata;
  ASSERT_OK_AND_ASSIGN(const auto entries, ParseSafetensors(file, &metadata));
  ASSERT_EQ(entries.size(), 2u);
  EXPECT_EQ(entries[0].name, "a") << "in the order of the data";
  EXPECT_EQ(entries[0].dtype, "BF16");
  EXPECT_EQ(entries[0].shape, (std::vector<int64_t>{1, 2}));
  EXPECT_EQ(entries[0].bytes, "ABCD");
  EXPECT_EQ(entries[1].bytes, "abcdefgh");
  EXPECT_EQ(metadata, (std::map<std::string, std::string>{{"format", "pt"}}));
}

TEST(SafetensorsTest, WhatIsWrittenIsReadBack) {
  const std::vector<SafetensorsEntry> entries = {{"z", "F32", {2, 1}, "12345678"},
                                                 {"scalar", "I64", {}, "abcdefgh"},
                                                 {"empty", "F32", {0, 5}, ""},
                                                 {"quote\"\n", "U8", {3}, absl::string_view("\0\xff\n", 3)}};
  const std::string file = WriteSafetensors(entries, {{"k", "v"}});
  EXPECT_EQ(file[0] % 8, 0) << "the header is padded to 8 bytes";
  std::map<std::string, std::string> metadata;
  ASSERT_OK_AND_ASSIGN(const auto back, ParseSafetensors(file, &metadata));
  ASSERT_EQ(back.size(), entries.size());
  for (size_t i = 0; i < entries.size(); ++i) {
    EXPECT_EQ(back[i].name, entries[i].name);
    EXPECT_EQ(back[i].dtype, entries[i].dtype);
    EXPECT_EQ(back[i].shape, entries[i].shape);
    EXPECT_EQ(back[i].bytes, entries[i].bytes);
  }
  EXPECT_EQ(metadata.at("k"), "v");
  EXPECT_EQ(WriteSafetensors(back, metadata), file);
  EXPECT_EQ(ParseSafetensors(WriteSafetensors({}))->size(), 0u);
}

TEST(SafetensorsTest, RefusesEveryMalformedHeaderByName) {
  const struct {
    const char *header, *message;
  } kCases[] = {
      {"", "does not begin with {"},
      {" {}", "does not begin with {"},
      {"[]", "does not begin with {"},
      {"{", "not valid JSON"},
      {"{} x", "not valid JSON"},
      {"{\"\xff\":1}", "not valid JSON"},
      {R"({"a":3})", "\"a\": is not an object but 3"},
      {R"({"a":{"shape":[2],"data_offsets":[0,8]}})", "dtype is missing"},
      {R"({"a":{"dtype":5,"shape":[2],"data_offsets":[0,8]}})", "dtype is missing or not a text"},
      {R"({"a":{"dtype":"F31","shape":[2],"data_offsets":[0,8]}})", "unknown dtype \"F31\""},
      {R"({"a":{"dtype":"F32","data_offsets":[0,8]}})", "shape is missing"},
      {R"({"a":{"dtype":"F32","shape":2,"data_offsets":[0,8]}})", "shape is missing or not a list"},
      {R"({"a":{"dtype":"F32","shape":[-2],"data_offsets":[0,8]}})", "shape holds -2"},
      {R"({"a":{"dtype":"F32","shape":[2.0],"data_offsets":[0,8]}})", "shape holds 2.0"},
      {R"({"a":{"dtype":"F32","shape":[18446744073709551615],"data_offsets":[0,8]}})",
       "shape holds 18446744073709551615"},
      {R"({"a":{"dtype":"F32","shape":[4294967296,4294967296],"data_offsets":[0,8]}})", "overflows"},
      {R"({"a":{"dtype":"F32","shape":[2]}})", "data_offsets is missing"},
      {R"({"a":{"dtype":"F32","shape":[2],"data_offsets":[0,8,8]}})", "data_offsets is missing or not a pair"},
      {R"({"a":{"dtype":"F32","shape":[2],"data_offsets":[8,0]}})", "do not lie within the 8 bytes"},
      {R"({"a":{"dtype":"F32","shape":[3],"data_offsets":[0,12]}})", "do not lie within the 8 bytes"},
      {R"({"a":{"dtype":"F32","shape":[2],"data_offsets":[-8,0]}})", "do not lie within"},
      {R"({"a":{"dtype":"F32","shape":[1],"data_offsets":[0,8]}})", "has 8 bytes, but dtype F32 and shape [1] need 4"},
      {R"({"a":{"dtype":"F32","shape":[2],"data_offsets":[0,8],"x":1}})", "unknown key \"x\""},
      {R"({"a":{"dtype":"F32","shape":[1],"data_offsets":[0,4]}})", "4 bytes belong to no tensor"},
      {R"({"a":{"dtype":"F32","shape":[1],"data_offsets":[4,8]}})", "a hole of 4 bytes lies before it"},
      {R"({"a":{"dtype":"F32","shape":[2],"data_offsets":[0,8]},"b":{"dtype":"F32","shape":[1],"data_offsets":[4,8]}})",
       "overlaps"},
      {R"({"a":{"dtype":"F32","shape":[1],"data_offsets":[0,4]},"a":{"dtype":"F32","shape":[1],"data_offsets":[4,8]}})",
       "has the key \"a\" twice"},
      {R"({"a":{"dtype":"F32","dtype":"F32","shape":[2],"data_offsets":[0,8]}})", "has the key \"dtype\" twice"},
      {R"({"__metadata__":{"a":1},"a":{"dtype":"F32","shape":[2],"data_offsets":[0,8]}})", "entry \"a\" is not a text"},
      {R"({"__metadata__":[],"a":{"dtype":"F32","shape":[2],"data_offsets":[0,8]}})", "__metadata__ is not an object"},
  };
  for (const auto& [header, message] : kCases) {
    EXPECT_STATUS(ParseSafetensors(File(header, "12345678")), absl::StatusCode::kInvalidArgument, message);
  }
}

TEST(SafetensorsTest, KnowsTheDtypesOfTheReferenceLibrary) {
  const std::map<std::string, int> bytes_of_eight = {
      {"F64", 64},        {"I64", 64},    {"U64", 64},    {"C64", 64},    {"F32", 32},    {"I32", 32},
      {"U32", 32},        {"F16", 16},    {"BF16", 16},   {"I16", 16},    {"U16", 16},    {"U8", 8},
      {"I8", 8},          {"BOOL", 8},    {"F8_E4M3", 8}, {"F8_E5M2", 8}, {"F8_E8M0", 8}, {"F8_E4M3FNUZ", 8},
      {"F8_E5M2FNUZ", 8}, {"F6_E2M3", 6}, {"F6_E3M2", 6}, {"F4", 4}};
  for (const auto& [dtype, num_bytes] : bytes_of_eight) {
    EXPECT_EQ(SafetensorsBytes(dtype, {2, 4}).value(), num_bytes) << dtype;
    const std::string data(num_bytes, 'x');
    ASSERT_OK_AND_ASSIGN(const auto entries, ParseSafetensors(WriteSafetensors({{"t", dtype, {2, 4}, data}})));
    EXPECT_EQ(entries[0].dtype, dtype);
  }
  EXPECT_STATUS(SafetensorsBytes("F4", {3}), absl::StatusCode::kInvalidArgument,
                "[3] of F4 is no whole number of bytes");
  EXPECT_STATUS(SafetensorsBytes("F32", {-1}), absl::StatusCode::kInvalidArgument, "[-1] of F32 overflows");
  EXPECT_STATUS(SafetensorsBytes("F64", {int64_t{1} << 58}), absl::StatusCode::kInvalidArgument, "overflows");
  EXPECT_EQ(SafetensorsBytes("F64", {int64_t{1} << 62, 0}).value(), 0);
}

TEST(SafetensorsTest, RefusesDepthAndNuls) {
  const std::string deep(100'000, '[');
  EXPECT_STATUS(ParseSafetensors(File("{\"a\":" + deep, "")), absl::StatusCode::kInvalidArgument, "is nested deeper");
  EXPECT_STATUS(ParseSafetensors(File(R"({"a\u0000b":{"dtype":"U8","shape":[1],"data_offsets":[0,1]}})", "x")),
                absl::StatusCode::kInvalidArgument, "tensor \"a\": the name holds a NUL");
  EXPECT_STATUS(ParseSafetensors(File(R"({"__metadata__":{"k":"v\u0000"}})", "")), absl::StatusCode::kInvalidArgument,
                "entry \"k\" holds a NUL");
}

TEST(SafetensorsTest, RefusesHeaderLengthsThatDoNotFit) {
  EXPECT_STATUS(ParseSafetensors(""), absl::StatusCode::kInvalidArgument, "the file has 0 bytes");
  EXPECT_STATUS(ParseSafetensors("1234567"), absl::StatusCode::kInvalidArgument, "the file has 7 bytes");
  EXPECT_STATUS(ParseSafetensors(absl::string_view("\x10\0\0\0\0\0\0\0{}", 10)), absl::StatusCode::kInvalidArgument,
                "the header claims 16 bytes, but only 2 follow");
  EXPECT_STATUS(ParseSafetensors("\xff\xff\xff\xff\xff\xff\xff\xff{}"), absl::StatusCode::kInvalidArgument,
                "the header claims 18446744073709551615 bytes, more than");
}

TEST(SafetensorsTest, SurvivesDamage) {
  const std::string whole = WriteSafetensors({{"a", "F32", {2}, "12345678"}, {"b", "I8", {3}, "abc"}}, {{"k", "v"}});
  for (uint64_t seed = 0; seed < 3000; ++seed) {
    Rng rng(seed);
    std::string file = whole.substr(0, rng.Uniform() < 0.3 ? rng.Below(whole.size()) : whole.size());
    for (int64_t i = rng.Below(4); i > 0 && !file.empty(); --i)
      file[rng.Below(file.size())] = static_cast<char>(rng.Below(256));
    const auto entries = ParseSafetensors(file);
    if (!entries.ok()) continue;
    size_t covered = 0;
    for (const SafetensorsEntry& entry : *entries) covered += entry.bytes.size();
    EXPECT_LE(covered, file.size());
  }
}

}  // namespace
}  // namespace grpo
