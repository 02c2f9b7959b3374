#include "absl/strings/ascii.h"
#include "absl/strings/str_cat.h"
#include "tools/grpoctl/text.h"
#include "tools/page/markup.h"
#include "tools/page/render.h"
#include "tools/page/style.h"

namespace grpo {
namespace {

constexpr int kMaxSampleBytes = 1500;

std::string Shown(const std::string& text) {
  return EscapeHtml(Printable(text));
}

// "93.7 % (91.2 to 95.8)": what stands in parentheses is set smaller.
std::string Cell(const std::string& text) {
  const size_t open = text.find(" (");
  if (open == text.npos) return EscapeHtml(text);
  return absl::StrCat(EscapeHtml(text.substr(0, open)), "<small>", EscapeHtml(text.substr(open + 1)), "</small>");
}

// A column of words is aligned left; numbers are aligned right.
const char* ColumnClass(const TableRows& rows, size_t column) {
  const bool words =
      rows.size() > 1 && column < rows[1].size() && !rows[1][column].empty() && absl::ascii_isalpha(rows[1][column][0]);
  return words ? " class=\"word\"" : "";
}

// Scrolls in its own box, also by keyboard.
std::string Table(const TableRows& rows, const std::string& label, const char* table_class) {
  std::string html = absl::StrCat("<div class=\"scroll\" role=\"region\" tabindex=\"0\" aria-label=\"", Shown(label),
                                  "\"><table class=\"", table_class, "\">\n<thead><tr>");
  for (size_t i = 0; i < rows[0].size(); ++i)
    absl::StrAppend(&html, "<th scope=\"col\"", ColumnClass(rows, i), ">", EscapeHtml(rows[0][i]), "</th>");
  html += "</tr></thead>\n<tbody>\n";
  for (size_t r = 1; r < rows.size(); ++r) {
    absl::StrAppend(&html, "<tr><th scope=\"row\">", EscapeHtml(rows[r][0]), "</th>");
    for (size_t i = 1; i < rows[0].size(); ++i) {
      const std::string cell = i < rows[r].size() ? rows[r][i] : "";
      absl::StrAppend(&html, "<td", ColumnClass(rows, i), ">", Cell(cell), "</td>");
    }
    html += "</tr>\n";
  }
  return html + "</tbody></table></div>\n";
}

std::string Fact(const std::string& name, const std::string& value) {
  return absl::StrCat("<div><dt>", name, "</dt><dd>", Shown(value), "</dd></div>\n");
}

std::string Lines(const std::string& bytes) {
  return absl::StrCat("<pre>", EscapeHtml(PrintableLines(bytes, kMaxSampleBytes)), "</pre>");
}

std::string ProblemHtml(const SampledProblem& problem) {
  std::string html =
      absl::StrCat("<article class=\"trace\"><h3>", Shown(problem.prompt_id), "</h3>", Lines(problem.prompt),
                   "<div class=\"answer\"><span class=\"soft\">Reference answer</span>", Lines(problem.answer),
                   "</div>", "<div class=\"samples\">\n");
  for (const ShownSample& sample : problem.samples) {
    // The heading is printable already.
    absl::StrAppend(&html, "<section class=\"sample\"><header><b>", EscapeHtml(sample.heading),
                    "</b><span class=\"mark ", sample.right ? "right\">✓ right" : "wrong\">✗ wrong",
                    "</span><span class=\"soft\">reward ", EscapeHtml(sample.reward), " · ",
                    FormatCount(sample.num_tokens), " tokens", sample.greedy ? " · greedy" : "", "</span></header>",
                    Lines(sample.completion), "</section>\n");
  }
  return html + "</div></article>\n";
}

}  // namespace

std::string ReportHtml(const ReportData& data) {
  std::string html = absl::StrCat(
      "<!DOCTYPE html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n"
      "<meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; style-src 'unsafe-inline'\">\n"
      "<meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n<title>",
      Shown(data.name), " · run report</title>\n<style>", kPageCss, ChartCss(), "</style>\n</head>\n<body>\n<main>\n",
      "<header><h1>", Shown(data.name), "</h1>\n<dl class=\"facts\">\n", Fact("Run", data.id), Fact("Seed", data.seed),
      Fact("State", data.state), "</dl></header>\n");
  for (const SummaryTable& table : data.tables) {
    // Columns of intervals are wide.
    absl::StrAppend(&html, "<h2>", Shown(table.title), "</h2>\n",
                    Table(table.rows, table.title, table.intervals ? "evaluations" : "plain"),
                    table.intervals ? "<p class=\"soft\">In parentheses: 95 % confidence interval.</p>\n" : "");
    for (const std::string& note : table.notes) absl::StrAppend(&html, "<p>", Shown(note), "</p>\n");
  }
  if (!data.charts.empty()) {
    html += "<h2>Training</h2>\n<div class=\"charts\">\n";
    for (const Chart& chart : data.charts)
      absl::StrAppend(&html, "<figure>", ChartSvg(chart, /*standalone=*/false), "</figure>\n");
    html += "</div>\n";
  }
  if (!data.problems.empty()) {
    html +=
        "<h2>Samples</h2>\n<p class=\"soft\">The first problems that every evaluation sampled, and the first "
        "completion of each.</p>\n";
    for (const SampledProblem& problem : data.problems) html += ProblemHtml(problem);
  }
  if (!data.seconds.empty()) absl::StrAppend(&html, "<h2>Time</h2>\n", Table(data.seconds, "Time", "sum"));
  return html + "</main>\n</body>\n</html>\n";
}

}  // namespace grpo
