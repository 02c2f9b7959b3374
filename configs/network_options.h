// Where the processes listen, and how callers prove themselves.
#ifndef GRPO_CONFIGS_NETWORK_OPTIONS_H_
#define GRPO_CONFIGS_NETWORK_OPTIONS_H_

#include <string>

#include "common/rpc/options.h"
#include "configs/visit.h"

namespace grpo {

// `network`: where the processes listen, and how callers prove themselves. Plain data; which of it fits together is
// checked by rpc::Server::Start and rpc::Client::Create.
struct NetworkOptions {
  std::string host = "127.0.0.1";
  std::string advertise_host;
  int64_t trainer_port = 0;
  int64_t rendezvous_port = 0;
  bool reflection = false;
  std::string token_file;
  std::string tls_cert, tls_key, tls_ca;
  std::string private_interface;

  template <class V>
  void Visit(V& v) {
    v("host", host,
      {.help = "Address that every server of the run binds to; anything but loopback needs TLS, and token_file or "
               "tls_ca."});
    v("advertise_host", advertise_host,
      {.help =
           "Name or address under which others reach the servers of this machine, where that is not `host`; empty: "
           "`host`, or the machine's host name where `host` is 0.0.0.0. Of several machines each is told its own by "
           "--advertise-host."});
    v("trainer_port", trainer_port,
      {.help = "Port of the trainer's services (Coordinator, TrainerService, health); 0 lets the system choose, "
               "endpoint.json tells.",
       .min = 0,
       .max = 65535});
    v("rendezvous_port", rendezvous_port,
      {.help =
           "Port of rank 0's machine at which the trainer's ranks meet (MASTER_PORT); 0: `grpoctl run` takes a free "
           "one. Ranks on several machines need one that is known.",
       .min = 0,
       .max = 65535});
    v("reflection", reflection, {.help = "Serve gRPC reflection, for tools such as grpcurl."});
    v("token_file", token_file,
      {.help = "File whose content every caller must send as a bearer token; empty asks for none."});
    v("tls_cert", tls_cert, {.help = "PEM certificate of the servers; with tls_key, every port speaks TLS."});
    v("tls_key", tls_key, {.help = "PEM private key that belongs to tls_cert."});
    v("tls_ca", tls_ca,
      {.help = "PEM certificate authority; with it, callers must present a certificate that it signed."});
    v("private_interface", private_interface,
      {.help =
           "Network interface (eth1) over which trainer ranks on several machines talk. That traffic has neither "
           "encryption nor authentication, so the network must be private. Empty: loopback, ranks on one machine."});
  }

  // What a server of this process listens with; `port` 0 lets the system choose.
  rpc::ServerOptions ServerOptions(int64_t port) const {
    return {.host = host,
            .port = static_cast<int>(port),
            .reflection = reflection,
            .token_file = token_file,
            .tls_cert = tls_cert,
            .tls_key = tls_key,
            .tls_ca = tls_ca};
  }
  // How the run's own processes call each other's servers. Without tls_ca they believe tls_cert itself (a self-signed
  // one), and with TLS they present tls_cert.
  rpc::ClientOptions ClientOptions() const {
    // Our own processes present the servers' certificate to each other.
    if (tls_cert.empty()) return {.token_file = token_file};
    return {.token_file = token_file,
            .tls_ca = tls_ca.empty() ? tls_cert : tls_ca,
            .tls_cert = tls_cert,
            .tls_key = tls_key};
  }
};

}  // namespace grpo

#endif  // GRPO_CONFIGS_NETWORK_OPTIONS_H_
