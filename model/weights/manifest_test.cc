#include "model/weights/manifest.h"

#include <cstdint>
#include <functional>
#include <limits>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "common/status_testing.h"
#include "model/weights/companions.h"

namespace grpo {
namespace {

using Change = std::function<void(v1::WeightsManifest&)>;

// A tokenizer of 100 bytes, two companions of 10 and 20, tensors of [2, 3], [] and [0, 5] floats: 158 bytes.
v1::WeightsManifest Manifest() {
  v1::WeightsManifest manifest;
  manifest.mutable_policy()->set_policy_id("student");
  manifest.mutable_policy()->set_number(7);
  manifest.set_kind(v1::WEIGHTS_KIND_FULL);
  manifest.set_config_json("{\"model_type\":\"llama\"}");
  int64_t offset = 0;
  const auto place = [&](auto& entry, int64_t num_bytes, const std::string& sha256) {
    entry.set_offset_bytes(offset);
    entry.set_num_bytes(num_bytes);
    entry.set_sha256(sha256);
    offset += num_bytes;
  };
  place(*manifest.mutable_tokenizer(), 100, "t0");
  int64_t size = 10;
  for (const char* const name : {"generation_config.json", "tokenizer_config.json"}) {
    v1::CompanionFile& companion = *manifest.add_companions();
    companion.set_name(name);
    place(*companion.mutable_content(), size, "c");
    size += 10;
  }
  const std::pair<const char*, std::vector<int64_t>> tensors[] = {{"a", {2, 3}}, {"b", {}}, {"c", {0, 5}}};
  for (const auto& [name, shape] : tensors) {
    v1::TensorEntry& tensor = *manifest.add_tensors();
    tensor.set_name(name);
    tensor.set_dtype(v1::DTYPE_FLOAT32);
    int64_t num_bytes = 4;
    for (const int64_t extent : shape) {
      tensor.add_shape(extent);
      num_bytes *= extent;
    }
    place(tensor, num_bytes, std::string("w") + name);
  }
  manifest.set_payload_bytes(offset);
  manifest.set_digest(ManifestDigest(manifest));
  return manifest;
}

// With the digest of what it says: only the check of the places can refuse it.
absl::Status CheckAfter(const Change& change) {
  v1::WeightsManifest manifest = Manifest();
  change(manifest);
  manifest.set_digest(ManifestDigest(manifest));
  return CheckManifest(manifest);
}

void ExpectLost(const Change& change, const std::string& words) {
  EXPECT_STATUS(CheckAfter(change), absl::StatusCode::kDataLoss, "weights of policy student version 7: " + words);
}

TEST(ManifestTest, PartsThatTileThePayloadPass) {
  EXPECT_EQ(Manifest().payload_bytes(), 158);
  EXPECT_OK(CheckManifest(Manifest()));
  EXPECT_OK(CheckAfter([](auto& manifest) {
    manifest.clear_tensors();
    manifest.set_payload_bytes(130);
  })) << "a payload without tensors";
}

TEST(ManifestTest, TheDigestIsOfTheContent) {
  // Whatever a worker would compute with, each change alone.
  const Change changes[] = {
      [](auto& manifest) { manifest.set_config_json("{\"model_type\":\"qwen2\"}"); },
      [](auto& manifest) { manifest.set_compute_dtype(v1::DTYPE_BFLOAT16); },
      [](auto& manifest) { manifest.set_head_dtype(v1::DTYPE_BFLOAT16); },
      [](auto& manifest) { manifest.set_head_dtype(v1::DTYPE_TF32); },
      [](auto& manifest) { manifest.mutable_tokenizer()->set_sha256("t1"); },
      [](auto& manifest) { manifest.mutable_companions(0)->set_name("chat_template.jinja"); },
      [](auto& manifest) { manifest.mutable_companions(1)->mutable_content()->set_sha256("d"); },
      [](auto& manifest) { manifest.mutable_companions()->RemoveLast(); },
      [](auto& manifest) { manifest.mutable_tensors(0)->set_name("aa"); },
      [](auto& manifest) { manifest.mutable_tensors(0)->set_dtype(v1::DTYPE_BFLOAT16); },
      [](auto& manifest) { manifest.mutable_tensors(0)->set_shape(0, 3); },
      [](auto& manifest) { manifest.mutable_tensors(0)->add_shape(1); },
      [](auto& manifest) { manifest.mutable_tensors(2)->set_sha256("wd"); },
      [](auto& manifest) { manifest.mutable_tensors()->SwapElements(0, 1); },
      [](auto& manifest) { manifest.mutable_tensors()->RemoveLast(); },
  };
  std::set<std::string> digests = {ManifestDigest(Manifest())};
  for (const Change& change : changes) {
    v1::WeightsManifest manifest = Manifest();
    change(manifest);
    EXPECT_TRUE(digests.insert(ManifestDigest(manifest)).second) << digests.size();
    EXPECT_STATUS(CheckManifest(manifest), absl::StatusCode::kDataLoss, "");
  }
}

TEST(ManifestTest, TheDigestIsNotOfTheNameNorOfTheVersion) {
  v1::WeightsManifest other = Manifest();
  other.mutable_policy()->set_policy_id("teacher");
  other.mutable_policy()->set_number(8);
  EXPECT_EQ(ManifestDigest(other), Manifest().digest());
  EXPECT_OK(CheckManifest(other));
}

// Checkpoints and workers of before name no compute dtype.
TEST(ManifestTest, AManifestOfBeforeThatNamesNoComputeDtypeMeansFloat32) {
  v1::WeightsManifest named = Manifest();
  named.set_compute_dtype(v1::DTYPE_FLOAT32);
  named.set_head_dtype(v1::DTYPE_FLOAT32);
  EXPECT_EQ(ManifestDigest(named), Manifest().digest());
}

TEST(ManifestTest, TextsThatRunIntoEachOtherAreTwoContents) {
  v1::WeightsManifest left = Manifest(), right = Manifest();
  left.mutable_companions(0)->set_name("ab");
  left.mutable_companions(0)->mutable_content()->set_sha256("c");
  right.mutable_companions(0)->set_name("a");
  right.mutable_companions(0)->mutable_content()->set_sha256("bc");
  EXPECT_NE(ManifestDigest(left), ManifestDigest(right));
}

TEST(ManifestTest, AnotherDigestIsRefused) {
  v1::WeightsManifest manifest = Manifest();
  manifest.set_digest(std::string(64, '0'));
  EXPECT_STATUS(CheckManifest(manifest), absl::StatusCode::kDataLoss,
                "weights of policy student version 7: the digest is not that of the content");
  manifest.clear_digest();
  EXPECT_STATUS(CheckManifest(manifest), absl::StatusCode::kDataLoss, "the digest is not that of the content");
}

TEST(ManifestTest, OnlyWholeWeightsAreKnown) {
  ExpectLost([](auto& manifest) { manifest.clear_kind(); }, "kind 0 is not known");
  ExpectLost([](auto& manifest) { manifest.set_kind(static_cast<v1::WeightsKind>(9)); }, "kind 9 is not known");
}

TEST(ManifestTest, TheTokenizerIsAtTheBeginningAndWithin) {
  const std::string words = "the tokenizer's place does not fit the payload";
  ExpectLost([](auto& manifest) { manifest.mutable_tokenizer()->set_offset_bytes(1); }, words);
  ExpectLost([](auto& manifest) { manifest.mutable_tokenizer()->set_num_bytes(-1); }, words);
  ExpectLost([](auto& manifest) { manifest.mutable_tokenizer()->set_num_bytes(159); }, words);
  ExpectLost([](auto& manifest) { manifest.set_payload_bytes(-1); }, words);
}

TEST(ManifestTest, CompanionsAreKnownFilesInOrderEachInItsPlace) {
  for (const char* const name : {"", "setup.py", "config.json", "../chat_template.jinja", "tokenizer.json"}) {
    ExpectLost([&](auto& manifest) { manifest.mutable_companions(0)->set_name(name); },
               std::string("\"") + name + "\" is not a file that travels with a model, or is out of order");
  }
  ExpectLost([](auto& manifest) { manifest.mutable_companions(1)->set_name("generation_config.json"); },
             "\"generation_config.json\" is not a file that travels with a model, or is out of order");
  ExpectLost([](auto& manifest) { manifest.mutable_companions(1)->set_name("added_tokens.json"); },
             "\"added_tokens.json\" is not a file that travels with a model, or is out of order");
  const std::string words = "tokenizer_config.json's size and place do not fit the payload";
  for (const int64_t size : {int64_t{-1}, int64_t{49}, std::numeric_limits<int64_t>::max()}) {
    ExpectLost([&](auto& manifest) { manifest.mutable_companions(1)->mutable_content()->set_num_bytes(size); }, words);
  }
  ExpectLost([](auto& manifest) { manifest.mutable_companions(1)->mutable_content()->set_offset_bytes(109); }, words);
  ExpectLost(
      [](auto& manifest) {
        manifest.mutable_companions(1)->mutable_content()->set_num_bytes(kMaxCompanionBytes + 1);
        manifest.set_payload_bytes(std::numeric_limits<int64_t>::max());
      },
      words);
}

TEST(ManifestTest, ATensorHasTheBytesOfItsShapeBehindTheOneBefore) {
  const std::string words = "'s shape and place do not fit the payload";
  ExpectLost([](auto& manifest) { manifest.mutable_tensors(0)->set_offset_bytes(131); }, "a" + words);
  ExpectLost([](auto& manifest) { manifest.mutable_tensors(1)->set_offset_bytes(130); }, "b" + words);
  ExpectLost([](auto& manifest) { manifest.mutable_tensors(0)->set_num_bytes(23); }, "a" + words);
  ExpectLost([](auto& manifest) { manifest.mutable_tensors(0)->set_shape(1, 4); }, "a" + words);
  ExpectLost([](auto& manifest) { manifest.mutable_tensors(2)->set_shape(1, -5); }, "c" + words);
  // Two wrongs that make the right product.
  ExpectLost(
      [](auto& manifest) {
        manifest.mutable_tensors(0)->set_shape(0, -2);
        manifest.mutable_tensors(0)->set_shape(1, -3);
      },
      "a" + words);
  ExpectLost([](auto& manifest) { manifest.set_payload_bytes(153); }, "a" + words);
}

// Sizes beyond 64 bits must not come around to one that fits.
TEST(ManifestTest, AShapeWithoutASizeIsRefused) {
  const std::vector<int64_t> shapes[] = {
      {int64_t{1} << 62, 1}, {int64_t{1} << 31, int64_t{1} << 31}, {int64_t{1} << 32, int64_t{1} << 32}};
  for (const std::vector<int64_t>& shape : shapes) {
    ExpectLost(
        [&](auto& manifest) {
          manifest.mutable_tensors(0)->set_shape(0, shape[0]);
          manifest.mutable_tensors(0)->set_shape(1, shape[1]);
          // Modulo 2^64 that is their size.
          manifest.mutable_tensors(0)->set_num_bytes(0);
        },
        "a's shape and place do not fit the payload");
  }
}

TEST(ManifestTest, TensorsAreFloat32OrBfloat16) {
  ExpectLost([](auto& manifest) { manifest.mutable_tensors(1)->set_dtype(v1::DTYPE_UNSPECIFIED); },
             "b is neither float32 nor bfloat16");
  // Which of the two says how many bytes it has: b, before c, which has none.
  const auto halve = [](auto& manifest) {
    v1::TensorEntry& tensor = *manifest.mutable_tensors(1);
    tensor.set_dtype(v1::DTYPE_BFLOAT16);
    tensor.set_num_bytes(2);
    manifest.mutable_tensors(2)->set_offset_bytes(156);
    manifest.set_payload_bytes(156);
  };
  EXPECT_OK(CheckAfter(halve));
  const std::string words = "b's shape and place do not fit the payload";
  ExpectLost([](auto& manifest) { manifest.mutable_tensors(1)->set_dtype(v1::DTYPE_BFLOAT16); }, words);
  ExpectLost(
      [&](auto& manifest) {
        halve(manifest);
        manifest.mutable_tensors(1)->set_dtype(v1::DTYPE_FLOAT32);
      },
      words);
}

TEST(ManifestTest, NoByteOfThePayloadIsLeftOver) {
  const std::string words = "tokenizer, companions and tensors do not cover the payload";
  ExpectLost([](auto& manifest) { manifest.set_payload_bytes(159); }, words);
  ExpectLost([](auto& manifest) { manifest.clear_tensors(); }, words);
}

TEST(ManifestTest, ALossNamesThePolicyAndItsVersion) {
  EXPECT_STATUS(WeightsLost(Manifest(), "the disk ate them"), absl::StatusCode::kDataLoss,
                "weights of policy student version 7: the disk ate them");
}

}  // namespace
}  // namespace grpo
