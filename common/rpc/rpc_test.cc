// Server and client against each other over loopback.
#include <openssl/evp.h>
#include <openssl/pem.h>
#include <openssl/x509.h>
#include <openssl/x509v3.h>
#include <unistd.h>

#include <chrono>
#include <functional>
#include <memory>
#include <stdexcept>
#include <string>
#include <thread>

#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "common/clock.h"
#include "common/files.h"
#include "common/mutex.h"
#include "common/rpc/client.h"
#include "common/rpc/server.h"
#include "common/status_testing.h"
#include "common/wall_clock_testing.h"
#include "proto/reward.grpc.pb.h"
#include "proto/trainer.grpc.pb.h"

namespace grpo::rpc {
namespace {

constexpr absl::Duration kDeadline = absl::Minutes(1);

// ListRules stands for any handler.
class TestService : public v1::RewardService::Service {
 public:
  grpc::Status ListRules(grpc::ServerContext* context, const v1::ListRulesRequest*, v1::ListRulesResponse*) override {
    return Handle(context, [&]() -> absl::Status {
      if (throws) throw std::runtime_error("thrown by the handler");
      return answer;
    });
  }
  absl::Status answer;
  bool throws = false;
};

absl::Status Call(const Client& client) {
  const auto stub = v1::RewardService::NewStub(client.channel());
  CallContext context(client, kDeadline);
  v1::ListRulesResponse response;
  return FromGrpc(stub->ListRules(&context, v1::ListRulesRequest(), &response));
}

std::string TempFile(const std::string& name, absl::string_view content) {
  const std::string path = absl::StrCat(::testing::TempDir(), "/rpc_test.", ::getpid(), ".", name);
  EXPECT_OK(WriteFileSynced(path, content));
  return path;
}

// A self-signed certificate for 127.0.0.1 and its key, as PEM files.
struct Identity {
  std::string cert, key;
};

std::string PemOf(const std::function<void(BIO*)>& write) {
  const std::unique_ptr<BIO, decltype(&BIO_free)> bio(BIO_new(BIO_s_mem()), &BIO_free);
  write(bio.get());
  char* data = nullptr;
  const long size = BIO_get_mem_data(bio.get(), &data);
  return std::string(data, static_cast<size_t>(size));
}

Identity MakeIdentity(const std::string& name) {
  const std::unique_ptr<EVP_PKEY, decltype(&EVP_PKEY_free)> key(EVP_EC_gen("P-256"), &EVP_PKEY_free);
  const std::unique_ptr<X509, decltype(&X509_free)> cert(X509_new(), &X509_free);
  X509_set_version(cert.get(), 2);
  ASN1_INTEGER_set(X509_get_serialNumber(cert.get()), 1);
  X509_gmtime_adj(X509_getm_notBefore(cert.get()), -3600);
  X509_gmtime_adj(X509_getm_notAfter(cert.get()), 3600);
  X509_set_pubkey(cert.get(), key.get());
  X509_NAME* subject = X509_get_subject_name(cert.get());
  X509_NAME_add_entry_by_txt(subject, "CN", MBSTRING_ASC, reinterpret_cast<const unsigned char*>(name.c_str()), -1, -1,
                             0);
  X509_set_issuer_name(cert.get(), subject);
  X509_EXTENSION* names = X509V3_EXT_conf_nid(nullptr, nullptr, NID_subject_alt_name, "IP:127.0.0.1");
  X509_add_ext(cert.get(), names, -1);
  X509_EXTENSION_free(names);
  X509_sign(cert.get(), key.get(), EVP_sha256());
  return {.cert = TempFile(name + ".crt", PemOf([&](BIO* bio) { PEM_write_bio_X509(bio, cert.get()); })),
          .key = TempFile(name + ".key", PemOf([&](BIO* bio) {
                            PEM_write_bio_PrivateKey(bio, key.get(), nullptr, nullptr, 0, nullptr, nullptr);
                          }))};
}

TEST(RpcTest, ACallReachesTheServerAndStatusesCross) {
  TestService service;
  ASSERT_OK_AND_ASSIGN(const auto server, Server::Start({}, {&service}));
  ASSERT_OK_AND_ASSIGN(const auto client, Client::Create(server->address()));
  EXPECT_OK(Call(*client));
  service.answer = absl::ResourceExhaustedError("try later");
  EXPECT_STATUS(Call(*client), absl::StatusCode::kResourceExhausted, "try later");
  service.throws = true;
  EXPECT_STATUS(Call(*client), absl::StatusCode::kInternal, "thrown by the handler");
}

TEST(RpcTest, APortInUseIsAnErrorThatNamesTheAddress) {
  TestService service;
  ASSERT_OK_AND_ASSIGN(const auto first, Server::Start({}, {&service}));
  const int port = std::stoi(first->address().substr(first->address().rfind(':') + 1));
  EXPECT_STATUS(Server::Start({.port = port}, {&service}), absl::StatusCode::kAlreadyExists,
                absl::StrCat("port in use: another process listens on ", first->address()));
}

TEST(RpcTest, AnAddressThatIsNotOursIsAnError) {
  const Identity ours = MakeIdentity("ours");
  TestService service;
  // 192.0.2.0/24 is reserved for documentation.
  for (const char* host : {"192.0.2.1", "no such host"}) {
    EXPECT_STATUS(
        Server::Start({.host = host, .tls_cert = ours.cert, .tls_key = ours.key, .tls_ca = ours.cert}, {&service}),
        absl::StatusCode::kInvalidArgument, "host must be an address of this machine");
  }
}

TEST(RpcTest, ListensOffLoopbackOnlyWithTlsAndProofOfIdentity) {
  const std::string file = TempFile("pem", "-----BEGIN NOTHING-----\n");
  for (const ServerOptions& options : {
           ServerOptions{.host = "0.0.0.0"},
           ServerOptions{.host = "::"},
           ServerOptions{.host = "192.0.2.1", .token_file = file},
           ServerOptions{.host = "localhost.example.org"},
           ServerOptions{.host = "0.0.0.0", .tls_cert = file, .tls_key = file},
       }) {
    EXPECT_STATUS(Server::Start(options, {}), absl::StatusCode::kInvalidArgument, "or listen on 127.0.0.1");
  }
  EXPECT_STATUS(Server::Start({.tls_cert = file}, {}), absl::StatusCode::kInvalidArgument, "belong together");
  EXPECT_STATUS(Server::Start({.tls_ca = file}, {}), absl::StatusCode::kInvalidArgument, "needs tls_cert");
  EXPECT_STATUS(Server::Start({.tls_cert = "/no/such", .tls_key = file}, {}), absl::StatusCode::kInvalidArgument,
                "/no/such");
}

TEST(RpcTest, WithATokenOnlyItsHoldersMayCall) {
  const std::string right = TempFile("right", "sesame-123\n"), wrong = TempFile("wrong", "sesame-124");
  TestService service;
  ASSERT_OK_AND_ASSIGN(auto server, Server::Start({.token_file = right}, {&service}));
  ASSERT_OK_AND_ASSIGN(const auto holder, Client::Create(server->address(), {.token_file = right}));
  ASSERT_OK_AND_ASSIGN(const auto impostor, Client::Create(server->address(), {.token_file = wrong}));
  ASSERT_OK_AND_ASSIGN(const auto nobody, Client::Create(server->address()));
  EXPECT_OK(Call(*holder));
  EXPECT_STATUS(Call(*impostor), absl::StatusCode::kUnauthenticated, "wrong token");
  EXPECT_STATUS(Call(*nobody), absl::StatusCode::kUnauthenticated, "asks for a token");
  EXPECT_OK(CheckHealth(*nobody, kDeadline));

  // A second server of the process must not weaken the first; once it is gone another token may come.
  EXPECT_STATUS(Server::Start({}, {&service}), absl::StatusCode::kInvalidArgument, "another token");
  server.reset();
  ASSERT_OK_AND_ASSIGN(const auto open, Server::Start({}, {&service}));
  ASSERT_OK_AND_ASSIGN(const auto anybody, Client::Create(open->address()));
  EXPECT_OK(Call(*anybody));
}

TEST(RpcTest, ATokenMustBeOneWord) {
  for (const char* content : {"", " \n", "two words", "new\nline", "\xc3\xa4"}) {
    EXPECT_STATUS(Server::Start({.token_file = TempFile("bad", content)}, {}), absl::StatusCode::kInvalidArgument,
                  "one word");
  }
  EXPECT_STATUS(Server::Start({.token_file = "/no/such"}, {}), absl::StatusCode::kInvalidArgument, "/no/such");
}

TEST(RpcTest, HealthSaysServingThenUnavailable) {
  TestService service;
  ASSERT_OK_AND_ASSIGN(const auto server, Server::Start({}, {&service}));
  ASSERT_OK_AND_ASSIGN(const auto client, Client::Create(server->address()));
  EXPECT_OK(CheckHealth(*client, kDeadline));
  server->Shutdown();
  server->Shutdown();
  EXPECT_STATUS(CheckHealth(*client, kDeadline), absl::StatusCode::kUnavailable, server->address());
}

TEST(RpcTest, ReflectionIsAnOptionOfEachServer) {
  TestService service;
  ASSERT_OK_AND_ASSIGN(const auto closed, Server::Start({}, {&service}));
  ASSERT_OK_AND_ASSIGN(const auto open, Server::Start({.reflection = true}, {&service}));
  const auto probe = [](const Server& server) {
    const std::shared_ptr<Client> client = *Client::Create(server.address());
    CallContext context(*client, kDeadline);
    // Any method of the service: its absence is told apart from an unknown service by no code, so call the real one, a
    // stream.
    grpc::internal::RpcMethod method("/grpc.reflection.v1alpha.ServerReflection/ServerReflectionInfo",
                                     grpc::internal::RpcMethod::BIDI_STREAMING, client->channel());
    const std::unique_ptr<grpc::ClientReaderWriter<v1::ListRulesRequest, v1::ListRulesRequest>> stream(
        grpc::internal::ClientReaderWriterFactory<v1::ListRulesRequest, v1::ListRulesRequest>::Create(
            client->channel().get(), method, &context));
    stream->WritesDone();
    return FromGrpc(stream->Finish());
  };
  EXPECT_OK(probe(*open));
  EXPECT_EQ(probe(*closed).code(), absl::StatusCode::kUnimplemented);
}

TEST(ClientTest, RefusesWhatCannotWork) {
  for (const char* address : {"", "host", ":7000", "host:", "host:0", "host:70000", "host:x"}) {
    EXPECT_STATUS(Client::Create(address), absl::StatusCode::kInvalidArgument, "HOST:PORT");
  }
  const std::string file = TempFile("token", "word");
  EXPECT_STATUS(Client::Create("192.0.2.1:7000", {.token_file = file}), absl::StatusCode::kInvalidArgument,
                "in the clear");
  EXPECT_STATUS(Client::Create("127.0.0.1:7000", {.tls_cert = file, .tls_key = file}),
                absl::StatusCode::kInvalidArgument, "tls_ca");
  EXPECT_STATUS(Client::Create("127.0.0.1:7000", {.tls_ca = file}), absl::StatusCode::kInvalidArgument,
                "is not a PEM file");
}

TEST(ClientTest, EveryCallHasADeadline) {
  const std::shared_ptr<Client> client = *Client::Create("127.0.0.1:1");
  for (const absl::Duration deadline : {absl::Minutes(1), absl::InfiniteDuration()}) {
    CallContext context(*client, deadline);
    EXPECT_GT(context.deadline(), std::chrono::system_clock::now());
    EXPECT_LT(context.deadline(), std::chrono::system_clock::now() + std::chrono::hours(24 * 366));
  }
}

TEST(BackoffTest, DoublesWithinItsBoundsAndStartsAgain) {
  Backoff backoff;
  for (int round = 0; round < 2; ++round) {
    absl::Duration full = absl::Milliseconds(100);
    for (int i = 0; i < 100; ++i) {
      const absl::Duration delay = backoff.Next();
      EXPECT_GE(delay, full / 2);
      EXPECT_LE(delay, full);
      full = std::min(full * 2, absl::Seconds(5));
    }
    backoff.Reset();
  }
}

TEST(TlsTest, WithAnAuthorityOnlyItsCertificatesMayCall) {
  const Identity ours = MakeIdentity("ours"), other = MakeIdentity("other");
  TestService service;
  ASSERT_OK_AND_ASSIGN(const auto server,
                       Server::Start({.tls_cert = ours.cert, .tls_key = ours.key, .tls_ca = ours.cert}, {&service}));
  const auto call = [&](const ClientOptions& options) {
    const std::shared_ptr<Client> client = *Client::Create(server->address(), options);
    return Call(*client);
  };
  EXPECT_OK(call({.tls_ca = ours.cert, .tls_cert = ours.cert, .tls_key = ours.key}));
  EXPECT_EQ(call({.tls_ca = ours.cert}).code(), absl::StatusCode::kUnavailable);
  EXPECT_EQ(call({.tls_ca = ours.cert, .tls_cert = other.cert, .tls_key = other.key}).code(),
            absl::StatusCode::kUnavailable);
  EXPECT_EQ(call({.tls_ca = other.cert, .tls_cert = ours.cert, .tls_key = ours.key}).code(),
            absl::StatusCode::kUnavailable);
  EXPECT_EQ(call({}).code(), absl::StatusCode::kUnavailable);
}

TEST(TlsTest, ACertificateAndAnotherOnesKeyAreRefused) {
  const Identity ours = MakeIdentity("ours"), other = MakeIdentity("other");
  TestService service;
  EXPECT_STATUS(Server::Start({.tls_cert = ours.cert, .tls_key = other.key}, {&service}),
                absl::StatusCode::kInvalidArgument, "private key that belongs to it");
}

TEST(TlsTest, ServesOffLoopbackWithClientCertificates) {
  const Identity ours = MakeIdentity("ours");
  TestService service;
  ASSERT_OK_AND_ASSIGN(
      const auto server,
      Server::Start({.host = "0.0.0.0", .tls_cert = ours.cert, .tls_key = ours.key, .tls_ca = ours.cert}, {&service}));
  const std::string port = server->address().substr(server->address().rfind(':'));
  ASSERT_OK_AND_ASSIGN(
      const auto client,
      Client::Create("127.0.0.1" + port, {.tls_ca = ours.cert, .tls_cert = ours.cert, .tls_key = ours.key}));
  EXPECT_OK(Call(*client));
}

// A method with a field that can be wrong.
class PauseService : public v1::TrainerService::Service {
 public:
  grpc::Status Pause(grpc::ServerContext* context, const v1::PauseRequest* request, v1::ControlResponse*) override {
    return Handle(context, *request, [&]() -> absl::Status {
      ++num_taken;
      return absl::InvalidArgumentError(std::string(100'000, '\xff'));
    });
  }
  int num_taken = 0;
};

TEST(RpcTest, ARequestIsCheckedBeforeTheHandlerSeesItAndMessagesFitTheMetadata) {
  PauseService service;
  ASSERT_OK_AND_ASSIGN(const auto server, Server::Start({}, {&service}));
  ASSERT_OK_AND_ASSIGN(const auto client, Client::Create(server->address()));
  const auto stub = v1::TrainerService::NewStub(client->channel());
  const auto pause = [&](size_t num_bytes) {
    CallContext context(*client, kDeadline);
    v1::PauseRequest request;
    request.set_reason(std::string(num_bytes, 'r'));
    v1::ControlResponse response;
    return FromGrpc(stub->Pause(&context, request, &response));
  };
  EXPECT_STATUS(pause(100'000), absl::StatusCode::kInvalidArgument, "reason has 100000 bytes");
  EXPECT_EQ(service.num_taken, 0);
  EXPECT_STATUS(pause(1), absl::StatusCode::kInvalidArgument, "\xEF\xBF\xBD");
  EXPECT_EQ(service.num_taken, 1);
  // Trying again would not make it smaller, as RESOURCE_EXHAUSTED says to callers.
  EXPECT_STATUS(pause(5'000'000), absl::StatusCode::kInvalidArgument, "message larger than max");
}

// ListRules is answered when the call was cancelled or its time is over.
class PatientService : public v1::RewardService::Service {
 public:
  grpc::Status ListRules(grpc::ServerContext* context, const v1::ListRulesRequest*, v1::ListRulesResponse*) override {
    return Handle(context, [&]() -> absl::Status {
      time_left = TimeLeft(*context);
      called.Notify();
      while (!context->IsCancelled()) absl::SleepFor(absl::Milliseconds(1));
      return absl::OkStatus();
    });
  }
  // As the call began.
  absl::Duration time_left;
  Notification called;
};

// The last tests here: the wall clock is ahead, and gRPC's timers, which wait by it (issue 18, attack 38), last for an
// hour.
constexpr absl::Duration kStep = absl::Hours(1), kFarFromIt = absl::Minutes(1);

TEST(WallClockTest, ACallEndsAtItsDeadlineWhateverItSays) {
  PatientService service;
  ASSERT_OK_AND_ASSIGN(const auto server, Server::Start({}, {&service}));
  ASSERT_OK_AND_ASSIGN(const auto client, Client::Create(server->address()));
  const auto stub = v1::RewardService::NewStub(client->channel());
  const WallClockStep ahead(kStep);
  const absl::Duration begin = Clock::Real().Now(), deadline = absl::Seconds(5);
  CallContext context(*client, deadline);
  v1::ListRulesResponse response;
  const grpc::Status ended = context.Ended(stub->ListRules(&context, v1::ListRulesRequest(), &response));
  EXPECT_EQ(ended.error_code(), grpc::StatusCode::DEADLINE_EXCEEDED) << ended.error_message();
  EXPECT_LT(Clock::Real().Now() - begin, kFarFromIt);
  ASSERT_TRUE(service.called.WaitFor(kFarFromIt));
  // gRPC rounds it up on its way.
  EXPECT_LT(service.time_left, kFarFromIt);
}

TEST(WallClockTest, AServerStopsAfterItsGraceWhateverItSays) {
  PatientService service;
  ASSERT_OK_AND_ASSIGN(const auto server, Server::Start({}, {&service}));
  ASSERT_OK_AND_ASSIGN(const auto client, Client::Create(server->address()));
  const WallClockStep ahead(kStep);
  std::thread caller([&] {
    CallContext context(*client, 2 * kFarFromIt);
    v1::ListRulesResponse response;
    const auto stub = v1::RewardService::NewStub(client->channel());
    EXPECT_FALSE(stub->ListRules(&context, v1::ListRulesRequest(), &response).ok());
  });
  EXPECT_TRUE(service.called.WaitFor(kFarFromIt));
  const absl::Duration begin = Clock::Real().Now();
  server->Shutdown(absl::Milliseconds(200));
  caller.join();
  EXPECT_LT(Clock::Real().Now() - begin, kFarFromIt);
}

TEST(WallClockTest, AServerThatIsBackIsFoundWhateverItSays) {
  TestService service;
  ASSERT_OK_AND_ASSIGN(auto server, Server::Start({}, {&service}));
  const int port = std::stoi(server->address().substr(server->address().rfind(':') + 1));
  ASSERT_OK_AND_ASSIGN(const auto client, Client::Create(server->address()));
  ASSERT_OK(Call(*client));
  const WallClockStep ahead(kStep);
  server.reset();
  const absl::Duration begin = Clock::Real().Now();
  // By the last of these the channel waits before it connects again.
  while (Clock::Real().Now() - begin < absl::Milliseconds(500)) {
    EXPECT_EQ(Call(*client).code(), absl::StatusCode::kUnavailable);
    absl::SleepFor(absl::Milliseconds(10));
  }
  ASSERT_OK_AND_ASSIGN(server, Server::Start({.port = port}, {&service}));
  while (!Call(*client).ok() && Clock::Real().Now() - begin < kFarFromIt) absl::SleepFor(absl::Milliseconds(10));
  EXPECT_LT(Clock::Real().Now() - begin, kFarFromIt);
}

}  // namespace
}  // namespace grpo::rpc
