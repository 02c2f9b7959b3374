#include "rollout/score_client.h"

#include <functional>
#include <limits>
#include <thread>

#include "common/rpc/check_message.h"
#include "common/rpc/server.h"
#include "common/status_macros.h"
#include "common/status_testing.h"
#include "rollout/testing.h"

namespace grpo {
namespace {

using Answers = std::vector<v1::ScoreResponse>;

std::vector<v1::Completion> Completions(const std::vector<std::string>& texts) {
  std::vector<v1::Completion> completions(texts.size());
  for (size_t i = 0; i < texts.size(); ++i) completions[i].set_text(texts[i]);
  return completions;
}

v1::Score WithRule(const std::string& extracted) {
  v1::Score score;
  v1::RuleScore& rule = *score.add_rules();
  rule.set_name("exact");
  rule.set_outcome(v1::OUTCOME_SCORED);
  rule.set_extracted(extracted);
  return score;
}

// One call to a server that answers through `answer`.
absl::StatusOr<std::vector<v1::Score>> ScoreOnce(FakeRewardServer::Answer answer,
                                                 const std::vector<v1::Completion>& completions,
                                                 absl::Duration deadline = absl::Minutes(1)) {
  FakeRewardServer service;
  service.answer = std::move(answer);
  const std::unique_ptr<rpc::Server> server = *rpc::Server::Start({}, {&service});
  InFlightCalls calls;
  ScoreClient client({}, deadline, &calls);
  RETURN_IF_ERROR(client.UseServers({server->address()}));
  return client.Score({}, {}, completions);
}

TEST(ScoreClient, PutsAnswersInTheirPlaceInWhateverOrderTheyCome) {
  // The fake answers backwards, with the length of the text; the bytes need not be UTF-8.
  ASSERT_OK_AND_ASSIGN(const std::vector<v1::Score> scores,
                       ScoreOnce({}, Completions({"a", "", "\xff\xfe\x80", "abcd"})));
  ASSERT_EQ(scores.size(), 4);
  EXPECT_EQ(scores[0].value(), 1);
  EXPECT_EQ(scores[1].value(), 0);
  EXPECT_EQ(scores[2].value(), 3);
  EXPECT_EQ(scores[3].value(), 4);
}

TEST(ScoreClient, CarriesGroupsThatExceedAllBuffers) {
  const std::vector<v1::Completion> completions(64, Completions({std::string(1 << 20, 'x')})[0]);
  // Large answers, so that both directions fill up.
  const auto large = [](int64_t, grpc::ServerContext*, Answers& answers) {
    for (v1::ScoreResponse& answer : answers) answer.mutable_score()->MergeFrom(WithRule(std::string(1 << 18, 'y')));
    return grpc::Status::OK;
  };
  ASSERT_OK_AND_ASSIGN(const std::vector<v1::Score> scores, ScoreOnce(large, completions));
  EXPECT_EQ(scores[63].value(), 1 << 20);
  EXPECT_EQ(scores[63].rules(0).extracted().size(), rpc::kMaxTextBytes);
}

TEST(ScoreClient, AnAnswerWithAHoleIsAnErrorAndNeverAScore) {
  const std::vector<v1::Completion> completions = Completions({"a", "b", "c"});
  const auto spoil = [&](std::function<void(Answers&)> change) {
    return ScoreOnce(
        [change](int64_t, grpc::ServerContext*, Answers& answers) {
          change(answers);
          return grpc::Status::OK;
        },
        completions);
  };
  const auto internal = absl::StatusCode::kInternal;
  EXPECT_STATUS(spoil([](Answers& answers) { answers.pop_back(); }), internal, "answered for 2 of 3 completions");
  EXPECT_STATUS(spoil([](Answers& answers) { answers[0] = answers[1]; }), internal, "answered twice for completion 1");
  EXPECT_STATUS(spoil([](Answers& answers) { answers[0].set_index(3); }), internal, "answered for completion 3 of 3");
  EXPECT_STATUS(spoil([](Answers& answers) { answers[0].set_index(-1); }), internal, "answered for completion -1 of 3");
  EXPECT_STATUS(spoil([](Answers& answers) { answers[0].clear_score(); }), internal,
                "completion 2: score.outcome is absent");
  EXPECT_STATUS(
      spoil([](Answers& answers) { answers[0].mutable_score()->set_value(std::numeric_limits<double>::quiet_NaN()); }),
      internal, "score.value is nan");
  // Row 53 of the attacks.
  EXPECT_STATUS(spoil([](Answers& answers) { answers[0].mutable_score()->set_outcome(static_cast<v1::Outcome>(77)); }),
                internal, "completion 2: score.outcome is 77");
  EXPECT_STATUS(spoil([](Answers& answers) { answers[0].mutable_score()->set_value(1e308); }), internal,
                "completion 2: score.value is 1e+308");
}

TEST(ScoreClient, ErrorsNameTheServer) {
  const auto refuse = [](int64_t, grpc::ServerContext*, Answers& answers) {
    answers.clear();
    return grpc::Status(grpc::StatusCode::NOT_FOUND, "profiles: r1_zero");
  };
  EXPECT_STATUS(ScoreOnce(refuse, Completions({"a"})), absl::StatusCode::kNotFound, "reward server 127.0.0.1:");
  const auto hang = [](int64_t, grpc::ServerContext* context, Answers& answers) {
    answers.clear();
    while (!context->IsCancelled()) std::this_thread::yield();
    return grpc::Status::CANCELLED;
  };
  EXPECT_STATUS(ScoreOnce(hang, Completions({"a"}), absl::Milliseconds(50)), absl::StatusCode::kDeadlineExceeded,
                "reward server 127.0.0.1:");
}

TEST(ScoreClient, TakesItsServersInTurn) {
  FakeRewardServer services[2];
  const std::unique_ptr<rpc::Server> first = *rpc::Server::Start({}, {&services[0]});
  const std::unique_ptr<rpc::Server> second = *rpc::Server::Start({}, {&services[1]});
  InFlightCalls calls;
  ScoreClient client({}, absl::Minutes(1), &calls);
  ASSERT_OK(client.UseServers({first->address(), second->address()}));
  EXPECT_EQ(client.num_servers(), 2);
  for (int i = 0; i < 4; ++i) EXPECT_OK(client.Score({}, {}, Completions({"a"})));
  EXPECT_EQ(services[0].headers.size(), 2);
  EXPECT_EQ(services[1].headers.size(), 2);
}

TEST(ScoreClient, FollowsServersThatComeAndGo) {
  FakeRewardServer services[2];
  const std::unique_ptr<rpc::Server> first = *rpc::Server::Start({}, {&services[0]});
  const std::unique_ptr<rpc::Server> second = *rpc::Server::Start({}, {&services[1]});
  InFlightCalls calls;
  ScoreClient client({}, absl::Minutes(1), &calls);
  EXPECT_STATUS(client.Score({}, {}, Completions({"a"})), absl::StatusCode::kFailedPrecondition,
                "no reward server is registered yet");
  ASSERT_OK(client.UseServers({first->address()}));
  EXPECT_OK(client.Score({}, {}, Completions({"a"})));
  ASSERT_OK(client.UseServers({second->address()}));
  for (int i = 0; i < 3; ++i) EXPECT_OK(client.Score({}, {}, Completions({"a"})));
  EXPECT_EQ(services[0].headers.size(), 1);
  EXPECT_EQ(services[1].headers.size(), 3);
}

TEST(ScoreClient, OneThatCannotBeUsedIsNamedAndTheOthersAreUsed) {
  FakeRewardServer service;
  const std::unique_ptr<rpc::Server> server = *rpc::Server::Start({}, {&service});
  InFlightCalls calls;
  ScoreClient client({}, absl::Minutes(1), &calls);
  for (int i = 0; i < 2; ++i) {
    EXPECT_STATUS(client.UseServers({"nowhere", server->address()}), absl::StatusCode::kInvalidArgument,
                  "reward server nowhere");
    EXPECT_OK(client.Score({}, {}, Completions({"a"})));
  }
}

}  // namespace
}  // namespace grpo
