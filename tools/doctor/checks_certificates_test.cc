#include <filesystem>
#include <string>

#include "absl/strings/str_cat.h"
#include "common/files.h"
#include "common/rpc/certificates.h"
#include "common/status_testing.h"
#include "gmock/gmock.h"
#include "tools/doctor/machine_testing.h"

namespace grpo {
namespace {

namespace fs = std::filesystem;
using ::testing::AllOf;
using ::testing::HasSubstr;
using ::testing::Not;

class CertificatesTest : public ::testing::Test {
 protected:
  void SetUp() override {
    fs::remove_all(folder_);
    ASSERT_OK(MakeFolders(folder_));
    config_.network.host = "0.0.0.0";
    config_.network.advertise_host = "node7";
  }
  void TearDown() override { fs::remove_all(folder_); }

  rpc::Validity Until(absl::Duration end) const {
    return {.not_before = machine_.now - absl::Hours(1), .not_after = machine_.now + end};
  }
  rpc::KeyPair Authority(absl::Duration end) const { return rpc::MakeAuthority("run-1", Until(end)).value(); }
  // For a trainer at node7.
  rpc::KeyPair Make(absl::Duration end, const rpc::KeyPair& authority) const {
    rpc::KeyPair pair;
    pair.key = rpc::MakePrivateKey().value();
    pair.certificate = rpc::IssueCertificate(authority, {.run_id = "run-1", .role = rpc::CallerRole::kTrainer},
                                             {"node7"}, Until(end), pair.key)
                           .value();
    return pair;
  }
  std::string Put(const std::string& name, const std::string& text, fs::perms mode = fs::perms(0600)) const {
    const std::string path = absl::StrCat(folder_, "/", name);
    EXPECT_OK(WriteFileSynced(path, text));
    fs::permissions(path, mode);
    return path;
  }
  void Use(const rpc::KeyPair& pair, const rpc::KeyPair& authority) {
    config_.network.tls_cert = Put("cert", pair.certificate);
    config_.network.tls_key = Put("key", pair.key);
    config_.network.tls_ca = Put("ca", authority.certificate);
  }
  std::string Look() const { return Found(&CheckCertificates, {.machine = machine_, .config = &config_}); }

  const std::string folder_ =
      absl::StrCat(::testing::TempDir(), "/certs_", ::testing::UnitTest::GetInstance()->current_test_info()->name());
  FakeMachine machine_;
  RunConfig config_;
};

TEST_F(CertificatesTest, ThoseThatFitAreAllOk) {
  const rpc::KeyPair authority = Authority(absl::Hours(1000));
  Use(Make(absl::Hours(1000), authority), authority);
  config_.network.token_file = Put("token", "secret");
  const std::string found = Look();
  EXPECT_THAT(found,
              AllOf(HasSubstr("tls_key is the key of tls_cert"), HasSubstr("tls_cert is for node7"),
                    HasSubstr("tls_ca vouches for tls_cert"), Not(HasSubstr("warning")), Not(HasSubstr("problem"))));
  EXPECT_THAT(found, Not(HasSubstr("secret")));
}

TEST_F(CertificatesTest, EachThatDoesNotFitIsAProblemByItsKey) {
  const rpc::KeyPair authority = Authority(absl::Hours(1000)), other = Authority(absl::Hours(1000));
  Use(Make(-absl::Minutes(1), authority), other);
  config_.network.tls_key = Put("key", other.key);
  config_.network.advertise_host = "node8";
  config_.network.token_file = folder_ + "/nowhere";
  const std::string found = Look();
  EXPECT_THAT(found, AllOf(HasSubstr("/cert expired at 2027-01-02 03:03 UTC"), HasSubstr("does not go with tls_cert"),
                           HasSubstr("tls_cert is not for node8"), HasSubstr("tls_ca does not vouch for tls_cert"),
                           HasSubstr("problem 78: token_file")));
}

TEST_F(CertificatesTest, OneThatEndsSoonAndASecretThatAllCanReadAreWarnings) {
  const rpc::KeyPair authority = Authority(absl::Hours(1));
  Use(Make(absl::Hours(1), authority), authority);
  config_.network.tls_key = Put("key", rpc::MakePrivateKey().value(), fs::perms(0644));
  const std::string found = Look();
  EXPECT_THAT(found, AllOf(HasSubstr("/cert expires at 2027-01-02 04:04 UTC"),
                           HasSubstr("mode 0644: everybody on this machine can read it -> chmod 600 ")));
}

TEST_F(CertificatesTest, WithoutAnyTheRunMakesItsOwnWhereOthersReachIt) {
  EXPECT_THAT(Look(), HasSubstr("ok: none are named: the run makes its own"));
  config_.network.host = "127.0.0.1";
  EXPECT_THAT(Look(), HasSubstr("ok: none"));
}

TEST_F(CertificatesTest, AFileThatIsSomethingElseIsNamed) {
  config_.network.tls_cert = Put("cert", "hello");
  EXPECT_THAT(Look(), AllOf(HasSubstr("problem 78: "), HasSubstr(folder_ + "/cert")));
}

}  // namespace
}  // namespace grpo
