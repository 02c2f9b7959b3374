// Servers and clients that prove themselves by a run's certificates, over loopback.
#include "common/rpc/tls.h"

#include <unistd.h>

#include <filesystem>
#include <functional>
#include <map>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "common/clock.h"
#include "common/files.h"
#include "common/log.h"
#include "common/rpc/certificates_testing.h"
#include "common/rpc/client.h"
#include "common/rpc/refusals.h"
#include "common/rpc/roles.h"
#include "common/rpc/server.h"
#include "common/status_testing.h"
#include "grpcpp/generic/generic_stub.h"
#include "proto/coordinator.grpc.pb.h"
#include "proto/reward.grpc.pb.h"
#include "proto/trainer.grpc.pb.h"

namespace grpo::rpc {
namespace {

constexpr absl::Duration kDeadline = absl::Minutes(1);
constexpr auto kInvalid = absl::StatusCode::kInvalidArgument;
constexpr auto kUnavailable = absl::StatusCode::kUnavailable;
constexpr char kAnyMethod[] = "/grpo.v1.RewardService/ListRules";

// Calls a method by its name, with one empty message. A server without code of its own for it says Unimplemented.
absl::Status Call(const Client& client, const std::string& method) {
  grpc::GenericStub stub(client.channel());
  grpc::CompletionQueue queue;
  const auto done = [&queue] {
    void* tag = nullptr;
    bool ok = false;
    return queue.Next(&tag, &ok) && ok;
  };
  CallContext context(client, kDeadline);
  const auto call = stub.PrepareCall(&context, method, &queue);
  call->StartCall(nullptr);
  if (done()) {
    const grpc::Slice nothing;
    call->Write(grpc::ByteBuffer(&nothing, 1), nullptr);
    if (done()) {
      call->WritesDone(nullptr);
      done();
    }
  }
  grpc::ByteBuffer answer;
  do {
    call->Read(&answer, nullptr);
  } while (done());
  grpc::Status status;
  call->Finish(&status, nullptr);
  done();
  queue.Shutdown();
  while (done()) continue;
  return FromGrpc(context.Ended(status));
}

int64_t NumRefused(const std::string& reason) {
  const std::map<std::string, int64_t> counts = Refusals::OfProcess().Counts();
  const auto found = counts.find(reason);
  return found == counts.end() ? 0 : found->second;
}

// Every method that this project serves, by the descriptors.
std::vector<std::string> AllMethods() {
  std::vector<std::string> methods;
  for (const auto* file : {v1::RegisterRequest::descriptor()->file(), v1::ScoreRequest::descriptor()->file(),
                           v1::RunStatus::descriptor()->file()}) {
    for (int s = 0; s < file->service_count(); ++s) {
      const auto* const service = file->service(s);
      for (int m = 0; m < service->method_count(); ++m)
        methods.push_back(absl::StrCat("/", service->full_name(), "/", service->method(m)->name()));
    }
  }
  return methods;
}

class TlsTest : public ::testing::Test {
 protected:
  void SetUp() override {
    InitLogging("test");
    std::filesystem::remove_all(folder_);
    ASSERT_OK(MakeFolders(folder_));
  }
  void TearDown() override { std::filesystem::remove_all(folder_); }

  std::string Put(const std::string& name, const std::string& content) const {
    const std::string path = absl::StrCat(folder_, "/", name);
    EXPECT_OK(WriteFileAtomically(path, content));
    return path;
  }
  ServerOptions ServerOf(const KeyPair& pair, const std::string& authorities) const {
    return {.tls_cert = Put("server.pem", pair.certificate),
            .tls_key = Put("server.key", pair.key),
            .tls_ca = Put("callers.pem", authorities),
            .tls_refresh_s = 1};
  }
  // The server that all of these services of a run would be, without code of its own.
  absl::StatusOr<std::unique_ptr<Server>> StartServer() { return StartServer(ours_.Issue(CallerRole::kTrainer)); }
  absl::StatusOr<std::unique_ptr<Server>> StartServer(const KeyPair& pair) {
    return Server::Start(ServerOf(pair, ours_.pem()), {&coordinator_, &reward_, &trainer_});
  }
  ClientOptions ClientOf(const KeyPair& pair) const {
    return {.tls_ca = Put("ca.pem", ours_.pem()),
            .tls_cert = Put("client.pem", pair.certificate),
            .tls_key = Put("client.key", pair.key),
            .tls_refresh_s = 1};
  }
  absl::Status CallAs(const Server& server, const KeyPair& pair, const std::string& method = kAnyMethod) const {
    ASSIGN_OR_RETURN(const std::shared_ptr<Client> client, Client::Create(server.address(), ClientOf(pair)));
    return Call(*client, method);
  }

  const std::string folder_ = absl::StrCat(::testing::TempDir(), "/tls_test.", ::getpid());
  const TestAuthority ours_{"run-1"}, other_{"run-2"};
  v1::Coordinator::Service coordinator_;
  v1::RewardService::Service reward_;
  v1::TrainerService::Service trainer_;
};

TEST_F(TlsTest, EachRoleMayCallItsMethodsAndNoOther) {
  ASSERT_OK_AND_ASSIGN(const auto server, StartServer());
  for (const CallerRole role : kCallerRoles) {
    const std::string name(CallerRoleName(role));
    ASSERT_OK_AND_ASSIGN(const auto client, Client::Create(server->address(), ClientOf(ours_.Issue(role))));
    EXPECT_OK(CheckHealth(*client, kDeadline)) << name;
    for (const std::string& method : AllMethods()) {
      const int64_t num_refused = NumRefused("wrong_role");
      const absl::Status status = Call(*client, method);
      if (MayCall(role, method)) {
        EXPECT_EQ(status.code(), absl::StatusCode::kUnimplemented) << name << " " << method << " " << status;
        EXPECT_EQ(NumRefused("wrong_role"), num_refused);
      } else {
        EXPECT_STATUS(status, absl::StatusCode::kPermissionDenied,
                      absl::StrCat("role ", name, " may not call ", method, "; that is for ", WhoMayCall(method)));
        EXPECT_EQ(NumRefused("wrong_role"), num_refused + 1);
      }
    }
  }
}

TEST_F(TlsTest, ACertificateOfAnotherRunBySameAuthorityIsRefusedOnEveryMethod) {
  ASSERT_OK_AND_ASSIGN(const auto server, StartServer());
  const KeyPair stranger = ours_.IssueAs({.run_id = "run-9", .role = CallerRole::kOperator});
  for (const std::string& method : AllMethods()) {
    const int64_t num_refused = NumRefused("other_run");
    EXPECT_STATUS(CallAs(*server, stranger, method), absl::StatusCode::kUnauthenticated,
                  "this is run run-1, and the certificate is of run run-9");
    EXPECT_EQ(NumRefused("other_run"), num_refused + 1);
  }
}

TEST_F(TlsTest, WhoeverCannotProveHimselfGetsNoConnectionAndIsCountedByWhy) {
  ASSERT_OK_AND_ASSIGN(const auto server, StartServer());
  const absl::Time now = WallTime();
  const KeyPair good = ours_.Issue(CallerRole::kWorker);
  const std::vector<std::pair<std::string, KeyPair>> callers = {
      {"other_run", other_.Issue(CallerRole::kWorker)},
      {"untrusted_certificate", other_.IssueAs({.run_id = "run-1", .role = CallerRole::kOperator})},
      {"expired_certificate",
       ours_.Issue(CallerRole::kWorker, {.not_before = now - absl::Hours(2), .not_after = now - absl::Hours(1)})},
      {"not_yet_valid_certificate",
       ours_.Issue(CallerRole::kWorker, {.not_before = now + absl::Hours(1), .not_after = now + absl::Hours(2)})},
  };
  for (const auto& [reason, pair] : callers) {
    const int64_t num_refused = NumRefused(reason);
    EXPECT_EQ(CallAs(*server, pair).code(), kUnavailable) << reason;
    EXPECT_GT(NumRefused(reason), num_refused) << reason;
  }
  const int64_t num_refused = NumRefused("no_certificate");
  ASSERT_OK_AND_ASSIGN(const auto nobody, Client::Create(server->address(), {.tls_ca = Put("ca.pem", ours_.pem())}));
  EXPECT_EQ(Call(*nobody, kAnyMethod).code(), kUnavailable);
  EXPECT_EQ(CheckHealth(*nobody, kDeadline).code(), kUnavailable);
  EXPECT_GT(NumRefused("no_certificate"), num_refused);
  // None of that is anything to those who can.
  EXPECT_EQ(CallAs(*server, good).code(), absl::StatusCode::kUnimplemented);
}

TEST_F(TlsTest, BrokenFilesAreRefusedBeforeTheyAreUsed) {
  const KeyPair pair = ours_.Issue(CallerRole::kTrainer), other = ours_.Issue(CallerRole::kTrainer);
  const auto half = [](const std::string& text) { return text.substr(0, text.size() / 2); };
  for (const KeyPair& broken : {KeyPair{half(pair.certificate), pair.key}, KeyPair{pair.certificate, half(pair.key)},
                                KeyPair{pair.certificate, other.key}, KeyPair{pair.key, pair.certificate}}) {
    EXPECT_STATUS(StartServer(broken), kInvalid, "the private key that belongs to it");
    EXPECT_STATUS(Client::Create("127.0.0.1:1", ClientOf(broken)), kInvalid, "the private key that belongs to it");
  }
  EXPECT_STATUS(Server::Start(ServerOf(pair, half(ours_.pem())), {&reward_}), kInvalid, "callers.pem");
  EXPECT_STATUS(Client::Create("127.0.0.1:1", {.tls_ca = Put("ca.pem", half(ours_.pem()))}), kInvalid, "cut off");
}

TEST_F(TlsTest, AnAuthorityIsNobodysCertificate) {
  EXPECT_STATUS(Client::Create("127.0.0.1:1", ClientOf(ours_.pair())), kInvalid, "grpo://run-1/authority");
}

TEST_F(TlsTest, AServerIsBelievedByItsHostsName) {
  ASSERT_OK_AND_ASSIGN(const auto server, StartServer(ours_.Issue(CallerRole::kTrainer, GoodNow(), {"10.1.2.3", "a"})));
  EXPECT_EQ(CallAs(*server, ours_.Issue(CallerRole::kWorker)).code(), kUnavailable);
}

TEST_F(TlsTest, AServerWhoseCertificateNamesNoHostIsBelievedByItsRunAndByNobodyElse) {
  const KeyPair any_host = ours_.Issue(CallerRole::kRewardServer, GoodNow(), {});
  ASSERT_OK_AND_ASSIGN(const auto server, StartServer(any_host));
  EXPECT_EQ(CallAs(*server, ours_.Issue(CallerRole::kWorker)).code(), absl::StatusCode::kUnimplemented);
  // A caller that is of no run, or of another, has a name to go by and no more.
  ServerOptions open = ServerOf(any_host, ours_.pem());
  open.tls_ca = "";
  ASSERT_OK_AND_ASSIGN(const auto open_server, Server::Start(open, {&reward_}));
  ASSERT_OK_AND_ASSIGN(const auto nobody,
                       Client::Create(open_server->address(), {.tls_ca = Put("ca.pem", ours_.pem())}));
  EXPECT_EQ(Call(*nobody, kAnyMethod).code(), kUnavailable);
  EXPECT_EQ(CallAs(*open_server, ours_.IssueAs({.run_id = "run-9", .role = CallerRole::kWorker})).code(), kUnavailable);
}

TEST_F(TlsTest, AWorkerCannotServe) {
  ASSERT_OK_AND_ASSIGN(const auto server, StartServer(ours_.Issue(CallerRole::kWorker)));
  EXPECT_EQ(CallAs(*server, ours_.Issue(CallerRole::kWorker)).code(), kUnavailable);
}

// Until the call is answered as it should be.
absl::Status CallUntil(absl::StatusCode code, const std::function<absl::Status()>& call) {
  const absl::Duration begin = Clock::Real().Now();
  absl::Status status = call();
  while (status.code() != code && Clock::Real().Now() - begin < kDeadline) {
    absl::SleepFor(absl::Milliseconds(50));
    status = call();
  }
  return status;
}

TEST_F(TlsTest, ARenewedCertificateIsTakenWithoutARestart) {
  const absl::Time now = WallTime();
  const Validity over = {.not_before = now - absl::Hours(2), .not_after = now - absl::Hours(1)};
  // The key stays, as certificate_folder.h has it.
  const auto renewed = [&](CallerRole role, const KeyPair& old) {
    return IssueCertificate(ours_.pair(), {.run_id = "run-1", .role = role}, {"127.0.0.1"}, GoodNow(), old.key).value();
  };
  const KeyPair server_pair = ours_.Issue(CallerRole::kTrainer, over), worker = ours_.Issue(CallerRole::kWorker, over),
                good_worker = ours_.Issue(CallerRole::kWorker);
  ASSERT_OK_AND_ASSIGN(const auto server, StartServer(server_pair));
  EXPECT_EQ(CallAs(*server, good_worker).code(), kUnavailable) << "the server's is over";
  Put("server.pem", renewed(CallerRole::kTrainer, server_pair));
  EXPECT_EQ(CallUntil(absl::StatusCode::kUnimplemented, [&] { return CallAs(*server, good_worker); }).code(),
            absl::StatusCode::kUnimplemented);

  ASSERT_OK_AND_ASSIGN(const auto client, Client::Create(server->address(), ClientOf(worker)));
  EXPECT_EQ(Call(*client, kAnyMethod).code(), kUnavailable) << "the caller's is over";
  Put("client.pem", renewed(CallerRole::kWorker, worker));
  EXPECT_EQ(CallUntil(absl::StatusCode::kUnimplemented, [&] { return Call(*client, kAnyMethod); }).code(),
            absl::StatusCode::kUnimplemented);
}

}  // namespace
}  // namespace grpo::rpc
