#include "common/rpc/endpoint.h"

#include <unistd.h>

#include <climits>

#include "absl/strings/str_cat.h"
#include "common/files.h"
#include "common/status_testing.h"

namespace grpo {
namespace {

class EndpointTest : public ::testing::Test {
 protected:
  const std::string path_ = RunEndpointPath(::testing::TempDir());
};

TEST_F(EndpointTest, RoundTrips) {
  const Endpoint written{.address = "127.0.0.1:41327",
                         .metrics = "127.0.0.1:9000",
                         .pid = 17,
                         .client = {.token_file = "t", .tls_ca = "a", .tls_cert = "c", .tls_key = "k"}};
  ASSERT_OK(WriteEndpoint(path_, written));
  ASSERT_OK_AND_ASSIGN(const Endpoint read, ReadEndpoint(path_));
  EXPECT_EQ(read.address, "127.0.0.1:41327");
  EXPECT_EQ(read.metrics, "127.0.0.1:9000");
  EXPECT_EQ(read.pid, 17);
  EXPECT_EQ(read.client.token_file, "t");
  EXPECT_EQ(read.client.tls_ca, "a");
  EXPECT_EQ(read.client.tls_cert, "c");
  EXPECT_EQ(read.client.tls_key, "k");
}

TEST_F(EndpointTest, OneThatIsRemovedIsNotFound) {
  ASSERT_OK(WriteEndpoint(path_, {.address = "127.0.0.1:1"}));
  RemoveEndpoint(path_);
  EXPECT_STATUS(ReadEndpoint(path_), absl::StatusCode::kNotFound, path_);
  RemoveEndpoint(path_);
}

TEST_F(EndpointTest, AFileWithoutAnAddressIsNone) {
  for (const char* broken : {"", "[]", "{\"address\": 5}", "{\"address\": \"127.0."}) {
    ASSERT_OK(WriteFileSynced(path_, broken));
    EXPECT_STATUS(ReadEndpoint(path_), absl::StatusCode::kDataLoss, "--address");
  }
}

TEST(AdvertisedAddress, HasTheOtherHostAndTheSamePort) {
  EXPECT_EQ(AdvertisedAddress("0.0.0.0:7000", "node-3"), "node-3:7000");
  EXPECT_EQ(AdvertisedAddress("[::]:7000", "[fd00::3]"), "[fd00::3]:7000");
  EXPECT_EQ(AdvertisedAddress("127.0.0.1:7000", ""), "127.0.0.1:7000");
}

TEST(AdvertisedAddress, EveryAddressOfThisMachineIsCalledByItsName) {
  char name[HOST_NAME_MAX + 1] = {};
  ASSERT_EQ(::gethostname(name, HOST_NAME_MAX), 0);
  EXPECT_EQ(AdvertisedAddress("0.0.0.0:7000", ""), absl::StrCat(name, ":7000"));
  EXPECT_EQ(AdvertisedAddress("[::]:7000", ""), absl::StrCat(name, ":7000"));
}

}  // namespace
}  // namespace grpo
