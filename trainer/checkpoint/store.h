// Folders of files that are there whole or not at all (docs/design.md law 7). Links no torch.
//
// Layout: <folder>/step-000000012345/{files..., manifest.json}, <folder>/LATEST. Commit: write step-N.tmp, fsync every
// file, manifest.json (name, size, SHA-256 of each) last, fsync the folder, rename, fsync the parent, then LATEST the
// same way; older checkpoints go last, renamed to step-N.tmp before they are deleted. So whatever is called step-N was
// whole once, and what ends in .tmp never counts.
//
// Integrity: the manifest's hashes hold the files, and the files hold the manifest, since its text is a function of
// them: a manifest that is not, byte for byte, what its files say is refused. LATEST is for people and scripts; loading
// goes by the names, so that nothing depends on it.
#ifndef GRPO_TRAINER_CHECKPOINT_STORE_H_
#define GRPO_TRAINER_CHECKPOINT_STORE_H_

#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "absl/functional/function_ref.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "common/mapped_file.h"
#include "trainer/records/run_guard.h"

namespace grpo {

// What a file is to hold: a text, or what a function appends part by part, so that nobody needs the whole of a large
// file in memory. A text is copied; what a function refers to must live, unchanged, until it was written. Copies share
// nothing but what the function shares.
class FileContent {
 public:
  using Append = absl::FunctionRef<absl::Status(absl::string_view part)>;
  using Write = std::function<absl::Status(Append append)>;

  FileContent() = default;
  FileContent(std::string text) : text_(std::move(text)) {}  // NOLINT: a text is a content
  FileContent(const char* text) : text_(text) {}             // NOLINT
  // Appends the same parts whenever it is called, or says why it cannot.
  explicit FileContent(Write write) : write_(std::move(write)) {}

  // Hands all parts to `append`, in order. The first error of either ends it and is returned.
  absl::Status WriteTo(Append append) const { return write_ ? write_(append) : append(text_); }

 private:
  std::string text_;
  Write write_;
};

// By name.
using CheckpointFiles = std::map<std::string, FileContent>;

// One thread, one process per folder. A reader in another process (grpoctl) may look on: it sees whole checkpoints or
// none.
class CheckpointStore {
 public:
  // A checkpoint that was verified, mapped.
  struct Loaded {
    // The number in its name.
    int64_t sequence = 0;
    // "step-000000012345".
    std::string name;
    // By name; views into `mapped`.
    std::map<std::string, absl::string_view> files;
    // Keeps the views good; moving a Loaded keeps them too.
    std::vector<std::unique_ptr<MappedFile>> mapped;

    // DataLoss when a file has changed since it was verified: call it before what was copied from `files` is used.
    absl::Status Check() const;
  };

  // Keeps the `keep` newest checkpoints. `keep` is at least 1. Touches no file. `guard` outlives this; null: nobody else
  // writes here.
  CheckpointStore(std::string folder, int64_t keep, RunGuard* guard = nullptr)
      : folder_(std::move(folder)), keep_(keep), guard_(guard) {}

  // Commits the files under `sequence`, which grows over a run. Returns the checkpoint's name. On an error (disk full,
  // fsync failed) the checkpoints of before are untouched and nothing half-written of this one is left; the next try
  // writes everything anew, because what a failed fsync was to keep may be gone though a second one succeeds. A
  // checkpoint of that number that is in place and whole is left as it is. Blocks until all is on disk. RunGuard::Check's
  // errors, asked before anything changes under a checkpoint's name.
  absl::StatusOr<std::string> Save(int64_t sequence, const CheckpointFiles& files);

  // The newest checkpoint whose manifest and hashes hold; one that does not is skipped with a loud line. nullopt when
  // there is none at all; DataLoss when there are some and none holds. Reads and hashes every file of those that it
  // tries.
  absl::StatusOr<std::optional<Loaded>> LoadNewest() const;

  // Names from oldest to newest, verified or not; unfinished ones are not listed. Empty when there is no folder.
  std::vector<std::string> List() const;
  // Every file against the manifest and back. DataLoss says all that does not fit. InvalidArgument for what is no
  // checkpoint's name.
  absl::StatusOr<Loaded> Load(const std::string& name) const;
  // The same, one text for each thing that does not fit; empty for a whole checkpoint.
  std::vector<std::string> Problems(const std::string& name) const;
  // The checkpoint that was committed last. NotFound without LATEST, DataLoss when it names none that is there.
  absl::StatusOr<std::string> Latest() const;

 private:
  // All files, the manifest last, and the folder itself, fsynced. What was at `temporary` is removed first.
  absl::Status WriteFolder(const std::string& temporary, const CheckpointFiles& files) const;
  // Writes and renames into place; cleans up after itself.
  absl::Status Commit(const std::string& name, const CheckpointFiles& files) const;
  // Maps what there is, and says of each part what is wrong with it.
  std::vector<std::string> Read(const std::string& name, Loaded* loaded) const;
  // Deletes a checkpoint so that no half of it is ever listed.
  absl::Status Discard(const std::string& name) const;
  // After `newest` was committed. Never an error: what cannot be deleted is said in the log and takes room.
  void DeleteOld(const std::string& newest) const;
  // <folder>/<name>.
  std::string Path(const std::string& name) const;

  const std::string folder_;
  const int64_t keep_;
  RunGuard* const guard_;
};

}  // namespace grpo

#endif  // GRPO_TRAINER_CHECKPOINT_STORE_H_
