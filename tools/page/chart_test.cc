#include "tools/page/chart.h"

#include <cmath>
#include <limits>

#include "common/status_testing.h"
#include "gmock/gmock.h"

namespace grpo {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::Not;

constexpr double kNan = std::numeric_limits<double>::quiet_NaN(), kInfinity = std::numeric_limits<double>::infinity();

std::string Svg(const std::vector<std::pair<double, double>>& points) {
  return ChartSvg({.id = "c", .title = "Loss", .unit = "", .series = {{"tune", points}}}, false);
}

void ExpectDrawn(const std::string& svg) {
  EXPECT_THAT(svg, HasSubstr("class=\"line"));
  EXPECT_THAT(svg, Not(HasSubstr("nan")));
  EXPECT_THAT(svg, Not(HasSubstr("inf")));
}

TEST(NiceTicksTest, CoverTheRangeWithRoundNumbers) {
  EXPECT_THAT(NiceTicks(0, 100, 5), ElementsAre(0, 20, 40, 60, 80, 100));
  EXPECT_THAT(NiceTicks(-3, 4, 4), ElementsAre(-4, -2, 0, 2, 4));
  EXPECT_THAT(NiceTicks(8, 8, 4), ElementsAre(4, 6, 8, 10, 12));
  EXPECT_THAT(NiceTicks(0, 0, 2), ElementsAre(-1, 0, 1));
}

TEST(ChartSvgTest, DrawsALineWithAxesAndDescribesIt) {
  const std::string svg = Svg({{1, 2}, {2, 1}, {3, 0.5}});
  ExpectDrawn(svg);
  EXPECT_THAT(svg, HasSubstr("<title id=\"c-t\">Loss</title>"));
  EXPECT_THAT(svg, HasSubstr("tune: from 2 to 0.5."));
  EXPECT_THAT(svg, HasSubstr(">step</text>"));
}

TEST(ChartSvgTest, SaysThatThereIsNothingToDraw) {
  for (const auto& points : std::vector<std::vector<std::pair<double, double>>>{{}, {{1, kNan}}, {{1, kInfinity}}})
    EXPECT_THAT(Svg(points), HasSubstr("no data"));
  EXPECT_THAT(ChartSvg({.id = "c", .title = "", .unit = "", .series = {}}, true), HasSubstr("no data"));
}

TEST(ChartSvgTest, DrawsOnePointAndAPointBetweenGaps) {
  ExpectDrawn(Svg({{7, 3}}));
  const std::string svg = Svg({{1, kNan}, {2, 5}, {3, -kInfinity}, {4, 1}, {5, 2}});
  ExpectDrawn(svg);
  EXPECT_THAT(svg, HasSubstr("h0M"));
}

TEST(ChartSvgTest, DrawsWhatIsConstantHugeOrTiny) {
  for (const double value : {0.0, 1.0, -3.0, 1e300, -1e300, 5e-324, 1e-12, 1e15})
    ExpectDrawn(Svg({{1, value}, {2, value}}));
  ExpectDrawn(Svg({{1, -1e308}, {2, 1e308}}));
  ExpectDrawn(Svg({{1, 1e15}, {2, 1e15 + 1}}));
  ExpectDrawn(Svg({{1, 0}, {2, 5e-324}}));
}

TEST(ChartSvgTest, MergesManyPointsAndSaysSo) {
  std::vector<std::pair<double, double>> points;
  for (int i = 1; i <= 100'000; ++i) points.emplace_back(i, i == 50'000 ? 9 : 1);
  EXPECT_THAT(Svg(points), HasSubstr("step (mean of each 500)"));
  EXPECT_LT(Svg(points).size(), 10'000u);
  Chart chart{.id = "c", .title = "", .unit = "", .series = {{"tune", points}}, .merge = Chart::Merge::kMax};
  EXPECT_THAT(ChartSvg(chart, false), HasSubstr("largest of each 500"));
}

TEST(ChartSvgTest, TellsSeriesApartAndEscapesTheirNames) {
  const Chart chart{.id = "c",
                    .title = "<b>",
                    .unit = "tokens",
                    .series = {{"<script>alert(1)</script>", {{1, 1}}}, {"\xe2\x80\xae\"'", {{1, 2}}}}};
  const std::string svg = ChartSvg(chart, true);
  EXPECT_THAT(svg, HasSubstr("&lt;script&gt;"));
  EXPECT_THAT(svg, Not(HasSubstr("<script")));
  EXPECT_THAT(svg, HasSubstr("&lt;b&gt; (tokens)"));
  EXPECT_THAT(svg, HasSubstr("\\xe2\\x80\\xae&quot;&#39;"));
  EXPECT_THAT(svg, HasSubstr("line s0"));
  EXPECT_THAT(svg, HasSubstr("line s1"));
  EXPECT_THAT(svg, HasSubstr("prefers-color-scheme:dark"));
}

TEST(TickLabelTest, IsShort) {
  EXPECT_EQ(TickLabel(0), "0");
  EXPECT_EQ(TickLabel(0.05), "0.05");
  EXPECT_EQ(TickLabel(-1200), "-1.2k");
  EXPECT_EQ(TickLabel(3e6), "3M");
  EXPECT_EQ(TickLabel(2e-7), "2e-07");
  EXPECT_EQ(TickLabel(1e300), "1e+300");
}

}  // namespace
}  // namespace grpo
