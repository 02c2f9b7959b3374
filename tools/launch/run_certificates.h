// A run's own certificates: when it makes them, where, and for which hosts. No torch.
//
// A run that other machines reach and whose configuration names no certificate has an authority of its own:
//
//   RUN/tls/                 common/rpc/certificate_folder.h says what is in it
//   --tls-dir RUN/tls        what the plan (run_plan.h) tells each process that serves or calls
//   RUN/endpoint.json        names the operator's files, by which `grpoctl status --run-dir RUN` and its like call
//
// Made once, by whoever starts the run; the trainer's rank 0 renews them, for which it needs ca.key and the right to
// write there. Where a process gets copies (a secret that is mounted), these must live as long as it does, or be
// replaced.
#ifndef GRPO_TOOLS_LAUNCH_RUN_CERTIFICATES_H_
#define GRPO_TOOLS_LAUNCH_RUN_CERTIFICATES_H_

#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/time/time.h"
#include "common/rpc/certificate_folder.h"
#include "configs/network_options.h"

namespace grpo {

// Whether the run makes its own. Pure.
bool NeedsRunCertificates(const NetworkOptions& network);

// RUN/tls. Pure.
std::string RunCertificateFolder(const std::string& run_dir);

// Under which names and addresses the servers of this machine are reached: those of `network`, loopback's and the
// machine's own name.
std::vector<std::string> OwnHosts(const NetworkOptions& network);

// What a run's certificates are made for.
struct RunCertificateRequest {
  // As PlanRequest has them.
  std::string run_dir, run_id;
  // Under which callers reach the run's servers (OwnHosts and those of other machines). None: any host, where nobody
  // knows yet which machines there will be; the run's own processes and grpoctl then go by the run's name.
  std::vector<std::string> hosts;
  // Before they have to be renewed or made anew.
  absl::Duration life = rpc::kCertificateLife;
};

// Makes them in RunCertificateFolder. Those of an earlier start of the same run stay good. IssueRunCertificates's
// errors.
absl::Status MakeRunCertificates(const RunCertificateRequest& request);

}  // namespace grpo

#endif  // GRPO_TOOLS_LAUNCH_RUN_CERTIFICATES_H_
