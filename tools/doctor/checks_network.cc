// Names, ports, the clock.
#include <algorithm>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/strings/str_join.h"
#include "absl/strings/str_split.h"
#include "absl/time/time.h"
#include "common/rpc/credentials.h"
#include "tools/doctor/checks.h"

namespace grpo {
namespace {

bool AllLoopback(const std::vector<std::string>& addresses) {
  return std::all_of(addresses.begin(), addresses.end(), [](const std::string& one) { return rpc::IsLoopback(one); });
}

// Whether processes of the run on other machines are meant to come.
bool IsForOthers(const RunConfig* config) {
  return config != nullptr && !rpc::IsLoopback(config->network.host);
}

struct NamedPort {
  std::string key;
  int64_t port;
};

// Those that the configuration fixes.
std::vector<NamedPort> FixedPorts(const RunConfig& config) {
  std::vector<NamedPort> ports = {{"network.trainer_port", config.network.trainer_port},
                                  {"network.rendezvous_port", config.network.rendezvous_port}};
  for (int64_t i = 0; i < config.NumRewardServers(); ++i) {
    if (config.reward_server.port > 0) ports.push_back({"reward_server.port", config.reward_server.port + i});
    if (config.reward_server.metrics_port > 0)
      ports.push_back({"reward_server.metrics_port", config.reward_server.metrics_port + i});
  }
  ports.erase(std::remove_if(ports.begin(), ports.end(), [](const NamedPort& one) { return one.port <= 0; }),
              ports.end());
  return ports;
}

void CheckPort(const Subject& subject, const NamedPort& named, Findings* findings) {
  const bool metrics = named.key == "reward_server.metrics_port";
  const std::string host = metrics ? "127.0.0.1" : subject.config->network.host;
  const std::string what = absl::StrCat(named.key, " ", named.port, " at ", host);
  const absl::Status bound = subject.machine.CanBind(host, named.port);
  if (absl::IsAlreadyExists(bound))
    return findings->Problem(
        what + " is taken",
        absl::StrCat("`ss -ltnp sport = :", named.port, "` says by whom: end it, or take another port"),
        kExitCannotCreate);
  if (!bound.ok())
    return findings->Problem(absl::StrCat(what, ": ", bound.message()),
                             "network.host must be an address of this machine (0.0.0.0: all), and ports below 1024 "
                             "are root's",
                             ExitCodeFor(bound, kExitConfig));
  // "32768 60999"
  const std::string range = subject.machine.Read("/proc/sys/net/ipv4/ip_local_port_range").value_or("");
  const std::vector<std::string> ends = absl::StrSplit(range, absl::ByAnyChar("\t "), absl::SkipEmpty());
  int64_t low = 0, high = 0;
  if (ends.size() == 2 && absl::SimpleAtoi(ends[0], &low) && absl::SimpleAtoi(ends[1], &high) && named.port >= low &&
      named.port <= high) {
    return findings->Warn(
        absl::StrCat(what, " is free, and any connection from this machine may take it (", low, " to ", high, ")"),
        absl::StrCat("take one below ", low));
  }
  findings->Ok(what + " is free");
}

}  // namespace

void CheckNames(const Subject& subject, Findings* findings) {
  const Machine& machine = subject.machine;
  const std::string host = machine.HostName();
  const std::vector<std::string> own = machine.Resolve(host);
  const std::string advertised = subject.config == nullptr ? "" : subject.config->network.advertise_host;
  if (!advertised.empty()) {
    const std::vector<std::string> addresses = machine.Resolve(advertised);
    const std::string what = absl::StrCat("network.advertise_host ", advertised);
    if (addresses.empty()) {
      findings->Problem(what + " does not resolve", "name this machine as the others reach it", kExitConfig);
    } else {
      findings->Ok(absl::StrCat(what, " is ", absl::StrJoin(addresses, ", ")));
    }
  }
  if (own.empty())
    return findings->Warn(absl::StrCat("this machine's own name, ", host, ", does not resolve"),
                          "add it to /etc/hosts; ranks on several machines look it up");
  const std::string what = absl::StrCat("this machine is ", host, " (", absl::StrJoin(own, ", "), ")");
  if (!IsForOthers(subject.config) || !AllLoopback(own) || !advertised.empty()) return findings->Ok(what);
  findings->Warn(absl::StrCat(what, ", which others cannot reach"),
                 "set network.advertise_host, or give the name another address in /etc/hosts");
}

void CheckPorts(const Subject& subject, Findings* findings) {
  if (subject.config == nullptr) return findings->Ok("without a configuration no port is fixed");
  const std::vector<NamedPort> ports = FixedPorts(*subject.config);
  if (ports.empty()) findings->Ok("the configuration fixes none");
  for (const NamedPort& named : ports) CheckPort(subject, named, findings);
}

void CheckClock(const Subject& subject, Findings* findings) {
  const absl::Time now = subject.machine.Now();
  const std::string text = absl::FormatTime("%Y-%m-%d %H:%M:%S UTC", now, absl::UTCTimeZone());
  // Before this was written: the battery is empty, and every certificate is of the future.
  if (now < absl::FromCivil(absl::CivilSecond(2026, 1, 1), absl::UTCTimeZone()))
    return findings->Problem(absl::StrCat("the clock says ", text), "set it; certificates are not valid yet by it",
                             kExitUnavailable);
  const std::optional<bool> kept = subject.machine.ClockIsKept();
  if (kept.value_or(true)) return findings->Ok(absl::StrCat(text, kept.has_value() ? ", kept by a time server" : ""));
  findings->Warn(absl::StrCat(text, ", and nothing keeps it"),
                 "run chrony or systemd-timesyncd: short-lived certificates do not put up with minutes");
}

}  // namespace grpo
