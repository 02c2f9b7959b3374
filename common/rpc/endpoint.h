// Where a process serves, as a file that it writes once calls are answered. Thread-safe.
//
//   RUN/endpoint.json           of the trainer's rank 0: client verbs and launchers find the run by it; removed at the
//                               trainer's end
//   RUN/endpoints/<name>.json   of a reward server (--endpoint-file), for whoever watches it
#ifndef GRPO_COMMON_RPC_ENDPOINT_H_
#define GRPO_COMMON_RPC_ENDPOINT_H_

#include <cstdint>
#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "common/rpc/options.h"

namespace grpo {

// Where a process serves, as it says in a file.
struct Endpoint {
  // HOST:PORT, as others reach it.
  std::string address;
  // HOST:PORT of the page for Prometheus; empty when there is none.
  std::string metrics = {};
  // On the machine that serves; 0 when the file does not say.
  int64_t pid = 0;
  // How callers prove themselves. Files only; the secrets themselves are never written down.
  rpc::ClientOptions client = {};
};

// RUN/endpoint.json. Pure.
std::string RunEndpointPath(absl::string_view run_dir);

// Atomic: a reader sees no half a file. WriteFileAtomically's errors.
absl::Status WriteEndpoint(const std::string& path, const Endpoint& endpoint);
// Nothing happens when it is not there.
void RemoveEndpoint(const std::string& path);
// NotFound when the file is not there, DataLoss when it holds no address. InvalidArgument when it is above 64 KiB. Keys
// that are missing or of another type read as empty or 0, and unknown ones are passed over. That the file is there does
// not say that the process still lives.
absl::StatusOr<Endpoint> ReadEndpoint(const std::string& path);

// What others call a server that is bound to `address` (HOST:PORT): `host`, if not empty, with its port. Without one
// the address itself, or, where that is every address of this machine (0.0.0.0, [::]), which leads others to
// themselves, this machine's host name. `address` holds a colon.
std::string AdvertisedAddress(const std::string& address, const std::string& host);

}  // namespace grpo

#endif  // GRPO_COMMON_RPC_ENDPOINT_H_
