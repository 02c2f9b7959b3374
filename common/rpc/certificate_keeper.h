// Renews a run's certificates while the run goes on.
#ifndef GRPO_COMMON_RPC_CERTIFICATE_KEEPER_H_
#define GRPO_COMMON_RPC_CERTIFICATE_KEEPER_H_

#include <functional>
#include <string>
#include <thread>

#include "absl/time/time.h"
#include "common/mutex.h"
#include "common/rpc/certificates.h"

namespace grpo::rpc {

// Looks once when it is made, so that a run that goes on after a long time starts with certificates that are good, and
// then every kInterval by the machine's own clock in a thread of its own. One of them for a folder.
class CertificateKeeper {
 public:
  static constexpr absl::Duration kInterval = absl::Minutes(1);

  // `folder` is certificate_folder.h's. `on_alarm` is told at each look what is wrong, in a sentence, or nothing ("");
  // from the constructor and from the thread, never at a time. What changes is also in the log. `wall_time` is what
  // certificates go by; tests give another.
  CertificateKeeper(std::string folder, std::function<void(const std::string&)> on_alarm,
                    std::function<absl::Time()> wall_time = WallTime);
  ~CertificateKeeper();
  CertificateKeeper(const CertificateKeeper&) = delete;
  CertificateKeeper& operator=(const CertificateKeeper&) = delete;

 private:
  void Look();

  const std::string folder_;
  const std::function<void(const std::string&)> on_alarm_;
  const std::function<absl::Time()> wall_time_;
  // Of the newest look; of whoever looks.
  std::string alarm_;
  Notification stop_;
  std::thread thread_;
};

}  // namespace grpo::rpc

#endif  // GRPO_COMMON_RPC_CERTIFICATE_KEEPER_H_
