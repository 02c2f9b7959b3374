// A machine for tests: it has what they say, and no more.
#ifndef GRPO_TOOLS_DOCTOR_MACHINE_TESTING_H_
#define GRPO_TOOLS_DOCTOR_MACHINE_TESTING_H_

#include <map>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "absl/time/civil_time.h"
#include "tools/doctor/checks.h"
#include "tools/doctor/machine.h"

namespace grpo {

// Plain data behind the interface. One thread.
class FakeMachine : public Machine {
 public:
  std::optional<std::string> Read(const std::string& path) const override { return Find(files, path); }
  std::vector<std::string> List(const std::string& folder) const override {
    const auto found = folders.find(folder);
    return found == folders.end() ? std::vector<std::string>() : found->second;
  }
  std::optional<DiskSpace> Space(const std::string&) const override { return space; }
  std::optional<int64_t> Limit(int resource) const override {
    const auto found = limits.find(resource);
    return found == limits.end() ? std::nullopt : std::optional<int64_t>(found->second);
  }
  int64_t NumProcessors() const override { return num_processors; }
  std::optional<int64_t> MemoryBytes() const override { return memory_bytes; }
  std::string SandboxShortfall() const override { return sandbox_shortfall; }
  int LandlockVersion() const override { return 3; }
  std::string Which(const std::string& program) const override {
    return programs.count(program) > 0 ? "/usr/bin/" + program : "";
  }
  absl::StatusOr<std::string> Run(const std::vector<std::string>& argv) const override {
    const std::optional<std::string> said = Find(said_by, absl::StrJoin(argv, " "));
    if (said.has_value()) return *said;
    return absl::NotFoundError(absl::StrCat("there is no ", argv[0]));
  }
  std::string HostName() const override { return "node7"; }
  std::vector<std::string> Resolve(const std::string& host) const override {
    const auto found = addresses.find(host);
    return found == addresses.end() ? std::vector<std::string>() : found->second;
  }
  absl::Status CanBind(const std::string& host, int64_t port) const override {
    if (taken.count(port) > 0) return absl::AlreadyExistsError(absl::StrCat("bind to ", host, ":", port));
    return bind_status;
  }
  absl::Time Now() const override { return now; }
  std::optional<bool> ClockIsKept() const override { return clock_is_kept; }

  std::map<std::string, std::string> files, said_by;
  std::map<std::string, std::vector<std::string>> folders, addresses = {{"node7", {"10.0.0.7"}}};
  std::optional<DiskSpace> space = DiskSpace{
      .bytes_free = int64_t{1} << 40, .bytes_total = int64_t{2} << 40, .inodes_free = 1 << 20, .inodes_total = 1 << 21};
  std::map<int, int64_t> limits;
  int64_t num_processors = 8;
  std::optional<int64_t> memory_bytes = int64_t{64} << 30;
  std::string sandbox_shortfall;
  std::set<std::string> programs;
  std::set<int64_t> taken;
  absl::Status bind_status;
  absl::Time now = absl::FromCivil(absl::CivilSecond(2027, 1, 2, 3, 4, 5), absl::UTCTimeZone());
  std::optional<bool> clock_is_kept = true;

 private:
  static std::optional<std::string> Find(const std::map<std::string, std::string>& texts, const std::string& key) {
    const auto found = texts.find(key);
    return found == texts.end() ? std::nullopt : std::optional<std::string>(found->second);
  }
};

// What a check finds, a line each: "problem 78: what -> todo".
inline std::string Found(Check check, const Subject& subject) {
  Findings findings;
  check(subject, &findings);
  std::string text;
  for (const Finding& finding : findings.list()) {
    const char* const severity = finding.severity == Severity::kOk        ? "ok"
                                 : finding.severity == Severity::kWarning ? "warning"
                                                                          : "problem";
    absl::StrAppend(&text, severity, finding.code == 0 ? "" : absl::StrCat(" ", finding.code), ": ", finding.what,
                    finding.todo.empty() ? "" : " -> ", finding.todo, "\n");
  }
  return text;
}

}  // namespace grpo

#endif  // GRPO_TOOLS_DOCTOR_MACHINE_TESTING_H_
