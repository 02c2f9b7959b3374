// How clients and servers are set up. Plain data, without gRPC: configurations hold it.
#ifndef GRPO_COMMON_RPC_OPTIONS_H_
#define GRPO_COMMON_RPC_OPTIONS_H_

#include <string>

namespace grpo::rpc {

// How a caller proves itself, and whom it believes. All empty: no token, no TLS.
struct ClientOptions {
  // File whose content is sent as `authorization: Bearer ...`; empty sends none.
  std::string token_file = {};
  // PEM files. With a ca the channel speaks TLS; cert and key are for servers that ask for them.
  std::string tls_ca = {}, tls_cert = {}, tls_key = {};

  bool operator==(const ClientOptions&) const = default;
};

// Key by key `own` where it says something, `others` where it does not. Pure.
inline ClientOptions OrElse(ClientOptions own, const ClientOptions& others) {
  if (own.token_file.empty()) own.token_file = others.token_file;
  if (own.tls_ca.empty()) own.tls_ca = others.tls_ca;
  if (own.tls_cert.empty()) own.tls_cert = others.tls_cert;
  if (own.tls_key.empty()) own.tls_key = others.tls_key;
  return own;
}

// Where a server listens and whom it lets in.
struct ServerOptions {
  // Anything but loopback needs TLS, and a token or client certificates: refused otherwise (docs/design.md law 9).
  std::string host = "127.0.0.1";
  // 0 lets the system choose. At most 65535.
  int port = 0;
  // Serves the reflection service, for grpcurl and the like.
  bool reflection = false;
  // File whose content every caller must send as `authorization: Bearer ...`; empty asks for none. Health is always
  // open.
  std::string token_file = {};
  // PEM files. With cert and key the port speaks TLS; with ca too a client must present a certificate it signed.
  std::string tls_cert = {}, tls_key = {}, tls_ca = {};
};

}  // namespace grpo::rpc

#endif  // GRPO_COMMON_RPC_OPTIONS_H_
