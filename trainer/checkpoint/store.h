// Folders of files that are there whole or not at all (DESIGN.md law 7). Links no torch.
//
// Layout: <folder>/step-000000012345/{files..., manifest.json}, <folder>/LATEST. Commit: write step-N.tmp, fsync every
// file, manifest.json (name, size, SHA-256 of each) last, fsync the folder, rename, fsync the parent, then LATEST the
// same way; older checkpoints go last.
#ifndef GRPO_TRAINER_CHECKPOINT_STORE_H_
#define GRPO_TRAINER_CHECKPOINT_STORE_H_

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"

namespace grpo {

// One thread, one process per folder.
class CheckpointStore {
 public:
  struct Loaded {
    int64_t sequence = 0;
    std::string name;
    std::map<std::string, std::string> files;
  };

  // Keeps the `keep` newest checkpoints.
  CheckpointStore(std::string folder, int64_t keep) : folder_(std::move(folder)), keep_(keep) {}

  // Commits the files under `sequence`, which grows over a run. Returns the checkpoint's name. On an error (disk full,
  // fsync failed) the checkpoints of before are untouched and nothing of this one is left.
  absl::StatusOr<std::string> Save(int64_t sequence, const std::map<std::string, std::string>& files);

  // The newest checkpoint whose manifest and hashes hold; one that does not is skipped with a loud line. nullopt when
  // there is none at all; DataLoss when there are some and none holds.
  absl::StatusOr<std::optional<Loaded>> LoadNewest() const;

  // Names from oldest to newest, verified or not; unfinished ones are not listed.
  std::vector<std::string> List() const;
  // Every file against the manifest. DataLoss names the first that does not fit.
  absl::StatusOr<Loaded> Load(const std::string& name) const;

 private:
  absl::Status WriteFolder(const std::string& temporary, const std::map<std::string, std::string>& files) const;
  void DeleteOld() const;

  const std::string folder_;
  const int64_t keep_;
};

}  // namespace grpo

#endif  // GRPO_TRAINER_CHECKPOINT_STORE_H_
