#include "common/http/secret_file.h"

#include <sys/stat.h>

#include "common/files.h"
#include "common/status_testing.h"
#include "gmock/gmock.h"

namespace grpo::http {
namespace {

std::string Write(const std::string& name, const std::string& content, mode_t mode) {
  const std::string path = ::testing::TempDir() + "/" + name;
  EXPECT_OK(WriteFileSynced(path, content));
  EXPECT_EQ(::chmod(path.c_str(), mode), 0);
  return path;
}

TEST(SecretFile, ReadsTheOneLineOfAFileThatIsItsOwnersAlone) {
  ASSERT_OK_AND_ASSIGN(const std::string key, ReadSecretFile(Write("key", "  sk-1\n", 0600)));
  EXPECT_EQ(key, "sk-1");
}

TEST(SecretFile, RefusesWhatOthersMayReadAndSaysWhatToDo) {
  const auto denied = absl::StatusCode::kPermissionDenied;
  EXPECT_STATUS(ReadSecretFile(Write("group", "sk-1", 0640)), denied, "chmod 600");
  EXPECT_STATUS(ReadSecretFile(Write("others", "sk-1", 0604)), denied, "chmod 600");
}

TEST(SecretFile, RefusesWhatIsNoKeyWithoutSayingWhatItIs) {
  const auto invalid = absl::StatusCode::kInvalidArgument;
  EXPECT_STATUS(ReadSecretFile(::testing::TempDir() + "/none"), absl::StatusCode::kNotFound, "none");
  EXPECT_STATUS(ReadSecretFile(::testing::TempDir()), invalid, "is no file");
  EXPECT_STATUS(ReadSecretFile(Write("empty", " \n", 0600)), invalid, "is empty");
  const absl::Status two = ReadSecretFile(Write("two", "abc\ndef", 0600)).status();
  EXPECT_STATUS(two, invalid, "nothing else");
  EXPECT_THAT(std::string(two.message()), ::testing::Not(::testing::HasSubstr("abc")));
  EXPECT_STATUS(ReadSecretFile(Write("long", std::string(20000, 'k'), 0600)), invalid, "long");
}

TEST(SecretFile, BlotsOutWhatAServerSaysOfIt) {
  EXPECT_EQ(WithoutSecret("the key sk-1 is wrong: sk-1", "sk-1"), "the key *** is wrong: ***");
  EXPECT_EQ(WithoutSecret("text", ""), "text");
}

}  // namespace
}  // namespace grpo::http
