#include "tools/launch/run_certificates.h"

#include <unistd.h>

#include <algorithm>
#include <filesystem>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "common/files.h"
#include "common/rpc/certificates.h"
#include "common/status_testing.h"
#include "gmock/gmock.h"

namespace grpo {
namespace {

using ::testing::Each;
using ::testing::IsEmpty;
using ::testing::IsSupersetOf;
using ::testing::Not;

TEST(RunCertificates, AreMadeOffLoopbackWhereTheConfigurationSaysNothingElse) {
  NetworkOptions network;
  EXPECT_FALSE(NeedsRunCertificates(network));
  for (const char* host : {"0.0.0.0", "::", "10.0.0.1", "node-a"}) {
    network.host = host;
    EXPECT_TRUE(NeedsRunCertificates(network)) << host;
  }
  for (std::string NetworkOptions::*key :
       {&NetworkOptions::tls_cert, &NetworkOptions::tls_key, &NetworkOptions::tls_ca, &NetworkOptions::token_file}) {
    NetworkOptions own = network;
    own.*key = "/some/file";
    EXPECT_FALSE(NeedsRunCertificates(own)) << "what somebody chose is his";
  }
}

TEST(RunCertificates, AreForTheNamesUnderWhichThisMachineIsReachedEachOnce) {
  NetworkOptions network;
  network.host = "[fd00::1]";
  network.advertise_host = "node-a.example.org";
  const std::vector<std::string> hosts = OwnHosts(network);
  EXPECT_THAT(hosts, IsSupersetOf({"fd00::1", "node-a.example.org", "localhost", "127.0.0.1", "::1"}));
  EXPECT_THAT(hosts, Each(Not(IsEmpty())));
  network.host = network.advertise_host = "localhost";
  const std::vector<std::string> local = OwnHosts(network);
  EXPECT_EQ(std::count(local.begin(), local.end(), std::string("localhost")), 1);
}

// As grpoctl, the trainer and a worker of the run find their files.
TEST(RunCertificates, EveryProcessFindsThePairOfItsRole) {
  const std::string run_dir = absl::StrCat(::testing::TempDir(), "/run_certificates_test.", ::getpid());
  NetworkOptions network;
  network.host = "0.0.0.0";
  network.token_file = "";
  ASSERT_OK(MakeRunCertificates({.run_dir = run_dir, .run_id = "run-1", .hosts = OwnHosts(network)}));
  for (const rpc::CallerRole role : rpc::kCallerRoles) {
    network.UseRunCertificates(RunCertificateFolder(run_dir), std::string(rpc::CallerRoleName(role)));
    const rpc::ClientOptions client = network.ClientOptions();
    ASSERT_OK_AND_ASSIGN(const std::string certificate, ReadFile(client.tls_cert));
    ASSERT_OK_AND_ASSIGN(const std::string key, ReadFile(client.tls_key));
    ASSERT_OK_AND_ASSIGN(const std::string authority, ReadFile(client.tls_ca));
    EXPECT_OK(rpc::CheckKeyPair({certificate, key}));
    EXPECT_EQ(rpc::CheckCaller(authority, certificate, "", rpc::WallTime()).trust, rpc::Trust::kTrusted);
    const rpc::ServerOptions server = network.ServerOptions(0);
    EXPECT_EQ(server.tls_cert, client.tls_cert);
    EXPECT_EQ(server.tls_ca, client.tls_ca) << "callers prove themselves";
    EXPECT_EQ(network.OperatorOptions().tls_cert,
              rpc::CertificatePath(RunCertificateFolder(run_dir), rpc::CallerRole::kOperator));
  }
  std::filesystem::remove_all(run_dir);
}

}  // namespace
}  // namespace grpo
