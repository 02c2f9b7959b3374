#include "common/rpc/certificates.h"

#include <arpa/inet.h>
#include <openssl/asn1.h>
#include <openssl/bio.h>
#include <openssl/bn.h>
#include <openssl/ec.h>
#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/pem.h>
#include <openssl/rand.h>
#include <openssl/x509.h>
#include <openssl/x509_vfy.h>
#include <openssl/x509v3.h>

#include <algorithm>
#include <array>
#include <cstring>
#include <ctime>
#include <memory>
#include <utility>

#include "absl/strings/ascii.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "common/status_macros.h"

namespace grpo::rpc {
namespace {

struct Freer {
  void operator()(BIO* bio) const { BIO_free(bio); }
  void operator()(BIGNUM* number) const { BN_free(number); }
  void operator()(EVP_PKEY* key) const { EVP_PKEY_free(key); }
  void operator()(X509* certificate) const { X509_free(certificate); }
  void operator()(X509_EXTENSION* extension) const { X509_EXTENSION_free(extension); }
  void operator()(X509_STORE* store) const { X509_STORE_free(store); }
  void operator()(X509_STORE_CTX* context) const { X509_STORE_CTX_free(context); }
  void operator()(GENERAL_NAMES* names) const { GENERAL_NAMES_free(names); }
  // Without what it refers to.
  void operator()(STACK_OF(X509) * stack) const { sk_X509_free(stack); }
};
template <typename T>
using Owned = std::unique_ptr<T, Freer>;

// Hosts of one certificate: more than any run has, and far below what a handshake takes.
constexpr size_t kMaxHosts = 1000;
constexpr size_t kMaxHostBytes = 253;
// Of keys and signatures, as Debian's OpenSSL asks it in a handshake: 112 bits, such as RSA's 2048.
constexpr int kAuthLevel = 2;

// What OpenSSL last complained of; its list is empty afterwards, as gRPC expects to find it.
std::string LastComplaint() {
  std::array<char, 256> text{};
  const auto code = ERR_peek_last_error();
  if (code != 0) ERR_error_string_n(code, text.data(), text.size());
  ERR_clear_error();
  return code == 0 ? "no reason given" : text.data();
}

absl::Status OpenSslError(absl::string_view what) {
  return absl::InternalError(absl::StrCat("OpenSSL cannot ", what, ": ", LastComplaint()));
}

Owned<BIO> Reader(absl::string_view text) {
  // Of no address OpenSSL makes no reader.
  return Owned<BIO>(BIO_new_mem_buf(text.empty() ? "" : text.data(), static_cast<int>(text.size())));
}

std::string Written(BIO* bio) {
  char* data = nullptr;
  const auto size = BIO_get_mem_data(bio, &data);
  return std::string(data, static_cast<size_t>(size));
}

// All that there are up to the first that is broken; `*broken` says whether there is one.
std::vector<Owned<X509>> ReadCertificates(absl::string_view pem, bool* broken) {
  std::vector<Owned<X509>> certificates;
  const Owned<BIO> bio = Reader(pem);
  ERR_clear_error();
  while (X509* const certificate = PEM_read_bio_X509(bio.get(), nullptr, nullptr, nullptr))
    certificates.emplace_back(certificate);
  *broken = ERR_GET_REASON(ERR_peek_last_error()) != PEM_R_NO_START_LINE;
  ERR_clear_error();
  return certificates;
}

absl::StatusOr<Owned<X509>> ReadFirst(absl::string_view pem) {
  bool broken = false;
  std::vector<Owned<X509>> certificates = ReadCertificates(pem, &broken);
  if (!certificates.empty()) return std::move(certificates.front());
  return absl::InvalidArgumentError(broken ? "holds a certificate that is cut off or damaged"
                                           : "holds no PEM certificate (no -----BEGIN CERTIFICATE----- line)");
}

absl::StatusOr<Owned<EVP_PKEY>> ReadKey(absl::string_view pem) {
  const Owned<BIO> bio = Reader(pem);
  ERR_clear_error();
  // With an empty pass phrase, or OpenSSL would ask whoever sits at the terminal.
  std::string none;
  Owned<EVP_PKEY> key(PEM_read_bio_PrivateKey(bio.get(), nullptr, nullptr, none.data()));
  ERR_clear_error();
  if (key != nullptr) return key;
  return absl::InvalidArgumentError("holds no private key that is whole and without a pass phrase");
}

absl::StatusOr<std::string> ToPem(X509* certificate) {
  const Owned<BIO> bio(BIO_new(BIO_s_mem()));
  if (PEM_write_bio_X509(bio.get(), certificate) != 1) return OpenSslError("write a certificate");
  return Written(bio.get());
}

bool IsAddress(const std::string& host) {
  std::array<unsigned char, sizeof(in6_addr)> bytes;
  return inet_pton(AF_INET, host.c_str(), bytes.data()) == 1 || inet_pton(AF_INET6, host.c_str(), bytes.data()) == 1;
}

bool IsDnsName(absl::string_view host) {
  return !host.empty() && host.size() <= kMaxHostBytes && host[0] != '-' && host[0] != '.' &&
         std::all_of(host.begin(), host.end(), [](char c) {
           return absl::ascii_isalnum(static_cast<unsigned char>(c)) || c == '.' || c == '-' || c == '_';
         });
}

// As OpenSSL's configuration language has it, which is why nothing may stand in it that was not looked at.
absl::StatusOr<std::string> AlternativeNames(const std::string& uri, const std::vector<std::string>& hosts) {
  if (hosts.size() > kMaxHosts) {
    return absl::InvalidArgumentError(absl::StrCat(hosts.size(), " hosts are too many for one certificate, ", kMaxHosts,
                                                   " at most: make one that is good on any host"));
  }
  std::string names = absl::StrCat("URI:", uri);
  for (const std::string& host : hosts) {
    if (IsAddress(host)) {
      absl::StrAppend(&names, ",IP:", host);
    } else if (IsDnsName(host)) {
      absl::StrAppend(&names, ",DNS:", host);
    } else {
      return absl::InvalidArgumentError(absl::StrCat("\"", host, "\" is neither an IP address nor a host's name"));
    }
  }
  return names;
}

using Extensions = std::vector<std::pair<int, std::string>>;

absl::Status AddExtensions(const Extensions& extensions, X509* issuer, X509* certificate) {
  X509V3_CTX context;
  X509V3_set_ctx(&context, issuer, certificate, nullptr, nullptr, 0);
  X509V3_set_ctx_nodb(&context);
  for (const auto& [nid, value] : extensions) {
    const Owned<X509_EXTENSION> extension(X509V3_EXT_conf_nid(nullptr, &context, nid, value.c_str()));
    if (extension == nullptr || X509_add_ext(certificate, extension.get(), -1) != 1)
      return OpenSslError(absl::StrCat("put \"", value, "\" into a certificate"));
  }
  return absl::OkStatus();
}

// So long that no two are the same by chance, and positive.
absl::Status SetSerialNumber(X509* certificate) {
  std::array<unsigned char, 16> bytes;
  if (RAND_bytes(bytes.data(), static_cast<int>(bytes.size())) != 1) return OpenSslError("draw a serial number");
  bytes[0] &= 0x7f;
  const Owned<BIGNUM> number(BN_bin2bn(bytes.data(), static_cast<int>(bytes.size()), nullptr));
  if (number == nullptr || BN_to_ASN1_INTEGER(number.get(), X509_get_serialNumber(certificate)) == nullptr)
    return OpenSslError("write a serial number");
  return absl::OkStatus();
}

// All but extensions, issuer and signature.
absl::StatusOr<Owned<X509>> Begin(const std::string& common_name, const Validity& validity, EVP_PKEY* key) {
  Owned<X509> certificate(X509_new());
  if (certificate == nullptr || X509_set_version(certificate.get(), X509_VERSION_3) != 1)
    return OpenSslError("begin a certificate");
  RETURN_IF_ERROR(SetSerialNumber(certificate.get()));
  if (ASN1_TIME_set(X509_getm_notBefore(certificate.get()), absl::ToTimeT(validity.not_before)) == nullptr ||
      ASN1_TIME_set(X509_getm_notAfter(certificate.get()), absl::ToTimeT(validity.not_after)) == nullptr)
    return OpenSslError("write a certificate's times");
  if (X509_set_pubkey(certificate.get(), key) != 1) return OpenSslError("put a key into a certificate");
  const auto* const text = reinterpret_cast<const unsigned char*>(common_name.c_str());
  if (X509_NAME_add_entry_by_txt(X509_get_subject_name(certificate.get()), "CN", MBSTRING_ASC, text, -1, -1, 0) != 1)
    return OpenSslError(absl::StrCat("name a certificate ", common_name));
  return certificate;
}

// Of a name that is a text.
std::string TextOf(const ASN1_STRING* text) {
  return std::string(reinterpret_cast<const char*>(ASN1_STRING_get0_data(text)),
                     static_cast<size_t>(ASN1_STRING_length(text)));
}
// As people write it; empty for one of another length than there are.
std::string AddressOf(const ASN1_OCTET_STRING* address) {
  std::array<char, INET6_ADDRSTRLEN> text{};
  const int family = ASN1_STRING_length(address) == 4 ? AF_INET : AF_INET6;
  if (family == AF_INET6 && ASN1_STRING_length(address) != 16) return "";
  const char* const printed = inet_ntop(family, ASN1_STRING_get0_data(address), text.data(), text.size());
  return printed == nullptr ? "" : printed;
}

void ReadNames(const X509* certificate, CertificateFacts* facts) {
  const Owned<GENERAL_NAMES> names(
      static_cast<GENERAL_NAMES*>(X509_get_ext_d2i(certificate, NID_subject_alt_name, nullptr, nullptr)));
  for (int i = 0; names != nullptr && i < sk_GENERAL_NAME_num(names.get()); ++i) {
    const GENERAL_NAME* const name = sk_GENERAL_NAME_value(names.get(), i);
    if (name->type == GEN_URI) facts->uris.push_back(TextOf(name->d.uniformResourceIdentifier));
    if (name->type == GEN_DNS) facts->hosts.push_back(TextOf(name->d.dNSName));
    if (name->type == GEN_IPADD) facts->hosts.push_back(AddressOf(name->d.iPAddress));
  }
}

absl::StatusOr<absl::Time> ReadTime(const ASN1_TIME* time) {
  std::tm parts{};
  if (ASN1_TIME_to_tm(time, &parts) != 1) {
    ERR_clear_error();
    return absl::InvalidArgumentError("holds a certificate with a time that is none");
  }
  return absl::FromTM(parts, absl::UTCTimeZone());
}

// What gRPC and OpenSSL's handshake do where they look themselves: whatever the text holds is believed, an authority or
// not.
Owned<X509_STORE> StoreOf(absl::string_view authorities) {
  Owned<X509_STORE> store(X509_STORE_new());
  if (store == nullptr) return store;
  bool broken = false;
  for (const Owned<X509>& root : ReadCertificates(authorities, &broken)) X509_STORE_add_cert(store.get(), root.get());
  X509_STORE_set_flags(store.get(), X509_V_FLAG_PARTIAL_CHAIN | X509_V_FLAG_TRUSTED_FIRST);
  return store;
}

Trust TrustOf(int error) {
  if (error == X509_V_ERR_CERT_HAS_EXPIRED) return Trust::kExpired;
  if (error == X509_V_ERR_CERT_NOT_YET_VALID) return Trust::kNotYetValid;
  return Trust::kUntrusted;
}

}  // namespace

absl::Time WallTime() {
  return absl::FromTimeT(std::time(nullptr));
}

absl::StatusOr<std::string> MakePrivateKey() {
  const Owned<EVP_PKEY> key(EVP_EC_gen("P-256"));
  if (key == nullptr) return OpenSslError("make a key");
  const Owned<BIO> bio(BIO_new(BIO_s_mem()));
  if (PEM_write_bio_PrivateKey(bio.get(), key.get(), nullptr, nullptr, 0, nullptr, nullptr) != 1)
    return OpenSslError("write a key");
  return Written(bio.get());
}

absl::StatusOr<KeyPair> MakeAuthority(const std::string& run_id, const Validity& validity) {
  RETURN_IF_ERROR(CheckRunId(run_id));
  KeyPair pair;
  ASSIGN_OR_RETURN(pair.key, MakePrivateKey());
  ASSIGN_OR_RETURN(const Owned<EVP_PKEY> key, ReadKey(pair.key));
  // A common name has 64 characters at most; the whole id is in the URI.
  ASSIGN_OR_RETURN(const Owned<X509> certificate,
                   Begin(absl::StrCat("grpo run ", run_id.substr(0, 50)), validity, key.get()));
  if (X509_set_issuer_name(certificate.get(), X509_get_subject_name(certificate.get())) != 1)
    return OpenSslError("name an authority's issuer");
  RETURN_IF_ERROR(AddExtensions({{NID_basic_constraints, "critical,CA:TRUE,pathlen:0"},
                                 {NID_key_usage, "critical,keyCertSign,cRLSign"},
                                 {NID_subject_key_identifier, "hash"},
                                 {NID_subject_alt_name, absl::StrCat("URI:grpo://", run_id, "/authority")}},
                                certificate.get(), certificate.get()));
  if (X509_sign(certificate.get(), key.get(), EVP_sha256()) <= 0) return OpenSslError("sign an authority");
  ASSIGN_OR_RETURN(pair.certificate, ToPem(certificate.get()));
  return pair;
}

absl::StatusOr<std::string> IssueCertificate(const KeyPair& authority, const CallerIdentity& identity,
                                             const std::vector<std::string>& hosts, const Validity& validity,
                                             const std::string& key) {
  RETURN_IF_ERROR(CheckRunId(identity.run_id));
  RETURN_IF_ERROR(Annotate(CheckKeyPair(authority), "the authority"));
  ASSIGN_OR_RETURN(const Owned<X509> issuer, ReadFirst(authority.certificate));
  ASSIGN_OR_RETURN(const Owned<EVP_PKEY> issuer_key, ReadKey(authority.key));
  ASSIGN_OR_RETURN(const Owned<EVP_PKEY> own_key, ReadKey(key));
  const bool serves = Serves(identity.role);
  ASSIGN_OR_RETURN(const std::string names,
                   AlternativeNames(IdentityUri(identity), serves ? hosts : std::vector<std::string>()));
  ASSIGN_OR_RETURN(const Owned<X509> certificate,
                   Begin(std::string(CallerRoleName(identity.role)), validity, own_key.get()));
  if (X509_set_issuer_name(certificate.get(), X509_get_subject_name(issuer.get())) != 1)
    return OpenSslError("name a certificate's issuer");
  RETURN_IF_ERROR(AddExtensions({{NID_basic_constraints, "critical,CA:FALSE"},
                                 {NID_key_usage, "critical,digitalSignature"},
                                 {NID_ext_key_usage, serves ? "serverAuth,clientAuth" : "clientAuth"},
                                 {NID_subject_key_identifier, "hash"},
                                 {NID_authority_key_identifier, "keyid:always"},
                                 {NID_subject_alt_name, names}},
                                issuer.get(), certificate.get()));
  if (X509_sign(certificate.get(), issuer_key.get(), EVP_sha256()) <= 0) return OpenSslError("sign a certificate");
  return ToPem(certificate.get());
}

absl::StatusOr<CertificateFacts> ReadCertificate(absl::string_view pem) {
  ASSIGN_OR_RETURN(const Owned<X509> certificate, ReadFirst(pem));
  CertificateFacts facts;
  ReadNames(certificate.get(), &facts);
  ASSIGN_OR_RETURN(facts.validity.not_before, ReadTime(X509_get0_notBefore(certificate.get())));
  ASSIGN_OR_RETURN(facts.validity.not_after, ReadTime(X509_get0_notAfter(certificate.get())));
  return facts;
}

absl::Status CheckKeyPair(const KeyPair& pair) {
  ASSIGN_OR_RETURN(const Owned<X509> certificate, ReadFirst(pair.certificate));
  ASSIGN_OR_RETURN(const Owned<EVP_PKEY> key, ReadKey(pair.key));
  const bool belongs = X509_check_private_key(certificate.get(), key.get()) == 1;
  ERR_clear_error();
  if (belongs) return absl::OkStatus();
  return absl::InvalidArgumentError("holds a certificate, and the private key is another one's");
}

absl::Status CheckAuthorities(absl::string_view pem) {
  bool broken = false;
  if (!ReadCertificates(pem, &broken).empty() && !broken) return absl::OkStatus();
  return absl::InvalidArgumentError(broken ? "holds a certificate that is cut off or damaged"
                                           : "holds no PEM certificate (no -----BEGIN CERTIFICATE----- line)");
}

TrustFinding CheckCaller(absl::string_view authorities, absl::string_view certificate, absl::string_view chain,
                         absl::Time now) {
  const absl::StatusOr<Owned<X509>> leaf = ReadFirst(certificate);
  if (!leaf.ok()) return {Trust::kUntrusted, std::string(leaf.status().message())};
  bool broken = false;
  const std::vector<Owned<X509>> between = ReadCertificates(chain, &broken);
  const Owned<STACK_OF(X509)> untrusted(sk_X509_new_null());
  for (const Owned<X509>& link : between) sk_X509_push(untrusted.get(), link.get());
  const Owned<X509_STORE> store = StoreOf(authorities);
  const Owned<X509_STORE_CTX> context(X509_STORE_CTX_new());
  if (store == nullptr || context == nullptr ||
      X509_STORE_CTX_init(context.get(), store.get(), leaf->get(), untrusted.get()) != 1 ||
      X509_STORE_CTX_set_default(context.get(), "ssl_client") != 1)
    return {Trust::kUntrusted, LastComplaint()};
  X509_VERIFY_PARAM* const rules = X509_STORE_CTX_get0_param(context.get());
  X509_VERIFY_PARAM_set_auth_level(rules, kAuthLevel);
  X509_VERIFY_PARAM_set_time(rules, absl::ToTimeT(now));
  const bool trusted = X509_verify_cert(context.get()) == 1;
  const int error = X509_STORE_CTX_get_error(context.get());
  ERR_clear_error();
  // An error that nobody names is no proof either.
  if (trusted && error == X509_V_OK) return {Trust::kTrusted, ""};
  return {TrustOf(error), X509_verify_cert_error_string(error)};
}

}  // namespace grpo::rpc
