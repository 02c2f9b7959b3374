// The binary's exit codes and streams, as scripts see them.
#include <stdio.h>
#include <sys/wait.h>

#include <string>

#include "common/exit_codes.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace grpo {
namespace {

using ::testing::HasSubstr;
using ::testing::StartsWith;

struct Result {
  int exit_code = -1;
  std::string output;
};

// `command` may redirect; without that the output is stdout.
Result Shell(const std::string& command) {
  Result result;
  FILE* pipe = ::popen(command.c_str(), "r");
  char buffer[4096];
  for (size_t got; (got = ::fread(buffer, 1, sizeof(buffer), pipe)) > 0;) result.output.append(buffer, got);
  const int status = ::pclose(pipe);
  result.exit_code = WIFEXITED(status) ? WEXITSTATUS(status) : -1;
  return result;
}

Result Grpoctl(const std::string& arguments) {
  return Shell("tools/grpoctl " + arguments);
}

// It knows every stage and algorithm, and starts at once all the same.
TEST(GrpoctlTest, NeitherItNorTheRewardServerLinksWhatComputes) {
  for (const char* binary : {"tools/grpoctl", "reward/reward_server"}) {
    const Result libraries = Shell(std::string("ldd ") + binary);
    EXPECT_EQ(libraries.exit_code, 0) << binary;
    EXPECT_THAT(libraries.output, HasSubstr("libc.so"));
    for (const char* name : {"torch", "c10", "gloo", "libgomp"}) {
      EXPECT_THAT(libraries.output, ::testing::Not(HasSubstr(name))) << binary;
    }
  }
}

TEST(GrpoctlTest, HelpPutsExamplesBeforeUsage) {
  for (const char* verb :
       {"", "run ", "validate ", "status ", "watch ", "pause ", "resume ", "stop ", "checkpoint ", "health ", "logs ",
        "reward ", "reward score ", "reward equal ", "ckpt ", "ckpt ls ", "ckpt verify ", "completions "}) {
    const Result help = Grpoctl(std::string(verb) + "--help");
    EXPECT_EQ(help.exit_code, kExitOk) << verb;
    EXPECT_THAT(help.output, HasSubstr("Examples:\n  "));
    EXPECT_LT(help.output.find("Examples:"), help.output.find("Usage:")) << verb;
  }
}

TEST(GrpoctlTest, WrongCommandLinesAreUsageErrors) {
  for (const char* line : {"", "bogus", "status --bogus", "run", "run --resume --set a=b", "reward", "validate",
                           "reward score --profile x", "status --output xml", "status --address a:1 --run-dir b",
                           "ckpt", "ckpt verify a b"}) {
    const Result result = Grpoctl(std::string(line) + " 2>&1 >/dev/null </dev/null");
    EXPECT_EQ(result.exit_code, kExitUsage) << line;
    EXPECT_NE(result.output, "") << line;
  }
}

TEST(GrpoctlTest, MissingFilesAreNamed) {
  for (const char* line :
       {"run nowhere.yaml", "validate nowhere.yaml", "status --run-dir nowhere", "run --resume --run-dir nowhere",
        "logs --run-dir nowhere", "ckpt ls --run-dir nowhere", "completions --run-dir nowhere",
        "ckpt verify --run-dir nowhere", "reward score --config nowhere.yaml"}) {
    const Result result = Grpoctl(std::string(line) + " 2>&1 >/dev/null </dev/null");
    EXPECT_EQ(result.exit_code, kExitNoInput) << line;
    EXPECT_THAT(result.output, StartsWith("grpoctl: ")) << line;
    EXPECT_THAT(result.output, HasSubstr("nowhere")) << line;
  }
}

TEST(GrpoctlTest, UnreachableTrainerIsUnavailable) {
  for (const char* verb : {"status", "watch", "pause", "resume", "stop", "checkpoint", "health"}) {
    const Result result = Grpoctl(std::string(verb) + " --address 127.0.0.1:1 2>&1 >/dev/null");
    EXPECT_EQ(result.exit_code, kExitUnavailable) << verb;
    EXPECT_THAT(result.output, HasSubstr("127.0.0.1:1")) << verb;
  }
}

TEST(GrpoctlTest, BadInputLinesAreDataErrorsAfterAllOutput) {
  const Result result = Grpoctl("reward equal 2>/dev/null <<'END'\nnonsense\n{\"gold\":\"1\",\"pred\":\"1\"}\nEND");
  EXPECT_EQ(result.exit_code, kExitData);
  EXPECT_THAT(result.output, HasSubstr("\"equal\":true"));
}

}  // namespace
}  // namespace grpo
