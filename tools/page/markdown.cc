#include <algorithm>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "tools/grpoctl/text.h"
#include "tools/page/markup.h"
#include "tools/page/render.h"

namespace grpo {
namespace {

constexpr int kMaxSampleBytes = 600;

// Cells are Markdown already. The first column is aligned left, the others as `rest` says.
std::string Table(const TableRows& rows, const char* rest) {
  std::string text;
  for (size_t r = 0; r < rows.size(); ++r) {
    for (size_t i = 0; i < rows[0].size(); ++i) absl::StrAppend(&text, "| ", i < rows[r].size() ? rows[r][i] : "", " ");
    text += "|\n";
    if (r > 0) continue;
    for (size_t i = 0; i < rows[0].size(); ++i) absl::StrAppend(&text, i == 0 ? "|---" : rest);
    text += "|\n";
  }
  return text;
}

std::string EscapedTable(TableRows rows) {
  for (std::vector<std::string>& row : rows) {
    for (std::string& cell : row) cell = EscapeMarkdown(cell);
  }
  return Table(rows, "|---:");
}

// Several lines in a table's cell.
std::string CellLines(const std::string& bytes) {
  std::string cell;
  for (const absl::string_view line : absl::StrSplit(PrintableLines(bytes, kMaxSampleBytes), '\n'))
    absl::StrAppend(&cell, cell.empty() ? "" : "<br>", EscapeMarkdown(line));
  return cell;
}

std::string ProblemText(const SampledProblem& problem) {
  TableRows rows(3);
  for (const ShownSample& sample : problem.samples) {
    rows[0].push_back(EscapeMarkdown(sample.heading));
    rows[1].push_back(
        EscapeMarkdown(absl::StrCat(sample.right ? "✓ right" : "✗ wrong", ", reward ", sample.reward, ", ",
                                    FormatCount(sample.num_tokens), " tokens", sample.greedy ? ", greedy" : "")));
    rows[2].push_back(CellLines(sample.completion));
  }
  return absl::StrCat("### ", EscapeMarkdown(Printable(problem.prompt_id)), "\n\n", CellLines(problem.prompt),
                      "\n\nReference answer: ", CellLines(problem.answer), "\n\n", Table(rows, "|---"), "\n");
}

}  // namespace

std::string ReportMarkdown(const ReportData& data) {
  const auto shown = [](const std::string& text) { return EscapeMarkdown(Printable(text)); };
  std::string text = absl::StrCat("# Run ", shown(data.name), "\n\nId ", shown(data.id), ", seed ", shown(data.seed),
                                  ", ", shown(data.state), ".\n\n");
  for (const SummaryTable& table : data.tables) {
    absl::StrAppend(&text, "## ", shown(table.title), "\n\n", EscapedTable(table.rows), "\n",
                    table.intervals ? "In parentheses: 95 % confidence interval.\n\n" : "");
    for (const std::string& note : table.notes) absl::StrAppend(&text, shown(note), "\n\n");
  }
  if (!data.seconds.empty()) absl::StrAppend(&text, "## Time\n\n", EscapedTable(data.seconds), "\n");
  if (!data.charts.empty()) text += "## Training\n\n";
  for (const Chart& chart : data.charts)
    absl::StrAppend(&text, "![", shown(chart.title), "](", kChartFolder, "/", chart.id, ".svg)\n");
  if (!data.charts.empty()) text += "\n";
  if (!data.problems.empty()) {
    text += "## Samples\n\nThe first problems that every evaluation sampled, and the first completion of each.\n\n";
    for (const SampledProblem& problem : data.problems) text += ProblemText(problem);
  }
  return text;
}

}  // namespace grpo
