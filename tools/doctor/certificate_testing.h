// Certificates for tests, signed by themselves or by one another.
#ifndef GRPO_TOOLS_DOCTOR_CERTIFICATE_TESTING_H_
#define GRPO_TOOLS_DOCTOR_CERTIFICATE_TESTING_H_

#include <cstring>
#include <functional>
#include <memory>
#include <string>

#include "absl/time/time.h"
#include "openssl/evp.h"
#include "openssl/pem.h"
#include "openssl/x509.h"
#include "openssl/x509v3.h"

namespace grpo {

// A certificate and its key, as OpenSSL's and as PEM.
struct TestIdentity {
  std::shared_ptr<X509> certificate;
  std::shared_ptr<EVP_PKEY> key;
  std::string cert_pem, key_pem;
};

// Valid from `from` to `until`. `alt_name` as OpenSSL writes it: "DNS:node7". Without an issuer it signs itself, and
// may sign others.
inline TestIdentity MakeTestIdentity(const std::string& name, const std::string& alt_name, absl::Time from,
                                     absl::Time until, const TestIdentity* issuer = nullptr) {
  TestIdentity made{.certificate = {X509_new(), &X509_free}, .key = {EVP_EC_gen("P-256"), &EVP_PKEY_free}};
  X509* const certificate = made.certificate.get();
  X509_set_version(certificate, 2);
  ASN1_INTEGER_set(X509_get_serialNumber(certificate), 1);
  ASN1_TIME_set(X509_getm_notBefore(certificate), absl::ToTimeT(from));
  ASN1_TIME_set(X509_getm_notAfter(certificate), absl::ToTimeT(until));
  X509_set_pubkey(certificate, made.key.get());
  X509_NAME* const subject = X509_get_subject_name(certificate);
  X509_NAME_add_entry_by_txt(subject, "CN", MBSTRING_ASC, reinterpret_cast<const unsigned char*>(name.c_str()), -1, -1,
                             0);
  X509_set_issuer_name(certificate, issuer == nullptr ? subject : X509_get_subject_name(issuer->certificate.get()));
  const auto extend = [&](int kind, const char* value) {
    X509_EXTENSION* const extension = X509V3_EXT_conf_nid(nullptr, nullptr, kind, value);
    X509_add_ext(certificate, extension, -1);
    X509_EXTENSION_free(extension);
  };
  if (!alt_name.empty()) extend(NID_subject_alt_name, alt_name.c_str());
  if (issuer == nullptr) extend(NID_basic_constraints, "critical,CA:TRUE");
  X509_sign(certificate, issuer == nullptr ? made.key.get() : issuer->key.get(), EVP_sha256());
  const auto pem_of = [](const std::function<void(BIO*)>& write) {
    const std::unique_ptr<BIO, decltype(&BIO_free)> bio(BIO_new(BIO_s_mem()), &BIO_free);
    write(bio.get());
    char* data = nullptr;
    const long size = BIO_get_mem_data(bio.get(), &data);
    return std::string(data, static_cast<size_t>(size));
  };
  made.cert_pem = pem_of([&](BIO* bio) { PEM_write_bio_X509(bio, certificate); });
  made.key_pem =
      pem_of([&](BIO* bio) { PEM_write_bio_PrivateKey(bio, made.key.get(), nullptr, nullptr, 0, nullptr, nullptr); });
  return made;
}

}  // namespace grpo

#endif  // GRPO_TOOLS_DOCTOR_CERTIFICATE_TESTING_H_
