#include "common/http/url.h"

#include "common/rpc/credentials.h"
#include "common/status_testing.h"
#include "gmock/gmock.h"

namespace grpo::http {
namespace {

using ::testing::HasSubstr;
using ::testing::Not;

TEST(ParseUrl, TakesAnAddressApartAndRefusesWhatDoesNotBelongIntoOne) {
  ASSERT_OK_AND_ASSIGN(const Url plain, ParseUrl("https://api.example.com/v1"));
  EXPECT_TRUE(plain.tls);
  EXPECT_EQ(plain.host, "api.example.com");
  EXPECT_EQ(plain.port, "");
  ASSERT_OK_AND_ASSIGN(const Url v6, ParseUrl("http://[::1]:8000/v1?a=b:c"));
  EXPECT_FALSE(v6.tls);
  EXPECT_EQ(v6.host, "::1");
  EXPECT_EQ(v6.port, "8000");
  EXPECT_TRUE(rpc::IsLoopback(v6.host));
  EXPECT_FALSE(rpc::IsLoopback(plain.host));
  const auto invalid = absl::StatusCode::kInvalidArgument;
  EXPECT_STATUS(ParseUrl("api.example.com"), invalid, "https://");
  EXPECT_STATUS(ParseUrl("https://me:secret@host/"), invalid, "api_key_file");
  EXPECT_THAT(std::string(ParseUrl("https://me:secret@host/").status().message()), Not(HasSubstr("secret")));
  EXPECT_STATUS(ParseUrl("http://host:99999"), invalid, "port");
  EXPECT_STATUS(ParseUrl("http://host:x"), invalid, "port");
  EXPECT_STATUS(ParseUrl("http:///path"), invalid, "no host");
  EXPECT_STATUS(ParseUrl("http://ho st/"), invalid, "blank");
}

}  // namespace
}  // namespace grpo::http
