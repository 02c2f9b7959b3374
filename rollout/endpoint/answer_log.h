// What an endpoint answered, so that it is paid for once: one line an answer in RUN/answers/<policy>.jsonl, written
// before anybody uses the answer. Links no torch.
//
// A killed run finds the answers to its groups here, whoever asked for them; the sum of the lines is what was spent.
// What is never here is an answer that was under way when its process died.
#ifndef GRPO_ROLLOUT_ENDPOINT_ANSWER_LOG_H_
#define GRPO_ROLLOUT_ENDPOINT_ANSWER_LOG_H_

#include <cstdint>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "absl/synchronization/mutex.h"
#include "common/unix_socket.h"
#include "proto/types.pb.h"
#include "rollout/endpoint/answer.h"

namespace grpo {

// An answer to a part of a group.
struct LoggedAnswer {
  // Completions first, first+1, ... of the group. Empty for an answer that was paid for and is of no use.
  int32_t first = 0;
  std::vector<Choice> choices;
  v1::EndpointUsage usage;
};

// Names a group by all that its answers depend on: model and route, prompt, sampling parameters and the group's seed,
// which follows from run seed, stage and index. Hex. Not the address: the same model may move. Pure.
std::string AnswerKey(const EndpointOptions& endpoint, absl::string_view prompt, const v1::SamplingParams& sampling,
                      uint64_t seed);

// Thread-safe. Holds a place in the file for each answer, not the answer. Other processes may append to the file
// meanwhile; what they wrote is seen after the next Append. The file is locked by nobody: a line is one write.
class AnswerLog {
 public:
  // Makes the file and its folder. A line that is torn or unreadable is passed over. ErrnoStatus's codes.
  static absl::StatusOr<std::unique_ptr<AnswerLog>> Open(const std::string& path);

  // What is there of the group, in the order in which it came. ErrnoStatus's codes, DataLoss for a line that cannot be
  // read again.
  absl::StatusOr<std::vector<LoggedAnswer>> Find(const std::string& key) const;
  // Durable when it is OK. After an error, what was spent counts all the same.
  absl::Status Append(const std::string& key, const LoggedAnswer& answer);
  // Of all answers of the file.
  v1::EndpointUsage spent() const;

 private:
  // Of a line in the file.
  struct Place {
    int64_t offset = 0, size = 0;
  };

  AnswerLog(std::string path, Descriptor file) : path_(std::move(path)), file_(std::move(file)) {}
  // Takes the lines behind read_bytes_ that have their end.
  absl::Status ReadOn() ABSL_EXCLUSIVE_LOCKS_REQUIRED(io_mutex_) ABSL_LOCKS_EXCLUDED(mutex_);
  void TakeLine(absl::string_view line, int64_t offset) ABSL_LOCKS_EXCLUDED(mutex_);
  // Nothing whole is in the file after an error.
  absl::Status Write(const std::string& line) ABSL_EXCLUSIVE_LOCKS_REQUIRED(io_mutex_);
  absl::Status Sync() ABSL_EXCLUSIVE_LOCKS_REQUIRED(io_mutex_);

  const std::string path_;
  const Descriptor file_;
  // Over writing and reading on: lines come one after the other.
  absl::Mutex io_mutex_ ABSL_ACQUIRED_BEFORE(mutex_);
  int64_t read_bytes_ ABSL_GUARDED_BY(io_mutex_) = 0;
  // Never held while the disk is waited for.
  mutable absl::Mutex mutex_;
  std::map<std::string, std::vector<Place>> places_ ABSL_GUARDED_BY(mutex_);  // by key
  v1::EndpointUsage spent_ ABSL_GUARDED_BY(mutex_);
};

}  // namespace grpo

#endif  // GRPO_ROLLOUT_ENDPOINT_ANSWER_LOG_H_
