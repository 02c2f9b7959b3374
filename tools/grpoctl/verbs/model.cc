// grpoctl model: run by the sibling binary grpoctl-model, which links torch; grpoctl itself starts at once.
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <filesystem>
#include <iostream>
#include <string>
#include <vector>

#include "common/exit_codes.h"
#include "tools/grpoctl/verb.h"

namespace grpo {
namespace {

constexpr char kSibling[] = "grpoctl-model";

// Returns only when the sibling cannot be started.
int RunSibling(std::vector<std::string> arguments) {
  std::error_code error;
  const std::filesystem::path self = std::filesystem::read_symlink("/proc/self/exe", error);
  const std::string sibling = (self.parent_path() / kSibling).string();
  arguments.insert(arguments.begin(), {"grpoctl", "model"});
  std::vector<char*> argv;
  for (std::string& argument : arguments) argv.push_back(argument.data());
  argv.push_back(nullptr);
  ::execv(sibling.c_str(), argv.data());
  std::cerr << "grpoctl: cannot run " << sibling << ": " << std::strerror(errno)
            << "; `bazel build //tools:grpoctl-model` makes it\n";
  return kExitNoInput;
}

}  // namespace

void AddModelVerb(CLI::App& app, int* exit_code) {
  CLI::App* model = app.add_subcommand("model", "A model's folder: inspect, tokenize, logprobs, generate, export");
  // Everything that follows, --help too, is the sibling's.
  model->prefix_command()->set_help_flag();
  model->callback([model, exit_code] { *exit_code = RunSibling(model->remaining()); });
}

}  // namespace grpo
