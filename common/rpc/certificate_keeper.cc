#include "common/rpc/certificate_keeper.h"

#include <utility>

#include "common/rpc/certificate_folder.h"
#include "common/thread.h"
#include "spdlog/spdlog.h"

namespace grpo::rpc {

CertificateKeeper::CertificateKeeper(std::string folder, std::function<void(const std::string&)> on_alarm,
                                     std::function<absl::Time()> wall_time)
    : folder_(std::move(folder)), on_alarm_(std::move(on_alarm)), wall_time_(std::move(wall_time)) {
  Look();
  thread_ = StartThread("renewing certificates", [this] {
    while (!stop_.WaitFor(kInterval)) Look();
  });
}

CertificateKeeper::~CertificateKeeper() {
  stop_.Notify();
  thread_.join();
}

void CertificateKeeper::Look() {
  const absl::StatusOr<bool> renewed = RenewRunCertificates(folder_, wall_time_());
  const std::string alarm(renewed.status().message());
  if (renewed.ok() && *renewed) spdlog::info("the run's certificates in {} have been renewed", folder_);
  if (!alarm.empty() && alarm != alarm_) spdlog::warn("{}", alarm);
  alarm_ = alarm;
  on_alarm_(alarm_);
}

}  // namespace grpo::rpc
