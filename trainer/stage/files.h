// The files that stages read and write: data, and the artifacts that are data for later stages. Links no torch.
#ifndef GRPO_TRAINER_STAGE_FILES_H_
#define GRPO_TRAINER_STAGE_FILES_H_

#include <map>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/statusor.h"
#include "data/source.h"
#include "trainer/run_config.h"
#include "trainer/stage/stored_top_k.h"

namespace grpo {

// Thread-compatible.
class RunFiles {
 public:
  // `config` outlives this. `data_sha256` is LoadedConfig::data_sha256; `artifact_sha256` the SHA-256 (hex) of what
  // earlier stages of the run have written, by artifact.
  RunFiles(const RunConfig& config, std::string run_dir, std::map<std::string, std::string> data_sha256,
           std::map<std::string, std::string> artifact_sha256)
      : config_(config),
        run_dir_(std::move(run_dir)),
        data_sha256_(std::move(data_sha256)),
        artifact_sha256_(std::move(artifact_sha256)) {}

  const std::string& run_dir() const { return run_dir_; }
  // Where the entry of `artifacts` lies.
  std::string ArtifactPath(const std::string& artifact) const;
  // The artifacts that the entry `name` of `data` reads, itself or through what it mixes or unites.
  std::vector<std::string> ArtifactsReadBy(const std::string& name) const;
  // The entry `name` of `data`. DataLoss when its content has changed since the run (or the resumed part of it) began,
  // or since the stage that wrote it.
  absl::StatusOr<std::unique_ptr<DataSource>> OpenData(const std::string& name) const;
  // The teacher's top-k beside the traces of the entry `name` of `data`. InvalidArgument for an entry that is no
  // artifact; errors of StoredTopK::Open; DataLoss when it belongs to other traces than the stage has written.
  absl::StatusOr<std::unique_ptr<StoredTopK>> OpenStoredTopK(const std::string& name) const;

 private:
  const RunConfig& config_;
  const std::string run_dir_;
  const std::map<std::string, std::string> data_sha256_, artifact_sha256_;
};

}  // namespace grpo

#endif  // GRPO_TRAINER_STAGE_FILES_H_
