// Token, certificates and keys of the configuration.
#include <sys/stat.h>

#include <optional>
#include <string>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/time/time.h"
#include "common/rpc/credentials.h"
#include "tools/doctor/certificate.h"
#include "tools/doctor/checks.h"

namespace grpo {
namespace {

// A certificate that ends sooner is worth a word.
constexpr absl::Duration kSoon = absl::Hours(24 * 7);

std::string DateOf(absl::Time time) {
  return absl::FormatTime("%Y-%m-%d %H:%M UTC", time, absl::UTCTimeZone());
}

// Who may read a secret besides its owner. ReadToken and ReadPem have looked at who may write it.
void CheckReaders(const std::string& key, const std::string& path, Findings* findings) {
  struct stat info = {};
  if (::stat(path.c_str(), &info) != 0) return;
  const std::string what = absl::StrFormat("%s %s has mode %04o", key, path, info.st_mode & 07777);
  if ((info.st_mode & S_IROTH) == 0) return findings->Ok(what);
  findings->Warn(what + ": everybody on this machine can read it", "chmod 600 " + path);
}

void CheckValidity(const std::string& key, const CertificateChain& chain, absl::Time now, Findings* findings) {
  const std::string what = absl::StrCat(key, " (", chain.subject(), ")");
  if (now < chain.not_before()) {
    findings->Problem(absl::StrCat(what, " is not valid before ", DateOf(chain.not_before())),
                      "wait, or set this machine's clock", kExitConfig);
  } else if (now >= chain.not_after()) {
    findings->Problem(absl::StrCat(what, " expired at ", DateOf(chain.not_after())), "make a new one", kExitConfig);
  } else if (chain.not_after() - now < kSoon) {
    findings->Warn(absl::StrCat(what, " expires at ", DateOf(chain.not_after())),
                   "make a new one before, if the run is to last longer");
  } else {
    findings->Ok(absl::StrCat(what, " is valid until ", DateOf(chain.not_after())));
  }
}

// The chain of a PEM file; nullopt after an error, which was said, and for an empty path.
std::optional<CertificateChain> ReadChain(const std::string& key, const std::string& path, Findings* findings) {
  if (path.empty()) return std::nullopt;
  absl::StatusOr<std::string> pem = rpc::ReadPem(key, path);
  absl::StatusOr<CertificateChain> chain = pem.ok() ? CertificateChain::Parse(*pem) : pem.status();
  if (chain.ok()) return *std::move(chain);
  // ReadPem's words begin with key and path.
  const std::string message(chain.status().message());
  findings->Problem(pem.ok() ? absl::StrCat(key, " ", path, " ", message) : message, "name a PEM file of certificates",
                    kExitConfig);
  return std::nullopt;
}

void CheckKey(const CertificateChain* certificate, const std::string& path, Findings* findings) {
  const absl::StatusOr<std::string> pem = rpc::ReadPem("tls_key", path);
  if (!pem.ok())
    return findings->Problem(std::string(pem.status().message()), "name a PEM file of a private key", kExitConfig);
  CheckReaders("tls_key", path, findings);
  if (certificate == nullptr) return;
  const absl::StatusOr<bool> fits = certificate->Fits(*pem);
  if (!fits.ok()) {
    findings->Problem(absl::StrCat("tls_key ", path, " ", fits.status().message()), "name the key of tls_cert",
                      kExitConfig);
  } else if (!*fits) {
    findings->Problem(absl::StrCat("tls_key ", path, " is not the key of tls_cert"),
                      "name the one that it was made with", kExitConfig);
  } else {
    findings->Ok("tls_key is the key of tls_cert");
  }
}

// Whether others will believe that this machine is who it says.
void CheckHost(const CertificateChain& certificate, const NetworkOptions& network, Findings* findings) {
  const std::string host = network.advertise_host.empty() ? network.host : network.advertise_host;
  // Of several machines each is told its own by --advertise-host.
  if (host == "0.0.0.0" || host == "::") return;
  if (certificate.IsFor(host)) return findings->Ok(absl::StrCat("tls_cert is for ", host));
  findings->Problem(absl::StrCat("tls_cert is not for ", host, ", under which this machine is reached"),
                    absl::StrCat("make one with subjectAltName ", host), kExitConfig);
}

void CheckToken(const std::string& path, Findings* findings) {
  if (path.empty()) return;
  const absl::StatusOr<std::string> token = rpc::ReadToken(path);
  if (token.ok()) return CheckReaders("token_file", path, findings);
  findings->Problem(std::string(token.status().message()), "make one: `openssl rand -hex 32`", kExitConfig);
}

void CheckAuthority(const CertificateChain& certificate, const CertificateChain& authority, Findings* findings) {
  const std::string why = certificate.WhyNotVouchedFor(authority);
  if (why.empty()) return findings->Ok("tls_ca vouches for tls_cert");
  findings->Problem("tls_ca does not vouch for tls_cert: " + why,
                    "the run's processes believe tls_ca alone: have it sign tls_cert", kExitConfig);
}

}  // namespace

void CheckCertificates(const Subject& subject, Findings* findings) {
  if (subject.config == nullptr) return findings->Ok("without a configuration there are none to look at");
  const NetworkOptions& network = subject.config->network;
  CheckToken(network.token_file, findings);
  const std::optional<CertificateChain> certificate = ReadChain("tls_cert", network.tls_cert, findings);
  const std::optional<CertificateChain> authority = ReadChain("tls_ca", network.tls_ca, findings);
  if (!network.tls_key.empty()) CheckKey(certificate.has_value() ? &*certificate : nullptr, network.tls_key, findings);
  const absl::Time now = subject.machine.Now();
  if (certificate.has_value()) {
    CheckValidity("tls_cert", *certificate, now, findings);
    CheckHost(*certificate, network, findings);
  }
  if (authority.has_value()) CheckValidity("tls_ca", *authority, now, findings);
  if (certificate.has_value() && authority.has_value()) CheckAuthority(*certificate, *authority, findings);
  if (!findings->list().empty()) return;
  if (rpc::IsLoopback(network.host)) return findings->Ok("none, and nothing of the run leaves this machine");
  findings->Warn(absl::StrCat("network.host ", network.host, " is not loopback, and there is no TLS"),
                 "`grpoctl launch` makes certificates of its own; for anything else set tls_cert, tls_key and tls_ca");
}

}  // namespace grpo
