// Credentials of servers and channels from the PEM files of their options. Thread-safe.
//
// The files are read again while the process runs, so certificates are renewed without a restart; a pair that does not
// fit together counts once it does. What a connection was made with lasts as long as the connection.
//
//   who looks        when                              at what
//   server           at the handshake's end, before    the caller's certificate: signed by tls_ca, within its time
//                    anything else is read             (CheckCaller of certificates.h)
//   server           before each call of each method   its role (roles.inc); only where the certificate names one
//   client           at the handshake's end            OpenSSL: the server's certificate is signed by tls_ca and for
//                                                      servers. Then the host's name
//
// A server of the caller's own run whose certificate names no host is taken from any host: where machines are given out
// by a queue, nobody knows their names beforehand.
#ifndef GRPO_COMMON_RPC_TLS_H_
#define GRPO_COMMON_RPC_TLS_H_

#include <memory>

#include "absl/status/statusor.h"
#include "common/rpc/options.h"
#include "grpcpp/security/credentials.h"
#include "grpcpp/security/server_credentials.h"

namespace grpo::rpc {

// Without tls_cert, of a server that speaks no TLS. InvalidArgument, naming the key and the file, for files that cannot
// be read, that hold no whole certificates, or whose private key does not belong to the certificate. Refused callers are
// counted (refusals.h).
absl::StatusOr<std::shared_ptr<grpc::ServerCredentials>> MakeServerCredentials(const ServerOptions& options);

// Without tls_ca, of a channel that speaks no TLS. InvalidArgument as above, and for options that do not fit together.
// Channels of the same files share what reads them.
absl::StatusOr<std::shared_ptr<grpc::ChannelCredentials>> MakeChannelCredentials(const ClientOptions& options);

}  // namespace grpo::rpc

#endif  // GRPO_COMMON_RPC_TLS_H_
