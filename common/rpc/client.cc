#include "common/rpc/client.h"

#include <grpc/support/time.h>

#include <algorithm>
#include <cmath>

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "common/clock.h"
#include "common/rpc/credentials.h"
#include "common/rpc/grpc_log.h"
#include "common/rpc/health.grpc.pb.h"
#include "common/rpc/settings.h"
#include "common/rpc/status.h"
#include "common/status_macros.h"
#include "common/thread.h"

namespace grpo::rpc {
namespace {

constexpr int kInitialReconnectMs = 100;
// Also the longest that one attempt to connect may take.
constexpr int kMinReconnectMs = 2'000;
constexpr int kMaxReconnectMs = 5'000;
// A name is looked up again when the connection is lost, but not more often.
constexpr int kMinLookUpMs = 1'000;
// A channel that has had no connection for so long has waited longer than its backoff and an attempt may take.
constexpr absl::Duration kOverdue = absl::Milliseconds(2 * kMaxReconnectMs);
// Keeps the sum with the present time in range.
constexpr absl::Duration kMaxDeadline = absl::Hours(24 * 365);

// gRPC's synchronous calls see to the process's connections only while they wait, and one that finds none ends at once.
// So a process that serves nothing and tries now and then might not get through a handshake of several exchanges (TLS)
// within the time that an attempt has, again and again, for ever. One thread that waits for nothing sees to them all; it
// lives as long as the process.
void KeepConnectionsMoving() {
  static const bool started = [] {
    auto* const queue = new grpc::CompletionQueue;
    StartThread("the watch over connections", [queue] {
      void* tag = nullptr;
      bool ok = false;
      queue->Next(&tag, &ok);
    }).detach();
    return true;
  }();
  static_cast<void>(started);
}

// The HOST of "HOST:PORT".
absl::StatusOr<absl::string_view> HostOf(absl::string_view address) {
  const size_t colon = address.rfind(':');
  int port = 0;
  if (colon == absl::string_view::npos || colon == 0 || !absl::SimpleAtoi(address.substr(colon + 1), &port) ||
      port < 1 || port > 65535) {
    return absl::InvalidArgumentError(
        absl::StrCat("address \"", address, "\" is not HOST:PORT, such as 127.0.0.1:7000"));
  }
  return address.substr(0, colon);
}

absl::StatusOr<std::shared_ptr<grpc::ChannelCredentials>> MakeCredentials(const ClientOptions& options) {
  if (options.tls_cert.empty() != options.tls_key.empty() || (options.tls_ca.empty() && !options.tls_cert.empty())) {
    return absl::InvalidArgumentError(
        "TLS needs tls_ca (who signed the server's certificate); tls_cert and tls_key come together and beside it");
  }
  if (options.tls_ca.empty()) return grpc::InsecureChannelCredentials();
  grpc::SslCredentialsOptions ssl;
  ASSIGN_OR_RETURN(ssl.pem_root_certs, ReadPem("tls_ca", options.tls_ca));
  ASSIGN_OR_RETURN(ssl.pem_cert_chain, ReadPem("tls_cert", options.tls_cert));
  ASSIGN_OR_RETURN(ssl.pem_private_key, ReadPem("tls_key", options.tls_key));
  return grpc::SslCredentials(ssl);
}

grpc::ChannelArguments MakeArguments() {
  grpc::ChannelArguments arguments;
  arguments.SetInt(GRPC_ARG_KEEPALIVE_TIME_MS, kKeepaliveTimeMs);
  arguments.SetInt(GRPC_ARG_KEEPALIVE_TIMEOUT_MS, kKeepaliveTimeoutMs);
  arguments.SetInt(GRPC_ARG_KEEPALIVE_PERMIT_WITHOUT_CALLS, 1);
  // Without it keepalive stops after two pings on a channel that sends no data.
  arguments.SetInt(GRPC_ARG_HTTP2_MAX_PINGS_WITHOUT_DATA, 0);
  arguments.SetInt(GRPC_ARG_INITIAL_RECONNECT_BACKOFF_MS, kInitialReconnectMs);
  arguments.SetInt(GRPC_ARG_MIN_RECONNECT_BACKOFF_MS, kMinReconnectMs);
  arguments.SetInt(GRPC_ARG_MAX_RECONNECT_BACKOFF_MS, kMaxReconnectMs);
  // gRPC's own half a minute is long for a machine that came back under another address.
  arguments.SetInt(GRPC_ARG_DNS_MIN_TIME_BETWEEN_RESOLUTIONS_MS, kMinLookUpMs);
  // A connection of its own for each client: heartbeats must not queue behind a transfer of weights.
  arguments.SetInt(GRPC_ARG_USE_LOCAL_SUBCHANNEL_POOL, 1);
  // The environment's http_proxy is meant for the web.
  arguments.SetInt(GRPC_ARG_ENABLE_HTTP_PROXY, 0);
  arguments.SetMaxReceiveMessageSize(kMaxMessageBytes);
  arguments.SetMaxSendMessageSize(kMaxMessageBytes);
  return arguments;
}

}  // namespace

absl::StatusOr<std::shared_ptr<Client>> Client::Create(const std::string& address, const ClientOptions& options) {
  RouteGrpcLog();
  ASSIGN_OR_RETURN(const absl::string_view host, HostOf(address));
  ASSIGN_OR_RETURN(const std::string token, ReadToken(options.token_file));
  if (!token.empty() && options.tls_ca.empty() && !IsLoopback(host)) {
    return absl::InvalidArgumentError(
        absl::StrCat("the token would cross the network to ", address, " in the clear; give tls_ca, or no token_file"));
  }
  ASSIGN_OR_RETURN(const std::shared_ptr<grpc::ChannelCredentials> credentials, MakeCredentials(options));
  auto client = std::make_shared<Client>();
  client->address_ = address;
  if (!token.empty()) client->bearer_ = absl::StrCat(kTokenPrefix, token);
  client->channel_ = grpc::CreateCustomChannel(address, credentials, MakeArguments());
  KeepConnectionsMoving();
  return client;
}

void Client::ConnectIfOverdue() const {
  const bool failing = channel_->GetState(/*try_to_connect=*/false) == GRPC_CHANNEL_TRANSIENT_FAILURE;
  const absl::Duration now = Clock::Real().Now();
  {
    MutexLock lock(&mutex_);
    failing_since_ = failing ? std::min(failing_since_, now) : absl::InfiniteDuration();
    if (now - failing_since_ < kOverdue) return;
    failing_since_ = now;
  }
  grpc::experimental::ChannelResetConnectionBackoff(channel_.get());
}

CallContext::CallContext(const Client& client, absl::Duration deadline)
    : alarm_(std::min(deadline, kMaxDeadline) + absl::Milliseconds(kLatenessMs), [this] {
        overdue_ = true;
        TryCancel();
      }) {
  client.ConnectIfOverdue();
  const absl::Duration bounded = std::clamp(deadline, absl::ZeroDuration(), kMaxDeadline);
  set_deadline(gpr_time_add(gpr_now(GPR_CLOCK_MONOTONIC),
                            gpr_time_from_millis(absl::ToInt64Milliseconds(bounded), GPR_TIMESPAN)));
  if (!client.bearer_.empty()) AddMetadata(kTokenKey, client.bearer_);
}

grpc::Status CallContext::Ended(const grpc::Status& status) const {
  if (status.error_code() != grpc::StatusCode::CANCELLED || !overdue_) return status;
  return {grpc::StatusCode::DEADLINE_EXCEEDED, "Deadline Exceeded"};
}

absl::Duration Backoff::Next() {
  constexpr absl::Duration kFirst = absl::Milliseconds(100), kLongest = absl::Seconds(5);
  const absl::Duration full = std::min(kFirst * std::ldexp(1.0, std::min(attempt_, 30)), kLongest);
  ++attempt_;
  // Unseeded on purpose: the clients of a server that comes back must not all call at once.
  const double scale = std::uniform_real_distribution<double>(0.5, 1.0)(random_);
  return full * scale;
}

absl::Status CheckHealth(const Client& client, absl::Duration deadline) {
  const auto stub = ::grpc::health::v1::Health::NewStub(client.channel());
  CallContext context(client, deadline);
  ::grpc::health::v1::HealthCheckResponse response;
  const grpc::Status status = context.Ended(stub->Check(&context, ::grpc::health::v1::HealthCheckRequest(), &response));
  if (!status.ok()) {
    return absl::UnavailableError(absl::StrCat(client.address(), " cannot be reached: ", status.error_message()));
  }
  if (response.status() != ::grpc::health::v1::HealthCheckResponse::SERVING) {
    return absl::UnavailableError(
        absl::StrCat(client.address(), " is there but not serving: it is starting or shutting down"));
  }
  return absl::OkStatus();
}

}  // namespace grpo::rpc
