#include "tools/grpoctl/client/connection.h"

#include <sys/prctl.h>
#include <unistd.h>

#include <filesystem>
#include <memory>
#include <string>

#include "absl/strings/str_cat.h"
#include "absl/synchronization/mutex.h"
#include "common/files.h"
#include "common/rpc/certificate_folder.h"
#include "common/rpc/certificates.h"
#include "common/rpc/endpoint.h"
#include "common/rpc/server.h"
#include "common/status_testing.h"
#include "gmock/gmock.h"

namespace grpo {
namespace {

using ::testing::HasSubstr;

// Says who it is, to whoever has the token, or answers with an error.
class FakeTrainer : public v1::TrainerService::Service {
 public:
  grpc::Status GetStatus(grpc::ServerContext* context, const v1::GetStatusRequest*, v1::RunStatus* response) override {
    return rpc::Handle(context, [&]() -> absl::Status {
      response->set_run_name("fake");
      absl::MutexLock lock(&mutex);
      return error;
    });
  }
  absl::Mutex mutex;
  absl::Status error ABSL_GUARDED_BY(mutex);
};

ConnectionFlags At(const std::string& address, const rpc::ClientOptions& client = {}) {
  ConnectionFlags flags;
  flags.address = address;
  flags.client = client;
  return flags;
}

ConnectionFlags In(const std::string& run_dir, const rpc::ClientOptions& client = {}) {
  ConnectionFlags flags;
  flags.run_dir = run_dir;
  flags.client = client;
  return flags;
}

class ConnectionTest : public ::testing::Test {
 protected:
  void SetUp() override {
    std::filesystem::remove_all(folder_);
    ASSERT_OK(MakeFolders(run_dir_));
  }
  void TearDown() override { std::filesystem::remove_all(folder_); }

  void Serve(const rpc::ServerOptions& options = {}) {
    ASSERT_OK_AND_ASSIGN(server_, rpc::Server::Start(options, {&trainer_}));
  }
  // endpoint.json as the trainer writes it.
  void WriteEndpointFile(const rpc::ClientOptions& client = {}) {
    ASSERT_OK(
        WriteEndpoint(RunEndpointPath(run_dir_), {.address = server_->address(), .pid = ::getpid(), .client = client}));
  }
  std::string Token(const std::string& word) {
    const std::string path = absl::StrCat(folder_, "/token-", word);
    EXPECT_OK(WriteFileSynced(path, word));
    return path;
  }
  absl::StatusOr<v1::RunStatus> Ask(const ConnectionFlags& flags) {
    ASSIGN_OR_RETURN(const TrainerConnection connection, TrainerConnection::Open(flags));
    return connection.Call(&v1::TrainerService::Stub::GetStatus, v1::GetStatusRequest());
  }
  void SetError(const absl::Status& error) {
    absl::MutexLock lock(&trainer_.mutex);
    trainer_.error = error;
  }

  const std::string folder_ = absl::StrCat(::testing::TempDir(), "/connection_test.", ::getpid());
  const std::string run_dir_ = folder_ + "/run";
  FakeTrainer trainer_;
  std::unique_ptr<rpc::Server> server_;
};

TEST_F(ConnectionTest, ARunIsFoundByItsFolder) {
  Serve();
  WriteEndpointFile();
  ASSERT_OK_AND_ASSIGN(const v1::RunStatus status, Ask(In(run_dir_)));
  EXPECT_EQ(status.run_name(), "fake");
}

TEST_F(ConnectionTest, AnAddressGoesBeforeAFolder) {
  Serve();
  ConnectionFlags both = At(server_->address());
  both.run_dir = folder_ + "/nowhere";
  EXPECT_OK(Ask(both));
}

TEST_F(ConnectionTest, AFolderWithoutARunOrWithoutAProcessIsNamed) {
  EXPECT_STATUS(TrainerConnection::Open(In(folder_ + "/nowhere")), absl::StatusCode::kNotFound, folder_ + "/nowhere");
  EXPECT_STATUS(TrainerConnection::Open(In(run_dir_)), absl::StatusCode::kUnavailable, run_dir_);
  ASSERT_OK(WriteFileSynced(RunEndpointPath(run_dir_), "{}"));
  EXPECT_STATUS(TrainerConnection::Open(In(run_dir_)), absl::StatusCode::kDataLoss, "endpoint.json");
  EXPECT_STATUS(TrainerConnection::Open(At("nonsense")), absl::StatusCode::kInvalidArgument, "HOST:PORT");
}

// The run's folder says how callers prove themselves; what was written on the command line goes before it.
TEST_F(ConnectionTest, TheRunsTokenIsSentUnlessAnotherWasNamed) {
  Serve({.token_file = Token("sesame")});
  WriteEndpointFile({.token_file = Token("sesame")});
  EXPECT_OK(Ask(In(run_dir_)));
  const absl::StatusOr<v1::RunStatus> refused = Ask(In(run_dir_, {.token_file = Token("wrong")}));
  EXPECT_STATUS(refused, absl::StatusCode::kUnauthenticated,
                absl::StrCat("the trainer at ", server_->address(), " refused this caller (wrong token"));
  EXPECT_THAT(std::string(refused.status().message()), HasSubstr("name the run's token with --token-file FILE"));
  EXPECT_OK(Ask(At(server_->address(), {.token_file = Token("sesame")})));
  EXPECT_EQ(Ask(At(server_->address())).status().code(), absl::StatusCode::kUnauthenticated);
}

// As the trainer of a run with certificates of its own serves and says so.
TEST_F(ConnectionTest, TheRunsFolderMakesOneItsOperatorAndFlagsAnotherRole) {
  const std::string tls = run_dir_ + "/tls";
  ASSERT_OK(rpc::IssueRunCertificates(tls, {.run_id = "run-1", .hosts = {"127.0.0.1"}}, rpc::WallTime()));
  const auto files_of = [&](rpc::CallerRole role) {
    return rpc::ClientOptions{.tls_ca = rpc::AuthorityPath(tls),
                              .tls_cert = rpc::CertificatePath(tls, role),
                              .tls_key = rpc::KeyPath(tls, role)};
  };
  const rpc::ClientOptions trainer = files_of(rpc::CallerRole::kTrainer);
  Serve({.tls_cert = trainer.tls_cert, .tls_key = trainer.tls_key, .tls_ca = trainer.tls_ca});
  WriteEndpointFile(files_of(rpc::CallerRole::kOperator));
  EXPECT_OK(Ask(In(run_dir_)));
  EXPECT_OK(Ask(In(run_dir_, files_of(rpc::CallerRole::kViewer))));
  const absl::Status refused = Ask(In(run_dir_, files_of(rpc::CallerRole::kWorker))).status();
  EXPECT_STATUS(refused, absl::StatusCode::kPermissionDenied, "refused this caller (role worker may not call");
  EXPECT_THAT(std::string(refused.message()), ::testing::Not(HasSubstr("--token-file")));
  EXPECT_EQ(Ask(At(server_->address())).status().code(), absl::StatusCode::kUnavailable);
}

TEST_F(ConnectionTest, ATrainerThatIsGoneMayBeResumedOnceItsSupervisorIs) {
  Serve();
  const std::string address = server_->address();
  WriteEndpointFile();
  server_.reset();
  const absl::Status gone = Ask(In(run_dir_)).status();
  EXPECT_STATUS(gone, absl::StatusCode::kUnavailable, "no trainer answers at " + address + " (");
  // Its pid is now this test's, which is no trainer.
  EXPECT_THAT(
      std::string(gone.message()),
      HasSubstr(absl::StrCat("its process ", ::getpid(), " is not on this machine: see `grpoctl logs --run-dir ",
                             run_dir_, "`; once its grpoctl has ended")));
  EXPECT_THAT(std::string(gone.message()), HasSubstr("`grpoctl run --resume --run-dir " + run_dir_ + "`"));
  EXPECT_THAT(std::string(Ask(At(address)).status().message()), HasSubstr("may be stopped (SIGSTOP), out of reach"));
}

TEST_F(ConnectionTest, ATrainerThatLivesAndDoesNotAnswerIsNotToBeResumed) {
  char name[16] = {};
  ::prctl(PR_GET_NAME, name);
  ::prctl(PR_SET_NAME, "trainer");
  Serve();
  WriteEndpointFile();
  server_.reset();
  const std::string message(Ask(In(run_dir_)).status().message());
  ::prctl(PR_SET_NAME, name);
  EXPECT_THAT(message, HasSubstr(absl::StrCat("its process ", ::getpid(), " is on this machine and lives")));
  EXPECT_THAT(message, ::testing::Not(HasSubstr("--resume")));
}

TEST_F(ConnectionTest, WhatTheTrainerSaysIsShownMadePrintable) {
  Serve();
  SetError(absl::FailedPreconditionError("the run has ended\x1b[2J"));
  const absl::Status said = Ask(At(server_->address())).status();
  EXPECT_STATUS(said, absl::StatusCode::kFailedPrecondition,
                absl::StrCat("the trainer at ", server_->address(), " says: the run has ended\\x1b[2J"));
  SetError(absl::PermissionDeniedError("not you"));
  EXPECT_STATUS(Ask(At(server_->address())), absl::StatusCode::kPermissionDenied, "refused this caller (not you)");
  // To whoever waited, a deadline means the same as nobody there.
  SetError(absl::DeadlineExceededError("too slow"));
  EXPECT_STATUS(Ask(At(server_->address())), absl::StatusCode::kUnavailable, "no trainer answers at ");
}

TEST(ResolveRunDirTest, WhatWasNamedIsTakenAsItIs) {
  ASSERT_OK_AND_ASSIGN(const std::string named, ResolveRunDir("/some/where"));
  EXPECT_EQ(named, "/some/where");
}

// --- The flags of client verbs ---

class ConnectionFlagsTest : public ::testing::Test {
 protected:
  ConnectionFlagsTest() { AddConnectionFlags(app_, &flags_); }
  CLI::App app_;
  ConnectionFlags flags_;
};

TEST_F(ConnectionFlagsTest, AreTakenFromTheCommandLine) {
  app_.parse("--run-dir d --token-file t --tls-ca a --tls-cert c --tls-key k --deadline 2.5", false);
  EXPECT_EQ(flags_.run_dir, "d");
  EXPECT_EQ(flags_.client.token_file, "t");
  EXPECT_EQ(flags_.client.tls_ca, "a");
  EXPECT_EQ(flags_.client.tls_cert, "c");
  EXPECT_EQ(flags_.client.tls_key, "k");
  EXPECT_EQ(flags_.deadline_s, 2.5);
}

TEST_F(ConnectionFlagsTest, AFolderAndAnAddressExcludeEachOther) {
  EXPECT_THROW(app_.parse("--run-dir d --address 127.0.0.1:1", false), CLI::ParseError);
}

TEST_F(ConnectionFlagsTest, ADeadlineIsPositiveAndADayAtMost) {
  for (const char* const deadline : {"0", "-1", "86401", "soon"}) {
    CLI::App app;
    ConnectionFlags flags;
    AddConnectionFlags(app, &flags);
    EXPECT_THROW(app.parse(absl::StrCat("--deadline ", deadline), false), CLI::ParseError) << deadline;
  }
}

}  // namespace
}  // namespace grpo
