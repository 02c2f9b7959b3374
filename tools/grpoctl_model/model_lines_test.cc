#include "tools/grpoctl_model/model_lines.h"

#include <gtest/gtest.h>

#include <nlohmann/json.hpp>
#include <sstream>

#include "common/files.h"
#include "common/status_testing.h"
#include "model/weights/folder.h"
#include "tools/grpoctl_model/model_folder.h"

namespace grpo {
namespace {

using nlohmann::json;

std::vector<json> Lines(const std::ostringstream& out) {
  std::vector<json> lines;
  std::istringstream in(out.str());
  for (std::string line; std::getline(in, line);) lines.push_back(json::parse(line));
  return lines;
}

class ModelLinesTest : public testing::Test {
 protected:
  void SetUp() override {
    folder_ = testing::TempDir() + "/model_lines";
    ModelConfig config;
    config.vocab_size = 60;  // two more than the tokenizer has, as padded embeddings are
    config.hidden_size = 32;
    config.intermediate_size = 48;
    config.num_layers = 2;
    config.num_heads = 2;
    config.num_kv_heads = 1;
    config.head_dim = 16;
    config.max_positions = 40;
    config.eos_token_ids = {1};
    const auto model = Transformer::Create(config);
    ASSERT_OK(model);
    (*model)->InitializeRandom(4);
    ASSERT_OK_AND_ASSIGN(const std::string tokenizer, ReadFile("configs/tokenizers/chickens_rabbits.json"));
    ASSERT_OK(ExportFolder(**model, tokenizer, {}, folder_));
    loaded_ = Load();
  }

  LoadedModel Load() {
    auto loaded = LoadModel(folder_, "", {});
    EXPECT_OK(loaded);
    return *std::move(loaded);
  }

  std::vector<json> Generate(const std::string& input, const GenerateOptions& options, int64_t num_errors = 0) {
    std::istringstream in(input);
    std::ostringstream out;
    EXPECT_EQ(GenerateLines(in, out, Load().model, *loaded_.tokenizer, options), num_errors);
    return Lines(out);
  }

  std::string folder_;
  LoadedModel loaded_;
};

TEST_F(ModelLinesTest, TokenizeGivesIdsAndTheTextBack) {
  std::istringstream in("{\"id\":1,\"text\":\"H35 L94\"}\n{\"text\":\"~\"}\n[]\n{\"text\":3}\n");
  std::ostringstream out;
  EXPECT_EQ(TokenizeLines(in, out, *loaded_.tokenizer), 3);
  const std::vector<json> lines = Lines(out);
  EXPECT_EQ(lines[0], json::parse(R"({"id":1,"ids":[30,11,13,7,31,17,12],"decoded":"H35 L94"})"));
  EXPECT_EQ(lines[1]["error"], "line 2: the vocabulary has no token for the character \"~\" at byte 0");
  EXPECT_EQ(lines[2]["error"], "line 3: this is no JSON object");
  EXPECT_EQ(lines[3]["error"], "line 4: \"text\" is no text but number");
}

TEST_F(ModelLinesTest, GreedyLogprobsAreThoseOfTheForwardPass) {
  const std::vector<json> generated =
      Generate("{\"ids\":[30,11]}\n{\"prompt\":\"H3\"}\n", {.max_new_tokens = 12, .temperature = 0});
  EXPECT_EQ(generated[0]["completions"], generated[1]["completions"]) << "H3 is 30, 11";
  const json completion = generated[0]["completions"][0];
  std::vector<int64_t> ids = {30, 11};
  for (const json& id : completion["ids"]) ids.push_back(id);
  std::istringstream in(json{{"ids", ids}}.dump() + "\n{\"ids\":[7]}\n{\"ids\":[1,60]}\n{\"ids\":[1,-1]}\n{}\n" +
                        json{{"ids", std::vector<int>(42, 1)}}.dump());
  std::ostringstream out;
  EXPECT_EQ(LogprobLines(in, out, *loaded_.model), 4);
  const std::vector<json> lines = Lines(out);
  ASSERT_EQ(lines[0]["logprobs"].size(), ids.size() - 1);
  for (size_t t = 0; t < completion["ids"].size(); ++t) {
    EXPECT_NEAR(lines[0]["logprobs"][t + 1].get<double>(), completion["logprobs"][t].get<double>(), 1e-5) << t;
  }
  EXPECT_EQ(lines[1]["logprobs"], json::array());
  EXPECT_EQ(lines[2]["error"], "line 3: \"ids\" holds 60, expected token ids from 0 to 59");
  EXPECT_EQ(lines[3]["error"], "line 4: \"ids\" holds -1, expected token ids from 0 to 59");
  EXPECT_EQ(lines[4]["error"], "line 5: \"ids\" is missing");
  EXPECT_EQ(lines[5]["error"], "line 6: \"ids\" holds 42 tokens, and the model reads 40 at most");
}

TEST_F(ModelLinesTest, ALinesCompletionsDependOnSeedAndLineOnly) {
  GenerateOptions options = {.max_new_tokens = 9, .seed = 3, .num_completions = 4, .slots = 2};
  const std::vector<json> together = Generate("{\"prompt\":\"H3\"}\n{\"prompt\":\"H35 L9\"}\n", options);
  // Other neighbours and another number of slots.
  options.slots = 5;
  const std::vector<json> again = Generate("{\"prompt\":\"L\"}\n{\"id\":\"x\",\"prompt\":\"H35 L9\"}\n", options);
  ASSERT_EQ(together[1]["completions"].size(), 4u);
  for (size_t i = 0; i < 4; ++i) EXPECT_EQ(again[1]["completions"][i]["ids"], together[1]["completions"][i]["ids"]);
  EXPECT_EQ(again[1]["id"], "x");
  EXPECT_NE(together[1]["completions"][0]["ids"], together[1]["completions"][1]["ids"]);
  options.seed = 4;
  EXPECT_NE(Generate("{}\n{\"prompt\":\"H35 L9\"}\n", options, 1)[1]["completions"], together[1]["completions"]);
}

TEST_F(ModelLinesTest, APromptThatDoesNotFitIsAnErrorOfItsLine) {
  const std::vector<json> lines =
      Generate("{\"ids\":[]}\n{\"prompt\":\"H3\"}\n{\"ids\":[1,2,3]}\n", {.max_new_tokens = 38}, 2);
  EXPECT_EQ(lines[0]["error"], "line 1: the prompt has no tokens");
  EXPECT_EQ(lines[1]["completions"].size(), 1u);
  EXPECT_EQ(lines[2]["error"], "line 3: prompt and --max-new-tokens are 41 tokens, and the model reads 40 at most");
}

TEST_F(ModelLinesTest, InspectSaysTheShape) {
  const json shape = json::parse(ModelJson(loaded_));
  EXPECT_EQ(shape["family"], "qwen2");
  EXPECT_EQ(shape["vocab_size"], 60);
  EXPECT_EQ(shape["tokenizer_vocab_size"], 58);
  EXPECT_EQ(shape["num_parameters"], loaded_.model->config().NumParameters());
  EXPECT_EQ(shape["bos_token_id"], nullptr);
  EXPECT_NE(ModelTable(loaded_).find("eos_token_ids         1 <eos>\n"), std::string::npos) << ModelTable(loaded_);
}

TEST_F(ModelLinesTest, AFolderHasNoPoliciesToChooseFrom) {
  EXPECT_STATUS(LoadModel(folder_, "base", {}), absl::StatusCode::kInvalidArgument, "is no checkpoint of a run");
  EXPECT_STATUS(LoadModel(folder_ + "/none", "", {}), absl::StatusCode::kNotFound, "config.json");
}

}  // namespace
}  // namespace grpo
