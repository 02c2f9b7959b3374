// The run's named policies, each made when it is first used.
//
//   Get         makes it: from path or random_init, or as a copy of another policy as that is now
//   Restore     takes it from a checkpoint or from rank 0, in place of making it
//   Remake      makes it again after a resume, when the checkpoint only names it
//   Weights     its weights as others read them; BeginUpdate ends that before they change
//   Trained, Frozen    what a checkpoint holds of the policies, and what it only names
#ifndef GRPO_TRAINER_POLICIES_H_
#define GRPO_TRAINER_POLICIES_H_

#include <map>
#include <memory>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "model/options.h"
#include "model/tokenizer/tokenizer.h"
#include "model/transformer.h"
#include "model/weights/live_weights.h"
#include "model/weights/weight_set.h"
#include "trainer/checkpoint/progress.h"

namespace grpo {

// A policy: what it is called, and what it weighs. Where it is, is model->placement(). One thread, but for who reads
// Weights().
struct Policy {
  // --- Identity, with the digest of Weights() ---
  // Its key under `policies`.
  std::string id;
  // PolicyRef.number; 0 as long as nobody has trained it or what it was initialised from.
  int64_t number = 0;

  // --- Weights ---
  // Keeps float32 and computes in the dtype of its options.
  std::unique_ptr<Transformer> model;
  // What travels with the weights, unchanged; `tokenizer` is made of it. Null only before the policy is made.
  std::string tokenizer_json;
  Companions companions;
  std::unique_ptr<Tokenizer> tokenizer;

  // Id and number.
  v1::PolicyRef ref() const;
  // The weights as they are now, without a copy unless they lie on a device: kSampled for workers, kTrained for
  // checkpoints and the digest. The same source until the weights change, so that they are hashed once; where there is
  // nothing to round, both forms are one. Hashes all weights the first time. Internal for what torch throws.
  absl::StatusOr<std::shared_ptr<const WeightSource>> Weights(WeightsForm form = WeightsForm::kTrained) const;
  // A copy of them. Needs their memory once more.
  absl::StatusOr<WeightSet> Pack() const;
  // Before the weights change: waits for whoever reads them, `patience` at most (WeightSource::Retire). Returns how
  // long that took. Nobody holds a source, or the weights lie on a device: zero, at once.
  absl::Duration BeginUpdate(absl::Duration patience);

 private:
  // What Weights returned since the last update, by form; null when nobody asked.
  mutable std::shared_ptr<LiveWeights> trained_, sampled_;
};

// One thread. Pointers to policies stay valid, unless Restore or Remake replaces the policy. Random weights follow from
// the run's seed and the policy's name.
class PolicyStore {
 public:
  // All of them are placed on `device`.
  PolicyStore(std::map<std::string, PolicyOptions> options, uint64_t run_seed, at::Device device = at::kCPU)
      : options_(std::move(options)), run_seed_(run_seed), device_(device) {}

  // The options of a policy that is only an address; null for every other name.
  const EndpointOptions* Endpoint(const std::string& id) const;

  // NotFound for a name that is not configured; FailedPrecondition for one that is only an address, which has no
  // weights; errors of loading or initialising. Made at the first call, with what it
  // is initialised from; MakePolicy's errors, with the key. A policy that is initialised from another has that one's
  // weights as they are at that moment.
  absl::StatusOr<Policy*> Get(const std::string& id);
  // Takes weights from a checkpoint, or from another rank, in place of making the policy. ReadPolicy's errors. Replaces
  // a policy of that name: pointers to the old one are not valid any more.
  absl::Status Restore(const WeightSource& weights);
  // The same from memory.
  absl::Status Restore(const WeightSet& weights);
  // Makes a policy that a checkpoint only names, from where its weights came first, and checks that it is still the
  // same: DataLoss with both digests when it is not. NotFound for a name that is not configured, else MakePolicy's
  // errors.
  absl::Status Remake(const UntrainedPolicy& frozen);
  uint64_t run_seed() const { return run_seed_; }
  // The policies that were made, by name.
  const std::map<std::string, std::unique_ptr<Policy>>& made() const { return made_; }

  // Those of them that a checkpoint has to hold, since their weights do not follow from the configuration. Those with a
  // number above 0.
  absl::StatusOr<std::vector<std::shared_ptr<const WeightSource>>> Trained() const;
  // The others. Hashes the weights of those that were not hashed yet.
  absl::StatusOr<std::vector<UntrainedPolicy>> Frozen() const;

 private:
  // By whichever of initialize_from, path and random_init the options give.
  absl::StatusOr<std::unique_ptr<Policy>> Make(const std::string& id, const PolicyOptions& options);
  // By path or random_init, under another name and with what that says of the placement.
  absl::StatusOr<std::unique_ptr<Policy>> MakeFromSource(const std::string& id, const std::string& source_id) const;
  // The policy at the beginning of the chain of initialize_from that ends at `id`. NotFound for a broken chain.
  absl::StatusOr<std::string> FirstOf(const std::string& id) const;

  const std::map<std::string, PolicyOptions> options_;
  const uint64_t run_seed_;
  const at::Device device_;
  // By name; grows with Get and Restore.
  std::map<std::string, std::unique_ptr<Policy>> made_;
};

}  // namespace grpo

#endif  // GRPO_TRAINER_POLICIES_H_
