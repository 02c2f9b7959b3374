// The rule `remote` against servers that answer what no server of ours would: rows 53, 75 and 76 of the attacks.
#include <cmath>
#include <memory>
#include <string>
#include <vector>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "common/status_testing.h"
#include "configs/load.h"
#include "grpcpp/grpcpp.h"
#include "proto/reward.grpc.pb.h"
#include "reward/rule.h"

namespace grpo {
namespace {

// Reads a call to its end, then answers with these.
class FakeServer : public v1::RewardService::Service {
 public:
  grpc::Status Score(grpc::ServerContext*,
                     grpc::ServerReaderWriter<v1::ScoreResponse, v1::ScoreRequest>* stream) override {
    v1::ScoreRequest request;
    while (stream->Read(&request)) continue;
    for (const v1::ScoreResponse& answer : answers) stream->Write(answer);
    return status;
  }

  std::vector<v1::ScoreResponse> answers = std::vector<v1::ScoreResponse>(1);
  grpc::Status status;
};

class RemoteTest : public ::testing::Test {
 protected:
  RemoteTest() {
    score().set_outcome(v1::OUTCOME_SCORED);
    score().set_value(0.5);
    score().add_rules()->set_name("exact");
    score().mutable_rules(0)->set_outcome(v1::OUTCOME_SCORED);
  }
  void SetUp() override {
    // Not rpc::Server, which sends no message beyond the cap.
    grpc::ServerBuilder builder;
    int port = 0;
    builder.AddListeningPort("127.0.0.1:0", grpc::InsecureServerCredentials(), &port);
    builder.RegisterService(&service_);
    server_ = builder.BuildAndStart();
    ASSERT_NE(server_, nullptr);
    const std::string yaml = absl::StrCat("{profile: main, deadline_s: 20, address: \"127.0.0.1:", port, "\"}");
    ASSERT_OK_AND_ASSIGN(const Section options, ParseConfigText(yaml, "test.yaml"));
    ASSERT_OK_AND_ASSIGN(rule_, MakeRule("remote", options));
  }

  // Of the only answer.
  v1::Score& score() { return *service_.answers[0].mutable_score(); }
  RuleResult Ask() const { return rule_->Score({.completion = "4", .prompt = prompt_}); }
  // The server's own fault, by which the run does not wait.
  void ExpectRuleError(const std::string& text) const {
    const RuleResult result = Ask();
    EXPECT_EQ(result.outcome, v1::OUTCOME_RULE_ERROR);
    EXPECT_EQ(result.unavailable, "");
    EXPECT_TRUE(absl::StrContains(result.decided_by, text)) << result.decided_by;
  }

  FakeServer service_;
  std::unique_ptr<grpc::Server> server_;
  std::unique_ptr<Rule> rule_;
  v1::Prompt prompt_;
};

TEST_F(RemoteTest, PassesOnWhatTheServerSays) {
  score().mutable_rules(0)->set_extracted("4");
  const RuleResult result = Ask();
  EXPECT_EQ(result.outcome, v1::OUTCOME_SCORED);
  EXPECT_EQ(result.value, 0.5);
  EXPECT_EQ(result.extracted, "4");
  EXPECT_FALSE(result.excluded);
}

TEST_F(RemoteTest, ASampleThatTheServerLeavesOutIsLeftOut) {
  score().set_excluded(true);
  const RuleResult result = Ask();
  EXPECT_EQ(result.outcome, v1::OUTCOME_SCORED);
  EXPECT_TRUE(result.excluded);
}

TEST_F(RemoteTest, AnAnswerThatCannotBeIsARuleError) {
  score().set_outcome(static_cast<v1::Outcome>(77));
  ExpectRuleError("its answer: outcome is 77");
  score().set_outcome(v1::OUTCOME_SCORED);
  score().set_value(std::nan(""));
  ExpectRuleError("value is nan");
  score().set_value(1e308);
  ExpectRuleError("value is 1e+308");
  score().set_value(0);
  score().mutable_rules(0)->set_outcome(static_cast<v1::Outcome>(-1));
  ExpectRuleError("outcome is -1");
  score().clear_rules();
  service_.answers.resize(2);
  ExpectRuleError("answered 2 times");
  service_.answers.clear();
  ExpectRuleError("answered 0 times");
}

TEST_F(RemoteTest, AServerThatOnlySaysItsVerdictIsUnderstood) {
  score().mutable_rules(0)->Clear();
  EXPECT_EQ(Ask().value, 0.5);
  score().set_outcome(v1::OUTCOME_REFERENCE_UNPARSABLE);
  EXPECT_EQ(Ask().outcome, v1::OUTCOME_REFERENCE_UNPARSABLE);
}

TEST_F(RemoteTest, AnAnswerBeyondTheMessageCapIsARuleErrorAndNoReasonToWait) {
  score().mutable_rules(0)->set_extracted(std::string(5'000'000, 'x'));
  ExpectRuleError("message larger than max");
}

TEST_F(RemoteTest, AServerThatIsFullIsWaitedFor) {
  service_.answers.clear();
  service_.status = {grpc::StatusCode::RESOURCE_EXHAUSTED, "70000 completions wait"};
  const RuleResult result = Ask();
  EXPECT_EQ(result.outcome, v1::OUTCOME_RULE_ERROR);
  EXPECT_TRUE(absl::StrContains(result.unavailable, "70000 completions wait")) << result.unavailable;
}

}  // namespace
}  // namespace grpo
