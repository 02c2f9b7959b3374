// A `repeat` among a configuration's stages is unrolled before anything else reads it: into ordinary stages, one set a
// round, with names and files of their own. Everything behind (trainer, checkpoints, resume, preflight) knows ordinary
// stages only.
//
//   stages:                                        stages: flywheel.1.solve, flywheel.1.learn, flywheel.2.solve, ...
//   - repeat: {name: flywheel, times: 3,    --->   artifacts, data: flywheel-1-traces, flywheel-2-traces, ...
//              stages: [solve, learn, ...],        rounds.flywheel: {times: 3, until: ...}
//              until: {...}}
//
// What a name means in the stages of round r, and behind the repeat:
//   policy     the same policy throughout: it is trained further, and whoever reads it reads its newest weights. One of
//              `fresh_policies` is flywheel-r-NAME, made anew; before the round's stage that trains it, the previous
//              round's
//   artifact   what a stage of the round writes (`export_to`) is flywheel-r-NAME, in the run folder's flywheel.r/
//   data       an entry that reads such an artifact is the newest that has been written by then: this round's, else the
//              previous round's, else the one that a stage before the repeat wrote
//   union      (data/union.h) of such an entry: of all that have been written by then
//   mix        of such an entry: of its newest
// Behind a repeat with `until` no stage may read what a round has written, or made anew, that `until` may leave out.
//
// Links no torch. Pure; any thread.
#ifndef GRPO_TRAINER_UNROLL_H_
#define GRPO_TRAINER_UNROLL_H_

#include <cstdint>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "configs/visit.h"
#include "trainer/run_config.h"

namespace grpo {

// A stage as it was given.
struct RepeatedStage {
  Section stage;

  template <class V>
  void Visit(V& v) {
    v.Rest(stage);
  }
};

// `repeat`, in place of a stage.
struct RepeatOptions {
  std::string name;
  int64_t times = 1;
  std::vector<RepeatedStage> stages;
  std::vector<std::string> fresh_policies;
  UntilOptions until;

  template <class V>
  void Visit(V& v) {
    v("name", name,
      {.help = "Begins the names of what the rounds consist of: stage NAME.1.stage, folder NAME.1 in the run folder.",
       .required = true});
    v("times", times,
      {.help = "Rounds, unless `until` ends them earlier.",
       .min = 1,
       .max = RoundsOptions::kMaxRounds,
       .required = true});
    v("stages", stages,
      {.help =
           "The stages of a round, in order. Policies are trained further from round to round; what a stage writes "
           "has a name and a file for each round, and `data` that read it read the newest, a `source: union` all of "
           "them (docs/rounds.md).",
       .required = true});
    v("fresh_policies", fresh_policies,
      {.help =
           "Keys under `policies` that each round makes anew when it first needs them, of what they are initialised "
           "from as that is then: a student that begins at its base again, a reference that stands where the round "
           "began. Stages before the one that trains such a policy read the previous round's. Those of all rounds "
           "stay in memory."});
    v("until", until, {.help = "When the rounds that are left are left out; absent: never."});
  }
};

// Whether there is anything to unroll.
bool HasRepeat(const Section& root);

// The configuration with its repeats unrolled, of each `max_rounds` rounds at most. InvalidArgument, with file, line
// and key, for what is wrong about a repeat itself or about the keys of its stages; whatever has nothing to do with
// repeats stays as it was, right or wrong.
absl::StatusOr<Section> UnrollRepeats(const Section& root, int64_t max_rounds);

}  // namespace grpo

#endif  // GRPO_TRAINER_UNROLL_H_
