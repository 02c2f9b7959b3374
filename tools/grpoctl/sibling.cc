#include "tools/grpoctl/sibling.h"

#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <filesystem>
#include <iostream>

#include "common/exit_codes.h"

namespace grpo {

int RunSibling(std::vector<std::string> arguments) {
  std::error_code error;
  const std::filesystem::path self = std::filesystem::read_symlink("/proc/self/exe", error);
  const std::string sibling = (self.parent_path() / "grpoctl-model").string();
  arguments.insert(arguments.begin(), "grpoctl");
  std::vector<char*> argv;
  for (std::string& argument : arguments) argv.push_back(argument.data());
  argv.push_back(nullptr);
  ::execv(sibling.c_str(), argv.data());
  std::cerr << "grpoctl: cannot run " << sibling << ": " << std::strerror(errno)
            << "; `bazel build //tools:grpoctl-model` makes it\n";
  return kExitNoInput;
}

}  // namespace grpo
