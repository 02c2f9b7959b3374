#include "tools/grpoctl/sibling.h"

#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <filesystem>
#include <iostream>

#include "common/exit_codes.h"

namespace grpo {
namespace {

std::string SiblingPath() {
  std::error_code error;
  return (std::filesystem::read_symlink("/proc/self/exe", error).parent_path() / "grpoctl-model").string();
}

}  // namespace

bool HasSibling() {
  return ::access(SiblingPath().c_str(), X_OK) == 0;
}

int RunSibling(std::vector<std::string> arguments) {
  const std::string sibling = SiblingPath();
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
