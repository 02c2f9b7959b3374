// Certificates of a run, made and read by OpenSSL's library. Everything here is text in PEM; files are
// certificate_folder.h's. Thread-safe. Errors are Internal where OpenSSL has no reason to fail and does.
//
// An authority of one run signs a certificate for each role. Keys are ECDSA's over P-256.
//
//   subject   the role, for people
//   names     URI:grpo://RUN_ID/ROLE (roles.h); of roles that serve the hosts under which they are reached
//   usage     clientAuth; of roles that serve also serverAuth, so that nobody takes a worker for a trainer
#ifndef GRPO_COMMON_RPC_CERTIFICATES_H_
#define GRPO_COMMON_RPC_CERTIFICATES_H_

#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "absl/time/time.h"
#include "common/rpc/roles.h"

namespace grpo::rpc {

// A certificate and the private key that belongs to it.
struct KeyPair {
  std::string certificate, key;
};

// From when until when a certificate is good: all that is in terms of the wall clock.
struct Validity {
  absl::Time not_before, not_after;
};

// What the wall clock says, which certificates go by. The one place where it is read.
absl::Time WallTime();

// A new private key.
absl::StatusOr<std::string> MakePrivateKey();

// A new authority that signs for the run and for nothing else. CheckRunId's errors.
absl::StatusOr<KeyPair> MakeAuthority(const std::string& run_id, const Validity& validity);

// A certificate for the public half of `key`, signed by the authority. `hosts` are DNS names and IP addresses; none, of
// a role that serves, makes one that callers of the same run take from any host (tls.h). InvalidArgument for a host that
// is neither, for a run id that CheckRunId refuses, and for an authority whose key is not its own.
absl::StatusOr<std::string> IssueCertificate(const KeyPair& authority, const CallerIdentity& identity,
                                             const std::vector<std::string>& hosts, const Validity& validity,
                                             const std::string& key);

// What stands in a certificate.
struct CertificateFacts {
  // Those names that are URIs, and those that are DNS names or IP addresses, in their order.
  std::vector<std::string> uris, hosts;
  Validity validity;
};
// Of the first certificate in the text. InvalidArgument when there is none that is whole.
absl::StatusOr<CertificateFacts> ReadCertificate(absl::string_view pem);

// InvalidArgument unless the first certificate of the pair is whole and the key is its private key. Keys that ask for a
// pass phrase are none.
absl::Status CheckKeyPair(const KeyPair& pair);

// InvalidArgument unless the text holds a certificate, and nothing but whole ones.
absl::Status CheckAuthorities(absl::string_view pem);

enum class Trust {
  kTrusted,
  // It or one above it.
  kExpired,
  kNotYetValid,
  // Signed by none of the authorities, or not for callers, or no certificate.
  kUntrusted,
};
struct TrustFinding {
  Trust trust = Trust::kUntrusted;
  // OpenSSL's words; empty for kTrusted.
  std::string why;
};
// Whether `certificate` proves a caller to whoever believes `authorities`, at the time `now`. `chain` are certificates
// between them that the caller sent. That the caller has the certificate's key is for the handshake to see.
TrustFinding CheckCaller(absl::string_view authorities, absl::string_view certificate, absl::string_view chain,
                         absl::Time now);

}  // namespace grpo::rpc

#endif  // GRPO_COMMON_RPC_CERTIFICATES_H_
