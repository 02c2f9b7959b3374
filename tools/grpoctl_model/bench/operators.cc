#include "tools/grpoctl_model/bench/operators.h"

#include <ATen/core/Tensor.h>
#include <ATen/record_function.h>

#include <algorithm>
#include <map>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/strings/str_cat.h"
#include "absl/synchronization/mutex.h"
#include "absl/time/time.h"
#include "common/clock.h"

namespace grpo {
namespace {

struct Sum {
  double seconds = 0;
  int64_t calls = 0;
};

// An operator that runs.
struct Running : public at::ObserverContext {
  std::string name;
  absl::Duration begin;
  // Of the operators that it called.
  absl::Duration others;
  Running* caller = nullptr;
};

// Callbacks are plain functions, so what they write to is the process's.
struct Sums {
  absl::Mutex mutex;
  int64_t head_size ABSL_GUARDED_BY(mutex) = 0;
  std::map<std::string, Sum> by_name ABSL_GUARDED_BY(mutex);
};
Sums& AllSums() {
  static auto* const sums = new Sums;
  return *sums;
}
thread_local Running* innermost = nullptr;

bool TouchesHead(const at::RecordFunction& function, int64_t head_size) {
  for (const c10::IValue& input : function.inputs()) {
    if (!input.isTensor() || !input.toTensor().defined()) continue;
    const auto sizes = input.toTensor().sizes();
    if (std::find(sizes.begin(), sizes.end(), head_size) != sizes.end()) return true;
  }
  return false;
}

std::unique_ptr<at::ObserverContext> Begin(const at::RecordFunction& function) {
  auto running = std::make_unique<Running>();
  Sums& sums = AllSums();
  bool head = false;
  {
    absl::MutexLock lock(&sums.mutex);
    head = TouchesHead(function, sums.head_size);
  }
  running->name = absl::StrCat(function.name(), head ? " (head)" : "");
  running->caller = std::exchange(innermost, running.get());
  running->begin = Clock::Real().Now();
  return running;
}

void End(const at::RecordFunction&, at::ObserverContext* context) {
  auto* const running = static_cast<Running*>(context);
  const absl::Duration took = Clock::Real().Now() - running->begin;
  innermost = running->caller;
  if (running->caller != nullptr) running->caller->others += took;
  Sums& sums = AllSums();
  absl::MutexLock lock(&sums.mutex);
  Sum& sum = sums.by_name[running->name];
  sum.seconds += absl::ToDoubleSeconds(took - running->others);
  ++sum.calls;
}

uint64_t Observe(int64_t head_size) {
  Sums& sums = AllSums();
  {
    absl::MutexLock lock(&sums.mutex);
    sums.head_size = head_size;
    sums.by_name.clear();
  }
  return at::addGlobalCallback(at::RecordFunctionCallback(Begin, End).needsInputs(true));
}

bool IsProduct(const std::string& name) {
  return name == "grpo::matmul" || name == "aten::mm" || name == "aten::addmm" || name == "aten::addmm_" ||
         name == "aten::linear";
}

}  // namespace

OperatorTimes::OperatorTimes(int64_t head_size) : handle_(Observe(head_size)) {}

OperatorTimes::~OperatorTimes() {
  at::removeCallback(handle_);
}

nlohmann::ordered_json OperatorTimes::Longest(int64_t count) const {
  std::vector<std::pair<std::string, Sum>> all;
  {
    absl::MutexLock lock(&AllSums().mutex);
    all.assign(AllSums().by_name.begin(), AllSums().by_name.end());
  }
  std::sort(all.begin(), all.end(), [](const auto& a, const auto& b) { return a.second.seconds > b.second.seconds; });
  if (static_cast<int64_t>(all.size()) > count) all.resize(count);
  nlohmann::ordered_json json = nlohmann::ordered_json::object();
  for (const auto& [name, sum] : all) json[name] = {{"seconds", sum.seconds}, {"calls", sum.calls}};
  return json;
}

double OperatorTimes::LinearSeconds() const {
  absl::MutexLock lock(&AllSums().mutex);
  double seconds = 0;
  for (const auto& [name, sum] : AllSums().by_name) {
    if (IsProduct(name)) seconds += sum.seconds;
  }
  return seconds;
}

}  // namespace grpo
