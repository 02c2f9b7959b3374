#include <filesystem>
#include <string>

#include "absl/strings/str_cat.h"
#include "common/files.h"
#include "common/status_testing.h"
#include "gmock/gmock.h"
#include "tools/doctor/certificate_testing.h"
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

  TestIdentity Make(const std::string& name, absl::Duration until, const TestIdentity* issuer = nullptr) const {
    return MakeTestIdentity(name, "DNS:node7", machine_.now - absl::Hours(1), machine_.now + until, issuer);
  }
  std::string Put(const std::string& name, const std::string& text, fs::perms mode = fs::perms(0600)) const {
    const std::string path = absl::StrCat(folder_, "/", name);
    EXPECT_OK(WriteFileSynced(path, text));
    fs::permissions(path, mode);
    return path;
  }
  void Use(const TestIdentity& identity, const TestIdentity& authority) {
    config_.network.tls_cert = Put("cert", identity.cert_pem);
    config_.network.tls_key = Put("key", identity.key_pem);
    config_.network.tls_ca = Put("ca", authority.cert_pem);
  }
  std::string Look() const { return Found(&CheckCertificates, {.machine = machine_, .config = &config_}); }

  const std::string folder_ =
      absl::StrCat(::testing::TempDir(), "/certs_", ::testing::UnitTest::GetInstance()->current_test_info()->name());
  FakeMachine machine_;
  RunConfig config_;
};

TEST_F(CertificatesTest, ThoseThatFitAreAllOk) {
  const TestIdentity authority = Make("ca", absl::Hours(1000));
  Use(Make("trainer", absl::Hours(1000), &authority), authority);
  config_.network.token_file = Put("token", "secret");
  const std::string found = Look();
  EXPECT_THAT(found,
              AllOf(HasSubstr("tls_key is the key of tls_cert"), HasSubstr("tls_cert is for node7"),
                    HasSubstr("tls_ca vouches for tls_cert"), Not(HasSubstr("warning")), Not(HasSubstr("problem"))));
  EXPECT_THAT(found, Not(HasSubstr("secret")));
}

TEST_F(CertificatesTest, EachThatDoesNotFitIsAProblemByItsKey) {
  const TestIdentity authority = Make("ca", absl::Hours(1000)), other = Make("other", absl::Hours(1000));
  const TestIdentity expired = Make("old", -absl::Minutes(1), &authority);
  Use(expired, other);
  config_.network.tls_key = Put("key", other.key_pem);
  config_.network.advertise_host = "node8";
  config_.network.token_file = folder_ + "/nowhere";
  const std::string found = Look();
  EXPECT_THAT(found, AllOf(HasSubstr("problem 78: tls_cert (CN = old) expired at 2027-01-02 03:03 UTC"),
                           HasSubstr("is not the key of tls_cert"), HasSubstr("tls_cert is not for node8"),
                           HasSubstr("tls_ca does not vouch for tls_cert"), HasSubstr("problem 78: token_file")));
}

TEST_F(CertificatesTest, OneThatEndsSoonAndASecretThatAllCanReadAreWarnings) {
  const TestIdentity authority = Make("ca", absl::Hours(1));
  Use(Make("trainer", absl::Hours(1), &authority), authority);
  config_.network.tls_key = Put("key", Make("x", absl::Hours(1)).key_pem, fs::perms(0644));
  const std::string found = Look();
  EXPECT_THAT(found, AllOf(HasSubstr("warning: tls_cert (CN = trainer) expires at 2027-01-02 04:04 UTC"),
                           HasSubstr("mode 0644: everybody on this machine can read it -> chmod 600 ")));
}

TEST_F(CertificatesTest, NoneIsOkOnLoopbackAlone) {
  EXPECT_THAT(Look(), HasSubstr("warning: network.host 0.0.0.0 is not loopback, and there is no TLS"));
  config_.network.host = "127.0.0.1";
  EXPECT_THAT(Look(), HasSubstr("ok: none"));
}

TEST_F(CertificatesTest, AFileThatIsSomethingElseIsNamed) {
  config_.network.tls_cert = Put("cert", "hello");
  EXPECT_THAT(Look(), AllOf(HasSubstr("problem 78: "), HasSubstr(folder_ + "/cert")));
}

}  // namespace
}  // namespace grpo
