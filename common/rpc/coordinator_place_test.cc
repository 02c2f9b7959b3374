#include "common/rpc/coordinator_place.h"

#include <unistd.h>

#include <string>

#include "absl/strings/str_cat.h"
#include "common/files.h"
#include "common/rpc/endpoint.h"
#include "common/status_testing.h"

namespace grpo {
namespace {

using Target = CoordinatorPlace::Target;

bool NeverStops(absl::Duration) {
  return false;
}

class CoordinatorPlaceTest : public ::testing::Test {
 protected:
  void SetUp() override { ASSERT_OK(MakeFolders(run_dir_)); }
  void TearDown() override { ASSERT_OK(RemoveAll(run_dir_)); }

  void Write(const std::string& address, const rpc::ClientOptions& client = {}) {
    ASSERT_OK(WriteEndpoint(RunEndpointPath(run_dir_), {.address = address, .pid = 1, .client = client}));
  }

  const std::string run_dir_ = absl::StrCat(::testing::TempDir(), "/coordinator_place.", ::getpid());
};

TEST_F(CoordinatorPlaceTest, AnAddressIsTakenAsItIs) {
  for (const char* const address : {"127.0.0.1:7000", "node-3:7000", "run-trainer-0-0.run.svc:1", "[fd00::3]:65535"}) {
    ASSERT_OK_AND_ASSIGN(const auto place, CoordinatorPlace::Parse(address, {.token_file = "t"}));
    EXPECT_FALSE(place.is_file());
    ASSERT_OK_AND_ASSIGN(const Target target, place.Look());
    EXPECT_EQ(target.address, address);
    EXPECT_EQ(target.client.token_file, "t");
    EXPECT_FALSE(place.MovedFrom({.address = "elsewhere:1"}));
    EXPECT_FALSE(place.WaitForMove(target, NeverStops));
  }
}

TEST_F(CoordinatorPlaceTest, WhatIsNeitherAddressNorPathIsRefusedWithBothForms) {
  for (const char* const text : {"", "node-3", ":7000", "node-3:", "node-3:0", "node-3:70000", "node-3:http"}) {
    EXPECT_STATUS(CoordinatorPlace::Parse(text), absl::StatusCode::kInvalidArgument,
                  absl::StrCat("the coordinator is \"", text, "\", which is neither HOST:PORT"));
  }
}

TEST_F(CoordinatorPlaceTest, TheFolderAndItsFileAreTheSamePlace) {
  Write("node-3:7000");
  for (const std::string& text : {run_dir_, run_dir_ + "/endpoint.json"}) {
    ASSERT_OK_AND_ASSIGN(const auto place, CoordinatorPlace::Parse(text));
    EXPECT_TRUE(place.is_file());
    ASSERT_OK_AND_ASSIGN(const Target target, place.Wait(NeverStops));
    EXPECT_EQ(target.address, "node-3:7000");
  }
}

TEST_F(CoordinatorPlaceTest, WhatAProcessWasToldItselfGoesBeforeWhatTheFileSays) {
  Write("node-3:7000",
        {.token_file = "theirs", .tls_ca = "their-ca", .tls_cert = "their-cert", .tls_key = "their-key"});
  ASSERT_OK_AND_ASSIGN(const auto place,
                       CoordinatorPlace::Parse(run_dir_, {.tls_cert = "my-cert", .tls_key = "my-key"}));
  ASSERT_OK_AND_ASSIGN(const Target target, place.Look());
  const rpc::ClientOptions expected = {
      .token_file = "theirs", .tls_ca = "their-ca", .tls_cert = "my-cert", .tls_key = "my-key"};
  EXPECT_EQ(target.client, expected);
}

TEST_F(CoordinatorPlaceTest, OfARunsOwnCertificatesEachRoleTakesItsOwn) {
  Write("node-3:7000",
        {.tls_ca = "/r/tls/ca.pem", .tls_cert = "/r/tls/operator.pem", .tls_key = "/r/tls/operator.key"});
  ASSERT_OK_AND_ASSIGN(const auto place, CoordinatorPlace::Parse(run_dir_, {}, "worker"));
  ASSERT_OK_AND_ASSIGN(const Target target, place.Look());
  const rpc::ClientOptions expected = {
      .tls_ca = "/r/tls/ca.pem", .tls_cert = "/r/tls/worker.pem", .tls_key = "/r/tls/worker.key"};
  EXPECT_EQ(target.client, expected);
}

TEST_F(CoordinatorPlaceTest, WaitsUntilTheTrainerHasWrittenTheFile) {
  ASSERT_OK_AND_ASSIGN(const auto place, CoordinatorPlace::Parse(run_dir_));
  EXPECT_STATUS(place.Look(), absl::StatusCode::kNotFound, "endpoint.json");
  int looked = 0;
  const auto target = place.Wait([&](absl::Duration) {
    if (++looked == 3) Write("node-3:7000");
    return false;
  });
  ASSERT_OK(target);
  EXPECT_EQ(target->address, "node-3:7000");
  EXPECT_EQ(looked, 3);
}

TEST_F(CoordinatorPlaceTest, AFolderThatIsNotThereYetIsWaitedForToo) {
  ASSERT_OK_AND_ASSIGN(const auto place, CoordinatorPlace::Parse(run_dir_ + "/later"));
  int looked = 0;
  EXPECT_STATUS(place.Wait([&](absl::Duration) { return ++looked == 2; }), absl::StatusCode::kAborted,
                "stopped before the trainer said where it serves");
}

TEST_F(CoordinatorPlaceTest, ATrainerThatIsStartedElsewhereHasMoved) {
  Write("node-3:7000", {.token_file = "t"});
  ASSERT_OK_AND_ASSIGN(const auto place, CoordinatorPlace::Parse(run_dir_));
  ASSERT_OK_AND_ASSIGN(const Target target, place.Look());
  Write("node-3:7000", {.token_file = "t"});
  EXPECT_FALSE(place.MovedFrom(target)) << "started again where it was";
  Write("node-4:7000", {.token_file = "t"});
  EXPECT_TRUE(place.MovedFrom(target));
  Write("node-3:7000", {.token_file = "another"});
  EXPECT_TRUE(place.MovedFrom(target)) << "or with another token";
  for (const char* const broken : {"", "{\"address\": \"node-"}) {
    ASSERT_OK(WriteFileSynced(RunEndpointPath(run_dir_), broken));
    EXPECT_FALSE(place.MovedFrom(target)) << "a broken file says nothing";
  }
  RemoveEndpoint(RunEndpointPath(run_dir_));
  EXPECT_FALSE(place.MovedFrom(target)) << "nor does one that is gone";
}

TEST_F(CoordinatorPlaceTest, ARefusalByWhoeverHasTheOldPortIsForgottenOnceTheFileIsNew) {
  Write("node-3:7000");
  ASSERT_OK_AND_ASSIGN(const auto place, CoordinatorPlace::Parse(run_dir_));
  ASSERT_OK_AND_ASSIGN(const Target target, place.Look());
  EXPECT_FALSE(place.WaitForMove(target, [](absl::Duration) { return true; })) << "stopped";
  int looked = 0;
  EXPECT_TRUE(place.WaitForMove(target, [&](absl::Duration) {
    if (++looked == 2) Write("node-4:7000");
    return false;
  }));
}

}  // namespace
}  // namespace grpo
