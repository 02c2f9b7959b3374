#include "tools/doctor/certificate.h"

#include <arpa/inet.h>

#include <ctime>

#include "openssl/err.h"
#include "openssl/pem.h"
#include "openssl/x509_vfy.h"
#include "openssl/x509v3.h"

namespace grpo {
namespace {

using Bio = std::unique_ptr<BIO, decltype(&::BIO_free)>;

// Over a text that outlives it.
Bio BioOf(absl::string_view text) {
  return Bio(BIO_new_mem_buf(text.data(), static_cast<int>(text.size())), &::BIO_free);
}

// Where OpenSSL would ask at the terminal.
int NoPassword(char*, int, int, void*) {
  return -1;
}

absl::Time TimeOf(const ASN1_TIME* time) {
  std::tm parts = {};
  if (time == nullptr || ASN1_TIME_to_tm(time, &parts) != 1) return absl::InfinitePast();
  return absl::FromTM(parts, absl::UTCTimeZone());
}

}  // namespace

absl::StatusOr<CertificateChain> CertificateChain::Parse(absl::string_view pem) {
  const Bio bio = BioOf(pem);
  CertificateChain chain;
  while (X509* const certificate = PEM_read_bio_X509(bio.get(), nullptr, &NoPassword, nullptr))
    chain.certificates_.emplace_back(certificate);
  const bool at_end = ERR_GET_REASON(ERR_peek_last_error()) == PEM_R_NO_START_LINE;
  ERR_clear_error();
  if (chain.certificates_.empty()) return absl::InvalidArgumentError("holds no certificate that can be read");
  if (!at_end) return absl::InvalidArgumentError("holds a certificate that cannot be read behind others");
  return chain;
}

std::string CertificateChain::subject() const {
  const Bio bio(BIO_new(BIO_s_mem()), &::BIO_free);
  X509_NAME_print_ex(bio.get(), X509_get_subject_name(certificates_[0].get()), 0, XN_FLAG_ONELINE);
  char* text = nullptr;
  const long size = BIO_get_mem_data(bio.get(), &text);
  return std::string(text, size > 0 ? static_cast<size_t>(size) : 0);
}

absl::Time CertificateChain::not_before() const {
  return TimeOf(X509_get0_notBefore(certificates_[0].get()));
}

absl::Time CertificateChain::not_after() const {
  return TimeOf(X509_get0_notAfter(certificates_[0].get()));
}

bool CertificateChain::IsFor(const std::string& host) const {
  X509* const certificate = certificates_[0].get();
  in_addr v4;
  in6_addr v6;
  const bool is_address = ::inet_pton(AF_INET, host.c_str(), &v4) == 1 || ::inet_pton(AF_INET6, host.c_str(), &v6) == 1;
  if (is_address) return X509_check_ip_asc(certificate, host.c_str(), 0) == 1;
  return X509_check_host(certificate, host.data(), host.size(), 0, nullptr) == 1;
}

absl::StatusOr<bool> CertificateChain::Fits(absl::string_view key_pem) const {
  const Bio bio = BioOf(key_pem);
  const std::unique_ptr<EVP_PKEY, decltype(&::EVP_PKEY_free)> key(
      PEM_read_bio_PrivateKey(bio.get(), nullptr, &NoPassword, nullptr), &::EVP_PKEY_free);
  const bool fits = key != nullptr && X509_check_private_key(certificates_[0].get(), key.get()) == 1;
  ERR_clear_error();
  if (key == nullptr) return absl::InvalidArgumentError("holds no private key that can be read without a password");
  return fits;
}

std::string CertificateChain::WhyNotVouchedFor(const CertificateChain& authorities) const {
  const std::unique_ptr<X509_STORE, decltype(&::X509_STORE_free)> store(X509_STORE_new(), &::X509_STORE_free);
  for (const auto& authority : authorities.certificates_) X509_STORE_add_cert(store.get(), authority.get());
  // Expiry is said by itself. A self-signed certificate may be its own authority.
  X509_STORE_set_flags(store.get(), X509_V_FLAG_NO_CHECK_TIME | X509_V_FLAG_PARTIAL_CHAIN);
  const std::unique_ptr<STACK_OF(X509), void (*)(STACK_OF(X509)*)> others(
      sk_X509_new_null(), [](STACK_OF(X509) * stack) { sk_X509_free(stack); });
  for (size_t i = 1; i < certificates_.size(); ++i) sk_X509_push(others.get(), certificates_[i].get());
  const std::unique_ptr<X509_STORE_CTX, decltype(&::X509_STORE_CTX_free)> context(X509_STORE_CTX_new(),
                                                                                  &::X509_STORE_CTX_free);
  std::string why = "OpenSSL cannot tell";
  if (X509_STORE_CTX_init(context.get(), store.get(), certificates_[0].get(), others.get()) == 1) {
    const bool vouched_for = X509_verify_cert(context.get()) == 1;
    why = vouched_for ? "" : X509_verify_cert_error_string(X509_STORE_CTX_get_error(context.get()));
  }
  ERR_clear_error();
  return why;
}

}  // namespace grpo
