#include "trainer/run_services.h"

#include <unistd.h>

#include <filesystem>
#include <string>

#include "absl/strings/str_cat.h"
#include "common/clock.h"
#include "common/files.h"
#include "common/log.h"
#include "common/machine_memory.h"
#include "common/rpc/certificate_folder.h"
#include "common/rpc/certificates.h"
#include "common/status_testing.h"
#include "gmock/gmock.h"

namespace grpo {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;

class RunServicesTest : public ::testing::Test {
 protected:
  void SetUp() override { InitLogging("test"); }

  std::vector<std::string> Alerts() const {
    const v1::RunStatus status = board_.Snapshot();
    return {status.alerts().begin(), status.alerts().end()};
  }

  FakeClock clock_;
  Coordinator coordinator_{CoordinatorOptions(), {.run_id = "run-a", .config_sha256 = "abc", .epoch = 3}, clock_};
  StatusBoard board_{v1::RunStatus(), &coordinator_, clock_};
};

TEST_F(RunServicesTest, TrafficOfRanksThatIsNotEncryptedIsSaidLoudly) {
  NetworkOptions network;
  ::testing::internal::CaptureStderr();
  WarnOfOpenTraffic(network, 2, &board_);
  network.private_interface = "eth1";
  WarnOfOpenTraffic(network, 1, &board_);
  EXPECT_EQ(::testing::internal::GetCapturedStderr(), "") << "on one machine it never leaves it";
  EXPECT_THAT(Alerts(), IsEmpty());
  ::testing::internal::CaptureStderr();
  WarnOfOpenTraffic(network, 2, &board_);
  EXPECT_THAT(::testing::internal::GetCapturedStderr(), HasSubstr("over eth1 WITHOUT ENCRYPTION"));
  EXPECT_THAT(Alerts(), ElementsAre(HasSubstr("over eth1 WITHOUT ENCRYPTION")));
}

TEST_F(RunServicesTest, AnotherKindOfDeviceThanTheCheckpointsIsSaidAndShown) {
  ::testing::internal::CaptureStderr();
  TellOfDevice(c10::kCPU, /*saved_on=*/"", &board_);
  TellOfDevice(c10::kCPU, /*saved_on=*/"cpu", &board_);
  EXPECT_EQ(::testing::internal::GetCapturedStderr(), "");
  EXPECT_THAT(Alerts(), IsEmpty());
  EXPECT_EQ(board_.Snapshot().device(), "cpu");
  ::testing::internal::CaptureStderr();
  TellOfDevice(c10::kCPU, /*saved_on=*/"cuda", &board_);
  EXPECT_THAT(::testing::internal::GetCapturedStderr(), HasSubstr("goes on on cpu"));
  EXPECT_THAT(Alerts(), ElementsAre(HasSubstr("its checkpoint was saved on cuda")));
}

TEST_F(RunServicesTest, OnTheCpuTheMachineBoundsTheModels) {
  const MemoryPlace place = PlaceOfModels(c10::kCPU);
  EXPECT_EQ(place.bytes, MachineMemoryBytes());
  EXPECT_EQ(place.name, "this machine");
}

TEST_F(RunServicesTest, CertificatesThatCannotBeRenewedAreAnAlertUntilTheyCan) {
  NetworkOptions network;
  EXPECT_EQ(KeepCertificates(network, &board_), nullptr);
  const std::string folder = absl::StrCat(::testing::TempDir(), "/run_services_test.", ::getpid());
  std::filesystem::remove_all(folder);
  // Made so long ago that they are over.
  const rpc::RunCertificateTerms terms = {.run_id = "run-a", .hosts = {"127.0.0.1"}};
  ASSERT_OK(rpc::IssueRunCertificates(folder, terms, rpc::WallTime() - absl::Hours(48)));
  ASSERT_OK_AND_ASSIGN(const std::string key, ReadFile(rpc::AuthorityKeyPath(folder)));
  ASSERT_OK(RemoveAll(rpc::AuthorityKeyPath(folder)));
  network.UseRunCertificates(folder, "trainer");
  EXPECT_NE(KeepCertificates(network, &board_), nullptr);
  EXPECT_THAT(Alerts(), ElementsAre(HasSubstr("cannot be renewed")));
  ASSERT_OK(WriteFileSynced(rpc::AuthorityKeyPath(folder), key));
  EXPECT_NE(KeepCertificates(network, &board_), nullptr);
  EXPECT_THAT(Alerts(), IsEmpty());
  ASSERT_OK_AND_ASSIGN(const std::string pem, ReadFile(rpc::CertificatePath(folder, rpc::CallerRole::kTrainer)));
  ASSERT_OK_AND_ASSIGN(const rpc::CertificateFacts facts, rpc::ReadCertificate(pem));
  EXPECT_GT(facts.validity.not_after, rpc::WallTime());
  std::filesystem::remove_all(folder);
}

}  // namespace
}  // namespace grpo
