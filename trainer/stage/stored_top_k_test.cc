// What is written of a teacher's top-k is read again, whatever happened in between.
#include "trainer/stage/stored_top_k.h"

#include <cmath>
#include <filesystem>
#include <fstream>
#include <map>
#include <optional>
#include <set>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_replace.h"
#include "common/files.h"
#include "common/seeds.h"
#include "common/status_testing.h"
#include "gmock/gmock.h"
#include "trainer/stage/top_k_writer.h"

namespace grpo {
namespace {

using ::testing::AllOf;
using ::testing::ElementsAre;
using ::testing::HasSubstr;

constexpr int64_t kTopK = 5;
constexpr auto kInvalid = absl::StatusCode::kInvalidArgument;

// Trace `i`: lengths and ids of its own.
TokenizedTrace Trace(int64_t i) {
  Rng rng(static_cast<uint64_t>(i));
  TokenizedTrace trace;
  for (int64_t t = 0; t < 3 + i % 2; ++t) trace.prompt_ids.push_back(static_cast<uint32_t>(rng.Below(50000)));
  for (int64_t t = 0; t < 1 + i % 4; ++t) trace.completion_ids.push_back(static_cast<uint32_t>(rng.Below(50000)));
  return trace;
}

// A distribution that follows from the trace.
TopK Teacher(const TokenizedTrace& trace, int64_t k) {
  TopK top;
  for (size_t t = 0; t < trace.completion_ids.size(); ++t) {
    Rng rng(CombineSeeds(static_cast<uint64_t>(TraceFingerprint(trace)), t));
    double logprob = -0.3 * rng.Uniform();
    for (int64_t i = 0; i < k; ++i) {
      top.ids.push_back(static_cast<uint32_t>(1000 * i + rng.Below(1000)));
      top.logprobs.push_back(static_cast<float>(logprob));
      logprob -= 3 * rng.Uniform();
    }
  }
  return top;
}

std::unique_ptr<Tokenizer> MakeTokenizer(const std::string& first) {
  return Tokenizer::FromJson(
             absl::StrReplaceAll(
                 R"({"decoder":{"type":"Fuse"},"model":{"type":"BPE","vocab":{"A":0,"b":1},"merges":[]}})",
                 {{"A", first}}))
      .value();
}

class StoredTopKTest : public ::testing::Test {
 protected:
  void SetUp() override { std::filesystem::remove_all(folder_); }
  void TearDown() override { std::filesystem::remove_all(folder_); }

  // Writes the top-k of `count` traces; the poll number `kill_at_poll` is an error.
  absl::StatusOr<TopKWriter::Summary> Write(int64_t count, std::optional<int64_t> kill_at_poll = {}) {
    num_computed_ = 0;
    int64_t num_polls = 0;
    TopKWriter writer(
        folder_, origin_,
        [this](const std::vector<TokenizedTrace>& traces) {
          std::vector<TopK> tops;
          for (const TokenizedTrace& trace : traces) tops.push_back(Teacher(trace, origin_.k));
          num_computed_ += static_cast<int64_t>(traces.size());
          return tops;
        },
        [&]() -> absl::Status { return kill_at_poll == num_polls++ ? absl::AbortedError("killed") : absl::OkStatus(); },
        limits_);
    for (int64_t i = 0; i < count; ++i) RETURN_IF_ERROR(writer.Add(Trace(i)));
    return writer.Finish();
  }

  // Name -> content of all files.
  std::map<std::string, std::string> Files() const {
    std::map<std::string, std::string> files;
    for (const auto& entry : std::filesystem::directory_iterator(folder_))
      files[entry.path().filename().string()] = ReadFile(entry.path().string()).value();
    return files;
  }
  // Not synced: a thousand times that takes seconds.
  void Put(const std::string& name, const std::string& content) const {
    std::ofstream(absl::StrCat(folder_, "/", name), std::ios::binary) << content;
  }

  const std::string folder_ = ::testing::TempDir() + "/stored_top_k_test.top_k";
  const std::unique_ptr<Tokenizer> tokenizer_ = MakeTokenizer("a");
  TopKOrigin origin_ = {.k = kTopK,
                        .policy = "teacher",
                        .policy_number = 120,
                        .weights_hash = "77",
                        .vocabulary_sha256 = VocabularyDigest(*tokenizer_),
                        .stage = "write",
                        .traces_file = "x.jsonl",
                        .traces_sha256 = "ab"};
  // Three traces a shard, two of them a computation.
  TopKWriter::Limits limits_ = {.max_traces = 3, .max_compute_tokens = 16};
  int64_t num_computed_ = 0;
};

TEST_F(StoredTopKTest, WhatWasWrittenIsReadToTheRoundingOfFloat16) {
  ASSERT_OK_AND_ASSIGN(const TopKWriter::Summary summary, Write(8));
  EXPECT_EQ(summary.num_shards, 3);
  EXPECT_EQ(summary.num_rows, 2 * (1 + 2 + 3 + 4));
  ASSERT_OK_AND_ASSIGN(const auto stored, StoredTopK::Open(folder_));
  EXPECT_EQ(stored->origin(), origin_);
  EXPECT_EQ(stored->num_traces(), 8);
  double mass = 0;
  for (int64_t i = 0; i < 8; ++i) {
    const TopK expected = Teacher(Trace(i), kTopK);
    ASSERT_OK_AND_ASSIGN(const TopK got, stored->Of(i, Trace(i), kTopK));
    EXPECT_EQ(got.ids, expected.ids);
    ASSERT_EQ(got.logprobs.size(), expected.logprobs.size());
    for (size_t j = 0; j < got.logprobs.size(); ++j) {
      EXPECT_NEAR(got.logprobs[j], expected.logprobs[j], std::abs(expected.logprobs[j]) * 0x1p-11 + 0x1p-25);
      mass += std::exp(static_cast<double>(got.logprobs[j]));
    }
  }
  EXPECT_NEAR(summary.mass_mean, mass / static_cast<double>(summary.num_rows), 1e-12);
}

TEST_F(StoredTopKTest, FewerEntriesThanAreStoredAreTheLikeliestOfThem) {
  ASSERT_OK(Write(8));
  ASSERT_OK_AND_ASSIGN(const auto stored, StoredTopK::Open(folder_));
  ASSERT_OK_AND_ASSIGN(const TopK all, stored->Of(6, Trace(6), kTopK));
  ASSERT_OK_AND_ASSIGN(const TopK two, stored->Of(6, Trace(6), 2));
  ASSERT_EQ(all.ids.size(), 3 * kTopK);
  EXPECT_THAT(two.ids, ElementsAre(all.ids[0], all.ids[1], all.ids[5], all.ids[6], all.ids[10], all.ids[11]));
  EXPECT_THAT(two.logprobs, ElementsAre(all.logprobs[0], all.logprobs[1], all.logprobs[5], all.logprobs[6],
                                        all.logprobs[10], all.logprobs[11]));
}

// The issue's bound, headers included, for traces as long as the quickstart's.
TEST_F(StoredTopKTest, TheTop64OfATokenTakesAtMost400Bytes) {
  origin_.k = 64;
  limits_ = {};
  TopKWriter writer(
      folder_, origin_,
      [](const std::vector<TokenizedTrace>& traces) {
        std::vector<TopK> tops;
        for (const TokenizedTrace& trace : traces) tops.push_back(Teacher(trace, 64));
        return tops;
      },
      [] { return absl::OkStatus(); });
  for (uint32_t i = 0; i < 40; ++i)
    ASSERT_OK(writer.Add({.prompt_ids = {i}, .completion_ids = std::vector<uint32_t>(30, i)}));
  ASSERT_OK_AND_ASSIGN(const TopKWriter::Summary summary, writer.Finish());
  EXPECT_LE(static_cast<double>(summary.num_bytes) / static_cast<double>(summary.num_rows), 400);
  EXPECT_GE(static_cast<double>(summary.num_bytes) / static_cast<double>(summary.num_rows), 384);
  int64_t num_bytes = 0;
  for (const auto& [name, content] : Files()) num_bytes += static_cast<int64_t>(content.size());
  EXPECT_LE(num_bytes, 400 * summary.num_rows) << "with the index";
}

TEST_F(StoredTopKTest, AShardIsFullAtItsBytesAndALongTraceHasOneOfItsOwn) {
  limits_.max_traces = 100;
  limits_.max_bytes = MaxTopKBytes(kTopK, 3);
  ASSERT_OK_AND_ASSIGN(const TopKWriter::Summary summary, Write(4));  // of 1, 2, 3 and 4 tokens
  EXPECT_EQ(summary.num_shards, 3);
  EXPECT_OK(StoredTopK::Open(folder_));
}

TEST_F(StoredTopKTest, KilledAnywhereAndRunAgainItEndsInTheSameFiles) {
  ASSERT_OK_AND_ASSIGN(const TopKWriter::Summary undisturbed, Write(8));
  const auto expected = Files();
  EXPECT_EQ(num_computed_, 8);
  std::set<int64_t> computed;
  for (int64_t poll = 0; poll < 6; ++poll) {
    std::filesystem::remove_all(folder_);
    const absl::Status status = Write(8, poll).status();
    if (status.ok()) break;
    EXPECT_STATUS(status, absl::StatusCode::kAborted, "killed");
    EXPECT_STATUS(StoredTopK::Open(folder_), absl::StatusCode::kNotFound, kTopKIndexFile);
    // kill -9 while a shard is written.
    ASSERT_OK(MakeFolders(folder_));
    Put("00001.safetensors.tmp.123", "half");
    ASSERT_OK_AND_ASSIGN(const TopKWriter::Summary summary, Write(8));
    EXPECT_EQ(Files(), expected) << "killed at poll " << poll;
    EXPECT_EQ(summary.mass_mean, undisturbed.mass_mean);
    EXPECT_EQ(summary.num_bytes, undisturbed.num_bytes);
    computed.insert(num_computed_);
  }
  // Whole shards are not computed twice.
  EXPECT_THAT(computed, ElementsAre(2, 5, 8));
  ASSERT_OK(Write(8));
  EXPECT_EQ(num_computed_, 0);
  EXPECT_EQ(Files(), expected);
}

TEST_F(StoredTopKTest, ShardsThatAreDamagedOrOfOtherWeightsAreComputedAnew) {
  ASSERT_OK(Write(8));
  const auto expected = Files();
  std::string damaged = expected.at("00001.safetensors");
  damaged[damaged.size() - 3] ^= 1;
  Put("00001.safetensors", damaged);
  ASSERT_OK(Write(8));
  EXPECT_EQ(num_computed_, 3);
  EXPECT_EQ(Files(), expected);
  origin_.weights_hash = "78";
  ASSERT_OK(Write(8));
  EXPECT_EQ(num_computed_, 8);
  // Fewer traces: what is left over of the longer file goes.
  ASSERT_OK(Write(2));
  EXPECT_EQ(Files().size(), 2u);
}

// A bit of any byte, wherever it lies: no reader learns from it.
TEST_F(StoredTopKTest, AFlippedBitIsRefusedWithItsFile) {
  ASSERT_OK(Write(4));
  for (const auto& [name, content] : Files()) {
    for (size_t at = 0; at < content.size(); at += name == kTopKIndexFile ? 1 : 7) {
      std::string damaged = content;
      damaged[at] ^= static_cast<char>(1 << at % 8);
      Put(name, damaged);
      const absl::Status status = StoredTopK::Open(folder_).status();
      ASSERT_EQ(status.code(), absl::StatusCode::kDataLoss) << name << " byte " << at << ": " << status;
      ASSERT_THAT(std::string(status.message()),
                  AllOf(HasSubstr(".top_k/"), HasSubstr("run the synthesize stage again")))
          << name << " byte " << at;
      if (name != kTopKIndexFile) {
        ASSERT_THAT(std::string(status.message()), HasSubstr(name));
      }
    }
    Put(name, content);
  }
  EXPECT_OK(StoredTopK::Open(folder_));
}

TEST_F(StoredTopKTest, WhatIsMissingOrCutOffIsNamed) {
  EXPECT_STATUS(StoredTopK::Open(folder_), absl::StatusCode::kNotFound, "stored_top_k_test.top_k/index.json");
  ASSERT_OK(Write(8));
  const auto files = Files();
  const std::string& index = files.at(kTopKIndexFile);
  for (const size_t size : {size_t{0}, index.size() / 2, index.size() - 1}) {
    Put(kTopKIndexFile, index.substr(0, size));
    EXPECT_STATUS(StoredTopK::Open(folder_), absl::StatusCode::kDataLoss, "index.json is damaged");
  }
  Put(kTopKIndexFile, absl::StrReplaceAll(index, {{"grpo.top_k.1", "grpo.top_k.2"}}));
  EXPECT_STATUS(StoredTopK::Open(folder_), absl::StatusCode::kDataLoss, "it is not of format grpo.top_k.1");
  Put(kTopKIndexFile, index);
  Put("00002.safetensors", files.at("00002.safetensors").substr(0, 100));
  EXPECT_STATUS(StoredTopK::Open(folder_), absl::StatusCode::kDataLoss, "00002.safetensors is damaged");
  std::filesystem::remove(folder_ + "/00002.safetensors");
  const absl::Status missing = StoredTopK::Open(folder_).status();
  EXPECT_STATUS(missing, absl::StatusCode::kNotFound, "00002.safetensors is not there");
  EXPECT_THAT(std::string(missing.message()), HasSubstr("run the synthesize stage again, with teacher_top_k"));
}

TEST_F(StoredTopKTest, AShardOfAnotherTeacherOrInAnothersPlaceDoesNotPass) {
  ASSERT_OK(Write(8));
  auto files = Files();
  Put("00001.safetensors", files.at("00000.safetensors"));
  EXPECT_STATUS(StoredTopK::Open(folder_), absl::StatusCode::kDataLoss, "00001.safetensors");
  // With an index that says so.
  origin_.policy_number = 121;
  ASSERT_OK(Write(8));
  const auto other = Files();
  const auto hash = [](const std::map<std::string, std::string>& from) {
    return ParseTopKIndex(from.at(kTopKIndexFile)).value().at(1).sha256;
  };
  Put("00001.safetensors", files.at("00001.safetensors"));
  Put(kTopKIndexFile, absl::StrReplaceAll(other.at(kTopKIndexFile), {{hash(other), hash(files)}}));
  EXPECT_STATUS(StoredTopK::Open(folder_), absl::StatusCode::kDataLoss,
                "00001.safetensors is damaged, it does not go on where the shard before it ends");
}

TEST_F(StoredTopKTest, ATraceThatTheTeacherReadOtherwiseIsRefused) {
  ASSERT_OK(Write(8));
  ASSERT_OK_AND_ASSIGN(const auto stored, StoredTopK::Open(folder_));
  for (const auto change : {+[](TokenizedTrace* trace) { trace->prompt_ids.insert(trace->prompt_ids.begin(), 3); },
                            +[](TokenizedTrace* trace) { trace->completion_ids.push_back(0); },
                            +[](TokenizedTrace* trace) { trace->completion_ids[0] ^= 1; }}) {
    TokenizedTrace trace = Trace(6);
    change(&trace);
    EXPECT_STATUS(stored->Of(6, trace, kTopK), kInvalid, "trace 6 (from 0) is not the one");
  }
  for (const int64_t index : {-1, 5, 7, 8})
    EXPECT_STATUS(stored->Of(index, Trace(6), kTopK), kInvalid, absl::StrCat("trace ", index, " (from 0)"));
}

TEST_F(StoredTopKTest, OnlyAPolicyWithTheTeachersTokensCanLearnFromIt) {
  ASSERT_OK(Write(8));
  ASSERT_OK_AND_ASSIGN(const auto stored, StoredTopK::Open(folder_));
  EXPECT_OK(stored->CheckFits("x", kTopK, *tokenizer_, 5000));
  EXPECT_STATUS(stored->CheckFits("x", kTopK + 1, *tokenizer_, 5000), kInvalid,
                "holds the 5 likeliest tokens, and 6 are asked for");
  EXPECT_STATUS(stored->CheckFits("x", 1, *MakeTokenizer("c"), 5000), kInvalid,
                "tokens of policies.teacher, whose vocabulary is not that of the policy that is trained");
  // The ids are below 5000: a smaller embedding has no row for some.
  EXPECT_STATUS(stored->CheckFits("x", 1, *tokenizer_, 4000), kInvalid, "data.x");
}

TEST_F(StoredTopKTest, AProbabilityThatIsNoNumberIsNotStored) {
  TopKWriter writer(
      folder_, origin_,
      [](const std::vector<TokenizedTrace>& traces) {
        std::vector<TopK> tops = {Teacher(traces[0], kTopK)};
        tops[0].logprobs[2] = std::nanf("");
        return tops;
      },
      [] { return absl::OkStatus(); });
  ASSERT_OK(writer.Add(Trace(0)));
  EXPECT_STATUS(writer.Finish(), absl::StatusCode::kFailedPrecondition,
                "policies.teacher gives a token a log-probability that is not finite");
}

TEST_F(StoredTopKTest, TheFolderLiesBesideTheTraces) {
  EXPECT_EQ(TopKFolder("run/traces/x.jsonl"), "run/traces/x.top_k");
  EXPECT_EQ(TopKFolder("run/out"), "run/out.top_k");
}

}  // namespace
}  // namespace grpo
