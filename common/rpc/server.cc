#include "common/rpc/server.h"

#include <grpc/grpc.h>
#include <grpc/support/time.h>
#include <netdb.h>
#include <openssl/crypto.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cerrno>
#include <chrono>
#include <cstring>

#include "absl/base/thread_annotations.h"
#include "absl/cleanup/cleanup.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/strip.h"
#include "absl/synchronization/mutex.h"
#include "common/alarm.h"
#include "common/rpc/credentials.h"
#include "common/rpc/grpc_log.h"
#include "common/rpc/refusals.h"
#include "common/rpc/settings.h"
#include "common/rpc/tls.h"
#include "common/status_macros.h"
#include "grpcpp/ext/proto_server_reflection_plugin.h"
#include "grpcpp/health_check_service_interface.h"
#include "grpcpp/impl/server_builder_option.h"
#include "grpcpp/impl/server_builder_plugin.h"

namespace grpo::rpc {
namespace {

constexpr int kMaxMetadataBytes = 8 << 10;
constexpr int kMaxStreamsPerConnection = 128;
constexpr size_t kMaxMemoryBytes = size_t{1} << 30;
// A call of the synchronous API holds a thread; calls beyond this are answered ResourceExhausted. What the methods
// whose calls last may take of it (CallLimit) must leave room for those that do not: of trainer and coordinator
// together some 170.
constexpr int kMaxThreads = 1024;
constexpr int kHandshakeTimeoutMs = 10'000;

// The token that this process asks for, shared by its live servers.
class ProcessToken {
 public:
  static ProcessToken& Get() {
    static ProcessToken* token = new ProcessToken;
    return *token;
  }

  absl::Status Acquire(const std::string& token) {
    absl::MutexLock lock(&mutex_);
    if (num_servers_ > 0 && token != token_) {
      return absl::InvalidArgumentError(
          "token_file: another server of this process asks for another token; give all the same");
    }
    token_ = token;
    ++num_servers_;
    return absl::OkStatus();
  }

  void Release() {
    absl::MutexLock lock(&mutex_);
    --num_servers_;
  }

  bool Accepts(absl::string_view token) const {
    absl::ReaderMutexLock lock(&mutex_);
    if (token_.empty()) return true;
    return token.size() == token_.size() && CRYPTO_memcmp(token.data(), token_.data(), token.size()) == 0;
  }

 private:
  mutable absl::Mutex mutex_;
  std::string token_ ABSL_GUARDED_BY(mutex_);
  int num_servers_ ABSL_GUARDED_BY(mutex_) = 0;
};

// What makes the address safe to listen on (docs/design.md law 9).
absl::Status CheckExposure(const ServerOptions& options) {
  if (options.tls_cert.empty() != options.tls_key.empty()) {
    return absl::InvalidArgumentError("tls_cert and tls_key belong together: give both or neither");
  }
  if (!options.tls_ca.empty() && options.tls_cert.empty()) {
    return absl::InvalidArgumentError("tls_ca asks callers for certificates, which needs tls_cert and tls_key as well");
  }
  if (IsLoopback(options.host)) return absl::OkStatus();
  if (options.tls_cert.empty() || (options.tls_ca.empty() && options.token_file.empty())) {
    return absl::InvalidArgumentError(absl::StrCat(
        "host ", options.host,
        " can be reached from other machines: it needs tls_cert and tls_key, and tls_ca or token_file so that "
        "callers prove themselves, or --tls-dir with certificates that `grpoctl certificates` made for this run; or "
        "listen on 127.0.0.1"));
  }
  return absl::OkStatus();
}

// Linking the reflection library serves it everywhere; this makes it an option of each server.
class ReflectionSwitch : public grpc::ServerBuilderOption {
 public:
  explicit ReflectionSwitch(bool on) : on_(on) {}
  void UpdateArguments(grpc::ChannelArguments* arguments) override {}
  void UpdatePlugins(std::vector<std::unique_ptr<grpc::ServerBuilderPlugin>>* plugins) override {
    auto reflection = std::make_unique<grpc::reflection::ProtoServerReflectionPlugin>();
    std::erase_if(*plugins, [&](const auto& plugin) { return plugin->name() == reflection->name(); });
    if (on_) plugins->push_back(std::move(reflection));
  }

 private:
  const bool on_;
};

void Configure(grpc::ServerBuilder& builder) {
  // With SO_REUSEPORT a second server would silently share the port.
  builder.AddChannelArgument(GRPC_ARG_ALLOW_REUSEPORT, 0);
  builder.AddChannelArgument(GRPC_ARG_KEEPALIVE_TIME_MS, kKeepaliveTimeMs);
  builder.AddChannelArgument(GRPC_ARG_KEEPALIVE_TIMEOUT_MS, kKeepaliveTimeoutMs);
  builder.AddChannelArgument(GRPC_ARG_KEEPALIVE_PERMIT_WITHOUT_CALLS, 1);
  builder.AddChannelArgument(GRPC_ARG_HTTP2_MIN_RECV_PING_INTERVAL_WITHOUT_DATA_MS, kMinPingIntervalMs);
  builder.AddChannelArgument(GRPC_ARG_MAX_METADATA_SIZE, kMaxMetadataBytes);
  builder.AddChannelArgument(GRPC_ARG_MAX_CONCURRENT_STREAMS, kMaxStreamsPerConnection);
  builder.AddChannelArgument(GRPC_ARG_SERVER_HANDSHAKE_TIMEOUT_MS, kHandshakeTimeoutMs);
  builder.SetMaxReceiveMessageSize(kMaxMessageBytes);
  builder.SetMaxSendMessageSize(kMaxMessageBytes);
  builder.SetResourceQuota(grpc::ResourceQuota("server").Resize(kMaxMemoryBytes).SetMaxThreads(kMaxThreads));
}

// gRPC says only that it could not listen; binding once more tells why.
absl::Status WhyNotListening(const ServerOptions& options, const std::string& address) {
  addrinfo hints{};
  hints.ai_flags = AI_PASSIVE;
  hints.ai_socktype = SOCK_STREAM;
  addrinfo* found = nullptr;
  const int lookup = getaddrinfo(options.host.c_str(), absl::StrCat(options.port).c_str(), &hints, &found);
  if (lookup != 0) {
    return absl::InvalidArgumentError(absl::StrCat("cannot listen on ", address, ": ", gai_strerror(lookup),
                                                   "; host must be an address of this machine"));
  }
  const absl::Cleanup free_found = [found] { freeaddrinfo(found); };
  const int fd = socket(found->ai_family, found->ai_socktype, found->ai_protocol);
  const absl::Cleanup close_fd = [fd] { close(fd); };
  const int reuse = 1;  // As gRPC does: a port in TIME_WAIT is free.
  setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &reuse, sizeof(reuse));
  if (bind(fd, found->ai_addr, found->ai_addrlen) != 0 || listen(fd, 1) != 0) {
    const int error = errno;
    if (error == EADDRINUSE) {
      return absl::AlreadyExistsError(
          absl::StrCat("port in use: another process listens on ", address,
                       "; stop it, choose another port, or let the system choose with port 0"));
    }
    return absl::InvalidArgumentError(
        absl::StrCat("cannot listen on ", address, ": ", std::strerror(error),
                     "; host must be an address of this machine, and ports below 1024 need root"));
  }
  return absl::InvalidArgumentError(
      absl::StrCat("cannot serve on ", address,
                   options.tls_cert.empty()
                       ? ": gRPC gave no reason, its own lines on stderr may"
                       : ": tls_cert and tls_key must be a PEM certificate and the private key that belongs to it"));
}

}  // namespace

absl::StatusOr<std::unique_ptr<Server>> Server::Start(const ServerOptions& options,
                                                      const std::vector<grpc::Service*>& services) {
  RETURN_IF_ERROR(CheckExposure(options));
  ASSIGN_OR_RETURN(const std::string token, ReadToken(options.token_file));
  ASSIGN_OR_RETURN(const std::shared_ptr<grpc::ServerCredentials> credentials, MakeServerCredentials(options));
  RETURN_IF_ERROR(ProcessToken::Get().Acquire(token));
  // From here on the destructor releases the token.
  std::unique_ptr<Server> server(new Server);

  RouteGrpcLog();
  grpc::EnableDefaultHealthCheckService(true);
  grpc::ServerBuilder builder;
  Configure(builder);
  builder.SetOption(std::make_unique<ReflectionSwitch>(options.reflection));
  const std::string host = absl::StrContains(options.host, ':') && options.host[0] != '['
                               ? absl::StrCat("[", options.host, "]")
                               : options.host;
  int port = 0;
  const std::string wanted = absl::StrCat(host, ":", options.port);
  builder.AddListeningPort(wanted, credentials, &port);
  for (grpc::Service* service : services) builder.RegisterService(service);
  server->server_ = builder.BuildAndStart();
  if (server->server_ == nullptr || port == 0) return WhyNotListening(options, wanted);
  server->address_ = absl::StrCat(host, ":", port);
  return server;
}

void Server::Shutdown(absl::Duration grace) {
  if (server_ == nullptr) return;
  server_->GetHealthCheckService()->Shutdown();
  // gRPC waits for the grace by the wall clock: where that was set back, the alarm does what comes after it.
  const Alarm over(grace + absl::Milliseconds(kLatenessMs),
                   [this] { grpc_server_cancel_all_calls(server_->c_server()); });
  server_->Shutdown(
      gpr_time_add(gpr_now(GPR_CLOCK_MONOTONIC), gpr_time_from_millis(absl::ToInt64Milliseconds(grace), GPR_TIMESPAN)));
}

Server::~Server() {
  Shutdown();
  server_.reset();
  ProcessToken::Get().Release();
}

absl::Duration TimeLeft(const grpc::ServerContextBase& context) {
  const gpr_timespec deadline = context.raw_deadline();
  if (gpr_time_cmp(deadline, gpr_inf_future(deadline.clock_type)) == 0) return absl::InfiniteDuration();
  // gRPC keeps it by the monotonic clock.
  const gpr_timespec left = gpr_time_sub(deadline, gpr_now(deadline.clock_type));
  return absl::Seconds(left.tv_sec) + absl::Nanoseconds(left.tv_nsec);
}

absl::Status CheckToken(const grpc::ServerContextBase& context) {
  absl::string_view token;
  const auto found = context.client_metadata().find(kTokenKey);
  const bool missing = found == context.client_metadata().end();
  if (!missing) {
    token = absl::string_view(found->second.data(), found->second.size());
    if (!absl::ConsumePrefix(&token, kTokenPrefix)) token = "";
  }
  if (ProcessToken::Get().Accepts(token)) return absl::OkStatus();
  const char* const why = missing ? "this server asks for a token; give its file with --token-file"
                                  : "wrong token; --token-file must name a copy of the server's token_file";
  Refusals::OfProcess().Count(missing ? Refusal::kMissingToken : Refusal::kWrongToken, context.peer(), why);
  return absl::UnauthenticatedError(why);
}

}  // namespace grpo::rpc
