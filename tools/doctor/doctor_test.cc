#include "tools/doctor/doctor.h"

#include <set>
#include <string>

#include "common/files.h"
#include "common/status_testing.h"
#include "gmock/gmock.h"
#include "nlohmann/json.hpp"
#include "tools/doctor/config_check.h"
#include "tools/doctor/machine_testing.h"
#include "trainer/run_config.h"

namespace grpo {
namespace {

using ::testing::HasSubstr;
using ::testing::Not;

TEST(DoctorTest, EveryCheckHasANameOfItsOwnAndSaysSomethingOfAnyMachine) {
  std::set<std::string> names;
  const FakeMachine machine;
  for (const CheckResult& result : RunChecks({.machine = machine, .run_dir = ::testing::TempDir()})) {
    EXPECT_TRUE(names.insert(result.name).second) << result.name;
    EXPECT_FALSE(result.findings.empty()) << result.name;
  }
  EXPECT_EQ(names.size(), CheckRows().size());
}

TEST(DoctorTest, WhatIsNotOkSaysWhatToDo) {
  FakeMachine machine;
  machine.sandbox_shortfall = "no Landlock";
  machine.addresses.clear();
  machine.clock_is_kept = false;
  for (const CheckResult& result : RunChecks({.machine = machine, .run_dir = ::testing::TempDir()})) {
    for (const Finding& finding : result.findings) {
      EXPECT_EQ(finding.severity == Severity::kOk, finding.todo.empty()) << finding.what;
      EXPECT_EQ(finding.severity == Severity::kProblem, finding.code != kExitOk) << finding.what;
    }
  }
}

TEST(DoctorTest, TheFirstProblemGivesTheExitCodeAndWarningsNone) {
  const Finding ok{.severity = Severity::kOk, .what = "fine"};
  const Finding warning{.severity = Severity::kWarning, .what = "hm", .todo = "look"};
  const Finding problem{.severity = Severity::kProblem, .what = "no", .todo = "mend", .code = kExitConfig};
  const Finding second{.severity = Severity::kProblem, .what = "no", .todo = "mend", .code = kExitUnavailable};
  EXPECT_EQ(ExitCodeOf({{"a", {ok, warning}}}), kExitOk);
  EXPECT_EQ(ExitCodeOf({{"a", {ok, warning}}, {"b", {problem}}, {"c", {second}}}), kExitConfig);
}

TEST(DoctorTest, TextAndJsonHoldTheSameAndNothingThatATerminalObeys) {
  const Finding hostile{.severity = Severity::kProblem, .what = "name \x1b[2J\nx", .todo = "mend \xff", .code = 78};
  const Finding fine{.severity = Severity::kOk, .what = "fine"};
  const std::vector<CheckResult> results = {{"names", {hostile, fine}}};
  const std::string text = FindingsText(results);
  EXPECT_THAT(text, HasSubstr("PROBLEM  names         name \\x1b[2J\\nx\n"));
  EXPECT_THAT(text, HasSubstr("-> mend \\xff\n"));
  EXPECT_THAT(text, HasSubstr("ok       names         fine\n"));
  EXPECT_THAT(text, HasSubstr("1 ok, 0 warnings, 1 problems"));
  const std::string json = FindingsJson(results);
  EXPECT_THAT(json, Not(HasSubstr("\x1b")));
  const auto parsed = nlohmann::json::parse(json, nullptr, /*allow_exceptions=*/false);
  ASSERT_EQ(parsed.size(), 2);
  EXPECT_EQ(parsed[0]["severity"], "problem");
  EXPECT_EQ(parsed[0]["check"], "names");
  EXPECT_TRUE(parsed[1]["todo"].is_null());
}

TEST(DoctorTest, AConfigurationThatDoesNotLoadIsAProblemWithItsWords) {
  const CheckResult result = CheckConfig(LoadRunConfig("/nowhere/x.yaml"), "runs/x");
  ASSERT_EQ(result.findings.size(), 1);
  EXPECT_EQ(result.findings[0].severity, Severity::kProblem);
  EXPECT_EQ(result.findings[0].code, kExitNoInput);
  EXPECT_THAT(result.findings[0].what, HasSubstr("/nowhere/x.yaml"));
}

}  // namespace
}  // namespace grpo
