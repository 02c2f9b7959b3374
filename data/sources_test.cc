#include "data/sources.h"

#include <cmath>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <map>
#include <set>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_replace.h"
#include "absl/strings/str_split.h"
#include "common/files.h"
#include "common/sha256.h"
#include "common/status_testing.h"
#include "configs/load.h"
#include "data/shuffled_reader.h"
#include "gmock/gmock.h"
#include "proto/coordinator.pb.h"

namespace grpo {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;

constexpr auto kInvalid = absl::StatusCode::kInvalidArgument;
constexpr auto kBadData = absl::StatusCode::kDataLoss;

// `keys` is YAML in flow style: "split: held_out, max_heads: 9".
absl::StatusOr<std::unique_ptr<DataSource>> Make(const std::string& source, const std::string& keys) {
  auto section = ParseConfigText(absl::StrCat("{", keys, "}"), "test.yaml");
  if (!section.ok()) return section.status();
  DataOptions options;
  options.source = source;
  options.options = *section;
  return MakeDataSource(options, ::testing::TempDir());
}

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

std::string StyleOf(const std::string& document) {
  const size_t end = document.find("\nA:");
  if (end == std::string::npos) return "drill";
  const std::string body = document.substr(end + 3);
  const bool worked = body.find('=') != std::string::npos;
  const bool think = body.find("<think>") == 0;
  const bool answer = body.find("<answer>") != std::string::npos;
  if (!think && !answer) return worked ? "worked" : "bare";
  if (!think) return worked ? "worked inside answer" : "answer only";
  if (!answer) return "answer outside";
  return body.find(';') != std::string::npos ? "good" : "skipped thought";
}

TEST(ChickensRabbitsCorpus, MixesStylesAsThePrototypeAndNeverShowsAHeldOutProblem) {
  ASSERT_OK_AND_ASSIGN(const auto corpus, Make("chickens_rabbits_corpus", ""));
  ASSERT_OK_AND_ASSIGN(const auto held_out, Make("chickens_rabbits", "split: held_out"));
  // The prompt and the subtraction that follows from it, each unique to a problem.
  std::set<std::string> forbidden;
  for (int64_t i = 0; i < held_out->size(); ++i) forbidden.insert(held_out->At(i).prompt.text());
  EXPECT_EQ(corpus->size(), -1);
  constexpr int kDocuments = 20000;
  std::map<std::string, int> count;
  for (int64_t i = 0; i < kDocuments; ++i) {
    const DataItem item = corpus->At(i);
    EXPECT_EQ(item.prompt.text(), "");
    ASSERT_FALSE(item.document.empty());
    const std::string style = StyleOf(item.document);
    ++count[style];
    if (style == "drill") continue;
    ASSERT_EQ(forbidden.count(item.document.substr(0, item.document.find("\nA:") + 3)), 0u) << item.document;
  }
  const std::map<std::string, double> expected = {{"drill", 0.2},
                                                  {"bare", 0.28},
                                                  {"worked", 0.12},
                                                  {"answer only", 0.12},
                                                  {"skipped thought", 0.08},
                                                  {"answer outside", 0.08},
                                                  {"worked inside answer", 0.08},
                                                  {"good", 0.04}};
  EXPECT_EQ(count.size(), expected.size());
  for (const auto& [style, share] : expected) {
    EXPECT_NEAR(count[style], kDocuments * share, 3 * std::sqrt(kDocuments * share * (1 - share))) << style;
  }
}

TEST(ChickensRabbitsCorpus, DrillLinesAreRightAndOfTheTrainingSplit) {
  ASSERT_OK_AND_ASSIGN(const auto corpus, Make("chickens_rabbits_corpus", "drill_frac: 1"));
  ASSERT_OK_AND_ASSIGN(const auto held_out, Make("chickens_rabbits", "split: held_out"));
  std::set<std::string> forbidden;
  for (int64_t i = 0; i < held_out->size(); ++i) {
    const auto fields = held_out->At(i).prompt.metadata().fields();
    const int heads = static_cast<int>(fields.at("heads").number_value()),
              rabbits = static_cast<int>(fields.at("rabbits").number_value());
    forbidden.insert(absl::StrCat(2 * heads + 2 * rabbits, "-", 2 * heads, "=", 2 * rabbits));
  }
  int num_double = 0;
  for (int64_t i = 0; i < 6000; ++i) {
    const std::vector<std::string> steps = absl::StrSplit(corpus->At(i).document, ';');
    num_double += steps.size() == 2;
    if (steps.size() == 2) {
      EXPECT_NE(steps[0], steps[1]);
    }
    for (const std::string& step : steps) {
      EXPECT_EQ(forbidden.count(step), 0u) << step;
      const size_t sign = step.find_first_of("*-/"), equals = step.find('=');
      ASSERT_TRUE(sign != std::string::npos && equals != std::string::npos) << step;
      const int a = std::atoi(step.c_str()), b = std::atoi(step.c_str() + sign + 1),
                c = std::atoi(step.c_str() + equals + 1);
      EXPECT_EQ(c, step[sign] == '*' ? a * b : step[sign] == '-' ? a - b : a / b) << step;
    }
  }
  // A third; 3 sigma are 110.
  EXPECT_NEAR(num_double, 2000, 110);
}

// What RL with a reward for consistent language is to undo.
TEST(ChickensRabbitsCorpus, WorkedAnswersMixScriptsAsOftenAsConfigured) {
  const std::string keys = "drill_frac: 0, step_words: true, second_script_frac: ";
  ASSERT_OK_AND_ASSIGN(const auto mixed, Make("chickens_rabbits_corpus", keys + "0.6"));
  ASSERT_OK_AND_ASSIGN(const auto pure, Make("chickens_rabbits_corpus", keys + "0"));
  ASSERT_OK_AND_ASSIGN(const auto plain, Make("chickens_rabbits_corpus", "drill_frac: 0"));
  int num_worked = 0, num_second = 0, num_words = 0;
  for (int64_t i = 0; i < 6000; ++i) {
    const std::string text = plain->At(i).document;
    std::string with_words = mixed->At(i).document;
    EXPECT_EQ(with_words, mixed->At(i).document);
    if (StyleOf(text) == "good") {
      ++num_worked;
      num_second += with_words.find_first_of("\xd0\xd1") != std::string::npos;
    }
    // Words are all that is added.
    for (const auto& [first, second] : {std::pair{"two ", "два "}, {"less ", "без "}, {"half ", "пол "}}) {
      num_words += static_cast<int>(with_words.find(second) != std::string::npos);
      with_words = absl::StrReplaceAll(with_words, {{first, ""}, {second, ""}});
    }
    EXPECT_EQ(with_words, text);
    EXPECT_EQ(pure->At(i).document.find_first_of("\xd0\xd1"), std::string::npos);
  }
  // Of those that mix an eighth has tossed no second word; 3 sigma.
  const double share = 0.6 * 7 / 8;
  EXPECT_NEAR(num_second, num_worked * share, 3 * std::sqrt(num_worked * share * (1 - share)));
  EXPECT_GT(num_words, num_second);
}

TEST(ChickensRabbits, SolutionsAreRightAndSoAreStepsOfThem) {
  ASSERT_OK_AND_ASSIGN(const auto plain, Make("chickens_rabbits", ""));
  ASSERT_OK_AND_ASSIGN(const auto solved, Make("chickens_rabbits", "solutions: true, step_words: true"));
  ASSERT_OK_AND_ASSIGN(const auto steps, Make("chickens_rabbits", "solutions: true, ask: step"));
  for (int64_t i = 0; i < plain->size(); ++i) {
    const DataItem item = plain->At(i), with_solution = solved->At(i);
    EXPECT_EQ(item.completion, "");
    EXPECT_EQ(with_solution.prompt.DebugString(), item.prompt.DebugString());
    int heads = 0, legs = 0;
    ASSERT_EQ(std::sscanf(item.prompt.text().c_str(), "Q:H%d L%d", &heads, &legs), 2);
    const int rabbits = legs / 2 - heads;
    EXPECT_EQ(with_solution.completion,
              absl::StrCat("<think>two ", heads, "*2=", 2 * heads, ";less ", legs, "-", 2 * heads, "=", 2 * rabbits,
                           ";half ", 2 * rabbits, "/2=", rabbits, "</think><answer>", rabbits, "</answer>"));
    const DataItem step = steps->At(i);
    int a = 0, b = 0;
    char sign = 0;
    ASSERT_EQ(std::sscanf(step.prompt.text().c_str(), "Q:%d%c%d\nA:", &a, &sign, &b), 3) << step.prompt.text();
    EXPECT_EQ(step.prompt.answer(), absl::StrCat(sign == '*' ? a * b : sign == '-' ? a - b : a / b));
    EXPECT_EQ(step.completion, absl::StrCat("<think>ok</think><answer>", step.prompt.answer(), "</answer>"));
  }
}

TEST(ChickensRabbitsCorpus, ErrorsOccurAsOftenAsConfigured) {
  // good_frac 1 and no slips: every good document is right.
  ASSERT_OK_AND_ASSIGN(const auto clean,
                       Make("chickens_rabbits_corpus", "drill_frac: 0, step_error: 0, guess_error: 0"));
  ASSERT_OK_AND_ASSIGN(const auto messy, Make("chickens_rabbits_corpus", "drill_frac: 0"));
  int num_worked = 0, num_worked_right = 0, num_bare = 0, num_bare_right = 0;
  for (int64_t i = 0; i < 10000; ++i) {
    for (const DataSource* source : {clean.get(), messy.get()}) {
      const std::string document = source->At(i).document;
      int heads = 0, legs = 0;
      ASSERT_EQ(std::sscanf(document.c_str(), "Q:H%d L%d", &heads, &legs), 2) << document;
      const std::string rabbits = absl::StrCat((legs - 2 * heads) / 2);
      const std::string style = StyleOf(document), body = document.substr(document.find("\nA:") + 3);
      const bool right = style == "worked" ? body.substr(body.rfind(' ') + 1) == rabbits : body == rabbits;
      if (style != "worked" && style != "bare") continue;
      if (source == clean.get()) {
        EXPECT_TRUE(right) << document;
      } else {
        ++(style == "worked" ? num_worked : num_bare);
        (style == "worked" ? num_worked_right : num_bare_right) += right;
      }
    }
  }
  // Right when no step slipped: 0.92^3 = 0.779 (a slip seldom makes good another, and b / 2 hides an odd one: a little
  // more).
  EXPECT_NEAR(num_worked_right / static_cast<double>(num_worked), 0.79, 0.035);
  // Right when not guessed and worked right; a guess hits seldom: 0.6 * 0.79 + 0.4 / 50 = 0.48.
  EXPECT_NEAR(num_bare_right / static_cast<double>(num_bare), 0.48, 0.03);
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
