#include "common/http/client.h"

#include <thread>

#include "common/files.h"
#include "common/http/testing.h"
#include "common/status_testing.h"
#include "gmock/gmock.h"

namespace grpo::http {
namespace {

TEST(HttpClient, PostsABodyWithItsHeadersAndReturnsWhateverTheServerSays) {
  TestRequest seen;
  TestServer server([&](const TestRequest& request) {
    seen = request;
    return TestAnswer{.status = 429, .headers = {{"Retry-After", " 7 "}}, .body = "slow down"};
  });
  Client client({});
  ASSERT_OK_AND_ASSIGN(const Response response,
                       client.Post(server.url() + "/v1/x?y=1", {{"Authorization", "Bearer k"}}, "{\"a\": 1}"));
  EXPECT_EQ(response.status, 429);
  EXPECT_EQ(response.body, "slow down");
  EXPECT_EQ(response.Header("retry-after"), "7");
  EXPECT_EQ(response.Header("date"), "");
  EXPECT_EQ(seen.first_line, "POST /v1/x?y=1 HTTP/1.1");
  EXPECT_EQ(seen.body, "{\"a\": 1}");
  EXPECT_EQ(seen.headers.at("authorization"), "Bearer k");
  EXPECT_EQ(seen.headers.at("content-type"), "application/json");
}

TEST(HttpClient, ABodyOfAMegabyteGoesAndComesWhole) {
  TestServer server([](const TestRequest& request) { return TestAnswer{.body = request.body + request.body}; });
  Client client({});
  const std::string body(1 << 20, 'x');
  ASSERT_OK_AND_ASSIGN(const Response response, client.Post(server.url(), {}, body));
  EXPECT_EQ(response.body.size(), 2u << 20);
}

TEST(HttpClient, HalfAReplyIsUnavailableAndNoReply) {
  TestServer server([](const TestRequest&) { return TestAnswer{.body = "{\"half\":", .missing_bytes = 100}; });
  Client client({});
  EXPECT_STATUS(client.Post(server.url(), {}, ""), absl::StatusCode::kUnavailable, "127.0.0.1:");
}

TEST(HttpClient, AServerThatHangsUpOrIsNotThereIsUnavailable) {
  std::string url;
  {
    TestServer server([](const TestRequest&) { return TestAnswer{.hang_up = true}; });
    url = server.url();
    Client client({});
    EXPECT_STATUS(client.Post(url, {}, ""), absl::StatusCode::kUnavailable, "127.0.0.1:");
  }
  Client client({});
  EXPECT_STATUS(client.Post(url, {}, ""), absl::StatusCode::kUnavailable, "127.0.0.1:");
}

TEST(HttpClient, AServerThatSaysNothingRunsIntoTheTimeout) {
  TestServer server([](const TestRequest&) { return TestAnswer{.silent = true}; });
  Client client({.timeout = absl::Milliseconds(50)});
  EXPECT_STATUS(client.Post(server.url(), {}, ""), absl::StatusCode::kDeadlineExceeded, "127.0.0.1:");
}

TEST(HttpClient, CancelEndsTheCallThatIsUnderWayAndEveryLaterOne) {
  absl::Mutex mutex;
  bool asked = false;
  TestServer server([&](const TestRequest&) {
    absl::MutexLock lock(&mutex);
    asked = true;
    return TestAnswer{.silent = true};
  });
  Client client({});
  std::thread cancel([&] {
    absl::MutexLock lock(&mutex, absl::Condition(&asked));
    client.Cancel();
  });
  EXPECT_STATUS(client.Post(server.url(), {}, ""), absl::StatusCode::kCancelled, "127.0.0.1:");
  cancel.join();
  EXPECT_STATUS(client.Post(server.url(), {}, ""), absl::StatusCode::kCancelled, "127.0.0.1:");
}

TEST(HttpClient, AnswersAreBounded) {
  TestServer server([](const TestRequest& request) {
    if (request.body == "headers") return TestAnswer{.headers = {{"X-Long", std::string(5000, 'h')}}};
    return TestAnswer{.body = std::string(1001, 'b')};
  });
  Client client({.max_body_bytes = 1000, .max_header_bytes = 4096});
  EXPECT_STATUS(client.Post(server.url(), {}, "body"), absl::StatusCode::kResourceExhausted, "1000 bytes");
  EXPECT_STATUS(client.Post(server.url(), {}, "headers"), absl::StatusCode::kResourceExhausted, "4096");
}

TEST(HttpClient, ARedirectIsAnAnswerAndNotFollowed) {
  int num_requests = 0;
  TestServer other([&](const TestRequest&) {
    ++num_requests;
    return TestAnswer{};
  });
  TestServer server([&](const TestRequest&) {
    return TestAnswer{.status = 307, .headers = {{"Location", other.url()}}};
  });
  Client client({});
  ASSERT_OK_AND_ASSIGN(const Response response, client.Post(server.url(), {{"Authorization", "Bearer k"}}, ""));
  EXPECT_EQ(response.status, 307);
  EXPECT_EQ(response.Header("location"), other.url());
  EXPECT_EQ(num_requests, 0);
}

TEST(HttpClient, AServerWithoutTlsIsNoTlsServerAndItsCaFileMustBeThere) {
  TestServer server([](const TestRequest&) { return TestAnswer{}; });
  const std::string tls_url = "https" + server.url().substr(4);
  Client client({});
  EXPECT_EQ(client.Post(tls_url, {}, "").status().code(), absl::StatusCode::kUnavailable);
  Client other({.ca_file = ::testing::TempDir() + "/no.pem"});
  EXPECT_STATUS(other.Post(tls_url, {}, ""), absl::StatusCode::kFailedPrecondition, "no.pem");
}

TEST(HttpClient, RefusesHeadersThatWouldBeTwoAndUrlsThatAreNone) {
  Client client({});
  EXPECT_STATUS(client.Post("http://127.0.0.1:1", {{"Authorization", "a\r\nb"}}, ""),
                absl::StatusCode::kInvalidArgument, "Authorization");
  EXPECT_STATUS(client.Post("ftp://host/", {}, ""), absl::StatusCode::kInvalidArgument, "https://");
}

TEST(HttpClient, SeveralThreadsShareOne) {
  TestServer server([](const TestRequest& request) { return TestAnswer{.body = request.body}; });
  Client client({});
  std::vector<std::thread> threads;
  std::vector<int> num_right(4);
  for (int t = 0; t < 4; ++t) {
    threads.emplace_back([&, t] {
      for (int i = 0; i < 8; ++i) {
        const std::string body = absl::StrCat(t, "/", i);
        const absl::StatusOr<Response> response = client.Post(server.url(), {}, body);
        num_right[t] += response.ok() && response->body == body;
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  EXPECT_THAT(num_right, ::testing::Each(8));
}

}  // namespace
}  // namespace grpo::http
