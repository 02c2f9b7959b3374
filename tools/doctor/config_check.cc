#include "tools/doctor/config_check.h"

#include <vector>

#include "absl/strings/str_cat.h"
#include "tools/launch/gpus.h"
#include "trainer/disk_need.h"
#include "trainer/memory_need.h"
#include "trainer/preflight.h"
#include "trainer/stage/files.h"

namespace grpo {
namespace {

void Refused(const absl::Status& status, const std::string& todo, Findings* findings) {
  findings->Problem(std::string(status.message()), todo, ExitCodeFor(status, kExitConfig));
}

// What the stages read and what the run takes of this machine.
void CheckNeeds(const LoadedConfig& loaded, const std::string& run_dir, Findings* findings) {
  const RunConfig& config = loaded.config;
  Preflight preflight(config);
  const RunFiles files(config, run_dir, loaded.data_sha256, /*artifact_sha256=*/{});
  const absl::StatusOr<std::vector<CheckedData>> checked = preflight.CheckAhead(files);
  if (!checked.ok()) return Refused(checked.status(), "as it says; `grpoctl validate` checks again", findings);
  findings->Ok("data, reference answers, models and lengths fit");
  for (const std::string& note : Notes(*checked)) findings->Warn(note, "see `grpoctl validate`");
  const absl::Status memory = CheckMemories(config, preflight, config.trainer.ranks, MemoryHere(config, VisibleGpus()));
  if (!memory.ok()) Refused(memory, "more memory, fewer ranks on this machine, or a smaller model", findings);
  const absl::StatusOr<double> need = DiskNeed(config, preflight);
  const absl::Status disk = need.ok() ? CheckDisk(*need, run_dir) : need.status();
  if (!disk.ok()) Refused(disk, "make room", findings);
  if (memory.ok() && disk.ok()) findings->Ok("this machine has the memory and the disk that it needs at least");
}

}  // namespace

CheckResult CheckConfig(const absl::StatusOr<LoadedConfig>& loaded, const std::string& run_dir) {
  Findings findings;
  if (!loaded.ok()) {
    Refused(loaded.status(), "mend the configuration", &findings);
  } else {
    findings.Ok(absl::StrCat("run ", loaded->config.run.name, ": ", loaded->config.stages.size(), " stages, ",
                             loaded->config.trainer.ranks, " ranks, ", loaded->config.NumWorkers(), " workers, ",
                             loaded->config.NumRewardServers(), " reward servers"));
    CheckNeeds(*loaded, run_dir, &findings);
  }
  return {"configuration", findings.list()};
}

}  // namespace grpo
