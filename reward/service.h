// RewardService on the wire (proto/reward.proto): stateless scoring by the profiles of one configuration.
//
// Calls are asynchronous: no thread belongs to a stream, a ScoringPool scores. A completion is scored alone: what
// happens to it is its outcome, never an error of the stream. One whose rules take longer than the item's deadline, or
// that is not scored when the call's is near, comes back as OUTCOME_DEADLINE. A stream that sends faster than it is
// scored is read no further until some of it is; a new one is refused with RESOURCE_EXHAUSTED while max_waiting
// completions wait.
#ifndef GRPO_REWARD_SERVICE_H_
#define GRPO_REWARD_SERVICE_H_

#include <map>
#include <memory>
#include <string>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/synchronization/mutex.h"
#include "proto/reward.grpc.pb.h"
#include "reward/options.h"
#include "reward/profile.h"
#include "reward/scoring_pool.h"

namespace grpo {

// Thread-safe. Outlives the server that serves it.
class RewardServiceImpl final : public v1::RewardService::CallbackService {
 public:
  // By name.
  using ProfileOptions = std::map<std::string, RewardProfileOptions>;

  // InvalidArgument with every message of RewardProfile::Make, or when there is no profile; what Prepare says of a rule
  // that cannot work here. All errors together.
  static absl::StatusOr<std::unique_ptr<RewardServiceImpl>> Make(const ProfileOptions& profiles,
                                                                 const RewardServerOptions& options);

  // Serves these profiles to callers who name no hash, and to those who name theirs. Callers of a profile that was
  // served before keep it by its hash (a run never changes its rules), as long as it is among the newest
  // kMaxVersions of its name. An error, as Make, leaves everything as it was. Streams that are under way keep the
  // profile that they began with.
  absl::Status Reload(const ProfileOptions& profiles);

  // A header, then the group's completions; one answer each, in any order, all of them before the stream ends with OK.
  // Its errors are those of NewScoreStream (reward/score_stream.h).
  grpc::ServerBidiReactor<v1::ScoreRequest, v1::ScoreResponse>* Score(grpc::CallbackServerContext* context) override;
  // All rules of this build, and the newest version of each served profile.
  grpc::ServerUnaryReactor* ListRules(grpc::CallbackServerContext* context, const v1::ListRulesRequest* request,
                                      v1::ListRulesResponse* response) override;

  // What callers who name no hash get. The newest of each name, by name.
  std::vector<v1::RewardProfileRef> Profiles() const;

  // Prometheus' text format: what the rules of every served profile did, and how much waits. Of a profile's versions
  // only the newest.
  std::string Metrics() const;

  // For the streams. NotFound for an unknown name, FailedPrecondition, with both hashes, for an unknown version. Good
  // as long as it is held, whatever is loaded meanwhile.
  absl::StatusOr<std::shared_ptr<const RewardProfile>> FindProfile(const v1::RewardProfileRef& ref) const;
  // ResourceExhausted when too much waits. Never blocks.
  absl::Status Admit() const;
  // For the streams, like the pool in which they score.
  const RewardServerOptions& options() const { return options_; }
  ScoringPool& pool() { return pool_; }

 private:
  // Of one name; the oldest goes first.
  static constexpr size_t kMaxVersions = 8;
  // Versions of each name, the newest last.
  using Versions = std::map<std::string, std::vector<std::shared_ptr<const RewardProfile>>>;

  explicit RewardServiceImpl(const RewardServerOptions& options) : options_(options), pool_(options.threads) {}
  // The profiles served now; a copy, so that nothing is held while rules are asked.
  Versions Served() const;

  const RewardServerOptions options_;
  mutable absl::Mutex mutex_;
  // Grows with Reload; newest_ are the names that the newest configuration has.
  Versions profiles_ ABSL_GUARDED_BY(mutex_);
  std::vector<std::string> newest_ ABSL_GUARDED_BY(mutex_);
  ScoringPool pool_;
};

}  // namespace grpo

#endif  // GRPO_REWARD_SERVICE_H_
