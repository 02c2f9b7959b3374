// What a verb of grpoctl is: a function that adds its subcommand (options, help with examples, callback) to the command
// line. The callback runs while the line is parsed and leaves the exit code. One file each in verbs/, one line each in
// verbs.inc.
#ifndef GRPO_TOOLS_GRPOCTL_VERB_H_
#define GRPO_TOOLS_GRPOCTL_VERB_H_

#include <cstdint>
#include <functional>
#include <string>

#include "CLI/CLI.hpp"
#include "absl/status/status.h"

namespace grpo {

// An entry of verbs.inc. `exit_code` is where the callback leaves it.
using AddVerb = void (*)(CLI::App& app, int* exit_code);

// Adds a subcommand. `examples` come first in its --help, one command a line; `body` returns the exit code. `exit_code`
// outlives the parsing; `app` owns what is returned.
CLI::App* AddSubcommand(CLI::App& app, const std::string& name, const std::string& summary, const std::string& examples,
                        std::function<int()> body, int* exit_code);

// Runs what the command line asks for, and returns `exit_code`, or kExitUsage for one that makes no sense. Examples
// come first in every --help. --help is kExitOk. No exception of CLI11 leaves it. What could not be written to stdout is
// an error (FinishOutput); a standard stream that is closed stays so for whatever is opened; of signals, InstallFileSignals.
int ParseCommandLine(CLI::App& app, int argc, const char* const* argv, const int& exit_code);

// Writes the message of an error to stderr and returns its exit code; 0 and silence for OK. Those of
// common/exit_codes.h.
int Fail(const absl::Status& status);

// Flushes stdout. When not all that was put there could be written (a full disk, a closed descriptor), says so on stderr
// and returns kExitIo in place of kExitOk; otherwise returns `exit_code`. A pipe that nobody reads ends a verb before, by
// SIGPIPE.
int FinishOutput(int exit_code);

// Says on stderr how many input lines have an error in the output, if any; the exit code for that. kExitData, or
// kExitOk for none.
int ExitCodeForLines(int64_t num_errors);

enum class OutputFormat { kTable, kJson };
// Adds --output table|json; without the option *format stays what it is.
void AddOutputOption(CLI::App& verb, OutputFormat* format);

}  // namespace grpo

#endif  // GRPO_TOOLS_GRPOCTL_VERB_H_
