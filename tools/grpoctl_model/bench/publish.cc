#include <memory>
#include <utility>
#include <vector>

#include "common/status_macros.h"
#include "tools/grpoctl_model/bench/bench_policy.h"
#include "tools/grpoctl_model/bench/benches.h"
#include "tools/grpoctl_model/bench/local_service.h"

namespace grpo {

absl::StatusOr<BenchReport> BenchPublish(const BenchOptions& options) {
  PolicyStore policies({}, options.seed, options.device);
  ASSIGN_OR_RETURN(Policy* const policy, AddBenchPolicy(options, &policies));
  ASSIGN_OR_RETURN(const std::unique_ptr<LocalService> service, LocalService::Start(options, options.channel));
  BenchReport report = BeginReport("publish", options, policy->model->config());
  report.phase_order = {"pack", "transfer", "start", "first_step"};
  report.unit = "bytes";
  std::vector<double> ready;
  RETURN_IF_ERROR(TimeRepeats(
      options,
      [&]() -> absl::StatusOr<BenchRepeat> {
        // As an update does, whose new weights are of another version.
        policy->BeginUpdate(absl::Seconds(10));
        ++policy->number;
        ASSIGN_OR_RETURN(LocalService::Sampled sampled, service->Sample(*policy));
        report.count = static_cast<double>(sampled.payload_bytes);
        ready.push_back(sampled.ready_seconds);
        return BenchRepeat{.phases = {{"pack", sampled.phases["publish/pack"]},
                                      {"transfer", sampled.phases["publish/transfer"]},
                                      {"start", sampled.phases["publish/start"]},
                                      {"first_step", sampled.first_step_seconds - sampled.ready_seconds}},
                           .seconds = sampled.first_step_seconds};
      },
      &report));
  report.setting["channel"] = service->channel();
  ready.erase(ready.begin());  // the one that is not timed
  const Spread spread = SpreadOf(ready);
  report.figures["ready_seconds"] = {{"min", spread.min}, {"median", spread.median}, {"max", spread.max}};
  return report;
}

}  // namespace grpo
