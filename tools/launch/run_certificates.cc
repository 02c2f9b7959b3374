#include "tools/launch/run_certificates.h"

#include <unistd.h>

#include <algorithm>
#include <array>

#include "absl/strings/str_cat.h"
#include "absl/strings/strip.h"
#include "common/rpc/certificates.h"
#include "common/rpc/credentials.h"

namespace grpo {
namespace {

// Once, and without the brackets that an IPv6 address has in front of a port.
void AddHost(absl::string_view host, std::vector<std::string>* hosts) {
  if (absl::ConsumePrefix(&host, "[")) absl::ConsumeSuffix(&host, "]");
  if (host.empty() || std::find(hosts->begin(), hosts->end(), host) != hosts->end()) return;
  hosts->push_back(std::string(host));
}

}  // namespace

bool NeedsRunCertificates(const NetworkOptions& network) {
  return !rpc::IsLoopback(network.host) && network.tls_cert.empty() && network.tls_key.empty() &&
         network.tls_ca.empty() && network.token_file.empty();
}

std::string RunCertificateFolder(const std::string& run_dir) {
  return run_dir + "/tls";
}

std::vector<std::string> OwnHosts(const NetworkOptions& network) {
  std::array<char, 256> name{};
  std::vector<std::string> hosts;
  for (const absl::string_view host :
       {absl::string_view(network.host), absl::string_view(network.advertise_host), absl::string_view("localhost"),
        absl::string_view("127.0.0.1"), absl::string_view("::1")})
    AddHost(host, &hosts);
  // The last byte stays 0.
  if (::gethostname(name.data(), name.size() - 1) == 0) AddHost(name.data(), &hosts);
  return hosts;
}

absl::Status MakeRunCertificates(const RunCertificateRequest& request) {
  return rpc::IssueRunCertificates(RunCertificateFolder(request.run_dir),
                                   {.run_id = request.run_id, .hosts = request.hosts, .life = request.life},
                                   rpc::WallTime());
}

}  // namespace grpo
