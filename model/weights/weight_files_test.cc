#include "model/weights/weight_files.h"

#include <gtest/gtest.h>
#include <unistd.h>

#include <filesystem>

#include "absl/strings/str_cat.h"
#include "common/files.h"
#include "common/status_testing.h"

namespace grpo {
namespace {

namespace fs = std::filesystem;

constexpr auto kInvalid = absl::StatusCode::kInvalidArgument;

TEST(ShardIndexTest, ReadsWhatTransformersWrites) {
  ASSERT_OK_AND_ASSIGN(
      const ShardIndex index,
      ParseShardIndex(
          R"({"metadata": {"total_parameters": 3, "total_size": 12}, "weight_map": {"a": "x.safetensors"}})"));
  EXPECT_EQ(index.total_bytes, 12);
  EXPECT_EQ(index.weight_map, (std::map<std::string, std::string>{{"a", "x.safetensors"}}));
  EXPECT_EQ(ParseShardIndex(R"({"metadata":{"total_size":12.0},"weight_map":{"a":"x.safetensors"}})")->total_bytes, 12);
  EXPECT_EQ(ParseShardIndex(R"({"weight_map":{"a":"x.safetensors"}})")->total_bytes, std::nullopt);
}

TEST(ShardIndexTest, RefusesWhatIsMalformedByName) {
  const struct {
    const char *json, *message;
  } kCases[] = {
      {"", "not valid JSON"},
      {"[]", "is not a JSON object"},
      {"{}", "weight_map is missing"},
      {R"({"weight_map":[]})", "weight_map is missing or not an object"},
      {R"({"weight_map":{}})", "weight_map names no tensor"},
      {R"({"weight_map":{"a":1}})", "names 1 for tensor a"},
      {R"({"weight_map":{"a":"x.bin"}})", "names \"x.bin\""},
      {R"({"weight_map":{"a":"x.safetensors","a":"y.safetensors"}})", "the key \"a\" twice"},
      {R"({"metadata":3,"weight_map":{"a":"x.safetensors"}})", "metadata is 3"},
      {R"({"metadata":{"total_size":-1},"weight_map":{"a":"x.safetensors"}})", "total_size is -1"},
      {R"({"metadata":{"total_size":"1"},"weight_map":{"a":"x.safetensors"}})", "total_size is \"1\""},
      {R"({"metadata":{"total_size":1.5},"weight_map":{"a":"x.safetensors"}})", "total_size is 1.5"},
      {R"({"metadata":{"total_size":1e300},"weight_map":{"a":"x.safetensors"}})", "total_size is 1e+300"},
  };
  for (const auto& [json, message] : kCases) EXPECT_STATUS(ParseShardIndex(json), kInvalid, message);
}

TEST(ShardIndexTest, NamesNoFileOutsideTheFolder) {
  for (const char* name : {"../x.safetensors", "/etc/x.safetensors", "a/x.safetensors", "a\\\\x.safetensors",
                           "..safetensors", ".safetensors", "x.safetensors\\u0000.safetensors", ""}) {
    EXPECT_STATUS(ParseShardIndex(absl::StrCat(R"({"weight_map":{"a":")", name, R"("}})")), kInvalid,
                  "in the same folder");
  }
}

class WeightFilesTest : public testing::Test {
 protected:
  void SetUp() override {
    folder_ = fs::path(testing::TempDir()) / ("weight_files." + std::to_string(::getpid()));
    fs::remove_all(folder_);
    ASSERT_OK(MakeFolders(folder_.string()));
    Write("one.safetensors", WriteSafetensors({{"a", "F32", {1}, "1234"}, {"b", "I8", {2}, "xy"}}));
    Write("two.safetensors", WriteSafetensors({{"c", "F32", {1}, "5678"}}));
  }
  void TearDown() override { fs::remove_all(folder_); }
  void Write(const std::string& name, const std::string& content) {
    ASSERT_OK(WriteFileSynced((folder_ / name).string(), content));
  }
  // Opens with this index.
  absl::StatusOr<std::vector<WeightFile>> Open(const std::string& weight_map, int total_size = 10) {
    Write("model.safetensors.index.json",
          absl::StrCat(R"({"metadata":{"total_size":)", total_size, R"(},"weight_map":)", weight_map, "}"));
    return OpenWeightFiles(folder_.string());
  }
  fs::path folder_;
};

constexpr char kRight[] = R"({"a":"one.safetensors","b":"one.safetensors","c":"two.safetensors"})";

TEST_F(WeightFilesTest, OpensTheShardsOfTheIndex) {
  ASSERT_OK_AND_ASSIGN(const auto files, Open(kRight));
  ASSERT_EQ(files.size(), 2u);
  EXPECT_EQ(files[0].entries[1].bytes, "xy");
  EXPECT_EQ(files[1].entries[0].bytes, "5678");
}

TEST_F(WeightFilesTest, OneFileComesBeforeAnIndexAsInTransformers) {
  Write("model.safetensors", WriteSafetensors({{"whole", "F32", {1}, "1234"}}));
  ASSERT_OK_AND_ASSIGN(const auto files, Open(kRight));
  ASSERT_EQ(files.size(), 1u);
  EXPECT_EQ(files[0].entries[0].name, "whole");
}

TEST_F(WeightFilesTest, NamesWhatIndexAndShardsDisagreeAbout) {
  EXPECT_STATUS(Open(R"({"a":"one.safetensors","b":"two.safetensors","c":"two.safetensors"})"), kInvalid,
                "tensor b lies in one.safetensors, but weight_map names two.safetensors");
  EXPECT_STATUS(Open(R"({"a":"one.safetensors","c":"two.safetensors"})"), kInvalid,
                "tensor b lies in one.safetensors, but weight_map names no file for it");
  EXPECT_STATUS(Open(R"({"a":"one.safetensors","b":"one.safetensors","c":"two.safetensors","d":"two.safetensors"})"),
                kInvalid, "weight_map says that tensor d lies in two.safetensors, which has none");
  EXPECT_STATUS(Open(R"({"a":"one.safetensors","b":"one.safetensors","c":"three.safetensors"})"),
                absl::StatusCode::kNotFound, "three.safetensors");
  std::vector<std::string> ignored;
  ASSERT_OK(Open(kRight, 11));
  ASSERT_OK(OpenWeightFiles(folder_.string(), &ignored));
  ASSERT_EQ(ignored.size(), 1u);
  EXPECT_EQ(ignored[0], "metadata.total_size 11: the tensors have 10 bytes, each as many as its shape says");
  Write("two.safetensors", WriteSafetensors({{"c", "F32", {1}, "5678"}, {"a", "F32", {1}, "1234"}}));
  EXPECT_STATUS(Open(kRight, 14), kInvalid, "tensor a lies in two.safetensors, but weight_map names one.safetensors");
  Write("two.safetensors", "junk");
  EXPECT_STATUS(Open(kRight), kInvalid, "two.safetensors: safetensors: the file has 4 bytes");
}

TEST_F(WeightFilesTest, WithoutAnIndexEveryShardIsRead) {
  EXPECT_STATUS(OpenWeightFiles(folder_.string()), absl::StatusCode::kNotFound, "neither model.safetensors nor");
  for (const char* name : {"one", "two"}) {
    fs::rename(folder_ / absl::StrCat(name, ".safetensors"), folder_ / absl::StrCat("model-", name, ".safetensors"));
  }
  ASSERT_OK_AND_ASSIGN(const auto files, OpenWeightFiles(folder_.string()));
  EXPECT_EQ(files.size(), 2u);
  Write("model-two.safetensors", WriteSafetensors({{"a", "F32", {1}, "5678"}}));
  EXPECT_STATUS(OpenWeightFiles(folder_.string()), kInvalid, "tensor a is given twice: in");
}

}  // namespace
}  // namespace grpo
