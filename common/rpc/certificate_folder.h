// The certificates of one run as files, and their renewal.
//
//   ca.pem   ca.key      the run's authority; whoever has the key can be anybody in this run, and in no other
//   <role>.pem           certificate of each role (roles.h), good for a day; written anew while the run goes on
//   <role>.key           its private key, which stays, so that certificate and key fit together at every moment
//
// Keys have mode 0600. Each process needs ca.pem and the two files of its role; whoever renews needs ca.key, and writes
// here. Servers and clients read their files again by themselves (tls.h).
#ifndef GRPO_COMMON_RPC_CERTIFICATE_FOLDER_H_
#define GRPO_COMMON_RPC_CERTIFICATE_FOLDER_H_

#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "common/rpc/roles.h"

namespace grpo::rpc {

// From its making to its end, of a role's certificate and of an authority.
inline constexpr absl::Duration kCertificateLife = absl::Hours(24), kAuthorityLife = absl::Hours(10 * 365 * 24);
// So long before its making a certificate is good already: clocks of other machines may be behind.
inline constexpr absl::Duration kClockTolerance = absl::Hours(1);

// Where things are in a folder. Pure.
std::string AuthorityPath(const std::string& folder);
std::string AuthorityKeyPath(const std::string& folder);
std::string CertificatePath(const std::string& folder, CallerRole role);
std::string KeyPath(const std::string& folder, CallerRole role);

// What a run's certificates say.
struct RunCertificateTerms {
  std::string run_id;
  // Names and addresses under which callers reach the servers of the run, on whatever machine. None: any, which the
  // run's own processes take; callers without a certificate of the run (a browser, another authority's) do not.
  std::vector<std::string> hosts;
  absl::Duration life = kCertificateLife;
};

// Makes whatever is missing: the folder, the authority, keys; and a new certificate of each role. An authority of the
// same run is kept, so that certificates that others hold already stay good; another run's is replaced. InvalidArgument
// for terms that cannot stand in a certificate; ErrnoStatus's codes for the disk. Not for two at a time in one folder.
absl::Status IssueRunCertificates(const std::string& folder, const RunCertificateTerms& terms, absl::Time now);

// Writes each role's certificate anew, with the same names, key and length of life, when a third of its life or less is
// left at `now`, and also where the clock was set back before its beginning. Roles without a certificate are left out.
// True when any was written. An error says when the first one ends: NotFound without ca.key, ErrnoStatus's codes,
// InvalidArgument for files that are broken.
absl::StatusOr<bool> RenewRunCertificates(const std::string& folder, absl::Time now);

}  // namespace grpo::rpc

#endif  // GRPO_COMMON_RPC_CERTIFICATE_FOLDER_H_
