#include "tools/grpoctl/bench/reward_bench.h"

#include <algorithm>
#include <memory>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "common/clock.h"
#include "common/peak_memory.h"
#include "common/seeds.h"
#include "common/status_macros.h"
#include "common/thread.h"
#include "reward/profile.h"

namespace grpo {
namespace {

struct Item {
  std::string completion;
  v1::Prompt prompt;
  double value = 0, microseconds = 0;
};

// What a policy in the middle of its training writes about a sum whose answer is `answer`.
std::string MakeCompletion(Rng& rng, int64_t answer) {
  const int64_t part = static_cast<int64_t>(rng.Below(100));
  const std::string thinking =
      absl::StrCat("<think>First there are ", part, ", then ", answer - part, " more come, so that it is ", part, "+",
                   answer - part, "=", answer, "; let me check: ", answer, "-", part, "=", answer - part, ".</think>");
  switch (rng.Below(6)) {
    case 0:
      return absl::StrCat(thinking, "<answer>\\frac{", 2 * answer, "}{\\sqrt{4}}</answer>");
    case 1:
      return absl::StrCat(thinking, "<answer>", answer + 1, "</answer>");
    case 2:
      return absl::StrCat(thinking, "\nThe answer is \\boxed{", answer, "}.");
    case 3:
      return absl::StrCat("I guess that there were many of them, but I cannot say how many there are.");
    default:
      return absl::StrCat(thinking, "<answer>", answer, "</answer>");
  }
}

std::vector<Item> MakeItems(const RewardBenchOptions& options) {
  std::vector<Item> items(options.prompts * options.group);
  for (int64_t i = 0; i < static_cast<int64_t>(items.size()); ++i) {
    Rng rng(SampleSeed(GroupSeed(options.seed, "bench", i / options.group), i % options.group));
    const int64_t answer = 100 + i / options.group;
    items[i].completion = MakeCompletion(rng, answer);
    items[i].prompt.set_answer(absl::StrCat(answer));
  }
  return items;
}

// Items first, first + stride, ...
void ScoreSome(const RewardProfile& profile, std::vector<Item>& items, int64_t first, int64_t stride) {
  const Clock& clock = Clock::Real();
  for (int64_t i = first; i < static_cast<int64_t>(items.size()); i += stride) {
    const absl::Duration begin = clock.Now();
    items[i].value = profile.Score(items[i].completion, items[i].prompt).value();
    items[i].microseconds = absl::ToDoubleMicroseconds(clock.Now() - begin);
  }
}

void ScoreAll(const RewardProfile& profile, std::vector<Item>& items, int64_t threads) {
  std::vector<std::thread> others;
  for (int64_t t = 1; t < threads; ++t) {
    others.push_back(StartThread("scoring", [&, t] { ScoreSome(profile, items, t, threads); }));
  }
  ScoreSome(profile, items, 0, threads);
  for (std::thread& other : others) other.join();
}

nlohmann::ordered_json Figures(const std::vector<Item>& items) {
  std::vector<double> microseconds;
  double best = 0, paid = 0;
  for (const Item& item : items) {
    microseconds.push_back(item.microseconds);
    best = std::max(best, item.value);
  }
  for (const Item& item : items) paid += item.value == best;
  std::sort(microseconds.begin(), microseconds.end());
  return {{"paid_in_full_frac", paid / static_cast<double>(items.size())},
          {"median_microseconds", microseconds[microseconds.size() / 2]},
          {"p99_microseconds", microseconds[microseconds.size() * 99 / 100]}};
}

}  // namespace

absl::StatusOr<BenchReport> BenchReward(const RewardBenchOptions& options) {
  ASSIGN_OR_RETURN(const std::unique_ptr<RewardProfile> profile, RewardProfile::Make("bench", DefaultRewardProfile()));
  std::vector<Item> items = MakeItems(options);
  BenchReport report{.bench = "reward"};
  nlohmann::ordered_json rules = nlohmann::ordered_json::array();
  for (const auto& [name, unused] : profile->options().rules) rules.push_back(name);
  report.setting = {{"rules", rules},
                    {"prompts", options.prompts},
                    {"group", options.group},
                    {"threads", options.threads},
                    {"seed", options.seed}};
  report.count = static_cast<double>(items.size());
  report.unit = "completions";
  report.load_before = LoadAverage();
  const Clock& clock = Clock::Real();
  for (int64_t i = 0; i <= options.repeats; ++i) {
    const absl::Duration begin = clock.Now();
    const double processor = ProcessorSeconds();
    ScoreAll(*profile, items, options.threads);
    const double seconds = absl::ToDoubleSeconds(clock.Now() - begin);
    // The first one fills caches.
    if (i == 0) continue;
    report.repeats.push_back(
        {.phases = {{"score", seconds}}, .seconds = seconds, .processor_seconds = ProcessorSeconds() - processor});
  }
  report.figures = Figures(items);
  report.peak_memory_bytes = PeakMemoryBytes();
  report.load_after = LoadAverage();
  return report;
}

}  // namespace grpo
