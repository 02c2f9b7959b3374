// grpoctl report RUN: a run as a page and as Markdown with pictures, beside its other files.
#include <iostream>
#include <memory>

#include "absl/strings/str_cat.h"
#include "common/exit_codes.h"
#include "common/files.h"
#include "common/status_macros.h"
#include "tools/grpoctl/client/connection.h"
#include "tools/grpoctl/verb.h"
#include "tools/page/render.h"

namespace grpo {
namespace {

absl::Status Write(const std::string& run_dir) {
  ASSIGN_OR_RETURN(const ReportData data, GatherReport(run_dir));
  const std::string folder = absl::StrCat(run_dir, "/", kChartFolder);
  // Pictures of an older report may have other names.
  RETURN_IF_ERROR(RemoveAll(folder));
  RETURN_IF_ERROR(MakeFolders(folder));
  for (const Chart& chart : data.charts)
    RETURN_IF_ERROR(WriteFileAtomically(absl::StrCat(folder, "/", chart.id, ".svg"), ChartSvg(chart, true)));
  RETURN_IF_ERROR(WriteFileAtomically(run_dir + "/report.md", ReportMarkdown(data)));
  return WriteFileAtomically(run_dir + "/report.html", ReportHtml(data));
}

int Report(const std::string& named) {
  const absl::StatusOr<std::string> run_dir = ResolveRunDir(named);
  if (!run_dir.ok()) return Fail(run_dir.status());
  if (const absl::Status status = Write(*run_dir); !status.ok()) return Fail(status);
  for (const char* name : {"report.html", "report.md", kChartFolder}) std::cout << *run_dir << "/" << name << "\n";
  std::cout << std::flush;
  return kExitOk;
}

}  // namespace

void AddReportVerb(CLI::App& app, int* exit_code) {
  const auto run_dir = std::make_shared<std::string>();
  CLI::App* verb = AddSubcommand(
      app, "report", "A run's tables, curves and samples as report.html and report.md",
      "  grpoctl report\n"
      "  grpoctl report runs/quickstart",
      [run_dir] { return Report(*run_dir); }, exit_code);
  verb->add_option("RUN", *run_dir, "The run folder (default: the newest run under runs/)");
}

}  // namespace grpo
