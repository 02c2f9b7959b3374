// The binary's exit codes and streams, as scripts see them.
#include <stdio.h>
#include <sys/wait.h>

#include <algorithm>
#include <filesystem>
#include <fstream>
#include <string>

#include "absl/strings/str_split.h"
#include "common/exit_codes.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "nlohmann/json.hpp"

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
    // Whole names: addresses hold any letters and digits.
    for (const char* name : {"libtorch", "libc10", "libgloo", "libgomp"}) {
      EXPECT_THAT(libraries.output, ::testing::Not(HasSubstr(name))) << binary;
    }
  }
}

TEST(GrpoctlTest, HelpPutsExamplesBeforeUsage) {
  for (const char* verb : {"",        "run ",          "validate ",     "status ",       "watch ",
                           "pause ",  "resume ",       "stop ",         "checkpoint ",   "health ",
                           "logs ",   "reward ",       "reward score ", "reward equal ", "runs ",
                           "doctor ", "ckpt ",         "ckpt ls ",      "ckpt verify ",  "completions ",
                           "bench ",  "bench reward ", "certificates ", "launch "}) {
    const Result help = Grpoctl(std::string(verb) + "--help");
    EXPECT_EQ(help.exit_code, kExitOk) << verb;
    EXPECT_THAT(help.output, HasSubstr("Examples:\n  "));
    EXPECT_LT(help.output.find("Examples:"), help.output.find("Usage:")) << verb;
  }
}

TEST(GrpoctlTest, WrongCommandLinesAreUsageErrors) {
  for (const char* line : {"", "bogus", "status --bogus", "run", "run --resume --set a=b", "reward", "validate",
                           "reward score --profile x", "status --output xml", "status --address a:1 --run-dir b",
                           "ckpt", "ckpt verify a b", "runs a b", "runs --output xml", "doctor --set a=b", "bench",
                           "bench nothing", "bench reward --repeats 0", "bench reward --model x"}) {
    const Result result = Grpoctl(std::string(line) + " 2>&1 >/dev/null </dev/null");
    EXPECT_EQ(result.exit_code, kExitUsage) << line;
    EXPECT_NE(result.output, "") << line;
  }
}

TEST(GrpoctlTest, MissingFilesAreNamed) {
  for (const char* line :
       {"run nowhere.yaml", "validate nowhere.yaml", "status --run-dir nowhere", "run --resume --run-dir nowhere",
        "logs --run-dir nowhere", "runs nowhere", "ckpt ls --run-dir nowhere", "completions --run-dir nowhere",
        "ckpt verify --run-dir nowhere", "reward score --config nowhere.yaml"}) {
    const Result result = Grpoctl(std::string(line) + " 2>&1 >/dev/null </dev/null");
    EXPECT_EQ(result.exit_code, kExitNoInput) << line;
    EXPECT_THAT(result.output, StartsWith("grpoctl: ")) << line;
    EXPECT_THAT(result.output, HasSubstr("nowhere")) << line;
  }
}

TEST(GrpoctlTest, CertificatesAreMadeForTheRunThatIsNamed) {
  const std::string folder = ::testing::TempDir() + "/certificates_run", dir = " --run-dir " + folder;
  std::filesystem::remove_all(folder);
  const Result unnamed = Grpoctl("certificates" + dir + " 2>&1");
  EXPECT_NE(unnamed.exit_code, kExitOk);
  EXPECT_THAT(unnamed.output, HasSubstr("--run-id"));
  EXPECT_EQ(Grpoctl("certificates" + dir + " --run-id a-1 --any-host --host b 2>&1").exit_code, kExitUsage);
  const Result made = Grpoctl("certificates" + dir + " --run-id a-1 --host node-a --host 10.0.0.7 2>/dev/null");
  EXPECT_EQ(made.exit_code, kExitOk);
  EXPECT_EQ(made.output, folder + "/tls\n");
  for (const char* name : {"ca.pem", "ca.key", "worker.pem", "worker.key", "operator.pem"})
    EXPECT_TRUE(std::filesystem::exists(folder + "/tls/" + name)) << name;
  std::filesystem::remove_all(folder);
}

// The exit code is that of the first problem, and this machine may have others beside.
TEST(GrpoctlTest, DoctorSaysWhatIsWrongAndWhatToDo) {
  const Result result = Grpoctl("doctor nowhere.yaml --run-dir " + ::testing::TempDir() + "/run --output json");
  EXPECT_EQ(result.exit_code, kExitNoInput);
  const auto findings = nlohmann::json::parse(result.output, nullptr, /*allow_exceptions=*/false);
  ASSERT_TRUE(findings.is_array()) << result.output;
  EXPECT_EQ(findings[0]["check"], "configuration");
  EXPECT_EQ(findings[0]["severity"], "problem");
  EXPECT_EQ(Grpoctl("doctor --address 127.0.0.1:1 --run-dir x 2>/dev/null").exit_code, kExitUsage);
  EXPECT_THAT(Grpoctl("doctor --address 127.0.0.1:1").output, HasSubstr("no trainer answers at 127.0.0.1:1"));
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

// A line that is no JSON object.
std::string NoJson(const std::string& output) {
  for (const absl::string_view line : absl::StrSplit(output, '\n', absl::SkipEmpty())) {
    if (!nlohmann::json::parse(line.begin(), line.end(), nullptr, /*allow_exceptions=*/false).is_object())
      return std::string(line);
  }
  return "";
}

// What a rule that fails says is for the log.
TEST(GrpoctlTest, StdoutCarriesJsonLinesAlsoWhereARuleFails) {
  const std::string folder = ::testing::TempDir() + "/nan_rule";
  std::filesystem::create_directories(folder);
  std::filesystem::copy_file("sdk/python/grpo_rule.py", folder + "/grpo_rule.py",
                             std::filesystem::copy_options::overwrite_existing);
  std::ofstream(folder + "/nan_rule.py")
      << "from grpo_rule import Result, serve\n"
         "def score(request):\n"
         "    return Result(value=float('nan') if request.completion == 'nan' else 0.5)\n"
         "serve(score, name='nan_rule', version='1')\n";
  std::ofstream(folder + "/nan_rule.yaml")
      << "rewards: {p: {rules: {nan_rule: {type: program, command: [/usr/bin/python3, nan_rule.py], version: '1'}}}}\n";
  std::ofstream lines(folder + "/nan_rule.jsonl");
  for (const char* completion : {"ok", "nan", "ok"})
    lines << "{\"completion\":\"" << completion << "\",\"answer\":\"1\"}\n";
  lines.close();
  const std::string command = "reward score --config " + folder + "/nan_rule.yaml < " + folder + "/nan_rule.jsonl";
  const Result result = Grpoctl(command + " 2>/dev/null");
  EXPECT_EQ(result.exit_code, kExitOk);
  EXPECT_EQ(std::count(result.output.begin(), result.output.end(), '\n'), 3) << result.output;
  EXPECT_EQ(NoJson(result.output), "");
  EXPECT_THAT(Grpoctl(command + " 2>&1 >/dev/null").output, HasSubstr("reward rule nan_rule failed"));
}

// Whatever is asked: the answers to the lines before and behind it come out whole, one line each.
TEST(GrpoctlTest, StdoutCarriesJsonLinesWhateverALineHolds) {
  const std::string path = ::testing::TempDir() + "/hostile.jsonl";
  const std::string good = R"({"id":1,"completion":"<answer>2</answer>","answer":"2","gold":"2","pred":"2"})";
  for (const std::string hostile :
       {R"(nonsense)", R"([1, 2])", R"({)", R"({"completion": 5, "answer": "2", "gold": 5, "pred": "2"})",
        R"({"completion": "a\nb\u0000c", "answer": "\n{}\n", "gold": "a\nb", "pred": "\u0000"})",
        R"({"completion_b64": "//8=", "answer": "2", "gold": "\\frac{", "pred": "2"})",
        R"({"completion": "x", "solution": "no answer", "gold": "", "pred": ""})",
        R"({"completion": "\u2028", "answer": "\ud83d\ude00", "gold": "\u202e", "pred": "1"})",
        R"({"completion": "x", "answer": null, "gold": null, "pred": null})",
        R"({"id": {"deep": [1, {"er": "\n"}]}, "completion": "x", "answer": "2", "gold": "1", "pred": "2"})",
        R"({"completion": "x", "completion": "y", "answer": "2", "gold": "1", "gold": "2", "pred": "2"})", R"(NaN)"}) {
    std::ofstream(path) << good << "\n" << hostile << "\n" << good << "\n";
    for (const char* verb : {"reward score", "reward score --explain", "reward equal", "reward equal --explain"}) {
      const Result result = Grpoctl(std::string(verb) + " < " + path + " 2>/dev/null");
      EXPECT_EQ(NoJson(result.output), "") << verb << " " << hostile;
      EXPECT_GE(std::count(result.output.begin(), result.output.end(), '\n'), 2) << verb << " " << hostile;
      EXPECT_TRUE(result.exit_code == kExitOk || result.exit_code == kExitData) << verb << " " << hostile;
    }
  }
}

// Of a verb whose product is stdout.
TEST(GrpoctlTest, OutputThatCannotBeWrittenIsAnError) {
  const std::string line = R"('{"completion":"<answer>2</answer>","answer":"2","gold":"2","pred":"2"}')";
  for (const std::string verb : {"reward score", "reward equal", "reward score --help", "--version"}) {
    for (const char* stdout_is : {">/dev/full", ">&-"}) {
      const Result result = Shell("echo " + line + " | tools/grpoctl " + verb + " 2>&1 " + stdout_is);
      EXPECT_EQ(result.exit_code, kExitIo) << verb << stdout_is;
      EXPECT_THAT(result.output, HasSubstr("stdout could not take all of the output")) << verb << stdout_is;
    }
  }
  const Result result = Shell("echo " + line + " | tools/grpoctl reward score 2>&1 >/dev/full");
  EXPECT_THAT(result.output, HasSubstr("No space left on device"));
}

// As on a disk that runs full in the middle.
TEST(GrpoctlTest, OutputThatEndsInTheMiddleIsAnErrorAndNamesTheReason) {
  const std::string path = ::testing::TempDir() + "/cut.jsonl";
  const Result result =
      Shell(R"(ulimit -f 16; yes '{"gold":"1","pred":"1"}' | head -n 4000 | tools/grpoctl reward equal 2>&1 >)" + path);
  EXPECT_EQ(result.exit_code, kExitIo);
  EXPECT_THAT(result.output, HasSubstr("stdout could not take all of the output: File too large"));
  EXPECT_GT(std::filesystem::file_size(path), 0u);
}

// By SIGPIPE, or where whoever started it has that ignored, by the error of the write.
TEST(GrpoctlTest, AClosedPipeEndsTheVerbWithAnError) {
  const Result result = Shell(
      R"({ yes '{"gold":"1","pred":"1"}' | head -n 40000 | { tools/grpoctl reward equal 2>/dev/null; echo $? >&3; } | )"
      R"(true; } 3>&1)");
  EXPECT_TRUE(result.output == "141\n" || result.output == "74\n") << result.output;
}

TEST(GrpoctlTest, TheAuditAnswersInJsonLinesAndCounts) {
  const std::string folder = ::testing::TempDir() + "/audit";
  std::filesystem::create_directories(folder);
  std::ofstream(folder + "/d.jsonl")
      << "{\"problem\":\"1+1?\",\"answer\":\"2\"}\n{\"problem\":\"2?\",\"answer\":\"two\"}\n";
  std::ofstream(folder + "/c.yaml") << "rewards: {p: {rules: {numeric: }}}\n"
                                       "data:\n  d: {path: d.jsonl}\n  later: {artifact: a}\n";
  const Result result = Grpoctl("reward audit --config " + folder + "/c.yaml 2>/dev/null");
  EXPECT_EQ(result.exit_code, kExitData);
  EXPECT_EQ(NoJson(result.output), "");
  EXPECT_THAT(result.output, HasSubstr("\"problem\":\"line/2\",\"answer\":\"two\""));
  EXPECT_THAT(result.output, HasSubstr("{\"data\":\"d\",\"rewards\":\"p\",\"num_answers\":2,\"num_unreadable\":1}"));
}

}  // namespace
}  // namespace grpo
