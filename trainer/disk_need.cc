#include "trainer/disk_need.h"

#include <algorithm>
#include <deque>
#include <filesystem>
#include <map>
#include <numeric>
#include <system_error>

#include "absl/strings/str_format.h"
#include "common/status_macros.h"

namespace grpo {
namespace {

constexpr double kFloatBytes = 4, kGibibyte = 1 << 30;

// What lies on the disk as a run goes on.
class Usage {
 public:
  explicit Usage(int64_t keep) : keep_(static_cast<size_t>(keep)) {}

  // An old one goes once the new one is there.
  void Save(double bytes) {
    checkpoints_.push_back(bytes);
    Measure();
    if (checkpoints_.size() > keep_) checkpoints_.pop_front();
  }
  void Export(double bytes) {
    exported_ += bytes;
    Measure();
  }
  double most() const { return most_; }

 private:
  void Measure() { most_ = std::max(most_, std::accumulate(checkpoints_.begin(), checkpoints_.end(), exported_)); }

  const size_t keep_;
  std::deque<double> checkpoints_;
  double exported_ = 0, most_ = 0;
};

// Whether the stage writes its policy as a folder: an artifact that is no data.
int64_t NumExports(const Stage& stage) {
  const std::vector<std::string> data = stage.writes();
  const std::vector<Reference> references = stage.references();
  return std::count_if(references.begin(), references.end(), [&](const Reference& reference) {
    return reference.section == "artifacts" && !reference.value.empty() &&
           std::count(data.begin(), data.end(), reference.value) == 0;
  });
}

}  // namespace

absl::StatusOr<double> DiskNeed(const RunConfig& config, Preflight& preflight) {
  Usage usage(config.checkpoint.keep);
  // Bytes of the weights that checkpoints hold.
  std::map<std::string, double> trained;
  const auto weights = [&trained] {
    return std::accumulate(trained.begin(), trained.end(), 0.0,
                           [](double sum, const auto& policy) { return sum + policy.second; });
  };
  const int64_t every = config.checkpoint.every_steps;
  for (const ConfiguredStage& stage : config.stages) {
    if (const std::optional<LearnerSpec> learner = stage.stage->learner(); learner.has_value()) {
      ASSIGN_OR_RETURN(const PolicyShape* const shape, preflight.Shape(learner->policy));
      const double bytes = kFloatBytes * static_cast<double>(shape->config.NumParameters());
      trained[learner->policy] = bytes;
      // Those after the first few change nothing.
      const int64_t saves = every == 0 ? 0 : std::min((learner->num_steps - 1) / every, config.checkpoint.keep + 1);
      for (int64_t i = 0; i < saves; ++i) usage.Save(weights() + 2 * bytes);
      usage.Export(bytes * static_cast<double>(NumExports(*stage.stage)));
    }
    if (const std::optional<TopKOutput> top_k = stage.stage->top_k_output(); top_k.has_value())
      usage.Export(static_cast<double>(top_k->num_bytes.value_or(0)));
    usage.Save(weights());
  }
  return usage.most();
}

double FreeBytes(const std::string& folder) {
  namespace fs = std::filesystem;
  std::error_code error;
  fs::path place = fs::absolute(folder, error);
  while (!error && !fs::exists(place, error) && place.has_relative_path()) place = place.parent_path();
  const fs::space_info space = fs::space(place, error);
  return error ? -1 : static_cast<double>(space.available);
}

absl::Status CheckDisk(double need_bytes, const std::string& folder) {
  const double free_bytes = FreeBytes(folder);
  if (free_bytes < 0 || need_bytes <= free_bytes) return absl::OkStatus();
  return absl::FailedPreconditionError(
      absl::StrFormat("the run's checkpoints, exported policies and stored top-k take up to %.2f GiB at a time, and %s "
                      "has %.2f GiB left: make room, "
                      "lower checkpoint.keep, or choose another folder with --run-dir DIR",
                      need_bytes / kGibibyte, folder, free_bytes / kGibibyte));
}

}  // namespace grpo
