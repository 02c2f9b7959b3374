#include "trainer/endpoint_check.h"

#include <sys/stat.h>

#include "absl/strings/str_cat.h"
#include "common/files.h"
#include "common/status_testing.h"
#include "gmock/gmock.h"

namespace grpo {
namespace {

using ::testing::HasSubstr;
using ::testing::IsEmpty;

EndpointOptions Good() {
  EndpointOptions endpoint;
  endpoint.url = "https://api.example.com/v1";
  endpoint.model = "teacher";
  return endpoint;
}

// "KEY: MESSAGE" of each conflict.
std::vector<std::string> Of(const EndpointOptions& endpoint) {
  std::vector<std::string> texts;
  for (const Conflict& conflict : EndpointConflicts(endpoint))
    texts.push_back(absl::StrCat(conflict.key, ": ", conflict.message));
  return texts;
}

TEST(EndpointConflicts, AGoodOneHasNoneAndOneThatIsNotGivenNeither) {
  EXPECT_THAT(Of(Good()), IsEmpty());
  EXPECT_THAT(Of({}), IsEmpty());
}

TEST(EndpointConflicts, UrlAndModelMustBeThere) {
  EndpointOptions endpoint = Good();
  endpoint.url = "";
  EXPECT_THAT(Of(endpoint), ::testing::ElementsAre(HasSubstr("url: is missing")));
  endpoint.url = "api.example.com";
  EXPECT_THAT(Of(endpoint), ::testing::ElementsAre(HasSubstr("url: is no URL")));
  endpoint = Good();
  endpoint.model = "";
  EXPECT_THAT(Of(endpoint), ::testing::ElementsAre(HasSubstr("model: is missing")));
}

TEST(EndpointConflicts, AKeyIsReadableByItsOwnerAloneAndTravelsUnderTls) {
  EndpointOptions endpoint = Good();
  endpoint.api_key_file = ::testing::TempDir() + "/key";
  EXPECT_THAT(Of(endpoint), ::testing::ElementsAre(HasSubstr("api_key_file: ")));
  ASSERT_OK(WriteFileSynced(endpoint.api_key_file, "sk-1"));
  ASSERT_EQ(::chmod(endpoint.api_key_file.c_str(), 0644), 0);
  EXPECT_THAT(Of(endpoint), ::testing::ElementsAre(AllOf(HasSubstr("chmod 600"), ::testing::Not(HasSubstr("sk-1")))));
  ASSERT_EQ(::chmod(endpoint.api_key_file.c_str(), 0600), 0);
  EXPECT_THAT(Of(endpoint), IsEmpty());
  endpoint.url = "http://api.example.com/v1";
  EXPECT_THAT(Of(endpoint), ::testing::ElementsAre(HasSubstr("url: has no TLS")));
  // A name that begins as an address does, which anybody may register.
  endpoint.url = "http://127.0.0.1.example.com/v1";
  EXPECT_THAT(Of(endpoint), ::testing::ElementsAre(HasSubstr("url: has no TLS")));
  endpoint.url = "http://127.0.0.1:8000/v1";
  EXPECT_THAT(Of(endpoint), IsEmpty());
}

TEST(EndpointConflicts, ABudgetInMoneyNeedsPrices) {
  EndpointOptions endpoint = Good();
  endpoint.budget_usd = 5;
  EXPECT_THAT(Of(endpoint), ::testing::ElementsAre(HasSubstr("budget_usd: needs prices")));
  endpoint.usd_per_million_output_tokens = 2;
  EXPECT_THAT(Of(endpoint), IsEmpty());
}

}  // namespace
}  // namespace grpo
