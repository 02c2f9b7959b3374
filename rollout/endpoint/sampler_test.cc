#include "rollout/endpoint/sampler.h"

#include <sys/stat.h>

#include <atomic>
#include <filesystem>
#include <functional>
#include <set>

#include "absl/synchronization/notification.h"
#include "absl/time/clock.h"
#include "common/files.h"
#include "common/http/testing.h"
#include "common/status_testing.h"
#include "gmock/gmock.h"
#include "nlohmann/json.hpp"

namespace grpo {
namespace {

using http::TestAnswer;
using http::TestRequest;
using nlohmann::json;
using ::testing::AllOf;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::Not;

GroupRequest Group(int64_t id, int32_t num_completions = 4, int32_t max_new_tokens = 100) {
  GroupRequest request = {
      .id = id, .prompt = absl::StrCat("problem ", id), .seed = 77 + static_cast<uint64_t>(id), .sampling = {}};
  request.sampling.set_num_completions(num_completions);
  request.sampling.set_max_new_tokens(max_new_tokens);
  request.sampling.set_temperature(1);
  return request;
}

// What the server does with a request, by its number from 0; nullopt: a good answer.
using Misbehave = std::function<std::optional<TestAnswer>(int64_t number, const json& request)>;

// A teacher that answers with "problem I/SEED.CHOICE", 10 input and 5 output tokens a completion.
class Teacher {
 public:
  explicit Teacher(Misbehave misbehave = nullptr)
      : misbehave_(std::move(misbehave)), server_([this](const TestRequest& request) { return Answer(request); }) {}

  static TestAnswer Good(const json& request, int64_t num_choices, const std::string& model = "teacher") {
    const std::string prompt = request.at("messages").at(0).at("content");
    json choices = json::array();
    for (int64_t i = 0; i < num_choices; ++i) {
      const std::string text = absl::StrCat(prompt, "/", request.at("seed").get<int64_t>(), ".", i);
      choices.push_back({{"message", {{"content", text}}}, {"finish_reason", "stop"}});
    }
    const json usage = {{"prompt_tokens", 10}, {"completion_tokens", 5 * num_choices}};
    return {.body = json({{"model", model}, {"choices", choices}, {"usage", usage}}).dump()};
  }
  static int64_t NumAsked(const json& request) { return request.value("n", int64_t{1}); }

  std::string url() const { return server_.url() + "/v1"; }
  // Completions of good answers, by problem.
  std::map<std::string, int64_t> answered() {
    absl::MutexLock lock(&mutex_);
    return answered_;
  }
  std::vector<json> requests() {
    absl::MutexLock lock(&mutex_);
    return requests_;
  }
  std::vector<TestRequest> raw() {
    absl::MutexLock lock(&mutex_);
    return raw_;
  }

 private:
  TestAnswer Answer(const TestRequest& raw) {
    const json request = json::parse(raw.body);
    int64_t number;
    {
      absl::MutexLock lock(&mutex_);
      number = static_cast<int64_t>(requests_.size());
      requests_.push_back(request);
      raw_.push_back(raw);
    }
    if (misbehave_) {
      if (std::optional<TestAnswer> bad = misbehave_(number, request)) return *std::move(bad);
    }
    absl::MutexLock lock(&mutex_);
    answered_[request.at("messages").at(0).at("content")] += NumAsked(request);
    return Good(request, NumAsked(request));
  }

  const Misbehave misbehave_;
  absl::Mutex mutex_;
  std::map<std::string, int64_t> answered_ ABSL_GUARDED_BY(mutex_);
  std::vector<json> requests_ ABSL_GUARDED_BY(mutex_);
  std::vector<TestRequest> raw_ ABSL_GUARDED_BY(mutex_);
  http::TestServer server_;
};

class EndpointSamplerTest : public ::testing::Test {
 protected:
  void SetUp() override {
    folder_ = absl::StrCat(::testing::TempDir(), "/", ::testing::UnitTest::GetInstance()->current_test_info()->name());
    std::filesystem::remove_all(folder_);
  }

  std::unique_ptr<EndpointSampler> Make(const std::string& url,
                                        const std::function<void(EndpointOptions&)>& change = nullptr) {
    EndpointSampler::Options options;
    options.policy = "t";
    options.endpoint.url = url;
    options.endpoint.model = "teacher";
    options.endpoint.concurrency = 3;
    options.endpoint.timeout_s = 20;
    options.folder = folder_;
    options.retry = {.first = absl::Milliseconds(1), .longest = absl::Milliseconds(20)};
    if (change) change(options.endpoint);
    absl::StatusOr<std::unique_ptr<EndpointSampler>> sampler = EndpointSampler::Create(options);
    EXPECT_OK(sampler);
    return *std::move(sampler);
  }

  // Polls until `done`.
  template <typename Done>
  static bool Wait(Done done) {
    for (int i = 0; i < 20000; ++i) {
      if (done()) return true;
      absl::SleepFor(absl::Milliseconds(1));
    }
    return false;
  }

  // Every group that becomes whole until nothing is under way, by id.
  static std::map<int64_t, SampledGroup> RunDry(EndpointSampler& sampler) {
    std::map<int64_t, SampledGroup> groups;
    const bool done = Wait([&] {
      const absl::StatusOr<std::vector<SampledGroup>> whole = sampler.Step();
      EXPECT_OK(whole);
      for (const SampledGroup& group : *whole) {
        EXPECT_TRUE(groups.emplace(group.id, group).second) << "group " << group.id << " came twice";
      }
      return sampler.idle();
    });
    EXPECT_TRUE(done) << sampler.blocked_reason();
    return groups;
  }

  // Whole, in order, every text another, and nothing that a server without ids cannot know.
  static void ExpectGood(const SampledGroup& group, size_t num_completions) {
    EXPECT_EQ(group.error, "");
    EXPECT_THAT(group.prompt_ids, IsEmpty());
    EXPECT_EQ(group.policy_digest, "");
    ASSERT_EQ(group.completions.size(), num_completions) << group.id;
    std::set<std::string> texts;
    for (size_t i = 0; i < num_completions; ++i) {
      const v1::Completion& completion = group.completions[i];
      EXPECT_EQ(completion.index(), i);
      EXPECT_THAT(completion.text(), HasSubstr(absl::StrCat("problem ", group.id, "/")));
      EXPECT_EQ(completion.finish_reason(), v1::FINISH_REASON_STOP);
      EXPECT_EQ(completion.ids_size() + completion.sample_logprob_size() + completion.spans_size(), 0);
      texts.insert(completion.text());
    }
    EXPECT_EQ(texts.size(), num_completions);
  }

  std::string folder_;
};

TEST_F(EndpointSamplerTest, AsksForAWholeGroupAtOnceAndAddsUpWhatItCost) {
  Teacher teacher;
  const auto sampler = Make(teacher.url(), [](EndpointOptions& endpoint) {
    endpoint.usd_per_million_input_tokens = 1;
    endpoint.usd_per_million_output_tokens = 2;
  });
  for (int64_t id = 0; id < 5; ++id) ASSERT_OK(sampler->Add(Group(id)));
  const std::map<int64_t, SampledGroup> groups = RunDry(*sampler);
  ASSERT_EQ(groups.size(), 5u);
  for (const auto& [id, group] : groups) {
    ExpectGood(group, 4);
    EXPECT_EQ(group.usage.num_requests(), 1);
    EXPECT_EQ(group.usage.input_tokens(), 10);
    EXPECT_EQ(group.usage.output_tokens(), 20);
    EXPECT_DOUBLE_EQ(group.usage.usd(), 50e-6);
  }
  EXPECT_EQ(teacher.requests().size(), 5u);
  EXPECT_EQ(sampler->num_tokens_generated(), 100);
  EXPECT_EQ(sampler->num_unfinished(), 0);
}

TEST_F(EndpointSamplerTest, AServerThatIgnoresNIsAskedSeveralTimesAndThenNoLongerForMore) {
  Teacher teacher([](int64_t, const json& request) { return Teacher::Good(request, 1); });
  const auto sampler = Make(teacher.url(), [](EndpointOptions& endpoint) { endpoint.concurrency = 1; });
  for (int64_t id = 0; id < 3; ++id) ASSERT_OK(sampler->Add(Group(id)));
  const std::map<int64_t, SampledGroup> groups = RunDry(*sampler);
  ASSERT_EQ(groups.size(), 3u);
  for (const auto& [id, group] : groups) ExpectGood(group, 4);
  const std::vector<json> requests = teacher.requests();
  ASSERT_EQ(requests.size(), 12u) << "one for each completion";
  EXPECT_EQ(requests[0].at("n"), 4);
  for (size_t i = 1; i < requests.size(); ++i) EXPECT_FALSE(requests[i].contains("n"));
}

TEST_F(EndpointSamplerTest, MoreThanWasAskedForIsLeftOut) {
  Teacher teacher([](int64_t, const json& request) { return Teacher::Good(request, 9); });
  const auto sampler = Make(teacher.url());
  ASSERT_OK(sampler->Add(Group(0, 2)));
  ExpectGood(RunDry(*sampler).at(0), 2);
}

TEST_F(EndpointSamplerTest, AServerThatRefusesSeveralAtATimeIsAskedForOneEach) {
  Teacher teacher([](int64_t, const json& request) -> std::optional<TestAnswer> {
    if (Teacher::NumAsked(request) == 1) return std::nullopt;
    return TestAnswer{.status = 400, .body = R"({"error": {"message": "n must be 1"}})"};
  });
  const auto sampler = Make(teacher.url(), [](EndpointOptions& endpoint) { endpoint.concurrency = 1; });
  for (int64_t id = 0; id < 2; ++id) ASSERT_OK(sampler->Add(Group(id)));
  const std::map<int64_t, SampledGroup> groups = RunDry(*sampler);
  for (int64_t id = 0; id < 2; ++id) ExpectGood(groups.at(id), 4);
  EXPECT_EQ(teacher.requests().size(), 1u + 8u) << "learned once";
}

TEST_F(EndpointSamplerTest, NothingIsLostAndNothingComesTwiceWhateverTheServerDoes) {
  const std::vector<TestAnswer> bad = {
      {.status = 429, .headers = {{"Retry-After", "0.01"}}, .body = "slow down"},
      {.status = 500, .body = "oops"},
      {.body = R"({"model": "teacher", "choi)", .missing_bytes = 1000},
      {.body = "<html>busy</html>"},
      {.body = R"({"choices": []})"},
      {.hang_up = true},
      {.silent = true},
      {.status = 503, .headers = {{"Retry-After", "nonsense"}}},
  };
  // Every second request is answered badly, in turns.
  Teacher teacher([&](int64_t number, const json&) -> std::optional<TestAnswer> {
    if (number % 2 == 1) return std::nullopt;
    return bad[static_cast<size_t>(number / 2) % bad.size()];
  });
  const auto sampler = Make(teacher.url(), [](EndpointOptions& endpoint) {
    endpoint.timeout_s = 2;
    endpoint.max_retries = 100;
  });
  for (int64_t id = 0; id < 20; ++id) ASSERT_OK(sampler->Add(Group(id)));
  const std::map<int64_t, SampledGroup> groups = RunDry(*sampler);
  ASSERT_EQ(groups.size(), 20u);
  for (const auto& [id, group] : groups) ExpectGood(group, 4);
  for (const auto& [problem, count] : teacher.answered()) EXPECT_EQ(count, 4) << problem;
  EXPECT_EQ(sampler->blocked_reason(), "");
}

TEST_F(EndpointSamplerTest, AnAnswerOfAnotherModelIsRefusedByNameAndPaidFor) {
  Teacher teacher([](int64_t, const json& request) { return Teacher::Good(request, 4, "cheaper"); });
  const auto sampler = Make(teacher.url());
  ASSERT_OK(sampler->Add(Group(0)));
  const SampledGroup group = RunDry(*sampler).at(0);
  EXPECT_THAT(group.error, AllOf(HasSubstr("\"cheaper\""), HasSubstr("\"teacher\""), HasSubstr("policies.t.endpoint")));
  EXPECT_THAT(group.completions, IsEmpty());
  EXPECT_EQ(group.usage.output_tokens(), 20);
  EXPECT_EQ(teacher.requests().size(), 1u);
}

TEST_F(EndpointSamplerTest, ARequestThatIsRefusedForGoodFailsItsGroupAlone) {
  Teacher teacher([](int64_t, const json& request) -> std::optional<TestAnswer> {
    if (request.at("messages").at(0).at("content") != "problem 1") return std::nullopt;
    return TestAnswer{.status = 400, .body = R"({"error": {"message": "the context has 8 tokens"}})"};
  });
  const auto sampler = Make(teacher.url());
  for (int64_t id = 0; id < 3; ++id) ASSERT_OK(sampler->Add(Group(id)));
  const std::map<int64_t, SampledGroup> groups = RunDry(*sampler);
  ExpectGood(groups.at(0), 4);
  EXPECT_THAT(groups.at(1).error, HasSubstr("the context has 8 tokens"));
  ExpectGood(groups.at(2), 4);
}

TEST_F(EndpointSamplerTest, WhatWasAnsweredBeforeAKillIsNotAskedForAgain) {
  // The first four requests are answered with one completion each; from then on nothing is.
  Teacher before([](int64_t number, const json& request) -> std::optional<TestAnswer> {
    return number < 4 ? Teacher::Good(request, 1) : TestAnswer{.silent = true};
  });
  std::map<std::string, int64_t> missing;
  {
    const auto sampler = Make(before.url(), [](EndpointOptions& endpoint) { endpoint.concurrency = 1; });
    for (int64_t id = 0; id < 3; ++id) ASSERT_OK(sampler->Add(Group(id, 3)));
    ASSERT_TRUE(Wait([&] { return before.requests().size() == 5; }));
    EXPECT_EQ(sampler->num_unfinished(), 5);
  }
  Teacher after;
  const auto sampler = Make(after.url());
  for (int64_t id = 0; id < 3; ++id) ASSERT_OK(sampler->Add(Group(id, 3)));
  const std::map<int64_t, SampledGroup> groups = RunDry(*sampler);
  for (int64_t id = 0; id < 3; ++id) ExpectGood(groups.at(id), 3);
  int64_t num_asked = 0;
  for (const auto& [problem, count] : after.answered()) num_asked += count;
  EXPECT_EQ(num_asked, 5);
  EXPECT_EQ(after.answered().count("problem 0"), 0u) << "it was whole";
  EXPECT_EQ(groups.at(0).usage.num_requests(), 3) << "those of the first process count";
  // A repeated request has the name that it had.
  std::set<std::string> keys;
  for (const TestRequest& raw : before.raw()) keys.insert(raw.headers.at("idempotency-key"));
  EXPECT_EQ(keys.size(), 5u);
}

TEST_F(EndpointSamplerTest, ASpentBudgetBlocksUntilItIsRaised) {
  Teacher teacher;
  // A request may cost 9 + 256 + 4 x 100 = 665 tokens, and costs 30.
  const auto sampler = Make(teacher.url(), [](EndpointOptions& endpoint) { endpoint.budget_tokens = 700; });
  for (int64_t id = 0; id < 5; ++id) ASSERT_OK(sampler->Add(Group(id)));
  ASSERT_TRUE(Wait([&] { return !sampler->blocked_reason().empty(); }));
  EXPECT_EQ(teacher.requests().size(), 2u) << "30 + 665 are within 700, 60 + 665 are not";
  EXPECT_THAT(sampler->blocked_reason(), AllOf(HasSubstr("60 of 700 tokens in 2 answers"), HasSubstr("budget.json")));
  EXPECT_FALSE(sampler->idle());
  ASSERT_OK(WriteFileAtomically(folder_ + "/t.budget.json", R"({"budget_tokens": 100000})"));
  EXPECT_EQ(RunDry(*sampler).size(), 5u);
  EXPECT_EQ(teacher.requests().size(), 5u);
  EXPECT_EQ(sampler->blocked_reason(), "");
}

TEST_F(EndpointSamplerTest, WhatAnEarlierStartSpentCounts) {
  Teacher teacher;
  const auto limited = [](EndpointOptions& endpoint) {
    endpoint.usd_per_million_output_tokens = 1e6;
    endpoint.budget_usd = 430;
  };
  {
    const auto sampler = Make(teacher.url(), limited);
    ASSERT_OK(sampler->Add(Group(0)));
    EXPECT_EQ(RunDry(*sampler).size(), 1u);
  }
  const auto sampler = Make(teacher.url(), limited);
  ASSERT_OK(sampler->Add(Group(0)));
  EXPECT_EQ(RunDry(*sampler).size(), 1u) << "it is paid for";
  ASSERT_OK(sampler->Add(Group(1)));
  ASSERT_OK(sampler->Add(Group(2)));
  ASSERT_TRUE(Wait([&] { return !sampler->blocked_reason().empty(); }));
  EXPECT_THAT(sampler->blocked_reason(), HasSubstr("40.0000 of 430 USD"));
}

TEST_F(EndpointSamplerTest, TheKeyIsSentAndOneThatIsRefusedBlocksUntilAnotherIsThere) {
  Teacher teacher;
  Teacher strict([](int64_t, const json&) -> std::optional<TestAnswer> {
    return TestAnswer{.status = 401, .body = R"({"error": {"message": "no such key: sk-old"}})"};
  });
  const std::string key_file = folder_ + "/key";
  ASSERT_OK(MakeFolders(folder_));
  ASSERT_OK(WriteFileSynced(key_file, "sk-old\n"));
  ASSERT_EQ(::chmod(key_file.c_str(), 0600), 0);
  const auto with_key = [&](EndpointOptions& endpoint) { endpoint.api_key_file = key_file; };
  {
    const auto sampler = Make(strict.url(), with_key);
    ASSERT_OK(sampler->Add(Group(0)));
    ASSERT_TRUE(Wait([&] { return !sampler->blocked_reason().empty(); }));
    EXPECT_THAT(sampler->blocked_reason(), AllOf(HasSubstr("no such key: ***"), Not(HasSubstr("sk-old"))));
  }
  const auto sampler = Make(teacher.url(), with_key);
  ASSERT_OK(WriteFileSynced(key_file, "sk-new\n"));
  ASSERT_OK(sampler->Add(Group(0)));
  EXPECT_EQ(RunDry(*sampler).size(), 1u);
  EXPECT_EQ(teacher.raw().at(0).headers.at("authorization"), "Bearer sk-new");
}

TEST_F(EndpointSamplerTest, AServerThatIsAwayBlocksAndIsTriedOn) {
  std::atomic<bool> away = true;
  Teacher teacher([&](int64_t, const json&) -> std::optional<TestAnswer> {
    if (!away) return std::nullopt;
    return TestAnswer{.status = 502, .body = "bad gateway"};
  });
  const auto sampler = Make(teacher.url(), [](EndpointOptions& endpoint) { endpoint.max_retries = 2; });
  ASSERT_OK(sampler->Add(Group(0)));
  ASSERT_TRUE(Wait([&] { return !sampler->blocked_reason().empty(); }));
  EXPECT_GE(teacher.requests().size(), 3u);
  EXPECT_THAT(sampler->blocked_reason(), HasSubstr("status 502: bad gateway"));
  away = false;
  ExpectGood(RunDry(*sampler).at(0), 4);
  EXPECT_EQ(sampler->blocked_reason(), "");
}

TEST_F(EndpointSamplerTest, ACancelledGroupNeverComesAndItsRequestsAreNotBegun) {
  absl::Notification cancelled;
  Teacher teacher([&](int64_t number, const json&) -> std::optional<TestAnswer> {
    if (number > 0) return std::nullopt;
    cancelled.WaitForNotification();
    return TestAnswer{.status = 503};
  });
  const auto sampler = Make(teacher.url(), [](EndpointOptions& endpoint) { endpoint.concurrency = 1; });
  for (int64_t id = 0; id < 3; ++id) ASSERT_OK(sampler->Add(Group(id)));
  ASSERT_TRUE(Wait([&] { return !teacher.requests().empty(); }));
  sampler->Cancel(0);
  sampler->Cancel(2);
  sampler->Cancel(12345);
  cancelled.Notify();
  const std::map<int64_t, SampledGroup> groups = RunDry(*sampler);
  ASSERT_EQ(groups.size(), 1u);
  ExpectGood(groups.at(1), 4);
  EXPECT_EQ(teacher.requests().size(), 2u);
}

TEST_F(EndpointSamplerTest, ATextThatIsNoUtf8IsKeptAsItIsAndLoggedLikeThat) {
  Teacher teacher([](int64_t, const json&) {
    return TestAnswer{
        .body = "{\"choices\": [{\"message\": {\"content\": \"cut \xF0\x9F\"}, \"finish_reason\": \"length\"}]}"};
  });
  for (int start = 0; start < 2; ++start) {
    const auto sampler = Make(teacher.url());
    ASSERT_OK(sampler->Add(Group(0, 1)));
    const SampledGroup group = RunDry(*sampler).at(0);
    EXPECT_EQ(group.completions.at(0).text(), "cut \xF0\x9F");
    EXPECT_EQ(group.completions.at(0).finish_reason(), v1::FINISH_REASON_LENGTH);
    EXPECT_EQ(group.usage.output_tokens(), 6) << "bytes where the server counts nothing";
  }
  EXPECT_EQ(teacher.requests().size(), 1u);
}

TEST_F(EndpointSamplerTest, RefusesWhatCanNeverBeAskedAndSaysWhatToDo) {
  Teacher teacher;
  const auto sampler = Make(teacher.url());
  const auto invalid = absl::StatusCode::kInvalidArgument;
  GroupRequest request = Group(0);
  request.prompt = "";
  EXPECT_STATUS(sampler->Add(request), invalid, "the prompt is empty; give");
  request.prompt = "\xFF";
  EXPECT_STATUS(sampler->Add(request), invalid, "UTF-8");
  EXPECT_STATUS(sampler->Add(Group(0, 0)), invalid, "num_completions is 0");
  EXPECT_STATUS(sampler->Add(Group(0, 1, 0)), invalid, "at least 1");
  EXPECT_TRUE(sampler->idle());
}

}  // namespace
}  // namespace grpo
