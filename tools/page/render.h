// A report as a page and as Markdown. Everything that came from a model, a file or a configuration is escaped. Pure.
#ifndef GRPO_TOOLS_PAGE_RENDER_H_
#define GRPO_TOOLS_PAGE_RENDER_H_

#include <string>

#include "tools/page/data.h"

namespace grpo {

// The folder of the pictures, beside report.md.
inline constexpr char kChartFolder[] = "report";

// One file: no script, nothing from outside, and a policy that forbids both. Pictures are in it. Opens without a
// server.
std::string ReportHtml(const ReportData& data);

// For GitHub; the pictures are kChartFolder/<id>.svg of each chart.
std::string ReportMarkdown(const ReportData& data);

}  // namespace grpo

#endif  // GRPO_TOOLS_PAGE_RENDER_H_
