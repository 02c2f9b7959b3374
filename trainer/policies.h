// The run's named policies, each made when it is first used.
#ifndef GRPO_TRAINER_POLICIES_H_
#define GRPO_TRAINER_POLICIES_H_

#include <map>
#include <memory>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "model/options.h"
#include "model/tokenizer/tokenizer.h"
#include "model/transformer.h"
#include "model/weights/weight_set.h"

namespace grpo {

struct Policy {
  std::string id;
  std::unique_ptr<Transformer> model;
  std::string tokenizer_json;
  Companions companions;
  std::unique_ptr<Tokenizer> tokenizer;
  // PolicyRef.number.
  int64_t number = 0;

  v1::PolicyRef ref() const;
  // A copy of the weights as they are now.
  absl::StatusOr<WeightSet> Pack() const;
};

// One thread. Pointers to policies stay valid.
class PolicyStore {
 public:
  PolicyStore(std::map<std::string, PolicyOptions> options, uint64_t run_seed)
      : options_(std::move(options)), run_seed_(run_seed) {}

  // NotFound for a name that is not configured; errors of loading or initialising.
  absl::StatusOr<Policy*> Get(const std::string& id);
  // Takes weights from a checkpoint in place of making the policy.
  absl::Status Restore(const WeightSet& weights);
  // The policies that were made, by name.
  const std::map<std::string, std::unique_ptr<Policy>>& made() const { return made_; }

 private:
  absl::StatusOr<std::unique_ptr<Policy>> Make(const std::string& id, const PolicyOptions& options);

  const std::map<std::string, PolicyOptions> options_;
  const uint64_t run_seed_;
  std::map<std::string, std::unique_ptr<Policy>> made_;
};

}  // namespace grpo

#endif  // GRPO_TRAINER_POLICIES_H_
