// grpoctl report RUN: a run as a page and as Markdown with pictures, beside its other files. With a second run: the two
// side by side, printed.
#include <iostream>
#include <memory>

#include "absl/strings/str_cat.h"
#include "common/exit_codes.h"
#include "common/files.h"
#include "common/status_macros.h"
#include "tools/grpoctl/client/connection.h"
#include "tools/grpoctl/records/compare.h"
#include "tools/grpoctl/records/summary.h"
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

absl::StatusOr<RunComparison> Compare(const std::string& a, const std::string& b) {
  ASSIGN_OR_RETURN(const RunSummary run_a, ReadSummary(a));
  ASSIGN_OR_RETURN(const RunSummary run_b, ReadSummary(b));
  return CompareRuns(run_a, run_b);
}

struct ReportFlags {
  std::string run_dir, other;
  OutputFormat format = OutputFormat::kTable;
};

int PrintComparison(const ReportFlags& flags) {
  const absl::StatusOr<RunComparison> comparison = Compare(flags.run_dir, flags.other);
  if (!comparison.ok()) return Fail(comparison.status());
  std::cout << (flags.format == OutputFormat::kJson ? ComparisonJson(*comparison)
                                                    : ComparisonText(*comparison, flags.run_dir, flags.other))
            << std::flush;
  return kExitOk;
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
  const auto flags = std::make_shared<ReportFlags>();
  CLI::App* verb = AddSubcommand(
      app, "report", "A run's tables, curves and samples as report.html and report.md; or two runs side by side",
      "  grpoctl report\n"
      "  grpoctl report runs/quickstart\n"
      "  grpoctl report runs/seed0 runs/seed1\n"
      "  grpoctl report runs/seed0 runs/seed1 --output json",
      [flags] { return flags->other.empty() ? Report(flags->run_dir) : PrintComparison(*flags); }, exit_code);
  verb->add_option("RUN", flags->run_dir, "The run folder (default: the newest run under runs/)");
  CLI::Option* const other =
      verb->add_option("OTHER", flags->other, "A second run folder: nothing is written, what differs is printed");
  AddOutputOption(*verb, &flags->format);
  // Of one run the results are files.
  verb->get_option("--output")->needs(other);
}

}  // namespace grpo
