#include "common/rpc/credentials.h"

#include <sys/stat.h>
#include <unistd.h>

#include <string>

#include "absl/strings/str_cat.h"
#include "common/files.h"
#include "common/log.h"
#include "common/status_testing.h"
#include "gmock/gmock.h"

namespace grpo::rpc {
namespace {

constexpr auto kInvalid = absl::StatusCode::kInvalidArgument;

std::string TempFile(absl::string_view content) {
  const std::string path = absl::StrCat(::testing::TempDir(), "/credentials_test.", ::getpid());
  EXPECT_OK(WriteFileSynced(path, content));
  return path;
}

TEST(ReadTokenTest, ATokenIsOneWordWithoutTheSpaceAroundIt) {
  for (const char* const content : {"sesame", "sesame\n", " \t sesame \r\n\n"}) {
    ASSERT_OK_AND_ASSIGN(const std::string token, ReadToken(TempFile(content)));
    EXPECT_EQ(token, "sesame");
  }
  ASSERT_OK_AND_ASSIGN(const std::string any, ReadToken(TempFile("!\"#$%&'()*+,-./:;<=>?@[]^_`{|}~")));
  EXPECT_EQ(any.size(), 31u);
}

TEST(ReadTokenTest, NoFileMeansNoToken) {
  ASSERT_OK_AND_ASSIGN(const std::string none, ReadToken(""));
  EXPECT_EQ(none, "");
}

// What cannot stand in a header, and what would be a token that anybody has.
TEST(ReadTokenTest, WhatIsNoWordIsRefusedAndSaysHowToMakeOne) {
  for (const absl::string_view content :
       {absl::string_view(""), absl::string_view("\n"), absl::string_view("two words"), absl::string_view("a\nb"),
        absl::string_view("a\0b", 3), absl::string_view("\x7f"), absl::string_view("\xc3\xa4"),
        absl::string_view("a\tb")}) {
    EXPECT_STATUS(ReadToken(TempFile(content)), kInvalid, "must hold one word of printable ASCII");
    EXPECT_STATUS(ReadToken(TempFile(content)), kInvalid, "`openssl rand -hex 32`");
  }
}

TEST(ReadTokenTest, AFileThatIsMissingOrTooLongIsNamed) {
  EXPECT_STATUS(ReadToken("/no/such/token"), kInvalid, "/no/such/token");
  const std::string path = TempFile(std::string(4097, 'x'));
  EXPECT_STATUS(ReadToken(path), kInvalid, path);
  EXPECT_OK(ReadToken(TempFile(std::string(4096, 'x'))));
}

TEST(ReadPemTest, AFileWithoutABeginLineIsNoPem) {
  ASSERT_OK_AND_ASSIGN(const std::string none, ReadPem("tls_ca", ""));
  EXPECT_EQ(none, "");
  const std::string pem = "comment\n-----BEGIN CERTIFICATE-----\nabc\n-----END CERTIFICATE-----\n";
  ASSERT_OK_AND_ASSIGN(const std::string read, ReadPem("tls_ca", TempFile(pem)));
  EXPECT_EQ(read, pem);
  const std::string path = TempFile("MIIB der, not PEM");
  EXPECT_STATUS(ReadPem("tls_ca", path), kInvalid, absl::StrCat("tls_ca ", path, ": is not a PEM file"));
  EXPECT_STATUS(ReadPem("tls_key", "/no/such/key"), kInvalid, "tls_key: ");
  EXPECT_STATUS(ReadPem("tls_key", "/no/such/key"), kInvalid, "/no/such/key");
}

// Both were taken without a word.
TEST(RightsTest, ASecretThatEverybodyCanWriteIsRefusedAndOneThatEverybodyCanReadIsWarnedOfOnce) {
  InitLogging("test");
  const std::string path = absl::StrCat(TempFile(""), ".written_by_all");
  ASSERT_OK(WriteFileSynced(path, "-----BEGIN CERTIFICATE-----"));
  ASSERT_EQ(::chmod(path.c_str(), 0666), 0);
  EXPECT_STATUS(ReadToken(path), kInvalid, absl::StrCat("token_file ", path, " has mode 0666: everybody"));
  EXPECT_STATUS(ReadPem("tls_key", path), kInvalid, absl::StrCat("chmod 600 ", path));
  // A certificate is no secret.
  EXPECT_OK(ReadPem("tls_cert", path));

  const std::string read_by_all = absl::StrCat(path, ".read_by_all");
  ASSERT_OK(WriteFileSynced(read_by_all, "sesame"));
  ASSERT_EQ(::chmod(read_by_all.c_str(), 0644), 0);
  ::testing::internal::CaptureStderr();
  EXPECT_OK(ReadToken(read_by_all));
  EXPECT_OK(ReadToken(read_by_all));
  EXPECT_THAT(::testing::internal::GetCapturedStderr(),
              ::testing::ContainsRegex(".* W test. token_file .*read_by_all has mode 0644: everybody on this machine "
                                       "can read it; chmod 600 .*read_by_all\n$"));

  const std::string kept = absl::StrCat(path, ".kept");
  ASSERT_OK(WriteFileSynced(kept, "sesame"));
  ASSERT_EQ(::chmod(kept.c_str(), 0640), 0);
  ::testing::internal::CaptureStderr();
  EXPECT_OK(ReadToken(kept));
  EXPECT_EQ(::testing::internal::GetCapturedStderr(), "");
}

// What decides whether a port may be opened without TLS: a doubt is a no.
TEST(IsLoopbackTest, OnlyWhatNeverLeavesTheMachineIs) {
  for (const char* const host :
       {"127.0.0.1", "127.0.0.0", "127.255.255.255", "::1", "[::1]", "localhost", "0:0:0:0:0:0:0:1"}) {
    EXPECT_TRUE(IsLoopback(host)) << host;
  }
  for (const char* const host :
       {"", "0.0.0.0", "::", "[::]", "128.0.0.1", "126.255.255.255", "10.0.0.1", "192.0.2.1", "127.1", "127.0.0.1.",
        "127.0.0.1.example.org", "localhost.example.org", "LOCALHOST.", "::ffff:127.0.0.1", "fe80::1", "127.0.0.256",
        "0x7f000001", "2130706433", " 127.0.0.1"}) {
    EXPECT_FALSE(IsLoopback(host)) << host;
  }
}

}  // namespace
}  // namespace grpo::rpc
