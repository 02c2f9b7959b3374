// Certificates for tests, good and bad.
#ifndef GRPO_COMMON_RPC_CERTIFICATES_TESTING_H_
#define GRPO_COMMON_RPC_CERTIFICATES_TESTING_H_

#include <string>
#include <utility>
#include <vector>

#include "absl/time/time.h"
#include "common/rpc/certificates.h"
#include "common/status_testing.h"

namespace grpo::rpc {

// From an hour ago until in an hour.
inline Validity GoodNow() {
  return {.not_before = WallTime() - absl::Hours(1), .not_after = WallTime() + absl::Hours(1)};
}

// What a run has, in one place: an authority, and certificates by it.
class TestAuthority {
 public:
  explicit TestAuthority(std::string run_id) : run_id_(std::move(run_id)) {
    pair_ = MakeAuthority(run_id_, GoodNow()).value();
  }

  const KeyPair& pair() const { return pair_; }
  const std::string& pem() const { return pair_.certificate; }

  // With a key of its own. With hosts only of a role that serves.
  KeyPair Issue(CallerRole role, const Validity& validity = GoodNow(),
                const std::vector<std::string>& hosts = {"127.0.0.1", "localhost"}) const {
    return IssueAs({.run_id = run_id_, .role = role}, validity, hosts);
  }
  // Of an identity that need not be this run's.
  KeyPair IssueAs(const CallerIdentity& identity, const Validity& validity = GoodNow(),
                  const std::vector<std::string>& hosts = {"127.0.0.1", "localhost"}) const {
    KeyPair pair;
    pair.key = MakePrivateKey().value();
    pair.certificate = IssueCertificate(pair_, identity, hosts, validity, pair.key).value();
    return pair;
  }

 private:
  const std::string run_id_;
  KeyPair pair_;
};

}  // namespace grpo::rpc

#endif  // GRPO_COMMON_RPC_CERTIFICATES_TESTING_H_
