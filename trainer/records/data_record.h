// data.json of a run: the content of each entry of `data` that has one, which stage was the first to read it, and what
// was changed before any stage had. A resumed run takes such a change, and no other. Links no torch.
#ifndef GRPO_TRAINER_RECORDS_DATA_RECORD_H_
#define GRPO_TRAINER_RECORDS_DATA_RECORD_H_

#include <map>
#include <optional>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"

namespace grpo {

struct DataChange {
  // Key under `data`.
  std::string data;
  // Empty where there is no content (any more).
  std::string old_sha256, new_sha256;
  // The first stage that read the old content; empty when none did.
  std::string read_by;
};

// One thread.
class DataRecord {
 public:
  // Of a run that begins, or that an older build began. Nothing is written yet. `read_by`: the first stage that has
  // read an entry, by entry.
  DataRecord(std::string path, const std::map<std::string, std::string>& data_sha256,
             const std::map<std::string, std::string>& read_by = {});
  // nullopt when there is no such file; DataLoss when it is not one of these.
  static absl::StatusOr<std::optional<DataRecord>> Read(const std::string& path);

  // What differs from the content of now, by DataSource::content_sha256.
  std::vector<DataChange> Changes(const std::map<std::string, std::string>& data_sha256) const;
  // Takes changes that no stage stands against; durable with the next Write.
  void Take(const std::vector<DataChange>& changes);
  // `stage` is about to read these entries; those without content are passed over. Durable when it returns OK.
  absl::Status MarkRead(const std::vector<std::string>& data, const std::string& stage);
  absl::Status Write() const;

 private:
  struct Entry {
    std::string sha256, read_by;
  };
  explicit DataRecord(std::string path) : path_(std::move(path)) {}

  std::string path_;
  std::map<std::string, Entry> entries_;
  // That were taken, in order.
  std::vector<DataChange> changes_;
};

}  // namespace grpo

#endif  // GRPO_TRAINER_RECORDS_DATA_RECORD_H_
