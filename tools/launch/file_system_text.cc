#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "tools/launch/run_plan.h"

namespace grpo {
namespace {

// "rollout-0 to rollout-3" of neighbours; the plan has the processes of a role in a row.
std::string Span(const std::vector<std::string>& names) {
  return names.size() == 1 ? names[0] : absl::StrCat(names.front(), " to ", names.back());
}

// What is in a folder that processes of this role keep, and why they must find it again.
std::string Purpose(Role role) {
  return role == Role::kTrainer ? "checkpoints, records, exported policies: the trainer goes on from them when it is "
                                  "started on another machine"
                                : "what endpoints have answered: another worker does not pay for it again";
}

}  // namespace

std::string FileSystemText(const RunPlan& plan) {
  std::string text;
  std::vector<std::string> needless;
  for (size_t first = 0, next = 0; first < plan.processes.size(); first = next) {
    const PlannedProcess& process = plan.processes[first];
    std::vector<std::string> names;
    for (; next < plan.processes.size() && plan.processes[next].role == process.role; ++next)
      names.push_back(plan.processes[next].name);
    if (process.keeps.empty()) {
      needless.push_back(Span(names));
    } else {
      absl::StrAppend(&text, "Shared file system: ", Span(names), " for ", absl::StrJoin(process.keeps, ", "), " (",
                      Purpose(process.role), ")\n");
    }
  }
  if (!needless.empty()) {
    absl::StrAppend(&text, "No shared file system: ", absl::StrJoin(needless, ", "), "; on each machine a copy of ",
                    absl::StrJoin(plan.shared, ", "), " will do\n");
  }
  return text;
}

}  // namespace grpo
