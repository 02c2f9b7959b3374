// `source: file`: formats, presets, fields by path. Inputs are in data/testdata.
#include <filesystem>
#include <fstream>
#include <set>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "common/files.h"
#include "common/sha256.h"
#include "common/status_testing.h"
#include "configs/load.h"
#include "data/sources.h"
#include "gmock/gmock.h"
#include "google/protobuf/util/json_util.h"
#include "nlohmann/json.hpp"

namespace grpo {
namespace {

using ::testing::HasSubstr;

constexpr auto kInvalid = absl::StatusCode::kInvalidArgument;
constexpr auto kBadData = absl::StatusCode::kDataLoss;

absl::StatusOr<std::unique_ptr<DataSource>> Open(const std::string& folder, const std::string& keys) {
  auto section = ParseConfigText(absl::StrCat("{", keys, "}"), "test.yaml");
  if (!section.ok()) return section.status();
  return MakeDataSource({.source = "file", .options = *section}, folder);
}

// `keys` is YAML in flow style: "path: x.jsonl, preset: math". Of data/testdata.
absl::StatusOr<std::unique_ptr<DataSource>> Testdata(const std::string& keys) {
  return Open(std::filesystem::absolute("data/testdata").string(), keys);
}

absl::StatusOr<std::unique_ptr<DataSource>> File(const std::string& content, const std::string& keys = "format: auto") {
  std::ofstream(::testing::TempDir() + "/some.file", std::ios::binary) << content;
  return Open(::testing::TempDir(), "path: some.file, " + keys);
}

// With its keys in order.
std::string MetadataJson(const v1::Prompt& prompt) {
  std::string json;
  EXPECT_TRUE(google::protobuf::util::MessageToJsonString(prompt.metadata(), &json).ok());
  return nlohmann::json::parse(json).dump();
}

struct FirstLine {
  std::string keys, prompt, answer;
};

TEST(FileTest, ReadsDataSetsAsTheyArePublished) {
  const FirstLine cases[] = {
      {"path: gsm8k_raw.jsonl, preset: gsm8k",
       "A baker sells 48 rolls on Monday and half as many on Tuesday. How many in all?", "72"},
      {"path: math_raw.jsonl, preset: math", "Find $1+1$.", "2"},
      {"path: openr1.jsonl, preset: openr1_math", "Find $1+1$.", "2"},
      {"path: dapo.jsonl, preset: dapo_17k", "Work it out and end with a line that begins with Answer:.\n\nFind 17+17.",
       "34"},
      {"path: dapo.parquet, preset: dapo_17k", "Find 17+17.", "34"},
      {"path: aime.jsonl, preset: aime", "p?", "33"},
      {"path: countdown.jsonl, preset: countdown",
       "Using the numbers [44, 19, 35], create an equation that equals 98. You can use basic arithmetic operations (+, "
       "-, *, /) and each number can only be used once.",
       "98"},
      // By named fields.
      {"path: array.json", "1+1?", "2"},
      {"path: multi.jsonl.gz", "1+1?", "2"},
      {"path: chat.jsonl, problem_field: messages.0.content", "1+1?", "2"},
      {"path: chat.jsonl, problem_field: messages.-1.content, template: '{messages.0.role}: {problem}'", "user: 1+1?",
       "2"},
      {"path: float.jsonl", "x?", "18"},
      {"path: numfield.jsonl, template: '{problem} Reach {target}.'", "x? Reach 98.", "2"},
      {"path: countdown.jsonl, problem_field: target, answer_field: target, template: '{nums} -> {problem}'",
       "[44, 19, 35] -> 98", "98"},
      {"path: countdown.jsonl, problem_field: target, answer_field: nums", "98", "44, 19, 35"},
      {"path: openr1.jsonl, answer_field: is_reasoning_complete", "Find $1+1$.", "true, false"},
      {"path: openr1.jsonl, answer_field: generations.1", "Find $1+1$.", "b"},
      {"path: dapo.jsonl, problem_field: prompt.0.content, answer_field: reward_model.ground_truth, template: "
       "'{problem}'",
       "Work it out and end with a line that begins with Answer:.\n\nFind 17+17.", "34"},
      // A key that is given goes before the preset.
      {"path: math_raw.jsonl, preset: math, answer_field: level", "Find $1+1$.", "Level 1"},
      {"path: gsm8k_raw.jsonl, preset: gsm8k, problem_field: answer, template: '{problem}'",
       "On Tuesday it was 48/2 = <<48/2=24>>24 rolls.\nIn all 48+24 = <<48+24=72>>72 rolls.\n#### 72", "72"},
  };
  for (const FirstLine& expected : cases) {
    const auto source = Testdata(expected.keys);
    ASSERT_OK(source.status()) << expected.keys;
    const v1::Prompt prompt = (*source)->At(0).prompt;
    EXPECT_EQ(prompt.text(), expected.prompt) << expected.keys;
    EXPECT_EQ(prompt.answer(), expected.answer) << expected.keys;
  }
}

TEST(FileTest, PresetsKeepOfTheOtherFieldsWhatRulesRead) {
  ASSERT_OK_AND_ASSIGN(const auto countdown, Testdata("path: countdown.jsonl, preset: countdown"));
  EXPECT_EQ(MetadataJson(countdown->At(0).prompt), "{\"numbers\":[44,19,35],\"target\":98}");
  ASSERT_OK_AND_ASSIGN(const auto openr1, Testdata("path: openr1.jsonl, preset: openr1_math"));
  const DataItem first = openr1->At(0);
  const auto& fields = first.prompt.metadata().fields();
  EXPECT_EQ(fields.count("generations"), 0u);
  EXPECT_EQ(fields.at("source").string_value(), "olympiads");
  ASSERT_OK_AND_ASSIGN(const auto dapo, Testdata("path: dapo.jsonl, preset: dapo_17k"));
  EXPECT_EQ(dapo->At(0).prompt.id(), "row-1");
  EXPECT_EQ(MetadataJson(dapo->At(0).prompt), "{\"ability\":\"MATH\",\"source\":\"math_dapo\"}");
  ASSERT_OK_AND_ASSIGN(const auto traces,
                       Testdata("path: openr1.jsonl, preset: openr1_math, completion_field: generations.0"));
  EXPECT_EQ(traces->At(0).completion, "<think>a</think>2");
}

TEST(FileTest, WithoutAPresetFieldsOfNoOtherUseAreMetadata) {
  ASSERT_OK_AND_ASSIGN(const auto source, Testdata("path: dapo.jsonl, problem_field: prompt.0.content, answer_field: "
                                                   "reward_model.ground_truth, id_field: extra_info.index"));
  const DataItem first = source->At(0);
  const auto& fields = first.prompt.metadata().fields();
  EXPECT_EQ(source->At(0).prompt.id(), "row-1");
  EXPECT_EQ(fields.at("ability").string_value(), "MATH");
  EXPECT_EQ(fields.at("reward_model").struct_value().fields().count("ground_truth"), 0u);
  EXPECT_EQ(fields.at("reward_model").struct_value().fields().at("style").string_value(), "rule");
}

TEST(FileTest, DapoHoldsEachProblemOnce) {
  ASSERT_OK_AND_ASSIGN(const auto source, Testdata("path: dapo.parquet, preset: dapo_17k"));
  ASSERT_EQ(source->size(), 2);
  EXPECT_EQ(source->At(1).prompt.text(), "Find 1+1.");
  // Without the preset a repeated id is the mistake that it usually is.
  EXPECT_STATUS(Testdata("path: dapo.parquet, problem_field: prompt.0.content, answer_field: "
                         "reward_model.ground_truth, id_field: extra_info.index"),
                kBadData, "dapo.parquet: row 3: the id \"row-1\" is that of row 1 already");
}

TEST(FileTest, OptionsAreShuffledByTheProblemAndTheSeed) {
  EXPECT_STATUS(Testdata("path: gpqa.jsonl, preset: gpqa"), kBadData,
                "gpqa.jsonl:1: there is no field \"Incorrect Answer 2\": a problem of this preset has 4 options");
  std::string lines;
  for (int i = 0; i < 200; ++i) {
    absl::StrAppend(&lines, "{\"Question\": \"q", i,
                    "?\", \"Correct Answer\": \"right\\n\", \"Incorrect Answer 1\": \"x\", \"Incorrect Answer 2\": 2, "
                    "\"Incorrect Answer 3\": \"z\", \"Record ID\": \"rec",
                    i, "\", \"Explanation\": \"long\"}\n");
  }
  ASSERT_OK_AND_ASSIGN(const auto source, File(lines, "preset: gpqa"));
  ASSERT_OK_AND_ASSIGN(const auto again, File(lines, "preset: gpqa"));
  ASSERT_OK_AND_ASSIGN(const auto other, File(lines, "preset: gpqa, options_seed: 1"));
  std::map<std::string, int> letters;
  int num_moved = 0;
  for (int64_t i = 0; i < source->size(); ++i) {
    const v1::Prompt prompt = source->At(i).prompt;
    EXPECT_EQ(prompt.id(), absl::StrCat("rec", i));
    EXPECT_EQ(prompt.metadata().fields_size(), 0);
    EXPECT_THAT(prompt.text(), HasSubstr(absl::StrCat("q", i, "?\n\nA) ")));
    EXPECT_TRUE(absl::StrContains(prompt.text() + "\n", absl::StrCat("\n", prompt.answer(), ") right\n")))
        << prompt.text();
    EXPECT_EQ(again->At(i).prompt.text(), prompt.text());
    num_moved += other->At(i).prompt.answer() != prompt.answer();
    ++letters[prompt.answer()];
  }
  // 50 each of 200; four sigma are 25.
  ASSERT_EQ(letters.size(), 4u);
  for (const auto& [letter, count] : letters) EXPECT_NEAR(count, 50, 25) << letter;
  EXPECT_NEAR(num_moved, 150, 25);
  EXPECT_STATUS(File("{\"Question\": \"q\", \"Correct Answer\": \"1\", \"Incorrect Answer 1\": 1, \"Incorrect Answer "
                     "2\": 2, \"Incorrect Answer 3\": 3}",
                     "preset: gpqa"),
                kBadData, "\"Incorrect Answer 1\" is the right answer too");
}

TEST(FileTest, AnAnswerThatAPresetCannotFindIsNamed) {
  EXPECT_STATUS(File("{\"problem\": \"p\", \"solution\": \"so \\\\boxed{2\"}", "preset: math"), kBadData,
                "\"solution\" has no whole \\boxed{answer}");
  EXPECT_STATUS(File("{\"question\": \"p\", \"answer\": \"so 2\"}", "preset: gsm8k"), kBadData,
                "has no \"#### answer\"");
  EXPECT_STATUS(File("{\"problem\": \"p\"}", "preset: openr1_math"), kBadData, "there is no field \"answer\"");
  EXPECT_STATUS(File("{\"q\": \"p\", \"Answer\": 1}", "preset: aime"), kBadData,
                "no text in field \"Problem\" or \"problem\" or \"question\"");
  EXPECT_STATUS(File("{}", "preset: gsmk"), kInvalid, "gsm8k");
  const std::pair<std::string, std::string> solutions[] = {
      {"\\\\boxed{1} no, \\\\boxed{\\\\frac{1}{2}}", "\\frac{1}{2}"},
      {"$\\\\boxed{\\\\{1, 2\\\\}}$.", "\\{1, 2\\}"},
      {"\\\\boxed{a_{1}}", "a_{1}"},
  };
  for (const auto& [solution, answer] : solutions) {
    ASSERT_OK_AND_ASSIGN(const auto source,
                         File(absl::StrCat("{\"problem\": \"p\", \"solution\": \"", solution, "\"}"), "preset: math"));
    EXPECT_EQ(source->At(0).prompt.answer(), answer);
  }
  ASSERT_OK_AND_ASSIGN(const auto thousands,
                       File("{\"question\": \"p\", \"answer\": \"####\\n#### 1,234 \\n\"}", "preset: gsm8k"));
  EXPECT_EQ(thousands->At(0).prompt.answer(), "1234");
}

TEST(FileTest, NumbersAreTheShortestTextThatReadsBack) {
  const std::pair<std::string, std::string> cases[] = {
      {"18.0", "18"},
      {"-0.0", "0"},
      {"0.1", "0.1"},
      {"0.30000000000000004", "0.30000000000000004"},
      {"1.50", "1.5"},
      {"1e3", "1000"},
      {"2.5e-3", "0.0025"},
      {"1e-9", "1e-09"},
      {"9007199254740991.0", "9007199254740991"},
      {"-9223372036854775808", "-9223372036854775808"},
      {"18446744073709551615", "18446744073709551615"},
      {"true", "true"},
      {"[1, 2.50, \"x\", false]", "1, 2.5, x, false"},
      {"[\"only\"]", "only"},
      {"[[1, 2], [3]]", "[[1,2],[3]]"},
      {"{\"a\": 1}", "{\"a\":1}"},
  };
  for (const auto& [json, text] : cases) {
    const auto source = File(absl::StrCat("{\"problem\": 7, \"answer\": ", json, "}"));
    ASSERT_OK(source.status()) << json;
    EXPECT_EQ((*source)->At(0).prompt.answer(), text) << json;
    EXPECT_EQ((*source)->At(0).prompt.text(), "7");
  }
  for (const char* rounded : {"1e30", "9007199254740992.0", "123456789012345678901234567890"}) {
    EXPECT_STATUS(File(absl::StrCat("{\"problem\": \"p\", \"answer\": ", rounded, "}")), kBadData,
                  "\"answer\" is a number too large to keep all its digits");
  }
  EXPECT_STATUS(File("{\"problem\": \"p\", \"answer\": null}"), kBadData, "\"answer\" is null");
}

TEST(FileTest, AConversationIsRefusedByNameAndItsPathTold) {
  EXPECT_STATUS(Testdata("path: chat.jsonl, problem_field: messages"), kBadData,
                "the field \"messages\" is a list of chat messages, and chat templates are not applied: name the text");
  EXPECT_STATUS(Testdata("path: chat.jsonl, problem_field: messages"), kBadData, "\"messages.0.content\"");
  EXPECT_STATUS(Testdata("path: dapo.jsonl, problem_field: ability, answer_field: '', template: '{prompt}'"), kBadData,
                "the template needs the field \"prompt\", which is a list of chat messages");
}

TEST(FileTest, PathsLeadThroughObjectsAndLists) {
  const std::string line =
      "{\"a\": {\"b\": [{\"c\": \"deep\"}, {\"c\": \"last\"}]}, \"x.y\": \"dotted\", \"0\": \"zero\"}";
  for (const auto& [path, text] :
       {std::pair{"a.b.0.c", "deep"}, {"a.b.-1.c", "last"}, {"x.y", "dotted"}, {"'0'", "zero"}}) {
    ASSERT_OK_AND_ASSIGN(const auto source, File(line, absl::StrCat("answer_field: '', problem_field: ", path)));
    EXPECT_EQ(source->At(0).prompt.text(), text);
  }
  for (const char* path : {"a.b.2.c", "a.b.-3.c", "a.b.x.c", "a.b", "a..c", ".", "x.y.z", "a.b.0.c.d"}) {
    EXPECT_STATUS(File(line, absl::StrCat("answer_field: '', problem_field: ", path)), kBadData, "no text in field");
  }
  EXPECT_STATUS(File("{\"question\": \"p\", \"answer\": 1}"), kBadData,
                "set problem_field if it has another name; known are");
  EXPECT_STATUS(File("{\"problem\": \"p\"}"), kBadData,
                "set answer_field if it has another name, or to \"\" if the problems have no answers; ");
}

TEST(FileTest, ReadsJsonArrays) {
  ASSERT_OK_AND_ASSIGN(const auto source,
                       File("\xef\xbb\xbf [\n{\"problem\": \"a ] , } \\\" b\", \"answer\": [1, {\"x\": \"}\"}]} , "
                            "{\"problem\": \"c\", \"answer\": \"2\"}\n]\n"));
  ASSERT_EQ(source->size(), 2);
  EXPECT_EQ(source->At(0).prompt.text(), "a ] , } \" b");
  EXPECT_EQ(source->At(1).prompt.id(), "row/2");
  const std::string good = "{\"problem\": \"p\", \"answer\": \"1\"}";
  EXPECT_STATUS(File("[" + good + ", {\"problem\": }]"), kBadData, "some.file: row 2: this row is not JSON");
  EXPECT_STATUS(File("[" + good + ",]"), kBadData, "row 2: this row is not JSON");
  // Zero bytes ended the text for the parser, whatever followed.
  EXPECT_STATUS(File(good + std::string(3, '\0') + "x\n"), kBadData, "this line is not JSON: byte 32: a zero byte");
  EXPECT_STATUS(File("[" + good), kBadData, "no closing ]");
  EXPECT_STATUS(File("[" + good + "] x"), kBadData, "something follows");
  EXPECT_STATUS(File("[1]"), kBadData, "is JSON but no object");
  EXPECT_STATUS(File("[]"), kBadData, "holds no problem");
  EXPECT_STATUS(File(good, "format: json"), kBadData, "begins with [");
  ASSERT_OK_AND_ASSIGN(const auto kept, File("[" + good + ", {\"problem\": }]", "skip_bad_lines: true"));
  EXPECT_EQ(kept->size(), 1);
}

TEST(FileTest, ReadsEveryTypeOfAParquetColumn) {
  ASSERT_OK_AND_ASSIGN(const auto source, Testdata("path: types.parquet"));
  ASSERT_EQ(source->size(), 2);
  v1::Prompt first = source->At(0).prompt;
  const v1::Prompt second = source->At(1).prompt;
  EXPECT_EQ(first.metadata().fields().at("uint64").number_value(), 18446744073709551615.0);
  first.mutable_metadata()->mutable_fields()->erase("uint64");
  EXPECT_EQ(first.id(), "row/1");
  EXPECT_EQ(first.text(), "p0");
  EXPECT_EQ(first.answer(), "18");
  EXPECT_EQ(second.answer(), "0.5");
  EXPECT_EQ(
      MetadataJson(first),
      "{\"bytes\":\"text\",\"date\":\"2024-02-29\",\"decimal\":\"1.50\",\"fixed\":[1,2],\"flag\":true,\"float32\":"
      "0.1,\"int8\":-3,\"kind\":\"a\",\"map\":{\"x\":1},\"nested\":{\"a\":{\"b\":[{\"c\":\"deep\"}]}},\"null\":"
      "null,\"nums\":[44,19,35]}");
  EXPECT_TRUE(second.metadata().fields().at("float32").has_null_value());
  EXPECT_TRUE(second.metadata().fields().at("nested").has_null_value());
  ASSERT_OK_AND_ASSIGN(const auto fields, Testdata("path: types.parquet, answer_field: uint64, template: "
                                                   "'{nested.a.b.0.c} {nums} {flag} {float32} {decimal} {date}', "
                                                   "skip_bad_lines: true"));
  EXPECT_EQ(fields->At(0).prompt.text(), "deep [44, 19, 35] true 0.1 1.50 2024-02-29");
  EXPECT_EQ(fields->At(0).prompt.answer(), "18446744073709551615");
}

TEST(FileTest, ABadRowOfAParquetFileIsNamed) {
  EXPECT_STATUS(Testdata("path: nan.parquet"), kBadData,
                "nan.parquet: row 2: the field \"x\" is a float that is no number");
  EXPECT_STATUS(Testdata("path: bytes.parquet"), kBadData, "row 2: the field \"x\" holds bytes that are no UTF-8");
  ASSERT_OK_AND_ASSIGN(const auto kept, Testdata("path: nan.parquet, skip_bad_lines: true"));
  EXPECT_EQ(kept->size(), 1);
}

TEST(FileTest, ADamagedOrHugeParquetFileIsAnErrorAndNoCrash) {
  ASSERT_OK_AND_ASSIGN(const std::string good, ReadFile("data/testdata/types.parquet"));
  EXPECT_STATUS(File("PAR1"), kBadData, "the Parquet file cannot be read");
  for (size_t size = 4; size < good.size(); size += 331) {
    EXPECT_STATUS(File(good.substr(0, size)), kBadData, "some.file: the Parquet file cannot be read");
  }
  int num_refused = 0;
  for (size_t at = 4; at < good.size(); at += 29) {
    std::string damaged = good;
    damaged[at] = static_cast<char>(damaged[at] ^ 0x15);
    num_refused += !File(damaged).ok();
  }
  EXPECT_GT(num_refused, 10);
  EXPECT_STATUS(Testdata("path: bomb.parquet, answer_field: '', max_file_bytes: 1000000"), kInvalid,
                "unpacks to more than 1000000 bytes, the most that is read here: raise max_file_bytes");
  EXPECT_STATUS(Testdata("path: types.parquet, format: jsonl"), kBadData, "is a Parquet file: set format");
  EXPECT_STATUS(Testdata("path: array.json, format: parquet"), kBadData, "is no Parquet file: set format");
}

TEST(FileTest, WhatWasDownloadedInPlaceOfTheFileIsNamed) {
  EXPECT_STATUS(File("version https://git-lfs.github.com/spec/v1\noid sha256:4d7a\nsize 3554214621\n"), kBadData,
                "some.file: is a Git LFS pointer to a file of 3554214621 bytes, not the file itself");
  EXPECT_STATUS(File("\n<!DOCTYPE html>\n<html>"), kBadData, "is a web page (HTML)");
  EXPECT_STATUS(File("<HTML lang=en>"), kBadData, "is a web page (HTML)");
  EXPECT_STATUS(File("PK\x03\x04rest"), kBadData, "is a ZIP archive: unpack it first");
  EXPECT_STATUS(File("\x28\xb5\x2f\xfdrest"), kBadData, "packed with Zstandard");
  EXPECT_STATUS(File("version https://git-lfs", "format: jsonl"), kBadData, "not JSON");
}

constexpr char kTwoProblems[] =
    "{\"problem\": \"1+1?\", \"answer\": \"2\", \"kind\": \"sum\"}\n"
    "{\"problem\": \"2+2?\", \"answer\": \"4\", \"kind\": \"sum\"}\n";

TEST(FileTest, ATemplateThatHidesTheProblemIsRefused) {
  EXPECT_STATUS(File(kTwoProblems, "template: \"Q: {{problem}}\\nA:\""), kInvalid,
                "template: names no field of the data, so that every prompt would be \"Q: {problem}\nA:\": write "
                "{problem}, in single braces");
  EXPECT_STATUS(File(kTwoProblems, "template: \"Q: \""), kInvalid, "names no field");
  EXPECT_STATUS(File(kTwoProblems, "template: \"\""), kInvalid, "names no field");
  EXPECT_STATUS(File(kTwoProblems, "template: \"{{ problem }}\""), kInvalid, "names no field");
  EXPECT_STATUS(File(kTwoProblems, "template: \"{kind}: {{problem}}\""), kInvalid,
                "holds the literal text \"{problem}\"");
  EXPECT_STATUS(File(kTwoProblems, "template: \"{kind}: {{ problem }}\""), kInvalid,
                "the literal text \"{ problem }\"");
  ASSERT_OK_AND_ASSIGN(const auto braces, File(kTwoProblems, "template: \"{{{problem}}}\""));
  EXPECT_EQ(braces->At(0).prompt.text(), "{1+1?}");
}

TEST(FileTest, ATemplateThatMakesAllPromptsEqualIsRefused) {
  EXPECT_STATUS(File(kTwoProblems, "template: \"Work out the {kind}.\""), kInvalid,
                "makes the prompt of all 2 problems \"Work out the sum.\"");
  ASSERT_OK(File(kTwoProblems, "template: \"{answer} {kind}\""));
  // Braces that TeX wants.
  ASSERT_OK_AND_ASSIGN(const auto boxed, File(kTwoProblems, "template: \"{problem} in \\\\boxed{{answer}}\""));
  EXPECT_EQ(boxed->At(0).prompt.text(), "1+1? in \\boxed{answer}");
  // One problem, and one problem over and over, are the data's own affair.
  ASSERT_OK(File("{\"problem\": \"1+1?\", \"answer\": \"2\"}"));
  ASSERT_OK(File("{\"problem\": \"1+1?\", \"answer\": \"2\"}\n{\"problem\": \"1+1?\", \"answer\": \"2\"}"));
}

TEST(FileTest, JsonlIsTheSameWithTheFormatGiven) {
  std::ofstream(::testing::TempDir() + "/two.jsonl") << kTwoProblems;
  auto section = ParseConfigText("{path: two.jsonl, template: \"Q {problem}\"}", "test.yaml");
  ASSERT_OK(section.status());
  ASSERT_OK_AND_ASSIGN(const auto jsonl,
                       MakeDataSource({.source = "jsonl", .options = *section}, ::testing::TempDir()));
  ASSERT_OK_AND_ASSIGN(const auto file, MakeDataSource({.source = "file", .options = *section}, ::testing::TempDir()));
  ASSERT_EQ(jsonl->size(), file->size());
  for (int64_t i = 0; i < jsonl->size(); ++i) {
    EXPECT_EQ(jsonl->At(i).prompt.DebugString(), file->At(i).prompt.DebugString());
  }
  EXPECT_EQ(jsonl->content_sha256(), file->content_sha256());
  EXPECT_EQ(file->content_sha256(), Sha256Hex(kTwoProblems));
}

}  // namespace
}  // namespace grpo
