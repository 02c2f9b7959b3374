// Line charts as SVG text. Pure; any thread.
#ifndef GRPO_TOOLS_PAGE_CHART_H_
#define GRPO_TOOLS_PAGE_CHART_H_

#include <string>
#include <utility>
#include <vector>

namespace grpo {

struct ChartSeries {
  std::string name;
  // (step, value) in ascending steps. A value that is not finite leaves a gap.
  std::vector<std::pair<double, double>> points;
};

// One picture. Texts are as they were found: ChartSvg makes them printable and escapes them.
struct Chart {
  // Unique in a page: it makes the ids of <title> and <desc>.
  std::string id;
  std::string title;
  // "tokens"; empty for a number without a unit.
  std::string unit;
  // Told apart by color, dashes and the legend; the eighth looks like the first.
  std::vector<ChartSeries> series;
  // What stands for several steps where a chart has too many to draw them all: their mean, or the largest.
  enum class Merge { kMean, kMax } merge = Merge::kMean;
};

// Colors for light and dark surroundings, and the classes that ChartSvg uses: once per page or picture.
std::string ChartCss();

// Numbers that are multiples of 1, 2 or 5 times a power of ten and cover [low, high] with about `count` steps; low ==
// high gives a range around it. Ascending. `count` is at least 1, low and high are finite.
std::vector<double> NiceTicks(double low, double high, int count);
// "0.05", "1.2k", "3M", "2e-07".
std::string TickLabel(double value);

// Scales to its container's width. Without a finite point it says "no data". With `standalone` it is a whole file. More
// than 200 points of a series are merged, as many at a time as it takes; the axis says so.
std::string ChartSvg(const Chart& chart, bool standalone);

}  // namespace grpo

#endif  // GRPO_TOOLS_PAGE_CHART_H_
