// Token, certificates and keys of the configuration.
#include <sys/stat.h>

#include <algorithm>
#include <optional>
#include <string>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/strings/strip.h"
#include "absl/time/time.h"
#include "common/rpc/certificates.h"
#include "common/rpc/credentials.h"
#include "tools/doctor/checks.h"
#include "tools/launch/run_certificates.h"

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

// A PEM file of certificates that can be read.
struct CertificateFile {
  std::string key, path, pem;
  // Of the first.
  rpc::CertificateFacts facts;
};

// Nothing after an error, which was said, and for an empty path.
std::optional<CertificateFile> ReadFileOf(const std::string& key, const std::string& path, Findings* findings) {
  if (path.empty()) return std::nullopt;
  const absl::StatusOr<std::string> pem = rpc::ReadPem(key, path);
  const absl::StatusOr<rpc::CertificateFacts> facts = pem.ok() ? rpc::ReadCertificate(*pem) : pem.status();
  if (facts.ok()) return CertificateFile{.key = key, .path = path, .pem = *pem, .facts = *facts};
  // ReadPem's words begin with key and path.
  const std::string message(facts.status().message());
  findings->Problem(pem.ok() ? absl::StrCat(key, " ", path, " ", message) : message, "name a PEM file of certificates",
                    kExitConfig);
  return std::nullopt;
}

void CheckValidity(const CertificateFile& file, absl::Time now, Findings* findings) {
  const std::string what = absl::StrCat(file.key, " ", file.path);
  const rpc::Validity& validity = file.facts.validity;
  if (now < validity.not_before) {
    findings->Problem(absl::StrCat(what, " is not valid before ", DateOf(validity.not_before)),
                      "wait, or set this machine's clock", kExitConfig);
  } else if (now >= validity.not_after) {
    findings->Problem(absl::StrCat(what, " expired at ", DateOf(validity.not_after)), "make a new one", kExitConfig);
  } else if (validity.not_after - now < kSoon) {
    findings->Warn(absl::StrCat(what, " expires at ", DateOf(validity.not_after)),
                   "make a new one before, if the run is to last longer");
  } else {
    findings->Ok(absl::StrCat(what, " is valid until ", DateOf(validity.not_after)));
  }
}

void CheckKey(const CertificateFile* certificate, const std::string& path, Findings* findings) {
  const absl::StatusOr<std::string> pem = rpc::ReadPem("tls_key", path);
  if (!pem.ok())
    return findings->Problem(std::string(pem.status().message()), "name a PEM file of a private key", kExitConfig);
  CheckReaders("tls_key", path, findings);
  if (certificate == nullptr) return;
  const absl::Status fits = rpc::CheckKeyPair({.certificate = certificate->pem, .key = *pem});
  if (fits.ok()) return findings->Ok("tls_key is the key of tls_cert");
  findings->Problem(absl::StrCat("tls_key ", path, " does not go with tls_cert, which ", fits.message()),
                    "name the key that the certificate was made with, without a pass phrase", kExitConfig);
}

// Whether a certificate's name is the host's: the same, or with * for its first part.
bool IsNameOf(absl::string_view name, absl::string_view host) {
  if (absl::EqualsIgnoreCase(name, host)) return true;
  const size_t dot = host.find('.');
  return dot != absl::string_view::npos && absl::ConsumePrefix(&name, "*") &&
         absl::EqualsIgnoreCase(name, host.substr(dot));
}

// Whether others will believe that this machine is who it says.
void CheckHost(const rpc::CertificateFacts& facts, const NetworkOptions& network, Findings* findings) {
  const std::string host = network.advertise_host.empty() ? network.host : network.advertise_host;
  // Of several machines each is told its own by --advertise-host.
  if (host == "0.0.0.0" || host == "::") return;
  const bool is_for = std::any_of(facts.hosts.begin(), facts.hosts.end(),
                                  [&](const std::string& name) { return IsNameOf(name, host); });
  if (is_for) return findings->Ok(absl::StrCat("tls_cert is for ", host));
  findings->Problem(absl::StrCat("tls_cert is not for ", host, ", under which this machine is reached"),
                    absl::StrCat("make one with subjectAltName ", host), kExitConfig);
}

void CheckToken(const std::string& path, Findings* findings) {
  if (path.empty()) return;
  const absl::StatusOr<std::string> token = rpc::ReadToken(path);
  if (token.ok()) return CheckReaders("token_file", path, findings);
  findings->Problem(std::string(token.status().message()), "make one: `openssl rand -hex 32`", kExitConfig);
}

// As the run's servers look at each other.
void CheckAuthority(const CertificateFile& certificate, const CertificateFile& authority, absl::Time now,
                    Findings* findings) {
  const rpc::Validity& validity = certificate.facts.validity;
  // Whether it is over is said by itself, and so it is of the authority.
  const absl::Time when = std::clamp(now, validity.not_before, std::max(validity.not_before, validity.not_after));
  const rpc::TrustFinding found = rpc::CheckCaller(authority.pem, certificate.pem, /*chain=*/certificate.pem, when);
  if (found.trust == rpc::Trust::kTrusted) return findings->Ok("tls_ca vouches for tls_cert");
  if (found.trust != rpc::Trust::kUntrusted) return;
  findings->Problem("tls_ca does not vouch for tls_cert: " + found.why,
                    "the run's processes believe tls_ca alone, and present tls_cert to each other: have it sign one "
                    "for clients and servers",
                    kExitConfig);
}

}  // namespace

void CheckCertificates(const Subject& subject, Findings* findings) {
  if (subject.config == nullptr) return findings->Ok("without a configuration there are none to look at");
  const NetworkOptions& network = subject.config->network;
  CheckToken(network.token_file, findings);
  const std::optional<CertificateFile> certificate = ReadFileOf("tls_cert", network.tls_cert, findings);
  const std::optional<CertificateFile> authority = ReadFileOf("tls_ca", network.tls_ca, findings);
  if (!network.tls_key.empty()) CheckKey(certificate.has_value() ? &*certificate : nullptr, network.tls_key, findings);
  const absl::Time now = subject.machine.Now();
  if (certificate.has_value()) {
    CheckValidity(*certificate, now, findings);
    CheckHost(certificate->facts, network, findings);
  }
  if (authority.has_value()) CheckValidity(*authority, now, findings);
  if (certificate.has_value() && authority.has_value()) CheckAuthority(*certificate, *authority, now, findings);
  if (!findings->list().empty()) return;
  if (rpc::IsLoopback(network.host)) return findings->Ok("none, and nothing of the run leaves this machine");
  if (NeedsRunCertificates(network)) findings->Ok("none are named: the run makes its own, in RUN/tls");
}

}  // namespace grpo
