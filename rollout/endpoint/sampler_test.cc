#include "rollout/endpoint/sampler.h"

#include <map>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "common/http/testing.h"
#include "common/status_testing.h"
#include "nlohmann/json.hpp"
#include "rollout/endpoint/sampler_testing.h"

namespace grpo {
namespace {

using http::TestAnswer;
using http::TestRequest;
using nlohmann::json;

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

}  // namespace
}  // namespace grpo
