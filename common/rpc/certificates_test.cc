#include "common/rpc/certificates.h"

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "common/rpc/certificates_testing.h"
#include "common/status_testing.h"
#include "gmock/gmock.h"

namespace grpo::rpc {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;

constexpr auto kInvalid = absl::StatusCode::kInvalidArgument;

// Whole seconds: a certificate has no others.
absl::Time At(int64_t seconds) {
  return absl::FromUnixSeconds(1'700'000'000 + seconds);
}

// A text as a file is that was not written to its end.
std::string FirstHalf(const std::string& text) {
  return text.substr(0, text.size() / 2);
}

TEST(CertificatesTest, SayWhoTheirBearerIsWhereItServesAndFromWhenUntilWhen) {
  ASSERT_OK_AND_ASSIGN(const KeyPair authority, MakeAuthority("run-1", {.not_before = At(0), .not_after = At(1000)}));
  ASSERT_OK_AND_ASSIGN(const std::string key, MakePrivateKey());
  ASSERT_OK_AND_ASSIGN(const std::string pem,
                       IssueCertificate(authority, {.run_id = "run-1", .role = CallerRole::kTrainer},
                                        {"node-a", "node-a.example.org", "10.0.0.1", "::1", "0.0.0.0", "fd00::12"},
                                        {.not_before = At(10), .not_after = At(20)}, key));
  ASSERT_OK_AND_ASSIGN(const CertificateFacts facts, ReadCertificate(pem));
  EXPECT_THAT(facts.uris, ElementsAre("grpo://run-1/trainer"));
  EXPECT_THAT(facts.hosts, ElementsAre("node-a", "node-a.example.org", "10.0.0.1", "::1", "0.0.0.0", "fd00::12"));
  EXPECT_EQ(facts.validity.not_before, At(10));
  EXPECT_EQ(facts.validity.not_after, At(20));
  EXPECT_OK(CheckKeyPair({pem, key}));
  EXPECT_EQ(CheckCaller(authority.certificate, pem, "", At(15)).trust, Trust::kTrusted);
}

TEST(CertificatesTest, OfWhoeverServesNothingNameNoHost) {
  const TestAuthority ours("run-1");
  ASSERT_OK_AND_ASSIGN(const CertificateFacts worker, ReadCertificate(ours.Issue(CallerRole::kWorker).certificate));
  EXPECT_THAT(worker.hosts, IsEmpty());
  EXPECT_THAT(worker.uris, ElementsAre("grpo://run-1/worker"));
}

TEST(CertificatesTest, NoTwoAreTheSame) {
  const TestAuthority ours("run-1");
  EXPECT_NE(ours.Issue(CallerRole::kWorker).certificate, ours.Issue(CallerRole::kWorker).certificate);
  EXPECT_NE(MakePrivateKey().value(), MakePrivateKey().value());
}

TEST(CertificatesTest, WhatCannotStandInOneIsRefused) {
  const TestAuthority ours("run-1");
  ASSERT_OK_AND_ASSIGN(const std::string key, MakePrivateKey());
  const CallerIdentity trainer = {.run_id = "run-1", .role = CallerRole::kTrainer};
  // The second would be a name more.
  for (const char* host : {"", "a b", "a,URI:grpo://run-1/operator", "[::1]", "a/b", "-a", "\xc3\xbc", "a:1"})
    EXPECT_STATUS(IssueCertificate(ours.pair(), trainer, {host}, GoodNow(), key), kInvalid, "neither an IP address");
  EXPECT_STATUS(IssueCertificate(ours.pair(), trainer, std::vector<std::string>(1001, "a"), GoodNow(), key), kInvalid,
                "1001 hosts are too many");
  EXPECT_STATUS(IssueCertificate(ours.pair(), {.run_id = "a,b", .role = CallerRole::kViewer}, {}, GoodNow(), key),
                kInvalid, "run id");
  EXPECT_STATUS(MakeAuthority("", GoodNow()), kInvalid, "run id");
  const TestAuthority other("run-2");
  EXPECT_STATUS(IssueCertificate({ours.pair().certificate, other.pair().key}, trainer, {}, GoodNow(), key), kInvalid,
                "the authority");
}

TEST(CertificatesTest, ACallerIsBelievedOnlyByItsOwnAuthorityAndInItsTime) {
  const TestAuthority ours("run-1"), other("run-2");
  const absl::Time now = WallTime();
  const std::string good = ours.Issue(CallerRole::kWorker).certificate;
  const auto trust = [&](const std::string& certificate) {
    return CheckCaller(ours.pem(), certificate, "", now).trust;
  };
  EXPECT_EQ(trust(good), Trust::kTrusted);
  EXPECT_EQ(trust(other.Issue(CallerRole::kWorker).certificate), Trust::kUntrusted);
  // Another authority that claims our run.
  EXPECT_EQ(trust(other.IssueAs({.run_id = "run-1", .role = CallerRole::kOperator}).certificate), Trust::kUntrusted);
  EXPECT_EQ(trust(other.pem()), Trust::kUntrusted) << "signed by itself";
  const Validity over = {.not_before = now - absl::Hours(2), .not_after = now - absl::Seconds(1)},
                 early = {.not_before = now + absl::Minutes(1), .not_after = now + absl::Hours(2)};
  EXPECT_EQ(trust(ours.Issue(CallerRole::kWorker, over).certificate), Trust::kExpired);
  EXPECT_EQ(trust(ours.Issue(CallerRole::kWorker, early).certificate), Trust::kNotYetValid);
  EXPECT_EQ(CheckCaller(ours.pem() + other.pem(), other.Issue(CallerRole::kWorker).certificate, "", now).trust,
            Trust::kTrusted)
      << "a file of two authorities";
  for (const std::string& broken : {std::string(), std::string("text"), FirstHalf(good), ours.pair().key})
    EXPECT_EQ(trust(broken), Trust::kUntrusted);
  EXPECT_EQ(CheckCaller("", good, "", now).trust, Trust::kUntrusted);
  EXPECT_EQ(CheckCaller(ours.pem(), good, "rubbish", now).trust, Trust::kTrusted);
  EXPECT_NE(CheckCaller(ours.pem(), other.pem(), "", now).why, "");
}

// A worker that signs with its own key makes nobody.
TEST(CertificatesTest, WhoeverHasACertificateIsNoAuthority) {
  const TestAuthority ours("run-1");
  const KeyPair worker = ours.Issue(CallerRole::kWorker);
  ASSERT_OK_AND_ASSIGN(const std::string key, MakePrivateKey());
  ASSERT_OK_AND_ASSIGN(
      const std::string forged,
      IssueCertificate(worker, {.run_id = "run-1", .role = CallerRole::kOperator}, {}, GoodNow(), key));
  EXPECT_EQ(CheckCaller(ours.pem(), forged, worker.certificate, WallTime()).trust, Trust::kUntrusted);
}

TEST(CertificatesTest, BrokenFilesAreNamedForWhatTheyAre) {
  const TestAuthority ours("run-1");
  const KeyPair pair = ours.Issue(CallerRole::kTrainer), other = ours.Issue(CallerRole::kTrainer);
  EXPECT_STATUS(ReadCertificate(FirstHalf(pair.certificate)), kInvalid, "cut off or damaged");
  EXPECT_STATUS(ReadCertificate(""), kInvalid, "holds no PEM certificate");
  EXPECT_STATUS(ReadCertificate(pair.key), kInvalid, "holds no PEM certificate");
  EXPECT_STATUS(CheckKeyPair({pair.certificate, other.key}), kInvalid, "another one's");
  EXPECT_STATUS(CheckKeyPair({pair.certificate, FirstHalf(pair.key)}), kInvalid, "no private key that is whole");
  EXPECT_STATUS(CheckKeyPair({pair.certificate, pair.certificate}), kInvalid, "no private key");
  EXPECT_STATUS(CheckAuthorities(ours.pem() + FirstHalf(pair.certificate)), kInvalid, "cut off or damaged");
  EXPECT_STATUS(CheckAuthorities("-----BEGIN NOTHING-----\n"), kInvalid, "");
  EXPECT_OK(CheckAuthorities("a comment\n" + ours.pem() + "\n" + pair.certificate));
  std::string flipped = pair.certificate;
  flipped[flipped.size() / 2] = flipped[flipped.size() / 2] == 'A' ? 'B' : 'A';
  // It may still be a certificate, of other names; signed it is not.
  EXPECT_EQ(CheckCaller(ours.pem(), flipped, "", WallTime()).trust, Trust::kUntrusted);
}

}  // namespace
}  // namespace grpo::rpc
