#include "tools/grpoctl/bench/report.h"

#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace grpo {
namespace {

using ::testing::HasSubstr;
using Json = nlohmann::ordered_json;

BenchReport Report() {
  BenchReport report{.bench = "step"};
  report.setting = {{"model", "a\nfolder"}, {"prompts", 8}};
  report.phase_order = {"forward", "backward", "never"};
  report.work["forward"] = {.float32_flop = 4e9, .bfloat16_flop = 20e9, .read_bytes = 3e9};
  report.repeats = {{.phases = {{"forward", 1.0}, {"backward", 2.0}}, .seconds = 4, .processor_seconds = 6},
                    {.phases = {{"forward", 2.0}, {"backward", 3.0}, {"a late one", 0.5}}, .seconds = 6},
                    {.phases = {{"forward", 4.0}, {"backward", 1.0}}, .seconds = 5, .processor_seconds = 7}};
  report.count = 60;
  report.limits =
      MachineLimits{.gemm_float32_gflops = 10, .gemm_bfloat16_gflops = 100, .read_gb_per_s = 6, .copy_gb_per_s = 5};
  report.figures = {{"rows", 7}, {"linears", {{"seconds", 0.5}}}, {"operators", {{"aten::mm", {{"calls", 3}}}}}};
  return report;
}

TEST(SpreadTest, IsTheExtremesAndTheUpperMedian) {
  const Spread odd = SpreadOf({3, 1, 2}), even = SpreadOf({4, 1, 3, 2}), one = SpreadOf({5});
  EXPECT_EQ(odd.min, 1);
  EXPECT_EQ(odd.median, 2);
  EXPECT_EQ(odd.max, 3);
  EXPECT_EQ(even.median, 3);
  EXPECT_EQ(one.min, 5);
  EXPECT_EQ(one.max, 5);
}

TEST(BenchReportTest, JsonHoldsSpreadsRatesAndFractions) {
  const Json json = BenchJson(Report());
  EXPECT_EQ(json["bench"], "step");
  EXPECT_EQ(json["repeats"], 3);
  EXPECT_EQ(json["seconds"]["median"], 5);
  EXPECT_EQ(json["tokens"], 60);
  EXPECT_EQ(json["tokens_per_second"]["max"], 15);
  EXPECT_EQ(json["processor_seconds"]["max"], 7);
  const Json& forward = json["phases"]["forward"];
  EXPECT_EQ(forward["median"], 2);
  EXPECT_EQ(forward["share"], 0.4);
  EXPECT_EQ(forward["gflops"], 12);
  // 0.4 s of the one limit and 0.2 s of the other, in 2 s.
  EXPECT_NEAR(forward["gemm_frac"].get<double>(), 0.3, 1e-12);
  EXPECT_EQ(forward["gb_per_s"], 1.5);
  EXPECT_EQ(forward["read_frac"], 0.25);
  EXPECT_FALSE(json["phases"]["backward"].contains("gflops")) << "nobody counted its work";
  EXPECT_EQ(json["limits"]["copy_gb_per_s"], 5);
}

TEST(BenchReportTest, PhasesComeInTheirOrderAndThoseThatNobodyNamedLast) {
  std::vector<std::string> names;
  const Json phases = BenchJson(Report())["phases"];
  for (const auto& [name, unused] : phases.items()) names.push_back(name);
  EXPECT_THAT(names, ::testing::ElementsAre("forward", "backward", "a late one"));
}

TEST(BenchReportTest, WithoutLimitsNothingIsSaidOfFractions) {
  BenchReport report = Report();
  report.limits.reset();
  const Json json = BenchJson(report);
  EXPECT_FALSE(json.contains("limits"));
  EXPECT_FALSE(json["phases"]["forward"].contains("gemm_frac"));
  EXPECT_THAT(BenchTable(report), ::testing::Not(HasSubstr("limits measured")));
}

TEST(BenchReportTest, TheTableIsForPeople) {
  const std::string table = BenchTable(Report());
  EXPECT_THAT(table, HasSubstr("model a\\nfolder prompts 8\n"));
  EXPECT_THAT(table, HasSubstr("30.0 %"));
  EXPECT_THAT(table, HasSubstr("beside it: rows 7\n"));
  EXPECT_THAT(table, HasSubstr("operators:\n  aten::mm calls 3\n"));
  EXPECT_THAT(table, HasSubstr("load 0.00 before"));
}

TEST(BenchReportTest, TextIsOneJsonLineWhateverTheSettingHolds) {
  BenchReport report = Report();
  report.setting["model"] = "no\xffUTF-8\n";
  const std::string text = BenchText(report, /*as_json=*/true);
  EXPECT_EQ(text.find('\n'), text.size() - 1);
  EXPECT_FALSE(Json::parse(text, nullptr, /*allow_exceptions=*/false).is_discarded());
}

}  // namespace
}  // namespace grpo
