// The contract of every data source in data/sources.inc: seeded, resumable, answers that the rules can read and
// accept.
//
// A source that needs options or a file to exist gets them in KeysFor; everything else is checked of all alike.
#include <algorithm>
#include <fstream>
#include <set>
#include <string>
#include <thread>
#include <vector>

#include "absl/strings/str_cat.h"
#include "common/status_testing.h"
#include "configs/load.h"
#include "data/sources.h"
#include "reward/rule.h"

namespace grpo {
namespace {

// The least that the source needs, as YAML.
std::string KeysFor(const std::string& source) {
  if (source == "mix") return "mix: {problems: 0.3, others: 0.7}";
  if (source == "union") return "of: [problems, others]";
  if (source != "jsonl" && source != "file") return "";
  std::ofstream file(::testing::TempDir() + "/contract.jsonl");
  for (int i = 0; i < 40; ++i) file << "{\"problem\": \"" << i << " + 1 = ?\", \"answer\": \"" << i + 1 << "\"}\n";
  return "path: contract.jsonl";
}

// What a mix or union draws from.
absl::StatusOr<std::unique_ptr<DataSource>> OpenPart(const std::string& name) {
  const std::string source = name == "problems" ? "jsonl" : "chickens_rabbits";
  const auto section = ParseConfigText(absl::StrCat("{", KeysFor(source), "}"), "contract.yaml");
  if (!section.ok()) return section.status();
  return MakeDataSource({.source = source, .options = *section}, ::testing::TempDir());
}

class DataSourceContract : public ::testing::TestWithParam<DataSourceInfo> {
 protected:
  static std::unique_ptr<DataSource> Make() {
    const auto section = ParseConfigText(absl::StrCat("{", KeysFor(GetParam().name), "}"), "contract.yaml");
    EXPECT_OK(section);
    auto source = MakeDataSource({.source = GetParam().name, .options = *section}, ::testing::TempDir(), OpenPart);
    EXPECT_OK(source);
    return source.ok() ? *std::move(source) : nullptr;
  }

  // Enough of the source to judge it by: all of a small one, the start of an endless one.
  static int64_t NumItems(const DataSource& source) {
    return source.size() < 0 ? 2000 : std::min<int64_t>(source.size(), 2000);
  }

  // Text, because the bytes of a map have no fixed order.
  static std::string Print(const DataItem& item) { return absl::StrCat(item.prompt.DebugString(), item.document); }
};

TEST_P(DataSourceContract, DescribesItself) {
  EXPECT_FALSE(GetParam().summary.empty());
  EXPECT_FALSE(GetParam().reference_table.empty());
}

TEST_P(DataSourceContract, IsTheSameInEveryObjectOrderAndThread) {
  const auto one = Make(), other = Make();
  ASSERT_TRUE(one != nullptr && other != nullptr);
  ASSERT_EQ(one->size(), other->size());
  ASSERT_NE(one->size(), 0);
  const int64_t num_items = NumItems(*one);
  std::vector<std::string> forward(num_items);
  std::thread reads_backward([&] {
    for (int64_t i = num_items - 1; i >= 0; --i) other->At(i);
  });
  for (int64_t i = 0; i < num_items; ++i) forward[i] = Print(other->At(i));
  reads_backward.join();
  // Resuming is starting somewhere: the item does not depend on those before.
  for (int64_t i = num_items - 1; i >= 0; --i) ASSERT_EQ(Print(one->At(i)), forward[i]) << i;
}

TEST_P(DataSourceContract, ItemsAreProblemsOrDocumentsWithUniqueIds) {
  const auto source = Make();
  ASSERT_NE(source, nullptr);
  std::set<std::string> ids;
  for (int64_t i = 0; i < NumItems(*source); ++i) {
    const DataItem item = source->At(i);
    EXPECT_NE(item.prompt.text().empty(), item.document.empty()) << i;
    EXPECT_TRUE(!item.prompt.id().empty() && ids.insert(item.prompt.id()).second) << item.prompt.id();
  }
}

TEST_P(DataSourceContract, AnswersVerifyAgainstTheRules) {
  const auto source = Make();
  ASSERT_NE(source, nullptr);
  ASSERT_OK_AND_ASSIGN(const auto rule, MakeRule("math_answer", Section()));
  for (int64_t i = 0; i < NumItems(*source); ++i) {
    const v1::Prompt prompt = source->At(i).prompt;
    if (prompt.answer().empty()) continue;
    ASSERT_OK(rule->CheckReference(prompt)) << prompt.id();
    const std::string right = absl::StrCat("<think>so</think><answer>", prompt.answer(), "</answer>");
    const RuleResult scored = rule->Score({.completion = right, .prompt = prompt});
    ASSERT_EQ(scored.outcome, v1::OUTCOME_SCORED) << prompt.id();
    ASSERT_EQ(scored.value, 1) << prompt.id();
    const std::string wrong = absl::StrCat("<think>so</think><answer>", prompt.answer(), "1</answer>");
    ASSERT_EQ(rule->Score({.completion = wrong, .prompt = prompt}).value, 0) << prompt.id();
  }
}

INSTANTIATE_TEST_SUITE_P(All, DataSourceContract, ::testing::ValuesIn(ListDataSources()),
                         [](const auto& info) { return info.param.name; });

}  // namespace
}  // namespace grpo
