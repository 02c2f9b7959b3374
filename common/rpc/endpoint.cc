#include "common/rpc/endpoint.h"

#include <unistd.h>

#include <climits>

#include "absl/strings/str_cat.h"
#include "common/files.h"
#include "common/status_macros.h"
#include "nlohmann/json.hpp"

namespace grpo {
namespace {

using nlohmann::json;

std::string TextOf(const json& object, const char* key) {
  const auto found = object.find(key);
  return found != object.end() && found->is_string() ? found->get<std::string>() : "";
}

}  // namespace

std::string RunEndpointPath(absl::string_view run_dir) {
  return absl::StrCat(run_dir, "/endpoint.json");
}

absl::Status WriteEndpoint(const std::string& path, const Endpoint& endpoint) {
  json document = {{"address", endpoint.address},
                   {"pid", endpoint.pid},
                   {"token_file", endpoint.client.token_file},
                   {"tls_ca", endpoint.client.tls_ca},
                   {"tls_cert", endpoint.client.tls_cert},
                   {"tls_key", endpoint.client.tls_key}};
  if (!endpoint.metrics.empty()) document["metrics"] = endpoint.metrics;
  return WriteFileAtomically(path, document.dump(2, ' ', false, nlohmann::json::error_handler_t::replace) + "\n");
}

void RemoveEndpoint(const std::string& path) {
  ::unlink(path.c_str());
}

absl::StatusOr<Endpoint> ReadEndpoint(const std::string& path) {
  ASSIGN_OR_RETURN(const std::string content, ReadFile(path, /*max_bytes=*/1 << 16));
  const json document = json::parse(content, nullptr, /*allow_exceptions=*/false);
  if (!document.is_object() || TextOf(document, "address").empty()) {
    return absl::DataLossError(
        absl::StrCat(path, " holds no \"address\": delete it, or name the server with --address HOST:PORT"));
  }
  const auto pid = document.find("pid");
  return Endpoint{.address = TextOf(document, "address"),
                  .metrics = TextOf(document, "metrics"),
                  .pid = pid != document.end() && pid->is_number_integer() ? pid->get<int64_t>() : 0,
                  .client = {.token_file = TextOf(document, "token_file"),
                             .tls_ca = TextOf(document, "tls_ca"),
                             .tls_cert = TextOf(document, "tls_cert"),
                             .tls_key = TextOf(document, "tls_key")}};
}

std::string AdvertisedAddress(const std::string& address, const std::string& host) {
  const size_t colon = address.rfind(':');
  const std::string bound = address.substr(0, colon), port = address.substr(colon);
  if (!host.empty()) return host + port;
  if (bound != "0.0.0.0" && bound != "[::]") return address;
  char name[HOST_NAME_MAX + 1] = {};
  return ::gethostname(name, HOST_NAME_MAX) == 0 && name[0] != '\0' ? name + port : address;
}

}  // namespace grpo
