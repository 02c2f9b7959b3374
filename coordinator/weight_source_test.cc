#include "coordinator/weight_source.h"

#include <atomic>
#include <thread>
#include <vector>

#include "common/status_testing.h"
#include "coordinator/testing.h"

namespace grpo {
namespace {

// Bytes that their owner changes: all of them are the same at any time, as one version's are.
class ChangingBytes : public WeightSource {
 public:
  static constexpr int64_t kSize = 1 << 16;
  ChangingBytes(int64_t number, std::vector<char>* bytes) : WeightSource(Manifest(number)), bytes_(bytes) {}

 private:
  static v1::WeightsManifest Manifest(int64_t number) {
    v1::WeightsManifest manifest;
    manifest.mutable_policy()->set_policy_id("model");
    manifest.mutable_policy()->set_number(number);
    manifest.set_payload_bytes(kSize);
    return manifest;
  }
  absl::Status Copy(int64_t offset, absl::Span<char> out) const override {
    std::copy_n(bytes_->data() + offset, out.size(), out.data());
    return absl::OkStatus();
  }
  const std::vector<char>* const bytes_;
};

TEST(WeightSourceTest, ReadsAnyPartAndNothingBeyond) {
  const auto source = TestWeights(7, "payload");
  ASSERT_OK_AND_ASSIGN(const WeightSource::Reader reader, source->Open());
  std::string part(4, ' ');
  ASSERT_OK(reader.Read(3, absl::MakeSpan(part)));
  EXPECT_EQ(part, "load");
  EXPECT_OK(reader.Read(7, {})) << "nothing is missing but the end";
  for (const int64_t offset : {int64_t{-1}, int64_t{4}, int64_t{8}, INT64_MAX})
    EXPECT_STATUS(reader.Read(offset, absl::MakeSpan(part)), absl::StatusCode::kOutOfRange, "payload of 7 bytes");
}

TEST(WeightSourceTest, WithoutReadersItIsRetiredAtOnceAndTakesNoMore) {
  std::vector<char> bytes(ChangingBytes::kSize);
  ChangingBytes source(7, &bytes);
  { ASSERT_OK_AND_ASSIGN(const WeightSource::Reader reader, source.Open()); }
  EXPECT_LT(source.Retire(absl::InfiniteDuration()), absl::Hours(1)) << "it returned";
  EXPECT_STATUS(source.Open(), absl::StatusCode::kUnavailable, "version 7 of policy model is being trained on");
}

TEST(WeightSourceTest, ItsOwnerWaitsForAReaderToEnd) {
  std::vector<char> bytes(ChangingBytes::kSize, 'a');
  ChangingBytes source(7, &bytes);
  absl::StatusOr<WeightSource::Reader> reader = source.Open();
  ASSERT_OK(reader);
  std::atomic<bool> changed = false;
  std::thread owner([&] {
    source.Retire(absl::InfiniteDuration());
    changed = true;
    std::fill(bytes.begin(), bytes.end(), 'b');
  });
  // The owner is waiting as soon as nobody else is let in.
  while (source.Open().ok()) std::this_thread::yield();
  std::string all(ChangingBytes::kSize, ' ');
  for (int64_t offset = 0; offset < ChangingBytes::kSize; offset += 1 << 12)
    ASSERT_OK(reader->Read(offset, absl::MakeSpan(&all[offset], 1 << 12)));
  EXPECT_FALSE(changed);
  EXPECT_EQ(all, std::string(ChangingBytes::kSize, 'a'));
  { const WeightSource::Reader last = *std::move(reader); }
  owner.join();
  EXPECT_TRUE(changed);
}

TEST(WeightSourceTest, AReaderThatNeverEndsIsCutOff) {
  std::vector<char> bytes(ChangingBytes::kSize);
  ChangingBytes source(7, &bytes);
  ASSERT_OK_AND_ASSIGN(const WeightSource::Reader hostile, source.Open());
  EXPECT_GE(source.Retire(absl::Milliseconds(1)), absl::Milliseconds(1));
  char byte = 0;
  EXPECT_STATUS(hostile.Read(0, absl::MakeSpan(&byte, 1)), absl::StatusCode::kUnavailable,
                "pull the version that follows");
}

// What the thread sanitizer looks at, too: a version after the other in the same memory, read by several threads.
TEST(WeightSourceTest, WhatWasReadIsOfOneVersionHoweverManyReadWhileItChanges) {
  constexpr int kVersions = 200, kReaders = 3;
  std::vector<char> bytes(ChangingBytes::kSize, 0);
  absl::Mutex mutex;
  auto source = std::make_shared<ChangingBytes>(0, &bytes);
  std::atomic<bool> ended = false;
  std::atomic<int64_t> num_whole = 0;
  std::vector<std::thread> readers;
  for (int i = 0; i < kReaders; ++i) {
    readers.emplace_back([&] {
      std::string all(ChangingBytes::kSize, ' ');
      while (!ended) {
        std::shared_ptr<ChangingBytes> newest;
        {
          absl::MutexLock lock(&mutex);
          newest = source;
        }
        const absl::StatusOr<WeightSource::Reader> reader = newest->Open();
        bool whole = reader.ok();
        for (int64_t offset = 0; whole && offset < ChangingBytes::kSize; offset += 1 << 13)
          whole = reader->Read(offset, absl::MakeSpan(&all[offset], 1 << 13)).ok();
        if (!whole) continue;
        const char version = static_cast<char>(newest->manifest().policy().number());
        ASSERT_EQ(all, std::string(ChangingBytes::kSize, version));
        ++num_whole;
      }
    });
  }
  for (int version = 1; version <= kVersions || num_whole == 0; ++version) {
    // Some are cut off, most are waited for.
    source->Retire(version % 4 == 0 ? absl::ZeroDuration() : absl::InfiniteDuration());
    std::fill(bytes.begin(), bytes.end(), static_cast<char>(version));
    absl::MutexLock lock(&mutex);
    source = std::make_shared<ChangingBytes>(version, &bytes);
  }
  ended = true;
  for (std::thread& reader : readers) reader.join();
}

}  // namespace
}  // namespace grpo
