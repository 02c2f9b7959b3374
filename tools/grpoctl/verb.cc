#include "tools/grpoctl/verb.h"

#include <fcntl.h>
#include <unistd.h>

#include <cerrno>
#include <cstdio>
#include <cstring>
#include <iostream>
#include <map>
#include <memory>

#include "absl/strings/str_cat.h"
#include "common/exit_codes.h"
#include "common/stop_signal.h"

namespace grpo {
namespace {

class ExamplesFirstFormatter : public CLI::Formatter {
 public:
  std::string make_description(const CLI::App* app) const override {
    const std::string footer = app->get_footer();
    return app->get_description() + "\n" + (footer.empty() ? "" : "\nExamples:\n" + footer + "\n") + "\n";
  }
  std::string make_footer(const CLI::App*) const override { return ""; }
};

// Puts the examples of every subcommand before its usage and options.
void PutExamplesFirst(CLI::App& app) {
  app.formatter(std::make_shared<ExamplesFirstFormatter>());
  for (CLI::App* verb : app.get_subcommands([](CLI::App*) { return true; })) PutExamplesFirst(*verb);
}

// A closed descriptor would be given to the next file that is opened, which then takes the output.
void KeepClosedStreamsClosed() {
  for (const int fd : {STDIN_FILENO, STDOUT_FILENO, STDERR_FILENO}) {
    if (::fcntl(fd, F_GETFD) >= 0) continue;
    // The wrong way round: using it fails as before.
    [[maybe_unused]] const int opened = ::open("/dev/null", fd == STDIN_FILENO ? O_WRONLY : O_RDONLY);
  }
}

}  // namespace

CLI::App* AddSubcommand(CLI::App& app, const std::string& name, const std::string& summary, const std::string& examples,
                        std::function<int()> body, int* exit_code) {
  CLI::App* verb = app.add_subcommand(name, summary);
  verb->footer(examples);
  verb->callback([body = std::move(body), exit_code] { *exit_code = body(); });
  return verb;
}

int ParseCommandLine(CLI::App& app, int argc, const char* const* argv, const int& exit_code) {
  KeepClosedStreamsClosed();
  InstallFileSignals();
  PutExamplesFirst(app);
  // CLI11 reports by exceptions; this is where they end.
  try {
    app.parse(argc, argv);
  } catch (const CLI::ParseError& error) {
    return FinishOutput(app.exit(error, std::cout, std::cerr) == kExitOk ? kExitOk : kExitUsage);
  }
  return FinishOutput(exit_code);
}

int FinishOutput(int exit_code) {
  // Where a write failed before, little was done since: a verb that writes in a loop ends it then.
  int error = std::cout && std::ferror(stdout) == 0 ? 0 : errno;
  errno = 0;
  std::cout.flush();
  const bool flushed = std::fflush(stdout) == 0;
  if (errno != 0) error = errno;
  if (flushed && std::cout && std::ferror(stdout) == 0) return exit_code;
  std::cerr << "grpoctl: stdout could not take all of the output" << (error == 0 ? "" : ": ")
            << (error == 0 ? "" : std::strerror(error)) << std::endl;
  return exit_code == kExitOk ? kExitIo : exit_code;
}

int Fail(const absl::Status& status) {
  if (!status.ok()) std::cerr << "grpoctl: " << status.message() << std::endl;
  return ExitCodeFor(status);
}

int ExitCodeForLines(int64_t num_errors) {
  if (num_errors > 0) std::cerr << "grpoctl: " << num_errors << " input lines have an \"error\" in the output\n";
  return num_errors > 0 ? kExitData : kExitOk;
}

void AddOutputOption(CLI::App& verb, OutputFormat* format) {
  static const std::map<std::string, OutputFormat> kFormats = {{"table", OutputFormat::kTable},
                                                               {"json", OutputFormat::kJson}};
  verb.add_option("--output", *format,
                  absl::StrCat("table for people, json for programs (default: ",
                               *format == OutputFormat::kTable ? "table)" : "json)"))
      ->transform(CLI::CheckedTransformer(kFormats, CLI::ignore_case).description("table|json"))
      ->option_text("table|json");
}

}  // namespace grpo
