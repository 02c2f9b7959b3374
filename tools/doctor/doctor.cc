#include "tools/doctor/doctor.h"

#include <map>

#include "absl/strings/ascii.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "common/thread.h"
#include "nlohmann/json.hpp"
#include "tools/grpoctl/text.h"

namespace grpo {
namespace {

using nlohmann::ordered_json;

const char* SeverityName(Severity severity) {
  switch (severity) {
    case Severity::kOk:
      return "ok";
    case Severity::kWarning:
      return "warning";
    case Severity::kProblem:
      return "problem";
  }
  return "";
}

}  // namespace

const std::vector<CheckRow>& CheckRows() {
  static const auto* const rows = new std::vector<CheckRow>{
#define GRPO_DOCTOR_CHECK(function, name, about) {name, about, &Check##function},
#include "tools/doctor/checks.inc"
#undef GRPO_DOCTOR_CHECK
  };
  return *rows;
}

std::vector<CheckResult> RunChecks(const Subject& subject) {
  std::vector<CheckResult> results;
  for (const CheckRow& row : CheckRows()) {
    Findings findings;
    // What a check does not foresee is a finding like others.
    try {
      row.check(subject, &findings);
    } catch (...) {
      findings.Problem(absl::StrCat("this check failed: ", WhatWasThrown()), "report it; the others hold",
                       kExitInternal);
    }
    results.push_back({std::string(row.name), findings.list()});
  }
  return results;
}

std::string FindingsText(const std::vector<CheckResult>& results) {
  std::string text;
  std::map<Severity, int> count;
  for (const CheckResult& result : results) {
    for (const Finding& finding : result.findings) {
      ++count[finding.severity];
      // What is to be seen among the rest is in capitals.
      std::string severity = SeverityName(finding.severity);
      if (finding.severity != Severity::kOk) absl::AsciiStrToUpper(&severity);
      absl::StrAppendFormat(&text, "%-8s %-13s %s\n", severity, result.name, Printable(finding.what));
      if (!finding.todo.empty()) absl::StrAppendFormat(&text, "%-22s -> %s\n", "", Printable(finding.todo));
    }
  }
  absl::StrAppend(&text, count[Severity::kOk], " ok, ", count[Severity::kWarning], " warnings, ",
                  count[Severity::kProblem], " problems\n");
  return text;
}

std::string FindingsJson(const std::vector<CheckResult>& results) {
  ordered_json list = ordered_json::array();
  for (const CheckResult& result : results) {
    for (const Finding& finding : result.findings) {
      list.push_back({{"check", result.name},
                      {"severity", SeverityName(finding.severity)},
                      {"what", finding.what},
                      {"todo", finding.todo.empty() ? ordered_json(nullptr) : ordered_json(finding.todo)}});
    }
  }
  return list.dump(2, ' ', /*ensure_ascii=*/true, ordered_json::error_handler_t::replace) + "\n";
}

int ExitCodeOf(const std::vector<CheckResult>& results) {
  for (const CheckResult& result : results) {
    for (const Finding& finding : result.findings) {
      if (finding.severity == Severity::kProblem) return finding.code;
    }
  }
  return kExitOk;
}

}  // namespace grpo
