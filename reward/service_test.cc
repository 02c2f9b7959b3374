#include "reward/service.h"

#include <atomic>
#include <map>
#include <memory>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "absl/time/time.h"
#include "common/clock.h"
#include "common/rpc/client.h"
#include "common/rpc/server.h"
#include "common/rpc/status.h"
#include "common/status_testing.h"
#include "gmock/gmock.h"

namespace grpo {
namespace {

using ::testing::HasSubstr;

// A server on loopback with the default profile under the name "main".
class RewardServiceTest : public ::testing::Test {
 protected:
  void SetUp() override {
    ASSERT_OK_AND_ASSIGN(service_, RewardServiceImpl::Make({{"main", DefaultRewardProfile()}}, {.threads = 2}));
    ASSERT_OK_AND_ASSIGN(server_, rpc::Server::Start({}, {service_.get()}));
    ASSERT_OK_AND_ASSIGN(client_, rpc::Client::Create(server_->address()));
    stub_ = v1::RewardService::NewStub(client_->channel());
    ASSERT_OK_AND_ASSIGN(const auto profile, RewardProfile::Make("main", DefaultRewardProfile()));
    ref_ = profile->ref();
  }

  v1::ScoreRequest Header(const std::string& answer) const {
    v1::ScoreRequest request;
    *request.mutable_header()->mutable_profile() = ref_;
    request.mutable_header()->mutable_prompt()->set_answer(answer);
    return request;
  }

  static v1::ScoreRequest Completion(int32_t index, const std::string& text) {
    v1::ScoreRequest request;
    request.mutable_completion()->set_index(index);
    request.mutable_completion()->set_text(text);
    return request;
  }

  // Sends all requests, reads all answers; the scores by index.
  absl::StatusOr<std::map<int32_t, v1::Score>> Call(const std::vector<v1::ScoreRequest>& requests,
                                                    absl::Duration deadline = absl::Seconds(30)) {
    rpc::CallContext context(*client_, deadline);
    auto stream = stub_->Score(&context);
    for (const v1::ScoreRequest& request : requests) {
      if (!stream->Write(request)) break;
    }
    stream->WritesDone();
    std::map<int32_t, v1::Score> scores;
    for (v1::ScoreResponse response; stream->Read(&response);) {
      EXPECT_TRUE(scores.emplace(response.index(), response.score()).second) << "two answers for " << response.index();
    }
    const grpc::Status status = stream->Finish();
    if (!status.ok()) return rpc::FromGrpc(status);
    return scores;
  }

  std::unique_ptr<RewardServiceImpl> service_;
  std::unique_ptr<rpc::Server> server_;
  std::shared_ptr<rpc::Client> client_;
  std::unique_ptr<v1::RewardService::Stub> stub_;
  v1::RewardProfileRef ref_;
};

TEST_F(RewardServiceTest, ScoresAGroupByIndexWhateverItsRowsHold) {
  const std::string hostile("\xff\x00<think>", 9);
  ASSERT_OK_AND_ASSIGN(const auto scores, Call({Header("12"), Completion(3, "<think>3*4</think><answer>12</answer>"),
                                                Completion(0, hostile), Completion(7, std::string(1 << 20, '{')),
                                                Completion(5, "<answer>12</answer>"), Completion(6, "")}));
  ASSERT_EQ(scores.size(), 5u);
  EXPECT_EQ(scores.at(3).value(), 2);
  EXPECT_EQ(scores.at(5).value(), 1);
  for (const int32_t index : {0, 6, 7}) {
    EXPECT_EQ(scores.at(index).outcome(), v1::OUTCOME_NO_ANSWER);
    EXPECT_EQ(scores.at(index).value(), 0);
  }
}

TEST_F(RewardServiceTest, AnswersEachRowBeforeTheNextIsSent) {
  rpc::CallContext context(*client_, absl::Seconds(30));
  auto stream = stub_->Score(&context);
  ASSERT_TRUE(stream->Write(Header("1")));
  for (int32_t index = 0; index < 3; ++index) {
    ASSERT_TRUE(stream->Write(Completion(index, "\\boxed{1}")));
    v1::ScoreResponse response;
    ASSERT_TRUE(stream->Read(&response));
    EXPECT_EQ(response.index(), index);
    EXPECT_EQ(response.score().value(), 1);
  }
  stream->WritesDone();
  EXPECT_TRUE(stream->Finish().ok());
}

TEST_F(RewardServiceTest, ManyStreamsAtOnceDoNotMixUp) {
  std::vector<std::thread> threads;
  for (int t = 0; t < 8; ++t) {
    threads.emplace_back([this, t] {
      std::vector<v1::ScoreRequest> requests = {Header(std::to_string(t))};
      for (int i = 0; i < 32; ++i) requests.push_back(Completion(i, "\\boxed{" + std::to_string(i) + "}"));
      ASSERT_OK_AND_ASSIGN(const auto scores, Call(requests));
      ASSERT_EQ(scores.size(), 32u);
      for (const auto& [index, score] : scores) EXPECT_EQ(score.value(), index == t ? 1 : 0);
    });
  }
  for (std::thread& thread : threads) thread.join();
}

TEST_F(RewardServiceTest, RefusesAProfileItDoesNotServe) {
  ref_.set_name("other");
  const absl::Status status = Call({Header("1"), Completion(0, "1")}).status();
  EXPECT_STATUS(status, absl::StatusCode::kNotFound, "\"other\"");
  EXPECT_THAT(std::string(status.message()), HasSubstr("only main"));
}

TEST_F(RewardServiceTest, RefusesAProfileThatMeansSomethingElseAndNamesBothHashes) {
  const std::string served = ref_.sha256();
  ref_.set_sha256("abcdef");
  const absl::Status status = Call({Header("1"), Completion(0, "1")}).status();
  EXPECT_STATUS(status, absl::StatusCode::kFailedPrecondition, "abcdef");
  EXPECT_THAT(std::string(status.message()), HasSubstr(served));
}

TEST_F(RewardServiceTest, RefusesAStreamOutOfOrder) {
  EXPECT_STATUS(Call({Completion(0, "1")}).status(), absl::StatusCode::kInvalidArgument, "begins with a header");
  EXPECT_STATUS(Call({}).status(), absl::StatusCode::kInvalidArgument, "begins with a header");
  EXPECT_STATUS(Call({Header("1"), Header("1")}).status(), absl::StatusCode::kInvalidArgument, "one header");
  EXPECT_STATUS(Call({Header("1"), v1::ScoreRequest()}).status(), absl::StatusCode::kInvalidArgument, "one header");
}

TEST_F(RewardServiceTest, RowsThatComeTooLateAreDeadlineOutcomesAndExcluded) {
  // Nine tenths of a call's time are for scoring. A machine that stands still all that time scores nothing in it, and
  // one that does so for the last tenth says nothing in it: the next call has more time.
  v1::ScoreResponse response;
  grpc::Status status;
  int32_t num_scored = 0;
  for (int attempt = 1; attempt <= 8 && num_scored == 0; ++attempt) {
    rpc::CallContext context(*client_, attempt * absl::Seconds(2));
    auto stream = stub_->Score(&context);
    // Rows go back and forth until one is refused: the call ends in time, and says so row by row.
    int32_t index = 0;
    bool open = stream->Write(Header("1"));
    do {
      open = open && stream->Write(Completion(index++, "\\boxed{1}")) && stream->Read(&response);
    } while (open && response.score().outcome() == v1::OUTCOME_SCORED);
    stream->WritesDone();
    status = stream->Finish();
    if (status.ok()) {
      num_scored = index - 1;
    } else {
      ASSERT_EQ(status.error_code(), grpc::StatusCode::DEADLINE_EXCEEDED) << status.error_message();
    }
  }
  EXPECT_GT(num_scored, 0);
  ASSERT_TRUE(status.ok()) << status.error_message();
  EXPECT_EQ(response.score().outcome(), v1::OUTCOME_DEADLINE);
  EXPECT_TRUE(response.score().excluded());
  EXPECT_EQ(response.score().rules_size(), 2);
}

TEST_F(RewardServiceTest, ListsItsRulesAndProfiles) {
  rpc::CallContext context(*client_, absl::Seconds(30));
  v1::ListRulesResponse response;
  ASSERT_TRUE(stub_->ListRules(&context, {}, &response).ok());
  ASSERT_EQ(response.rules_size(), static_cast<int>(ListRules().size()));
  for (const v1::RuleInfo& rule : response.rules()) {
    EXPECT_FALSE(rule.summary().empty());
    EXPECT_LT(rule.min_value(), rule.max_value());
  }
  ASSERT_EQ(response.profiles_size(), 1);
  EXPECT_EQ(response.profiles(0).profile().sha256(), ref_.sha256());
  ASSERT_EQ(response.profiles(0).rules_size(), 2);
  EXPECT_EQ(response.profiles(0).rules(1).name(), "math_answer");
  EXPECT_EQ(response.profiles(0).rules(1).weight(), 1);
}

TEST_F(RewardServiceTest, RulesAboutTheGroupAreAnsweredWhenAllIsThere) {
  RewardProfileOptions options = DefaultRewardProfile();
  options.rules["group_length"];
  ASSERT_OK(service_->Reload({{"main", options}}));
  ref_.clear_sha256();
  std::vector<v1::ScoreRequest> requests = {Header("1")};
  for (int i = 0; i < 3; ++i) {
    requests.push_back(Completion(i, "\\boxed{1}"));
    for (int token = 0; token <= 10 * i; ++token) requests.back().mutable_completion()->add_ids(1);
  }
  ASSERT_OK_AND_ASSIGN(const auto scores, Call(requests));
  ASSERT_EQ(scores.size(), 3u);
  EXPECT_EQ(scores.at(0).value(), 1.5);
  EXPECT_EQ(scores.at(1).value(), 1.0);
  EXPECT_EQ(scores.at(2).value(), 0.5);
  ASSERT_OK_AND_ASSIGN(const auto none, Call({Header("1")}));
  EXPECT_TRUE(none.empty());
}

TEST_F(RewardServiceTest, AReloadServesTheNewRulesAndKeepsTheOldOnesForTheirCallers) {
  RewardProfileOptions doubled = DefaultRewardProfile();
  doubled.rules["math_answer"].weight = 2;
  ASSERT_OK(service_->Reload({{"main", doubled}}));
  const std::vector<v1::ScoreRequest> requests = {Header("1"), Completion(0, "\\boxed{1}")};
  ASSERT_OK_AND_ASSIGN(const auto pinned, Call(requests));
  EXPECT_EQ(pinned.at(0).value(), 1);
  ref_.clear_sha256();
  const std::vector<v1::ScoreRequest> newest = {Header("1"), Completion(0, "\\boxed{1}")};
  ASSERT_OK_AND_ASSIGN(const auto scores, Call(newest));
  EXPECT_EQ(scores.at(0).value(), 2);
  RewardProfileOptions bad;
  bad.rules["nonsense"];
  EXPECT_STATUS(service_->Reload({{"main", bad}}), absl::StatusCode::kInvalidArgument, "nonsense");
  ASSERT_OK_AND_ASSIGN(const auto after, Call(newest));
  EXPECT_EQ(after.at(0).value(), 2);
}

TEST(RewardService, RefusesMoreGroupsWhileTooMuchWaits) {
  ASSERT_OK_AND_ASSIGN(const auto service,
                       RewardServiceImpl::Make({{"main", DefaultRewardProfile()}}, {.threads = 1, .max_waiting = 1}));
  ASSERT_OK_AND_ASSIGN(const auto server, rpc::Server::Start({}, {service.get()}));
  ASSERT_OK_AND_ASSIGN(const auto client, rpc::Client::Create(server->address()));
  const auto stub = v1::RewardService::NewStub(client->channel());
  std::atomic<int> num_refused = 0, num_scored = 0;
  std::atomic<bool> wrong = false;
  const absl::Duration deadline = Clock::Real().Now() + absl::Seconds(60);
  std::vector<std::thread> callers;
  for (int t = 0; t < 4; ++t) {
    callers.emplace_back([&] {
      while ((num_refused == 0 || num_scored == 0) && Clock::Real().Now() < deadline) {
        rpc::CallContext context(*client, absl::Seconds(30));
        auto stream = stub->Score(&context);
        v1::ScoreRequest request;
        request.mutable_header()->mutable_profile()->set_name("main");
        bool open = stream->Write(request);
        for (int i = 0; open && i < 500; ++i) {
          request.mutable_completion()->set_index(i);
          request.mutable_completion()->set_text(std::string(10000, '{'));
          open = stream->Write(request);
        }
        stream->WritesDone();
        int num_read = 0;
        for (v1::ScoreResponse response; stream->Read(&response);) ++num_read;
        const absl::Status status = rpc::FromGrpc(stream->Finish());
        if (absl::IsResourceExhausted(status)) ++num_refused;
        if (status.ok()) ++num_scored;
        // A refused group has no score, a scored one has all.
        wrong = wrong || num_read != (status.ok() ? 500 : 0);
      }
    });
  }
  for (std::thread& caller : callers) caller.join();
  EXPECT_GT(num_refused, 0);
  EXPECT_GT(num_scored, 0);
  EXPECT_FALSE(wrong);
}

TEST(RewardService, IsNotMadeWithoutProfilesOrWithBadOnes) {
  EXPECT_STATUS(RewardServiceImpl::Make({}, {}).status(), absl::StatusCode::kInvalidArgument, "no reward profile");
  RewardProfileOptions bad;
  bad.rules["nonsense"];
  EXPECT_STATUS(RewardServiceImpl::Make({{"a", bad}, {"main", DefaultRewardProfile()}}, {}).status(),
                absl::StatusCode::kInvalidArgument, "nonsense");
}

}  // namespace
}  // namespace grpo
