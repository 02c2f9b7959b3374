#include "tools/page/chart.h"

#include <algorithm>
#include <cmath>
#include <limits>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "tools/grpoctl/text.h"
#include "tools/page/markup.h"

namespace grpo {
namespace {

// In the SVG's units; a phone shows one of them as about 0.85 px.
constexpr double kWidth = 420, kPlotHeight = 190, kLeft = 52, kRight = 14, kTitleHeight = 34, kLegendRow = 18,
                 kAxisHeight = 42, kCharWidth = 6.6, kLegendLine = 26, kLegendGap = 18;
// More points than this are not to be seen in that width.
constexpr int64_t kMaxPoints = 200;

// Okabe and Ito's palette (jfly.uni-koeln.de/color), darker on white and lighter on black so that every line has a
// contrast of at least 3:1; a dash pattern each, for those who see no colors.
struct Look {
  const char *light, *dark, *dashes;
};
constexpr Look kLooks[] = {
    {"#0067a3", "#5cb8f0", "none"},    {"#b84f00", "#f0a04b", "7 3"},  {"#00785a", "#3cc79b", "2 3"},
    {"#a8457d", "#e69cc6", "9 3 2 3"}, {"#7a6400", "#e8d84a", "12 4"}, {"#4a4fb3", "#a9adff", "4 2"},
    {"#5c5c5c", "#bdbdbd", "1 2"},
};
constexpr int kNumLooks = std::size(kLooks);

struct Range {
  double low = std::numeric_limits<double>::infinity(), high = -low;
  void Add(double value) {
    low = std::min(low, value);
    high = std::max(high, value);
  }
  bool empty() const { return low > high; }
};

// Each run of `every` points becomes one, at the last one's step; what is not finite does not count.
std::vector<std::pair<double, double>> Merged(const std::vector<std::pair<double, double>>& points, int64_t every,
                                              Chart::Merge merge) {
  if (every == 1) return points;
  std::vector<std::pair<double, double>> merged;
  for (size_t first = 0; first < points.size(); first += every) {
    const size_t end = std::min(points.size(), first + every);
    double sum = 0, largest = -std::numeric_limits<double>::infinity(), count = 0;
    for (size_t i = first; i < end; ++i) {
      if (!std::isfinite(points[i].second)) continue;
      // Divided first: the sum of huge values would not be finite.
      sum += points[i].second / static_cast<double>(end - first);
      largest = std::max(largest, points[i].second);
      ++count;
    }
    const double mean = sum * static_cast<double>(end - first) / count;
    merged.emplace_back(points[end - 1].first, merge == Chart::Merge::kMax && count > 0 ? largest : mean);
  }
  return merged;
}

struct Legend {
  std::string svg;
  int num_rows = 0;
};

Legend MakeLegend(const Chart& chart) {
  Legend legend;
  if (chart.series.size() < 2) return legend;
  double x = kLeft;
  legend.num_rows = 1;
  for (size_t i = 0; i < chart.series.size(); ++i) {
    const std::string name = Truncated(Printable(chart.series[i].name), 40);
    const double width = kLegendLine + 6 + kCharWidth * static_cast<double>(name.size());
    if (x > kLeft && x + width > kWidth - kRight) {
      x = kLeft;
      ++legend.num_rows;
    }
    const double y = kTitleHeight + kLegendRow * (legend.num_rows - 1) + 4;
    absl::StrAppendFormat(&legend.svg,
                          "<path class=\"line s%d\" d=\"M%.1f %.1fh%.1f\"/><text x=\"%.1f\" y=\"%.1f\">%s</text>\n",
                          i % kNumLooks, x, y, kLegendLine, x + kLegendLine + 6, y + 4, EscapeHtml(name));
    x += width + kLegendGap;
  }
  return legend;
}

// Where the data lies in the picture.
struct Plot {
  double top = 0;
  Range x, y;
  double X(double value) const {
    return kLeft + (kWidth - kLeft - kRight) * (x.high > x.low ? (value - x.low) / (x.high - x.low) : 0.5);
  }
  double Y(double value) const {
    // Halves: the difference of huge values of either sign would not be finite.
    return top + kPlotHeight * (1 - (value / 2 - y.low / 2) / (y.high / 2 - y.low / 2));
  }
};

std::string LinePath(const Plot& plot, const std::vector<std::pair<double, double>>& points) {
  std::string path;
  bool drawing = false;
  for (size_t i = 0; i < points.size(); ++i) {
    const bool finite = std::isfinite(points[i].second);
    if (finite) {
      absl::StrAppendFormat(&path, "%s%.1f %.1f", drawing ? "L" : "M", plot.X(points[i].first),
                            plot.Y(points[i].second));
      // A point between two gaps has no line: a stroke of length 0 with round ends shows it.
      const bool alone = !drawing && (i + 1 == points.size() || !std::isfinite(points[i + 1].second));
      if (alone) path += "h0";
    }
    drawing = finite;
  }
  return path;
}

std::string Axes(const Plot& plot, const std::vector<double>& y_ticks) {
  std::string svg;
  for (const double tick : y_ticks) {
    absl::StrAppendFormat(
        &svg, "<path class=\"grid\" d=\"M%.1f %.1fH%.1f\"/><text class=\"end\" x=\"%.1f\" y=\"%.1f\">%s</text>\n",
        kLeft, plot.Y(tick), kWidth - kRight, kLeft - 7, plot.Y(tick) + 4, TickLabel(tick));
  }
  const double bottom = plot.top + kPlotHeight;
  for (const double tick :
       plot.x.high > plot.x.low ? NiceTicks(plot.x.low, plot.x.high, 5) : std::vector<double>{plot.x.low}) {
    // Steps are whole numbers.
    if (tick < plot.x.low || tick > plot.x.high || tick != std::floor(tick)) continue;
    absl::StrAppendFormat(
        &svg, "<path class=\"axis\" d=\"M%.1f %.1fv4\"/><text class=\"middle\" x=\"%.1f\" y=\"%.1f\">%s</text>\n",
        plot.X(tick), bottom, plot.X(tick), bottom + 17, TickLabel(tick));
  }
  absl::StrAppendFormat(&svg, "<path class=\"axis\" d=\"M%.1f %.1fH%.1f\"/>\n", kLeft, bottom, kWidth - kRight);
  return svg;
}

std::string Description(const Chart& chart, const std::vector<std::vector<std::pair<double, double>>>& drawn) {
  std::string text = "A line per stage over its steps.";
  for (size_t i = 0; i < drawn.size(); ++i) {
    std::vector<double> values;
    for (const auto& [step, value] : drawn[i]) {
      if (std::isfinite(value)) values.push_back(value);
    }
    if (values.empty()) continue;
    absl::StrAppend(&text, " ", Printable(chart.series[i].name), ": from ", FormatNumber(values.front()), " to ",
                    FormatNumber(values.back()), ".");
  }
  return text;
}

}  // namespace

std::string ChartCss() {
  std::string light, dark, classes;
  for (int i = 0; i < kNumLooks; ++i) {
    absl::StrAppend(&light, "--s", i, ":", kLooks[i].light, ";");
    absl::StrAppend(&dark, "--s", i, ":", kLooks[i].dark, ";");
    absl::StrAppend(&classes, ".chart .s", i, "{stroke:var(--s", i, ");stroke-dasharray:", kLooks[i].dashes, "}\n");
  }
  return absl::StrCat(":root{--chart-text:#3d444d;--chart-grid:#e4e7eb;--chart-axis:#8c959f;", light,
                      "}\n@media (prefers-color-scheme:dark){:root{--chart-text:#c4cbd3;--chart-grid:#2c333b;"
                      "--chart-axis:#768390;",
                      dark, "}}\n",
                      ".chart{font:12px system-ui,-apple-system,\"Segoe UI\",Roboto,sans-serif}\n"
                      ".chart text{fill:var(--chart-text);font-variant-numeric:tabular-nums}\n"
                      ".chart .name{font-weight:600;font-size:13px}\n"
                      ".chart .end{text-anchor:end}\n.chart .middle{text-anchor:middle}\n"
                      ".chart path{fill:none}\n.chart .grid{stroke:var(--chart-grid)}\n"
                      ".chart .axis{stroke:var(--chart-axis)}\n"
                      ".chart .line{stroke-width:1.8;stroke-linejoin:round;stroke-linecap:round}\n",
                      classes);
}

std::vector<double> NiceTicks(double low, double high, int count) {
  // Numbers next to 0 have too few digits to be divided: they are drawn as 0.
  constexpr double kSmallest = 1e-300;
  if (high / 2 - low / 2 <= (std::abs(high) < kSmallest ? kSmallest : 0)) {
    const double around = std::abs(low) < kSmallest ? 1 : std::abs(low) * 0.5;
    low -= around;
    high += around;
  }
  // Divided before the difference is taken: it may be larger than any number.
  const double rough = high / count - low / count;
  const double power = std::pow(10, std::floor(std::log10(rough)));
  double step = power;
  for (const double factor : {1.0, 2.0, 5.0, 10.0}) {
    step = factor * power;
    if (step >= rough * (1 - 1e-9)) break;
  }
  std::vector<double> ticks;
  const double first = std::floor(low / step * (1 + (low > 0 ? 1e-12 : -1e-12)));
  for (double i = first; static_cast<int>(ticks.size()) < 4 * count; ++i) {
    ticks.push_back(i * step);
    if (ticks.back() >= high - step * 1e-9) break;
  }
  return ticks;
}

std::string TickLabel(double value) {
  constexpr std::pair<double, const char*> kUnits[] = {{1e12, "T"}, {1e9, "G"}, {1e6, "M"}, {1e3, "k"}};
  const double size = std::abs(value);
  if (size >= 1e15 || (size < 1e-3 && size > 0)) return absl::StrFormat("%.2g", value);
  for (const auto& [unit, name] : kUnits) {
    if (size >= unit) return absl::StrFormat("%.4g%s", value / unit, name);
  }
  return absl::StrFormat("%.4g", value);
}

std::string ChartSvg(const Chart& chart, bool standalone) {
  int64_t num_points = 0;
  for (const ChartSeries& series : chart.series)
    num_points = std::max(num_points, static_cast<int64_t>(series.points.size()));
  const int64_t every = std::max<int64_t>(1, (num_points + kMaxPoints - 1) / kMaxPoints);
  std::vector<std::vector<std::pair<double, double>>> drawn;
  Plot plot;
  for (const ChartSeries& series : chart.series) {
    for (const auto& [step, value] : drawn.emplace_back(Merged(series.points, every, chart.merge))) {
      if (!std::isfinite(value)) continue;
      plot.x.Add(step);
      plot.y.Add(value);
    }
  }
  const Legend legend = MakeLegend(chart);
  plot.top = kTitleHeight + kLegendRow * legend.num_rows;
  const double height = plot.top + kPlotHeight + kAxisHeight;
  std::string body;
  if (plot.y.empty()) {
    body = absl::StrFormat("<text class=\"middle\" x=\"%.1f\" y=\"%.1f\">no data</text>\n", kWidth / 2,
                           plot.top + kPlotHeight / 2);
  } else {
    const std::vector<double> ticks = NiceTicks(plot.y.low, plot.y.high, 4);
    plot.y.Add(ticks.front());
    plot.y.Add(ticks.back());
    body = Axes(plot, ticks);
    for (size_t i = 0; i < drawn.size(); ++i)
      absl::StrAppend(&body, "<path class=\"line s", i % kNumLooks, "\" d=\"", LinePath(plot, drawn[i]), "\"/>\n");
    const std::string merged = every == 1 ? ""
                                          : absl::StrCat(" (", chart.merge == Chart::Merge::kMean ? "mean" : "largest",
                                                         " of each ", every, ")");
    absl::StrAppendFormat(&body, "<text class=\"middle\" x=\"%.1f\" y=\"%.1f\">step%s</text>\n",
                          (kLeft + kWidth - kRight) / 2, height - 7, merged);
  }
  const std::string id = EscapeHtml(chart.id);
  const std::string title =
      EscapeHtml(Printable(chart.unit.empty() ? chart.title : absl::StrCat(chart.title, " (", chart.unit, ")")));
  return absl::StrFormat(
      "<svg class=\"chart\" xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 %.0f %.0f\"%s role=\"img\" "
      "aria-labelledby=\"%s-t %s-d\">\n<title id=\"%s-t\">%s</title>\n<desc id=\"%s-d\">%s</desc>\n%s"
      "<text class=\"name\" x=\"8\" y=\"18\">%s</text>\n%s%s</svg>\n",
      kWidth, height, standalone ? absl::StrFormat(" width=\"%.0f\" height=\"%.0f\"", kWidth, height) : "", id, id, id,
      title, id, EscapeHtml(Description(chart, drawn)),
      standalone ? absl::StrCat("<style>", ChartCss(), "</style>\n") : "", title, legend.svg, body);
}

}  // namespace grpo
