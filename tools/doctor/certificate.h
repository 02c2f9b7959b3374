// Certificates and keys in PEM files, as far as `grpoctl doctor` looks at them (OpenSSL's library).
#ifndef GRPO_TOOLS_DOCTOR_CERTIFICATE_H_
#define GRPO_TOOLS_DOCTOR_CERTIFICATE_H_

#include <memory>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "absl/time/time.h"
#include "openssl/x509.h"

namespace grpo {

// The certificates of a PEM text, in order; the first is the one that a server presents. Move-only. One thread.
class CertificateChain {
 public:
  // InvalidArgument for a text without a certificate, or with one that cannot be read.
  static absl::StatusOr<CertificateChain> Parse(absl::string_view pem);

  // Of the first: "CN = trainer".
  std::string subject() const;
  absl::Time not_before() const;
  absl::Time not_after() const;
  // Whether the first is for this host name or address.
  bool IsFor(const std::string& host) const;
  // Whether the private key of the PEM text belongs to the first. InvalidArgument when it is no key, or one behind a
  // password.
  absl::StatusOr<bool> Fits(absl::string_view key_pem) const;
  // Empty when `authorities` vouch for the first, over the others, whatever the time; otherwise why not.
  std::string WhyNotVouchedFor(const CertificateChain& authorities) const;

 private:
  struct Free {
    void operator()(X509* certificate) const { X509_free(certificate); }
  };
  // At least one.
  std::vector<std::unique_ptr<X509, Free>> certificates_;
};

}  // namespace grpo

#endif  // GRPO_TOOLS_DOCTOR_CERTIFICATE_H_
