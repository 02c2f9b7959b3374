#include "common/rpc/roles.h"

#include <set>

#include "absl/strings/str_cat.h"
#include "common/status_testing.h"
#include "gmock/gmock.h"
#include "proto/coordinator.pb.h"
#include "proto/reward.pb.h"
#include "proto/trainer.pb.h"

namespace grpo::rpc {
namespace {

using ::testing::Contains;

constexpr auto kInvalid = absl::StatusCode::kInvalidArgument;

// Of every service that this project has, whether it was thought of here or not.
std::vector<const google::protobuf::MethodDescriptor*> AllMethods() {
  std::vector<const google::protobuf::MethodDescriptor*> methods;
  for (const auto* file : {v1::RegisterRequest::descriptor()->file(), v1::ScoreRequest::descriptor()->file(),
                           v1::RunStatus::descriptor()->file()}) {
    for (int s = 0; s < file->service_count(); ++s) {
      for (int m = 0; m < file->service(s)->method_count(); ++m) methods.push_back(file->service(s)->method(m));
    }
  }
  return methods;
}

std::string PathOf(const google::protobuf::MethodDescriptor& method) {
  return absl::StrCat("/", method.service()->full_name(), "/", method.name());
}

TEST(RolesTest, EveryMethodHasItsRowAndOnlyOne) {
  const std::vector<std::string> rows = MethodsWithRoles();
  EXPECT_EQ(std::set<std::string>(rows.begin(), rows.end()).size(), rows.size());
  for (const auto* method : AllMethods())
    EXPECT_THAT(rows, Contains(PathOf(*method))) << "common/rpc/roles.inc has no row for it: who may call it?";
}

// Issue 19, word for word, beside the table.
TEST(RolesTest, EachRoleMayCallWhatItsWorkTakesAndNothingElse) {
  const std::set<std::string> of_trainer = {"Score", "ListRules"},
                              of_worker = {"Register",  "LeaseGroups", "SubmitCompletion", "PullWeights",
                                           "Heartbeat", "Score",       "ListRules"},
                              of_reward_server = {"RegisterRewardServer"},
                              of_viewer = {"GetStatus", "WatchStatus", "GetConfig"};
  ASSERT_GE(AllMethods().size(), 15u);
  for (const auto* method : AllMethods()) {
    const std::string path = PathOf(*method), name = method->name();
    EXPECT_EQ(MayCall(CallerRole::kTrainer, path), of_trainer.count(name) > 0) << path;
    EXPECT_EQ(MayCall(CallerRole::kWorker, path), of_worker.count(name) > 0) << path;
    EXPECT_EQ(MayCall(CallerRole::kRewardServer, path), of_reward_server.count(name) > 0) << path;
    EXPECT_EQ(MayCall(CallerRole::kOperator, path),
              method->service()->name() == "TrainerService" || name == "Score" || name == "ListRules")
        << path;
    EXPECT_EQ(MayCall(CallerRole::kViewer, path), of_viewer.count(name) > 0) << path;
  }
}

TEST(RolesTest, HealthIsForAllReflectionForTheOperatorAndWhatIsUnknownForNobody) {
  for (const CallerRole role : kCallerRoles) {
    EXPECT_TRUE(MayCall(role, "/grpc.health.v1.Health/Check"));
    EXPECT_EQ(MayCall(role, "/grpc.reflection.v1alpha.ServerReflection/ServerReflectionInfo"),
              role == CallerRole::kOperator);
    for (const char* method : {"", "/", "Stop", "/grpo.v1.TrainerService/Other", "/grpo.v1.TrainerService/stop",
                               "/grpo.v1.TrainerService/Stop/"})
      EXPECT_FALSE(MayCall(role, method)) << method;
  }
  EXPECT_EQ(WhoMayCall("/grpo.v1.TrainerService/GetStatus"), "operator or viewer");
  EXPECT_EQ(WhoMayCall("/grpo.v1.TrainerService/Other"), "nobody");
}

TEST(RolesTest, AnIdentityComesBackFromItsUri) {
  for (const CallerRole role : kCallerRoles) {
    const std::string uri = IdentityUri({.run_id = "r1.zero_a-01", .role = role});
    EXPECT_EQ(uri, absl::StrCat("grpo://r1.zero_a-01/", CallerRoleName(role)));
    ASSERT_OK_AND_ASSIGN(const auto found, FindIdentity({"spiffe://else/where", uri}));
    ASSERT_TRUE(found.has_value());
    EXPECT_EQ(found->run_id, "r1.zero_a-01");
    EXPECT_EQ(found->role, role);
  }
  ASSERT_OK_AND_ASSIGN(const auto none, FindIdentity({"https://example.org/operator", "", "Grpo://run/operator"}));
  EXPECT_FALSE(none.has_value());
}

TEST(RolesTest, ADoubtfulIdentityIsNone) {
  for (const char* uri : {"grpo://", "grpo://run", "grpo://run/", "grpo:///operator", "grpo://run/root",
                          "grpo://run/operator/", "grpo://run/operator/x", "grpo://a/b/operator", "grpo://r n/operator",
                          "grpo://run/Operator", "grpo://run/authority"})
    EXPECT_STATUS(FindIdentity({uri}), kInvalid, "is not grpo://RUN_ID/ROLE");
  EXPECT_STATUS(FindIdentity({"grpo://run/worker", "grpo://run/operator"}), kInvalid, "two roles");
}

TEST(RolesTest, ARunIdIsOfPlainCharacters) {
  EXPECT_OK(CheckRunId("quickstart-01234567"));
  EXPECT_OK(CheckRunId(std::string(200, 'x')));
  for (const std::string& id : {std::string(), std::string("a/b"), std::string("a,DNS:b"), std::string("\xc3\xbc"),
                                std::string("a b"), std::string(201, 'x')})
    EXPECT_STATUS(CheckRunId(id), kInvalid, "cannot stand in a certificate");
}

}  // namespace
}  // namespace grpo::rpc
