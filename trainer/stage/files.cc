#include "trainer/stage/files.h"

#include <utility>

#include "absl/strings/str_cat.h"
#include "common/status_macros.h"
#include "configs/load.h"
#include "data/sources.h"

namespace grpo {

std::string RunFiles::ArtifactPath(const std::string& artifact) const {
  return absl::StrCat(run_dir_, "/", config_.artifacts.at(artifact).path);
}

std::vector<std::string> RunFiles::ArtifactsReadBy(const std::string& name) const {
  const DataOptions& options = config_.data.at(name);
  if (!options.artifact.empty()) return {options.artifact};
  std::vector<std::string> artifacts;
  for (const std::string& part : MixedSources(options)) {
    for (std::string& artifact : ArtifactsReadBy(part)) artifacts.push_back(std::move(artifact));
  }
  return artifacts;
}

absl::StatusOr<std::unique_ptr<DataSource>> RunFiles::OpenData(const std::string& name) const {
  DataOptions options = config_.data.at(name);
  const bool is_artifact = !options.artifact.empty();
  if (is_artifact) options.options = WithText(options.options, "path", ArtifactPath(options.artifact));
  ASSIGN_OR_RETURN(
      std::unique_ptr<DataSource> data,
      MakeDataSource(options, /*base_folder=*/"", [this](const std::string& part) { return OpenData(part); }));
  const std::map<std::string, std::string>& known = is_artifact ? artifact_sha256_ : data_sha256_;
  const auto found = known.find(is_artifact ? options.artifact : name);
  const std::string expected = found == known.end() ? "" : found->second;
  if (data->content_sha256() == expected) return data;
  return absl::DataLossError(
      absl::StrCat("data.", name, " has changed since the run began: its SHA-256 was ", expected, ", now it is ",
                   data->content_sha256(),
                   "; put the old content back, then go on with `grpoctl run --resume`, which takes the "
                   "new content too where no stage has read the old"));
}

absl::StatusOr<std::unique_ptr<StoredTopK>> RunFiles::OpenStoredTopK(const std::string& name) const {
  const std::string& artifact = config_.data.at(name).artifact;
  if (artifact.empty()) {
    return absl::InvalidArgumentError(
        absl::StrCat("data.", name,
                     " has no teacher's top-k beside it: read an entry whose `artifact` a synthesize stage with "
                     "teacher_top_k writes, and no mix of several"));
  }
  const std::string folder = TopKFolder(ArtifactPath(artifact));
  ASSIGN_OR_RETURN(std::unique_ptr<StoredTopK> stored, StoredTopK::Open(folder));
  const auto written = artifact_sha256_.find(artifact);
  if (written != artifact_sha256_.end() && written->second == stored->origin().traces_sha256) return stored;
  return absl::DataLossError(absl::StrCat(folder, " holds the top-k of other traces than artifacts.", artifact,
                                          ": run the synthesize stage again"));
}

}  // namespace grpo
