// grpoctl certificates: a run's own authority and certificates, for machines on which nobody else makes them.
#include <iostream>
#include <memory>
#include <string>
#include <vector>

#include "absl/strings/ascii.h"
#include "absl/strings/str_cat.h"
#include "common/exit_codes.h"
#include "common/files.h"
#include "common/status_macros.h"
#include "tools/grpoctl/verb.h"
#include "tools/launch/run_certificates.h"

namespace grpo {
namespace {

// Of the authority, too (certificate_folder.h).
constexpr double kMaxDays = 3650;

struct CertificateFlags {
  std::string run_dir, run_id;
  std::vector<std::string> hosts;
  bool any_host = false;
  double days = 1;
};

// RunFolder::RunId's, where a run was started in the folder.
absl::StatusOr<std::string> RunIdIn(const std::string& run_dir) {
  const absl::StatusOr<std::string> there = ReadFile(run_dir + "/run_id", /*max_bytes=*/1024);
  if (there.ok()) return std::string(absl::StripAsciiWhitespace(*there));
  return absl::InvalidArgumentError(
      absl::StrCat("name the run with --run-id, as its processes are told it: ", there.status().message()));
}

absl::Status Make(const CertificateFlags& flags) {
  RunCertificateRequest request = {
      .run_dir = flags.run_dir, .run_id = flags.run_id, .life = flags.days * absl::Hours(24)};
  if (request.run_id.empty()) {
    ASSIGN_OR_RETURN(request.run_id, RunIdIn(flags.run_dir));
  }
  if (!flags.any_host) {
    request.hosts = OwnHosts(NetworkOptions());
    request.hosts.insert(request.hosts.end(), flags.hosts.begin(), flags.hosts.end());
  }
  return MakeRunCertificates(request);
}

int Certificates(const CertificateFlags& flags) {
  if (flags.any_host && !flags.hosts.empty()) {
    std::cerr << "grpoctl: --any-host makes certificates that name no host: leave out --host\n";
    return kExitUsage;
  }
  const absl::Status made = Make(flags);
  if (!made.ok()) return Fail(made);
  std::cerr << "the run's processes take --tls-dir, and people --tls-ca, --tls-cert and --tls-key of operator or "
               "viewer; ca.key stays with the trainer, which renews them\n";
  std::cout << RunCertificateFolder(flags.run_dir) << std::endl;
  return kExitOk;
}

}  // namespace

void AddCertificatesVerb(CLI::App& app, int* exit_code) {
  const auto flags = std::make_shared<CertificateFlags>();
  CLI::App* verb = AddSubcommand(
      app, "certificates", "Make a run's own certificates, one for each role; prints their folder",
      "  grpoctl certificates --run-dir /shared/runs/a --run-id a-1 --host node-a --host node-b\n"
      "  grpoctl certificates --run-dir /shared/runs/a --run-id a-1 --any-host --days 30",
      [flags] { return Certificates(*flags); }, exit_code);
  verb->add_option("--run-dir", flags->run_dir, "Folder of the run; the certificates are in its folder tls")
      ->required()
      ->option_text("DIR");
  verb->add_option("--run-id", flags->run_id,
                   "Names the run, as --run-id of its processes does (default: the folder's)")
      ->option_text("ID");
  verb->add_option("--host", flags->hosts,
                   "Name or address under which servers of the run are reached, beside this machine's; may be repeated")
      ->allow_extra_args(false)
      ->option_text("HOST");
  verb->add_flag("--any-host", flags->any_host, "Servers may be anywhere: callers go by the run's name alone");
  verb->add_option("--days", flags->days, "Life of a certificate; the trainer renews it when a third is left")
      ->capture_default_str()
      ->check(CLI::Range(0.01, kMaxDays))
      ->option_text("DAYS");
}

}  // namespace grpo
