#include "model/weights/live_weights.h"

#include <ATen/ATen.h>

#include <algorithm>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "common/sha256.h"
#include "common/status_testing.h"
#include "model/weights/manifest.h"
#include "model/weights/testing.h"
#include "model/weights/weight_set.h"

namespace grpo {
namespace {

constexpr char kTokenizerJson[] = "{\"not\": \"read here\"}";

v1::PolicyRef Student() {
  v1::PolicyRef policy;
  policy.set_policy_id("student");
  policy.set_number(7);
  return policy;
}

// A model of which some tensors are converted in several pieces.
ModelConfig LargeConfig() {
  ModelConfig config = SmallConfig();
  config.num_layers = 1;
  config.intermediate_size = (1 << 18) / config.hidden_size + 3;
  return config;
}

// The same numbers as another model keeps them.
std::unique_ptr<Transformer> Copy(const Transformer& model, Placement placement) {
  auto copy = Transformer::Create(model.config(), placement);
  EXPECT_OK(copy);
  (*copy)->CopyWeights(model);
  return *std::move(copy);
}

std::string Read(const WeightSource::Reader& reader, int64_t offset, int64_t size) {
  std::string bytes(static_cast<size_t>(size), '\xee');
  EXPECT_OK(reader.Read(offset, absl::MakeSpan(bytes)));
  return bytes;
}

// The payload as it is to be, made another way: tensors copied whole.
std::string Expected(const Transformer& model, const std::string& texts) {
  std::string payload = texts;
  for (const auto& [name, tensor] : model.HuggingFaceTensors()) {
    const at::Tensor values = tensor.to(at::kFloat).contiguous();
    payload.append(static_cast<const char*>(values.const_data_ptr()), values.nbytes());
  }
  return payload;
}

TEST(LiveWeightsTest, TheManifestDescribesThePayloadPartByPart) {
  const auto model = MakeRandom(SmallConfig(), 1);
  const Companions companions = {{"chat_template.jinja", "{{ m }}"}, {"generation_config.json", "{}"}};
  ASSERT_OK_AND_ASSIGN(const auto live, LiveWeights::Of(*model, kTokenizerJson, Student(), companions));
  const v1::WeightsManifest& manifest = live->manifest();
  EXPECT_OK(CheckManifest(manifest));
  EXPECT_EQ(manifest.policy().policy_id(), "student");
  EXPECT_EQ(manifest.policy().number(), 7);
  EXPECT_EQ(manifest.compute_dtype(), v1::DTYPE_FLOAT32);
  ASSERT_OK_AND_ASSIGN(const WeightSource::Reader reader, live->Open());
  const auto is_there = [&](const auto& entry, const std::string& name) {
    EXPECT_EQ(Sha256Hex(Read(reader, entry.offset_bytes(), entry.num_bytes())), entry.sha256()) << name;
  };
  is_there(manifest.tokenizer(), "tokenizer");
  for (const v1::CompanionFile& companion : manifest.companions()) is_there(companion.content(), companion.name());
  for (const v1::TensorEntry& tensor : manifest.tensors()) is_there(tensor, tensor.name());
  EXPECT_EQ(Read(reader, 0, manifest.tokenizer().num_bytes()), kTokenizerJson);
  EXPECT_EQ(manifest.companions_size(), 2);
  EXPECT_EQ(manifest.tensors_size(), static_cast<int>(model->HuggingFaceTensors().size()));
}

// Parts, chunks and numbers are all cut through somewhere.
TEST(LiveWeightsTest, AnyPieceIsWhatACopyOfTheWholeHolds) {
  const auto exact = MakeRandom(LargeConfig(), 1);
  for (const at::ScalarType storage : {at::kFloat, at::kBFloat16}) {
    const auto model = Copy(*exact, {.compute = storage, .storage = storage});
    ASSERT_OK_AND_ASSIGN(const auto live,
                         LiveWeights::Of(*model, kTokenizerJson, Student(), {{"chat_template.jinja", "xyz"}}));
    const std::string expected = Expected(*model, std::string(kTokenizerJson) + "xyz");
    ASSERT_EQ(live->manifest().payload_bytes(), static_cast<int64_t>(expected.size()));
    EXPECT_OK(CheckManifest(live->manifest()));
    EXPECT_OK(VerifyWeights(*live));
    ASSERT_OK_AND_ASSIGN(const WeightSource::Reader reader, live->Open());
    EXPECT_TRUE(Read(reader, 0, expected.size()) == expected);
    for (const v1::TensorEntry& tensor : live->manifest().tensors()) {
      // Around its beginning, its end and the first chunk's end.
      for (const int64_t around : {tensor.offset_bytes(), tensor.offset_bytes() + tensor.num_bytes(),
                                   tensor.offset_bytes() + std::min(tensor.num_bytes(), int64_t{4} << 18)}) {
        for (const auto& [before, size] : std::vector<std::pair<int64_t, int64_t>>{{1, 2}, {3, 7}, {5, 5}, {0, 1}}) {
          const int64_t begin = around - before;
          if (begin + size > static_cast<int64_t>(expected.size())) continue;
          EXPECT_EQ(Read(reader, begin, size), expected.substr(begin, size)) << tensor.name() << " at " << begin;
        }
      }
    }
  }
}

TEST(LiveWeightsTest, WhatIsComputedInBfloat16SaysSoAndIsAnotherPolicy) {
  const auto model = MakeRandom(SmallConfig(), 1);
  const auto rounding = Copy(*model, {.compute = at::kBFloat16});
  ASSERT_OK_AND_ASSIGN(const auto exact, LiveWeights::Of(*model, kTokenizerJson, Student()));
  ASSERT_OK_AND_ASSIGN(const auto rounded, LiveWeights::Of(*rounding, kTokenizerJson, Student()));
  EXPECT_EQ(rounded->manifest().compute_dtype(), v1::DTYPE_BFLOAT16);
  EXPECT_EQ(rounded->manifest().tensors(0).sha256(), exact->manifest().tensors(0).sha256()) << "the same bytes";
  EXPECT_NE(rounded->manifest().digest(), exact->manifest().digest());
}

// A part without bytes is in nobody's way.
TEST(LiveWeightsTest, AnEmptyTokenizerOrCompanionIsSkipped) {
  const auto model = MakeRandom(SmallConfig(), 1);
  ASSERT_OK_AND_ASSIGN(const auto live, LiveWeights::Of(*model, "", Student(), {{"chat_template.jinja", ""}}));
  EXPECT_OK(CheckManifest(live->manifest()));
  EXPECT_OK(VerifyWeights(*live));
  ASSERT_OK_AND_ASSIGN(const WeightSource::Reader reader, live->Open());
  const std::string expected = Expected(*model, "");
  EXPECT_EQ(Read(reader, 0, 9), expected.substr(0, 9));
  EXPECT_EQ(Read(reader, 0, 0), "");
  EXPECT_EQ(Read(reader, expected.size(), 0), "");
}

TEST(LiveWeightsTest, NothingBeyondThePayloadIsRead) {
  const auto model = MakeRandom(SmallConfig(), 1);
  ASSERT_OK_AND_ASSIGN(const auto live, LiveWeights::Of(*model, kTokenizerJson, Student()));
  ASSERT_OK_AND_ASSIGN(const WeightSource::Reader reader, live->Open());
  const int64_t size = live->manifest().payload_bytes();
  std::string bytes(8, '\0');
  for (const int64_t offset : {size - 7, size, size + 1, int64_t{-1}})
    EXPECT_EQ(reader.Read(offset, absl::MakeSpan(bytes)).code(), absl::StatusCode::kOutOfRange) << offset;
  EXPECT_OK(reader.Read(size - 8, absl::MakeSpan(bytes)));
}

TEST(LiveWeightsTest, WhatIsNoCompanionIsRefused) {
  const auto model = MakeRandom(SmallConfig(), 1);
  EXPECT_STATUS(LiveWeights::Of(*model, kTokenizerJson, Student(), {{"setup.py", "import os"}}),
                absl::StatusCode::kInvalidArgument, "\"setup.py\" is not a file that travels with a model");
  EXPECT_STATUS(LiveWeights::Of(*model, kTokenizerJson, Student(), {{"generation_config.json", "{"}}),
                absl::StatusCode::kInvalidArgument, "generation_config.json");
}

// A model that is gone takes nothing from whoever reads it: the tensors are shared.
TEST(LiveWeightsTest, TheWeightsOutliveTheModel) {
  auto model = MakeRandom(SmallConfig(), 1);
  const std::string expected = Expected(*model, kTokenizerJson);
  ASSERT_OK_AND_ASSIGN(const auto live, LiveWeights::Of(*model, kTokenizerJson, Student()));
  model.reset();
  ASSERT_OK_AND_ASSIGN(const WeightSource::Reader reader, live->Open());
  EXPECT_TRUE(Read(reader, 0, expected.size()) == expected);
}

TEST(LiveWeightsTest, ManyReadersReadTheSame) {
  const auto model = MakeRandom(SmallConfig(), 1);
  const std::string expected = Expected(*model, kTokenizerJson);
  ASSERT_OK_AND_ASSIGN(const auto live, LiveWeights::Of(*model, kTokenizerJson, Student()));
  std::vector<std::string> read(4, std::string(expected.size(), '\0'));
  std::vector<std::thread> threads;
  for (size_t i = 0; i < read.size(); ++i) {
    threads.emplace_back([&, i] {
      const auto reader = live->Open();
      ASSERT_OK(reader);
      const size_t step = 997 * (i + 1);
      for (size_t offset = 0; offset < expected.size(); offset += step) {
        EXPECT_OK(reader->Read(offset, absl::MakeSpan(&read[i][offset], std::min(step, expected.size() - offset))));
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  for (const std::string& bytes : read) EXPECT_TRUE(bytes == expected);
}

}  // namespace
}  // namespace grpo
