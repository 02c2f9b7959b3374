// Between the steps of a stage: the requests from outside are served, and state is saved. Links no torch.
#ifndef GRPO_TRAINER_STAGE_SAVER_H_
#define GRPO_TRAINER_STAGE_SAVER_H_

#include <functional>
#include <string>
#include <utility>

#include "absl/functional/function_ref.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "proto/trainer.pb.h"
#include "trainer/stage/cursor.h"
#include "trainer/status/control.h"

namespace grpo {

// One thread, the training thread.
class Saver {
 public:
  // Where the run goes on from now; called when something is saved.
  using Cursor = absl::FunctionRef<StageCursor()>;

  virtual ~Saver() = default;
  // Called between steps, and every now and then while groups are awaited: RunControl::Poll. Sleeps while the run is
  // paused. Aborted, after a save, when a stop was requested.
  virtual absl::Status Poll(Cursor cursor) = 0;
  // A save that nobody asked for by name, `when` ("at step 7 of tune"). If it fails, that is said loudly, the
  // checkpoint before it stays, and checkpoint.on_error decides: the run goes on, or it pauses, and `grpoctl resume`
  // tries again. Aborted when it was stopped while it paused.
  virtual absl::Status Save(const std::string& when, Cursor cursor) = 0;
};

// The run's own; stages' tests have others.
class RunSaver : public Saver {
 public:
  // `save` commits a checkpoint of the run. `control` outlives this.
  using SaveFunction = std::function<absl::StatusOr<v1::CheckpointStatus>(const StageCursor&)>;
  // on_error is continue or pause.
  RunSaver(RunControl* control, std::string on_error, SaveFunction save)
      : control_(*control), on_error_(std::move(on_error)), save_(std::move(save)) {}

  // Called with every Poll, before it serves what was asked for, and before every save. Its error is returned, and
  // nothing is saved.
  void OnPoll(std::function<absl::Status()> on_poll) { on_poll_ = std::move(on_poll); }

  absl::Status Poll(Cursor cursor) override;
  absl::Status Save(const std::string& when, Cursor cursor) override;

 private:
  RunControl& control_;
  // CheckpointOptions.on_error.
  const std::string on_error_;
  const SaveFunction save_;
  std::function<absl::Status()> on_poll_;
};

}  // namespace grpo

#endif  // GRPO_TRAINER_STAGE_SAVER_H_
