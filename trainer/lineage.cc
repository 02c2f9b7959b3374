#include "trainer/lineage.h"

#include <algorithm>
#include <set>
#include <string>

#include "trainer/preflight.h"

namespace grpo {
namespace {

// The stage that trained the policy, as it is after `before`; empty when none did.
std::string TrainedBy(const RunConfig& config, std::string policy, const std::vector<StageReport>& before) {
  // A chain of initialize_from that bites its tail was refused when the configuration was read.
  for (std::set<std::string> seen; seen.insert(policy).second;) {
    for (auto report = before.rbegin(); report != before.rend(); ++report) {
      if (report->policy != policy) continue;
      // One that only used the policy made it, so that it is no longer what its origin has become since.
      return StageViewOf(report->type).trains_policy ? report->name : report->weights_from;
    }
    const auto configured = config.policies.find(policy);
    if (configured == config.policies.end() || configured->second.initialize_from.empty()) return "";
    policy = configured->second.initialize_from;
  }
  return "";
}

// The stage that wrote the artifact last; empty when none did.
std::string WrittenBy(const std::string& artifact, const std::vector<StageReport>& before) {
  const auto writer = std::find_if(before.rbegin(), before.rend(),
                                   [&](const StageReport& report) { return report.artifact == artifact; });
  return writer == before.rend() ? "" : writer->name;
}

void AddOnce(const std::string& name, std::vector<std::string>* names) {
  if (!name.empty() && std::find(names->begin(), names->end(), name) == names->end()) names->push_back(name);
}

}  // namespace

void FillLineage(const RunConfig& config, const ConfiguredStage& stage, const std::vector<StageReport>& before,
                 StageReport* report) {
  report->weights_from = TrainedBy(config, report->policy, before);
  for (const std::string& data : DataReadBy(config, stage)) {
    const auto configured = config.data.find(data);
    if (configured == config.data.end() || configured->second.artifact.empty()) continue;
    AddOnce(WrittenBy(configured->second.artifact, before), &report->learned_from);
  }
  for (const Reference& reference : stage.stage->references()) {
    if (!reference.teaches || reference.value.empty() || reference.value == report->policy) continue;
    AddOnce(reference.value, &report->teachers);
    AddOnce(TrainedBy(config, reference.value, before), &report->taught_by);
  }
}

}  // namespace grpo
