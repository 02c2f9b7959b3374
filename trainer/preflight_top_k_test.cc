// Stored top-k that a stage asks for: refused before anything starts when nobody will have written it.
#include <filesystem>
#include <map>
#include <memory>

#include "absl/strings/str_cat.h"
#include "common/files.h"
#include "common/sha256.h"
#include "common/status_testing.h"
#include "trainer/disk_need.h"
#include "trainer/preflight.h"
#include "trainer/stage/step_source.h"
#include "trainer/stage/testing.h"
#include "trainer/stage/top_k_writer.h"

namespace grpo {
namespace {

constexpr auto kInvalid = absl::StatusCode::kInvalidArgument;
constexpr char kWrite[] =
    "  - {name: write, type: synthesize, policy: model, data: problems, rewards: rules, problems: 20, export_to: out, "
    "teacher_top_k: 8}\n";
constexpr char kLearn[] =
    "  - {name: learn, type: train, algorithm: sft, policy: model, data: written, steps: 2, traces_per_step: 2}\n";
constexpr char kTraces[] = "{\"problem\": \"H1\", \"completion\": \"2\", \"answer\": \"2\"}\n";

// Reads what the test says, and is nothing else.
class Reads : public Stage {
 public:
  explicit Reads(DataUse use) : use_(std::move(use)) {}
  std::vector<Reference> references() const override {
    return {{.key = "policy", .section = "policies", .value = use_.policy, .required = true}};
  }
  StageCost cost() const override { return {}; }
  std::vector<DataUse> reads() const override { return {use_}; }
  absl::StatusOr<StageReport> Run(StageContext&, StageCursor) const override {
    return absl::UnimplementedError("a use of data only");
  }

 private:
  const DataUse use_;
};

class PreflightTopKTest : public ::testing::Test {
 protected:
  void SetUp() override { std::filesystem::remove_all(folder_); }
  void TearDown() override { std::filesystem::remove_all(folder_); }

  // Stage `learn` asks for `k` entries beside `data`, for `policy`.
  void Load(int64_t k, const std::vector<std::string>& overrides = {}, const std::string& data = "written",
            const std::string& policy = "model", const std::string& stages = absl::StrCat(kWrite, kLearn)) {
    ASSERT_OK_AND_ASSIGN(loaded_, LoadTestConfig(folder_, stages, overrides));
    loaded_.config.stages.back().stage = std::make_shared<Reads>(DataUse{
        .kind = DataUse::Kind::kTraces, .reader = "algorithm test", .data = data, .policy = policy, .stored_top_k = k});
    preflight_ = std::make_unique<Preflight>(loaded_.config);
  }
  absl::Status Ahead(int64_t first_stage = 0) { return preflight_->CheckAhead(Files(), first_stage).status(); }
  RunFiles Files() const { return {loaded_.config, folder_, loaded_.data_sha256, {{"out", Sha256Hex(kTraces)}}}; }

  // What stage `write` leaves.
  void WriteStored() {
    ASSERT_OK(WriteFileAtomically(folder_ + "/out", kTraces));
    ASSERT_OK_AND_ASSIGN(const PolicyShape* const shape, preflight_->Shape("model"));
    TopKWriter writer(
        folder_ + "/out.top_k",
        {.k = 8,
         .policy = "model",
         .vocabulary_sha256 = VocabularyDigest(*shape->tokenizer),
         .traces_sha256 = Sha256Hex(kTraces)},
        [](const std::vector<TokenizedTrace>& traces) {
          const size_t size = traces[0].completion_ids.size() * 8;
          return std::vector<TopK>{{.ids = std::vector<uint32_t>(size, 1), .logprobs = std::vector<float>(size, -3)}};
        },
        [] { return absl::OkStatus(); });
    ASSERT_OK_AND_ASSIGN(const auto data, Files().OpenData("written"));
    ASSERT_OK(writer.Add(TokenizeTrace(data->At(0), *shape->tokenizer, EndToken(shape->config)).value()));
    ASSERT_OK(writer.Finish());
  }

  const std::string folder_ = ::testing::TempDir() + "/preflight_top_k_test";
  LoadedConfig loaded_;
  std::unique_ptr<Preflight> preflight_;
};

TEST_F(PreflightTopKTest, AnEarlierStageHasToStoreAsMuch) {
  for (const int64_t k : {0, 1, 8}) {
    Load(k);
    EXPECT_OK(Ahead());
  }
  Load(9);
  EXPECT_STATUS(Ahead(), kInvalid,
                "stage learn: algorithm test asks for the 9 likeliest tokens of a teacher, stored beside data.written, "
                "and teacher_top_k of stage write is 8: set it to 9 or more");
  Load(8, {"stages.write.teacher_top_k=0"});
  EXPECT_STATUS(Ahead(), kInvalid, "teacher_top_k of stage write is 0: set it to 8 or more");
}

TEST_F(PreflightTopKTest, DataThatNoStageWritesHaveNoneBesideThem) {
  Load(1, {}, "traces");
  EXPECT_STATUS(Ahead(), kInvalid, "data.traces, which is no artifact that a synthesize stage before it writes");
  Load(1, {"data.both={source: mix, mix: {written: 0.5, traces: 0.5}}"}, "both");
  EXPECT_STATUS(Ahead(), kInvalid, "name such an entry, and no mix");
}

TEST_F(PreflightTopKTest, ATeacherWithOtherTokensIsRefusedByWhatTheyAre) {
  ASSERT_OK(MakeFolders(folder_));
  ASSERT_OK_AND_ASSIGN(std::string tokenizer, ReadFile("configs/tokenizers/chickens_rabbits.json"));
  // As many tokens, and one that reads otherwise.
  const size_t at = tokenizer.find("</answer>");
  ASSERT_NE(at, std::string::npos);
  for (size_t next = at; next != std::string::npos; next = tokenizer.find("</answer>", next))
    tokenizer.replace(next, 9, "</ANSWER>");
  ASSERT_OK(WriteFileAtomically(folder_ + "/other.json", tokenizer));
  const auto student = [](const std::string& file) {
    return absl::StrCat("policies.student={random_init: {tokenizer: ", file,
                        ", hidden_size: 8, intermediate_size: 12, num_layers: 1, num_heads: 2, num_kv_heads: 1}}");
  };
  Load(8, {student("tokenizer.json")}, "written", "student");
  EXPECT_OK(Ahead());
  Load(8, {student("other.json")}, "written", "student");
  EXPECT_STATUS(Ahead(), kInvalid, "policies.model, whose they are, has not the tokens of policies.student");
}

TEST_F(PreflightTopKTest, MoreThanThePolicyHasTokensCannotBeStored) {
  Load(0, {"stages.write.teacher_top_k=58"});
  EXPECT_OK(Ahead());
  Load(0, {"stages.write.teacher_top_k=64"});
  EXPECT_STATUS(Ahead(), kInvalid, "stage write: teacher_top_k is 64, and policies.model has 58 tokens: lower it");
}

// Before the stage begins, and already when a run goes on behind the stage that wrote them.
TEST_F(PreflightTopKTest, FilesThatAreMissingOrDamagedAreNamed) {
  Load(8);
  ASSERT_OK(WriteFileAtomically(folder_ + "/out", kTraces));
  EXPECT_STATUS(preflight_->CheckBefore(Files(), 1), absl::StatusCode::kNotFound, "out.top_k/index.json");
  EXPECT_STATUS(Ahead(1), absl::StatusCode::kNotFound, "stage learn: ");
  WriteStored();
  EXPECT_OK(preflight_->CheckBefore(Files(), 1));
  EXPECT_OK(Ahead(1));
  const std::string shard = folder_ + "/out.top_k/00000.safetensors";
  ASSERT_OK_AND_ASSIGN(std::string content, ReadFile(shard));
  content.back() ^= 1;
  ASSERT_OK(WriteFileAtomically(shard, content));
  EXPECT_STATUS(preflight_->CheckBefore(Files(), 1), absl::StatusCode::kDataLoss, "00000.safetensors is damaged");
  EXPECT_STATUS(Ahead(1), absl::StatusCode::kDataLoss, "00000.safetensors is damaged");
  // Who does not ask does not care.
  Load(0);
  EXPECT_OK(Ahead(1));
}

TEST_F(PreflightTopKTest, TheDiskHoldsWhatIsStoredOfEverySampleAtFullLength) {
  Load(8, {"stages.write.samples_per_problem=3", "stages.write.sampling.max_new_tokens=10"});
  ASSERT_OK_AND_ASSIGN(const double with, DiskNeed(loaded_.config, *preflight_));
  EXPECT_EQ(with, static_cast<double>(MaxTopKBytes(8, 20 * 3 * 10)));
  Load(0, {"stages.write.teacher_top_k=0"});
  EXPECT_EQ(*DiskNeed(loaded_.config, *preflight_), 0);
}

}  // namespace
}  // namespace grpo
