#include "data/sources.h"

#include <filesystem>
#include <fstream>
#include <map>
#include <set>
#include <utility>

#include "absl/strings/str_cat.h"
#include "common/files.h"
#include "common/sha256.h"
#include "common/status_testing.h"
#include "data/shuffled_reader.h"
#include "data/sources_testing.h"
#include "gmock/gmock.h"
#include "proto/coordinator.pb.h"

namespace grpo {
namespace {

using ::testing::ElementsAre;

constexpr auto kInvalid = absl::StatusCode::kInvalidArgument;
constexpr auto kBadData = absl::StatusCode::kDataLoss;

absl::StatusOr<std::unique_ptr<DataSource>> Jsonl(const std::string& content, const std::string& keys = "") {
  std::ofstream(::testing::TempDir() + "/problems.jsonl", std::ios::binary) << content;
  return Make("jsonl", absl::StrCat("path: problems.jsonl", keys.empty() ? "" : ", ", keys));
}

TEST(MakeDataSource, NamesTheNearestSource) {
  EXPECT_STATUS(Make("jsnl", ""), kInvalid, "jsonl");
  EXPECT_STATUS(Make("chickens_rabbits", "splitt: train"), kInvalid, "split");
}

TEST(ListDataSources, DescribesEachOne) {
  std::vector<std::string> names;
  for (const DataSourceInfo& info : ListDataSources()) {
    names.push_back(info.name);
    EXPECT_FALSE(info.summary.empty());
    EXPECT_FALSE(info.reference_table.empty());
  }
  EXPECT_THAT(names, ElementsAre("file", "jsonl", "mix", "union", "chickens_rabbits", "chickens_rabbits_corpus"));
}

TEST(ChickensRabbits, HoldsOutAFifthOfAllProblems) {
  ASSERT_OK_AND_ASSIGN(const auto train, Make("chickens_rabbits", ""));
  ASSERT_OK_AND_ASSIGN(const auto held_out, Make("chickens_rabbits", "split: held_out"));
  EXPECT_EQ(train->size(), 939);
  EXPECT_EQ(held_out->size(), 234);
  std::set<std::string> texts;
  std::map<int, int> held_out_by_last_digit_of_legs;
  for (const DataSource* source : {train.get(), held_out.get()}) {
    for (int64_t i = 0; i < source->size(); ++i) {
      const v1::Prompt prompt = source->At(i).prompt;
      EXPECT_EQ(prompt.id(), absl::StrCat(source == train.get() ? "train/" : "held_out/", i));
      const int heads = static_cast<int>(prompt.metadata().fields().at("heads").number_value());
      const int rabbits = static_cast<int>(prompt.metadata().fields().at("rabbits").number_value());
      EXPECT_EQ(prompt.text(), absl::StrCat("Q:H", heads, " L", 2 * (heads - rabbits) + 4 * rabbits, "\nA:"));
      EXPECT_EQ(prompt.answer(), absl::StrCat(rabbits));
      EXPECT_TRUE(heads >= 4 && heads <= 49 && rabbits >= 1 && rabbits < heads);
      texts.insert(prompt.text());
      if (source == held_out.get()) ++held_out_by_last_digit_of_legs[(2 * heads + 2 * rabbits) % 10];
    }
  }
  EXPECT_EQ(texts.size(), 1173u);
  // No class of problems is held out as a whole: five last digits, about 47 each.
  ASSERT_EQ(held_out_by_last_digit_of_legs.size(), 5u);
  for (const auto& [digit, count] : held_out_by_last_digit_of_legs) EXPECT_NEAR(count, 47, 25) << digit;
}

TEST(ChickensRabbits, TheSplitFollowsItsSeed) {
  ASSERT_OK_AND_ASSIGN(const auto one, Make("chickens_rabbits", "split: held_out"));
  ASSERT_OK_AND_ASSIGN(const auto other, Make("chickens_rabbits", "split: held_out, split_seed: 1"));
  int num_equal = 0;
  for (int64_t i = 0; i < 234; ++i) num_equal += one->At(i).prompt.text() == other->At(i).prompt.text();
  EXPECT_LT(num_equal, 10);
  // 4 heads with 1 to 3 rabbits; a fifth of 3 is none.
  ASSERT_OK_AND_ASSIGN(const auto tiny, Make("chickens_rabbits", "max_heads: 5"));
  EXPECT_EQ(tiny->size(), 3);
  EXPECT_STATUS(Make("chickens_rabbits", "max_heads: 5, split: held_out"), kInvalid, "held_out has no problem left");
}

TEST(ChickensRabbits, ValidationIsTakenFromTheTrainingSplitAlone) {
  std::set<std::string> texts;
  ASSERT_OK_AND_ASSIGN(const auto held_out, Make("chickens_rabbits", "split: held_out"));
  for (const char* name : {"train", "held_out", "validation"}) {
    ASSERT_OK_AND_ASSIGN(const auto split,
                         Make("chickens_rabbits", absl::StrCat("validation_frac: 0.1, split: ", name)));
    for (int64_t i = 0; i < split->size(); ++i) {
      EXPECT_TRUE(texts.insert(split->At(i).prompt.text()).second) << name;
      if (std::string(name) == "held_out") {
        EXPECT_EQ(split->At(i).prompt.text(), held_out->At(i).prompt.text());
      }
    }
    EXPECT_EQ(split->size(), std::string(name) == "train" ? 822 : std::string(name) == "held_out" ? 234 : 117);
    EXPECT_EQ(split->At(0).prompt.id(), absl::StrCat(name, "/0"));
  }
  EXPECT_EQ(texts.size(), 1173u);
  EXPECT_STATUS(Make("chickens_rabbits", "split: validation"), kInvalid, "change validation_frac");
  EXPECT_STATUS(Make("chickens_rabbits", "held_out_frac: 0.9, validation_frac: 0.9"), kInvalid, "train has no problem");
  EXPECT_STATUS(Make("chickens_rabbits_corpus", "held_out_frac: 0.9, validation_frac: 0.9"), kInvalid,
                "leaves no problem to the training split");
}

TEST(JsonlTest, ReadsProblemsAndKeepsTheOtherFields) {
  ASSERT_OK_AND_ASSIGN(const auto source,
                       Jsonl("\xef\xbb\xbf{\"problem\": \"1+1?\", \"answer\": \"2\", \"id\": \"a\", \"level\": 3}\r\n"
                             "\n  \n"
                             "{\"problem\": \"\xc3\xa9?\", \"answer\": -7, \"tags\": [\"x\", {\"deep\": null}]}"));
  ASSERT_EQ(source->size(), 2);
  const v1::Prompt first = source->At(0).prompt;
  EXPECT_EQ(first.id(), "a");
  EXPECT_EQ(first.text(), "1+1?");
  EXPECT_EQ(first.answer(), "2");
  EXPECT_EQ(first.metadata().fields().at("level").number_value(), 3);
  EXPECT_EQ(first.metadata().fields_size(), 1);
  const v1::Prompt second = source->At(1).prompt;
  EXPECT_EQ(second.id(), "line/4");
  EXPECT_EQ(second.text(), "\xc3\xa9?");
  EXPECT_EQ(second.answer(), "-7");
  EXPECT_EQ(second.metadata().fields().at("tags").list_value().values_size(), 2);
}

TEST(JsonlTest, ReadsCompletionsToLearnFrom) {
  ASSERT_OK_AND_ASSIGN(
      const auto source,
      Jsonl("{\"problem\": \"1+1\", \"answer\": \"2\", \"completion\": \"so 2\", \"policy_number\": 7}\n"
            "{\"problem\": \"2+2\", \"answer\": \"4\"}"));
  EXPECT_EQ(source->At(0).completion, "so 2");
  EXPECT_EQ(source->At(0).prompt.metadata().fields_size(), 1);
  EXPECT_EQ(source->At(1).completion, "");
}

TEST(JsonlTest, ItsContentIsTheFilesBytes) {
  const std::string line = "{\"problem\": \"p\", \"answer\": \"1\"}";
  ASSERT_OK_AND_ASSIGN(const auto source, Jsonl(line));
  EXPECT_EQ(source->content_sha256(), Sha256Hex(line));
  ASSERT_OK_AND_ASSIGN(const auto changed, Jsonl(line + "\n"));
  EXPECT_EQ(changed->content_sha256(), Sha256Hex(line + "\n"));
  ASSERT_OK_AND_ASSIGN(const auto generated, Make("chickens_rabbits", ""));
  EXPECT_EQ(generated->content_sha256(), "");
}

TEST(JsonlTest, FillsTheTemplateAndReadsFieldsUnderOtherNames) {
  ASSERT_OK_AND_ASSIGN(
      const auto source,
      Jsonl("{\"q\": \"How many?\", \"gold\": \"5\", \"hint\": \"count\", \"uid\": 12}",
            "problem_field: q, answer_field: gold, id_field: uid, template: \"Q: {problem} ({hint}) {{}}\\nA:\""));
  const v1::Prompt prompt = source->At(0).prompt;
  EXPECT_EQ(prompt.text(), "Q: How many? (count) {}\nA:");
  EXPECT_EQ(prompt.answer(), "5");
  EXPECT_EQ(prompt.id(), "12");
  EXPECT_EQ(prompt.metadata().fields().at("hint").string_value(), "count");
  ASSERT_OK_AND_ASSIGN(const auto no_answers, Jsonl("{\"problem\": \"Write.\"}", "answer_field: \"\""));
  EXPECT_EQ(no_answers->At(0).prompt.answer(), "");
  EXPECT_STATUS(Jsonl("{}", "template: \"{problem\""), kInvalid, "\"{\" at byte 0");
  EXPECT_STATUS(Jsonl("{}", "template: \"}\""), kInvalid, "write it twice");
}

TEST(JsonlTest, ABadLineIsNamedWithItsNumber) {
  const std::string good = "{\"problem\": \"p\", \"answer\": \"1\", \"id\": \"x\"}\n";
  const std::pair<std::string, std::string> cases[] = {
      {"{\"problem\": oops}", "not JSON: byte 13: syntax error"},
      {"{\"problem\": \"\xff\", \"answer\": \"1\"}", "ill-formed UTF-8"},
      {"{\"problem\": \"p\", \"answer\": 1e999}", "not JSON: byte 32: number overflow"},
      {"[1, 2]", "no object"},
      {"{\"problem\": \"p\"}", "no field \"answer\": set answer_field"},
      {"{\"problem\": \"p\", \"answer\": null}", "\"answer\" is null"},
      {"{\"problem\": \"p\", \"answer\": 123456789012345678901234567890}", "too large to keep all its digits"},
      {"{\"answer\": \"1\"}", "no text in field \"problem\""},
      {"{\"problem\": \"\", \"answer\": \"1\"}", "no text in field \"problem\""},
      {"{\"problem\": \"p\", \"problem\": \"q\", \"answer\": \"1\"}", "\"problem\" stands there twice"},
      {"{\"problem\": \"p\", \"answer\": \"1\", \"id\": \"x\"}", "the id \"x\" is that of line 1 already"},
      {std::string(300, ' ').replace(0, 1, "{").replace(299, 1, "}"), "has 300 bytes, allowed are 200"},
  };
  for (const auto& [line, message] : cases) {
    const auto source = Jsonl(good + line, "max_line_bytes: 200");
    EXPECT_STATUS(source, kBadData, message);
    EXPECT_STATUS(source, kBadData, "problems.jsonl:2: ");
    EXPECT_STATUS(source, kBadData, "skip_bad_lines: true");
    ASSERT_OK_AND_ASSIGN(const auto skipped, Jsonl(good + line, "max_line_bytes: 200, skip_bad_lines: true"));
    EXPECT_EQ(skipped->size(), 1);
  }
  EXPECT_STATUS(Jsonl(good, "template: \"{hint}\""), kBadData, "the field \"hint\"");
  const std::string deep = std::string(100000, '[') + std::string(100000, ']');
  EXPECT_STATUS(Jsonl("{\"problem\": \"p\", \"answer\": \"1\", \"x\": " + deep + "}"), kBadData, "deeper than 16");
}

TEST(JsonlTest, MetadataAsDeepAsAllowedCrossesTheWire) {
  std::string deep = "1";
  for (int level = 0; level < 15; ++level) deep = absl::StrCat("{\"a\": ", deep, "}");
  ASSERT_OK_AND_ASSIGN(const auto source, Jsonl("{\"problem\": \"p\", \"answer\": \"1\", \"x\": " + deep + "}"));
  v1::LeaseGroupsResponse response;
  *response.add_leases()->mutable_prompt() = source->At(0).prompt;
  v1::LeaseGroupsResponse parsed;
  EXPECT_TRUE(parsed.ParseFromString(response.SerializeAsString()));
  EXPECT_STATUS(Jsonl("{\"problem\": \"p\", \"answer\": \"1\", \"x\": {\"a\": " + deep + "}}"), kBadData,
                "deeper than 16");
}

TEST(JsonlTest, ReadsAPackedFile) {
  const std::string path = std::filesystem::absolute("datasets/gsm8k_train_2000.jsonl.gz").string();
  ASSERT_OK_AND_ASSIGN(const auto source, Make("jsonl", "path: " + path));
  EXPECT_EQ(source->size(), 2000);
  EXPECT_EQ(source->At(0).prompt.answer(), "72");
  // Of the text, so that packing a file anew changes no run.
  EXPECT_EQ(source->content_sha256(), "69260396e52db170f8f729c0935a03947fea463a69a59af82e8b89fd59fcff03");
  EXPECT_STATUS(Make("jsonl", "max_file_bytes: 1000000, path: " + path), kInvalid, "raise max_file_bytes");
  ASSERT_OK_AND_ASSIGN(const std::string packed, ReadFile(path));
  EXPECT_STATUS(Jsonl(packed.substr(0, 1000)), kBadData, "problems.jsonl: the gzip file is truncated");
}

TEST(JsonlTest, AMissingOrEmptyFileIsNamed) {
  EXPECT_STATUS(Make("jsonl", "path: nowhere.jsonl"), absl::StatusCode::kNotFound, "nowhere.jsonl: No such file");
  EXPECT_STATUS(Jsonl("\n"), kBadData, "holds no problem");
  EXPECT_STATUS(Jsonl("nonsense", "skip_bad_lines: true"), kBadData, "holds no problem");
  EXPECT_STATUS(Make("jsonl", ""), kInvalid, "path");
}

TEST(ShuffledReader, DrawsEveryItemOnceAnEpochInAnotherOrderAndNeedsOnlyThePosition) {
  ASSERT_OK_AND_ASSIGN(const auto source, Make("chickens_rabbits", "max_heads: 8"));
  const int64_t size = source->size();
  ASSERT_EQ(size, 15);  // 3 + 4 + 5 + 6 = 18, less 3.
  ShuffledReader reader(source.get(), 5);
  std::vector<std::string> epochs[2];
  for (int64_t p = 0; p < 2 * size; ++p) epochs[p / size].push_back(reader.At(p).prompt.id());
  EXPECT_EQ(std::set<std::string>(epochs[0].begin(), epochs[0].end()).size(), 15u);
  EXPECT_EQ(std::set<std::string>(epochs[1].begin(), epochs[1].end()).size(), 15u);
  EXPECT_NE(epochs[0], epochs[1]);
  // A reader that starts in the middle, and goes back, sees the same.
  ShuffledReader resumed(source.get(), 5);
  EXPECT_EQ(resumed.At(size + 3).prompt.id(), epochs[1][3]);
  EXPECT_EQ(resumed.At(2).prompt.id(), epochs[0][2]);
  ShuffledReader other_seed(source.get(), 6);
  std::vector<std::string> other;
  for (int64_t p = 0; p < size; ++p) other.push_back(other_seed.At(p).prompt.id());
  EXPECT_NE(other, epochs[0]);
  for (const int64_t p : {int64_t{0}, size - 1, size + 3})
    EXPECT_EQ(source->At(reader.IndexAt(p)).prompt.id(), epochs[p / size][static_cast<size_t>(p % size)]);
}

TEST(ShuffledReader, ReadsEndlessSourcesInTheirOrder) {
  ASSERT_OK_AND_ASSIGN(const auto corpus, Make("chickens_rabbits_corpus", ""));
  ShuffledReader reader(corpus.get(), 5);
  EXPECT_EQ(reader.At(1000000).document, corpus->At(1000000).document);
}

}  // namespace
}  // namespace grpo
