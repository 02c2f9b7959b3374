// Where a train stage's steps get their input: groups sampled from the policy, rows of documents, or traces. Links no
// torch.
#ifndef GRPO_TRAINER_STAGE_STEP_SOURCE_H_
#define GRPO_TRAINER_STAGE_STEP_SOURCE_H_

#include <functional>
#include <memory>
#include <string>
#include <utility>

#include "absl/status/statusor.h"
#include "data/shuffled_reader.h"
#include "trainer/algorithm/algorithm.h"
#include "trainer/stage/context.h"

namespace grpo {

// Reads the stage's data in an order of the stage's own. One thread.
class StepSource {
 public:
  virtual ~StepSource() = default;
  // Input of step `step`. `poll` is called while waiting; its error is returned. Steps come in order, from the one at
  // which the stage goes on. InvalidArgument, with the place, for data that cannot be tokenized; DataSource::Check's
  // errors; GroupFeed::Next's where groups are sampled.
  virtual absl::StatusOr<StepInput> Next(int64_t step, const std::function<absl::Status()>& poll) = 0;
  // Items read so far: StageProgress.data_position.
  int64_t data_position() const { return data_position_; }

 protected:
  // `seed` decides the order in which the data are read; data_position is where the reading goes on.
  StepSource(std::unique_ptr<DataSource> data, uint64_t seed, int64_t data_position)
      : data_(std::move(data)), reader_(data_.get(), seed), data_position_(data_position) {}

  const DataSource& data() const { return *data_; }
  // Error of what was read: DataSource::Check. Asked before it is used.
  absl::Status CheckData() const { return data_->Check(); }
  // In that order; moves data_position.
  DataItem NextItem() { return reader_.At(data_position_++); }
  // The same by its index in the data, which are no mix.
  int64_t NextIndex() { return reader_.IndexAt(data_position_++); }

 private:
  const std::unique_ptr<DataSource> data_;
  ShuffledReader reader_;
  int64_t data_position_;
};

// The token behind every document and trace.
uint32_t EndToken(const ModelConfig& config);

// A problem and its completion as a policy with this tokenizer reads them, `eos` behind both. InvalidArgument, with the
// problem's id, when there is no completion or one of the two cannot be tokenized.
absl::StatusOr<TokenizedTrace> TokenizeTrace(const DataItem& item, const Tokenizer& tokenizer, uint32_t eos);

// The source that the algorithm's plan asks for, from the entry `data`, which was checked (trainer/preflight.h), at
// `data_position`. `context` and `policy` outlive it. Errors of RunFiles::OpenData; where stored top-k is asked for,
// also of OpenStoredTopK and StoredTopK::CheckFits, and Next has those of StoredTopK::Of.
absl::StatusOr<std::unique_ptr<StepSource>> MakeStepSource(StageContext& context, const std::string& data,
                                                           const Algorithm& algorithm, StagePolicy& policy,
                                                           int64_t data_position);

}  // namespace grpo

#endif  // GRPO_TRAINER_STAGE_STEP_SOURCE_H_
