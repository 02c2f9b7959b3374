#include "tools/doctor/certificate.h"

#include "absl/strings/str_cat.h"
#include "common/status_testing.h"
#include "gmock/gmock.h"
#include "tools/doctor/certificate_testing.h"

namespace grpo {
namespace {

using ::testing::HasSubstr;

constexpr int64_t kFrom = 1800000000, kUntil = 1800086400;

TestIdentity Make(const std::string& name, const std::string& alt_name, const TestIdentity* issuer = nullptr) {
  return MakeTestIdentity(name, alt_name, absl::FromUnixSeconds(kFrom), absl::FromUnixSeconds(kUntil), issuer);
}

TEST(CertificateTest, SaysWhoseItIsAndHowLong) {
  ASSERT_OK_AND_ASSIGN(const CertificateChain chain, CertificateChain::Parse(Make("trainer", "DNS:node7").cert_pem));
  EXPECT_EQ(chain.subject(), "CN = trainer");
  EXPECT_EQ(chain.not_before(), absl::FromUnixSeconds(kFrom));
  EXPECT_EQ(chain.not_after(), absl::FromUnixSeconds(kUntil));
}

TEST(CertificateTest, IsForTheNamesAndAddressesThatItHolds) {
  ASSERT_OK_AND_ASSIGN(const CertificateChain chain,
                       CertificateChain::Parse(Make("a", "DNS:node7,IP:10.0.0.7,IP:::1").cert_pem));
  for (const char* host : {"node7", "10.0.0.7", "::1"}) EXPECT_TRUE(chain.IsFor(host)) << host;
  for (const char* host : {"node8", "10.0.0.8", "::2", "a"}) EXPECT_FALSE(chain.IsFor(host)) << host;
}

TEST(CertificateTest, KnowsItsOwnKey) {
  const TestIdentity ours = Make("a", ""), other = Make("b", "");
  ASSERT_OK_AND_ASSIGN(const CertificateChain chain, CertificateChain::Parse(ours.cert_pem));
  ASSERT_OK_AND_ASSIGN(const bool fits, chain.Fits(ours.key_pem));
  EXPECT_TRUE(fits);
  ASSERT_OK_AND_ASSIGN(const bool others, chain.Fits(other.key_pem));
  EXPECT_FALSE(others);
  EXPECT_STATUS(chain.Fits(ours.cert_pem), absl::StatusCode::kInvalidArgument, "no private key");
}

TEST(CertificateTest, AnAuthorityVouchesForWhatItSignedWhateverTheTime) {
  const TestIdentity authority = Make("ca", ""), stranger = Make("other", "");
  const TestIdentity signed_one = Make("a", "DNS:node7", &authority);
  ASSERT_OK_AND_ASSIGN(const CertificateChain chain, CertificateChain::Parse(signed_one.cert_pem));
  ASSERT_OK_AND_ASSIGN(const CertificateChain ours, CertificateChain::Parse(authority.cert_pem));
  ASSERT_OK_AND_ASSIGN(const CertificateChain others, CertificateChain::Parse(stranger.cert_pem));
  EXPECT_EQ(chain.WhyNotVouchedFor(ours), "");
  EXPECT_EQ(ours.WhyNotVouchedFor(ours), "") << "a self-signed one is its own";
  EXPECT_THAT(chain.WhyNotVouchedFor(others), HasSubstr("issuer"));
}

TEST(CertificateTest, WhatIsNoCertificateIsSaid) {
  const TestIdentity ours = Make("a", "");
  for (const std::string& text :
       {std::string(), ours.key_pem, ours.cert_pem.substr(0, 200), std::string("-----BEGIN CERTIFICATE-----\n"),
        absl::StrCat(ours.cert_pem, "-----BEGIN CERTIFICATE-----\nnonsense\n-----END CERTIFICATE-----\n")}) {
    EXPECT_EQ(CertificateChain::Parse(text).status().code(), absl::StatusCode::kInvalidArgument) << text;
  }
  ASSERT_OK_AND_ASSIGN(const CertificateChain chain, CertificateChain::Parse(ours.cert_pem + Make("b", "").cert_pem));
  EXPECT_EQ(chain.subject(), "CN = a");
}

}  // namespace
}  // namespace grpo
