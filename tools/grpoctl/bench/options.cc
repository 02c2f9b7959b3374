#include "tools/grpoctl/bench/options.h"

#include "absl/strings/str_cat.h"

namespace grpo {

CLI::Option* AddCount(CLI::App& verb, const std::string& name, int64_t& value, const std::string& help, int64_t least) {
  return verb.add_option(name, value, absl::StrCat(help, " (default: ", value, ")"))
      ->check(CLI::Range(least, int64_t{1} << 24))
      ->type_name("")
      ->option_text("N");
}

void AddTimingOptions(CLI::App& verb, int64_t* threads, uint64_t* seed, int64_t* repeats, OutputFormat* format) {
  verb.add_option("--threads", *threads, absl::StrCat("Threads (default: one for each core, ", *threads, ")"))
      ->check(CLI::Range(1, 1024))
      ->option_text("N");
  verb.add_option("--seed", *seed, "Same seed, same prompts and samples (default: 0)")->option_text("S");
  AddCount(verb, "--repeats", *repeats, "Timed, after one that is not; the median and the extremes are shown");
  AddOutputOption(verb, format);
  verb.add_flag_callback(
      "--json", [format] { *format = OutputFormat::kJson; }, "The same as --output json");
}

}  // namespace grpo
