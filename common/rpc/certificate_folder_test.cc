#include "common/rpc/certificate_folder.h"

#include <sys/stat.h>
#include <unistd.h>

#include <filesystem>
#include <map>
#include <string>

#include "absl/strings/str_cat.h"
#include "common/files.h"
#include "common/rpc/certificate_keeper.h"
#include "common/rpc/certificates.h"
#include "common/status_testing.h"
#include "gmock/gmock.h"

namespace grpo::rpc {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;

class CertificateFolderTest : public ::testing::Test {
 protected:
  void SetUp() override { std::filesystem::remove_all(folder_); }
  void TearDown() override { std::filesystem::remove_all(folder_); }

  static std::string Read(const std::string& path) { return ReadFile(path).value(); }
  Validity ValidityOf(CallerRole role) const {
    return ReadCertificate(Read(CertificatePath(folder_, role))).value().validity;
  }
  static mode_t ModeOf(const std::string& path) {
    struct stat info = {};
    EXPECT_EQ(::stat(path.c_str(), &info), 0) << path;
    return info.st_mode & 0777;
  }

  const std::string folder_ = absl::StrCat(::testing::TempDir(), "/certificate_folder_test.", ::getpid());
  const absl::Time now_ = absl::FromUnixSeconds(1'700'000'000);
  const RunCertificateTerms terms_ = {.run_id = "run-1", .hosts = {"node-a", "127.0.0.1"}};
};

TEST_F(CertificateFolderTest, HoldsAPairOfEachRoleThatTheAuthoritySignedAndKeysForItsOwnerAlone) {
  ASSERT_OK(IssueRunCertificates(folder_, terms_, now_));
  EXPECT_EQ(ModeOf(folder_), 0700u);
  EXPECT_EQ(ModeOf(AuthorityKeyPath(folder_)), 0600u);
  for (const CallerRole role : kCallerRoles) {
    const KeyPair pair = {Read(CertificatePath(folder_, role)), Read(KeyPath(folder_, role))};
    EXPECT_OK(CheckKeyPair(pair));
    EXPECT_EQ(ModeOf(KeyPath(folder_, role)), 0600u);
    EXPECT_EQ(CheckCaller(Read(AuthorityPath(folder_)), pair.certificate, "", now_).trust, Trust::kTrusted);
    ASSERT_OK_AND_ASSIGN(const CertificateFacts facts, ReadCertificate(pair.certificate));
    EXPECT_THAT(facts.uris, ElementsAre(IdentityUri({.run_id = "run-1", .role = role})));
    EXPECT_EQ(facts.validity.not_before, now_ - kClockTolerance);
    EXPECT_EQ(facts.validity.not_after, now_ + kCertificateLife);
  }
  ASSERT_OK_AND_ASSIGN(const CertificateFacts trainer,
                       ReadCertificate(Read(CertificatePath(folder_, CallerRole::kTrainer))));
  EXPECT_THAT(trainer.hosts, ElementsAre("node-a", "127.0.0.1"));
}

TEST_F(CertificateFolderTest, WhatARunMadeBeforeStaysGoodWhenItIsMadeAnew) {
  ASSERT_OK(IssueRunCertificates(folder_, terms_, now_));
  const std::string authority = Read(AuthorityPath(folder_)), key = Read(KeyPath(folder_, CallerRole::kWorker)),
                    certificate = Read(CertificatePath(folder_, CallerRole::kWorker));
  RunCertificateTerms moved = terms_;
  moved.hosts = {"node-b"};
  ASSERT_OK(IssueRunCertificates(folder_, moved, now_ + absl::Hours(2)));
  EXPECT_EQ(Read(AuthorityPath(folder_)), authority);
  EXPECT_EQ(Read(KeyPath(folder_, CallerRole::kWorker)), key);
  EXPECT_NE(Read(CertificatePath(folder_, CallerRole::kWorker)), certificate);
  ASSERT_OK_AND_ASSIGN(const CertificateFacts trainer,
                       ReadCertificate(Read(CertificatePath(folder_, CallerRole::kTrainer))));
  EXPECT_THAT(trainer.hosts, ElementsAre("node-b"));
}

TEST_F(CertificateFolderTest, AnotherRunsAuthorityAndABrokenOneAreReplaced) {
  ASSERT_OK(IssueRunCertificates(folder_, terms_, now_));
  std::string authority = Read(AuthorityPath(folder_));
  RunCertificateTerms other = terms_;
  other.run_id = "run-2";
  ASSERT_OK(IssueRunCertificates(folder_, other, now_));
  EXPECT_NE(Read(AuthorityPath(folder_)), authority);
  ASSERT_OK(WriteFileSynced(AuthorityPath(folder_), "cut off"));
  ASSERT_OK(IssueRunCertificates(folder_, other, now_));
  EXPECT_EQ(
      CheckCaller(Read(AuthorityPath(folder_)), Read(CertificatePath(folder_, CallerRole::kViewer)), "", now_).trust,
      Trust::kTrusted);
}

TEST_F(CertificateFolderTest, TermsThatCannotStandInACertificateAreNamed) {
  RunCertificateTerms terms = terms_;
  terms.run_id = "a/b";
  EXPECT_STATUS(IssueRunCertificates(folder_, terms, now_), absl::StatusCode::kInvalidArgument, "a/b");
  EXPECT_FALSE(std::filesystem::exists(folder_));
  terms = terms_;
  terms.hosts = {"no host"};
  EXPECT_STATUS(IssueRunCertificates(folder_, terms, now_), absl::StatusCode::kInvalidArgument, "no host");
}

TEST_F(CertificateFolderTest, AreRenewedWhenAThirdOfTheirLifeIsLeftAndNotBefore) {
  ASSERT_OK(IssueRunCertificates(folder_, terms_, now_));
  const Validity first = ValidityOf(CallerRole::kWorker);
  const absl::Duration length = first.not_after - first.not_before;
  const std::string key = Read(KeyPath(folder_, CallerRole::kWorker));
  ASSERT_OK_AND_ASSIGN(const bool early,
                       RenewRunCertificates(folder_, first.not_after - length / 3 - absl::Seconds(1)));
  EXPECT_FALSE(early);
  EXPECT_EQ(ValidityOf(CallerRole::kWorker).not_after, first.not_after);
  // Again and again: a renewed one lives as long as the first.
  absl::Time not_after = first.not_after;
  for (int round = 0; round < 3; ++round) {
    const absl::Time due = not_after - length / 3;
    ASSERT_OK_AND_ASSIGN(const bool renewed, RenewRunCertificates(folder_, due));
    EXPECT_TRUE(renewed);
    for (const CallerRole role : kCallerRoles) {
      EXPECT_EQ(ValidityOf(role).not_after - ValidityOf(role).not_before, length);
      EXPECT_OK(CheckKeyPair({Read(CertificatePath(folder_, role)), Read(KeyPath(folder_, role))}));
    }
    EXPECT_GT(ValidityOf(CallerRole::kWorker).not_after, not_after);
    not_after = ValidityOf(CallerRole::kWorker).not_after;
  }
  EXPECT_EQ(Read(KeyPath(folder_, CallerRole::kWorker)), key) << "so that the pair always fits together";
  ASSERT_OK_AND_ASSIGN(const CertificateFacts trainer,
                       ReadCertificate(Read(CertificatePath(folder_, CallerRole::kTrainer))));
  EXPECT_THAT(trainer.hosts, ElementsAre("node-a", "127.0.0.1"));
  // Over long ago, and of a time that has not come: both are due.
  ASSERT_OK_AND_ASSIGN(const bool late, RenewRunCertificates(folder_, not_after + absl::Hours(1000)));
  EXPECT_TRUE(late);
  ASSERT_OK_AND_ASSIGN(const bool set_back, RenewRunCertificates(folder_, now_));
  EXPECT_TRUE(set_back);
}

TEST_F(CertificateFolderTest, WhatCannotBeRenewedSaysWhenItEnds) {
  ASSERT_OK(IssueRunCertificates(folder_, terms_, now_));
  ASSERT_OK(RemoveAll(AuthorityKeyPath(folder_)));
  ASSERT_OK_AND_ASSIGN(const bool renewed, RenewRunCertificates(folder_, now_));
  EXPECT_FALSE(renewed) << "the authority's key is needed when something is due";
  const absl::Time due = now_ + kCertificateLife - absl::Hours(1);
  const auto failed = RenewRunCertificates(folder_, due);
  EXPECT_STATUS(failed, absl::StatusCode::kNotFound, "ca.key");
  EXPECT_STATUS(failed, absl::StatusCode::kNotFound, absl::FormatTime(now_ + kCertificateLife, absl::UTCTimeZone()));
  ASSERT_OK(WriteFileSynced(CertificatePath(folder_, CallerRole::kTrainer), "cut off"));
  EXPECT_STATUS(RenewRunCertificates(folder_, due), absl::StatusCode::kInvalidArgument, "trainer.pem");
}

TEST_F(CertificateFolderTest, AFolderWithSomeOfTheRolesIsRenewedAsFarAsItGoes) {
  ASSERT_OK(IssueRunCertificates(folder_, terms_, now_));
  ASSERT_OK(RemoveAll(CertificatePath(folder_, CallerRole::kOperator)));
  ASSERT_OK_AND_ASSIGN(const bool renewed, RenewRunCertificates(folder_, now_ + kCertificateLife));
  EXPECT_TRUE(renewed);
  EXPECT_FALSE(std::filesystem::exists(CertificatePath(folder_, CallerRole::kOperator)));
  // Somebody's own files under these names are nobody's to replace.
  ASSERT_OK(WriteFileSynced(CertificatePath(folder_, CallerRole::kOperator),
                            Read(CertificatePath(folder_, CallerRole::kViewer))));
  EXPECT_STATUS(RenewRunCertificates(folder_, now_ + 3 * kCertificateLife), absl::StatusCode::kInvalidArgument,
                "no certificate of the role operator");
}

TEST_F(CertificateFolderTest, AKeeperLooksAtOnceAndSaysWhatIsWrongAndWhenItIsNotAnyMore) {
  ASSERT_OK(IssueRunCertificates(folder_, terms_, now_));
  const absl::Time late = now_ + kCertificateLife + absl::Hours(1);
  std::string alarm = "none yet";
  const auto keep = [&] {
    const CertificateKeeper keeper(
        folder_, [&](const std::string& text) { alarm = text; }, [&] { return late; });
  };
  const std::string key = Read(AuthorityKeyPath(folder_));
  ASSERT_OK(RemoveAll(AuthorityKeyPath(folder_)));
  keep();
  EXPECT_THAT(alarm, HasSubstr("cannot be renewed"));
  ASSERT_OK(WriteFileSynced(AuthorityKeyPath(folder_), key));
  keep();
  EXPECT_EQ(alarm, "");
  EXPECT_GT(ValidityOf(CallerRole::kTrainer).not_after, late);
}

}  // namespace
}  // namespace grpo::rpc
