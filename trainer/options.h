// What the configuration says about the trainer: its process, its checkpoints, and the groups of keys that several
// stages have.
#ifndef GRPO_TRAINER_OPTIONS_H_
#define GRPO_TRAINER_OPTIONS_H_

#include <string>

#include "configs/visit.h"
#include "model/device_names.h"
#include "model/options.h"

namespace grpo {

// `trainer`: the process that learns. `ranks` is read by whoever plans the processes (tools/launch/run_plan.h),
// stall_after_s by rank 0's Watchdog, max_skipped_steps by its train stages, stop_within_s also by `grpoctl run`, the
// rest by every rank.
struct TrainerOptions {
  int64_t ranks = 1;
  int64_t threads = 1;
  std::string device = "auto";
  bool deterministic = true;
  int64_t micro_batch_tokens = 16384;
  bool activation_checkpointing = false;
  int64_t head_chunk_bytes = kDefaultHeadChunkBytes;
  double collective_timeout_s = 300;
  double rendezvous_timeout_s = 300;
  double stall_after_s = 120;
  int64_t max_skipped_steps = 5;
  double stop_within_s = 300;

  template <class V>
  void Visit(V& v) {
    v("ranks", ranks,
      {.help = "Trainer processes that `grpoctl run` starts; each step's batch is shared out among them. Where another "
               "launcher starts them (torchrun, Slurm), its WORLD_SIZE counts instead.",
       .min = 1,
       .max = 1024});
    v("threads", threads,
      {.help = "Threads of the trainer's tensor operations.", .unit = "threads", .min = 1, .max = 1024});
    v("device", device,
      {.help =
           "What the ranks compute on: cuda, one GPU for each rank of a machine (LOCAL_RANK says which); cpu; auto: "
           "GPUs where this build and the machine have them. A run that began on one kind goes on there "
           "(docs/gpus.md).",
       .choices = DeviceNames()});
    v("deterministic", deterministic,
      {.help =
           "On GPUs: only kernels whose results are the same bits each time, so that a run that was killed and goes "
           "on ends as one that was not. false may be faster."});
    v("micro_batch_tokens", micro_batch_tokens,
      {.help = "Tokens in one forward and backward at most (a longer sequence runs alone); bounds memory, does not "
               "change the loss.",
       .unit = "tokens",
       .min = 1,
       .max = 1 << 30});
    v("activation_checkpointing", activation_checkpointing,
      {.help = "Keep only each layer's input for the backward pass and compute the layer a second time: less memory, "
               "about a third more time. Does not change the loss."});
    v("head_chunk_bytes", head_chunk_bytes,
      {.help = "Logits that are in memory at a time; the loss is computed over chunks of tokens of this size.",
       .unit = "bytes",
       .min = 1,
       .max = 1e12});
    VisitPatience(v);
  }

 private:
  // When it gives up.
  template <class V>
  void VisitPatience(V& v) {
    v("collective_timeout_s", collective_timeout_s,
      {.help = "A rank that waits this long for another in the middle of a step gives up; then all ranks start again "
               "from the last checkpoint. Raise it when the slowest rank computes longer than this after the fastest.",
       .unit = "seconds",
       .min = 1,
       .max = 86400});
    v("rendezvous_timeout_s", rendezvous_timeout_s,
      {.help =
           "How long a rank waits at its start for the others: for rank 0's address to be known, for rank 0 to listen, "
           "for the last to come. Then it ends with exit code 69, and whoever started it starts it again. Raise it "
           "where machines come one by one.",
       .unit = "seconds",
       .min = 1,
       .max = 86400});
    v("stall_after_s", stall_after_s,
      {.help = "When nothing has moved for this long, and for ten times the median step, the status says STALLED, with "
               "what each rank is doing.",
       .unit = "seconds",
       .min = 1,
       .max = 86400});
    v("max_skipped_steps", max_skipped_steps,
      {.help =
           "After so many steps in a row of which every update was skipped, because loss or gradient was not finite, "
           "the run pauses until `grpoctl resume`; a shorter train stage pauses when that is all it did. 0: never.",
       .unit = "steps",
       .min = 0,
       .max = 1e9});
    v("stop_within_s", stop_within_s,
      {.help = "How long the step under way and its checkpoint may take after a signal to stop (SIGTERM, SIGINT, "
               "SIGHUP). Beyond it the trainer logs what its threads wait for and ends with exit code 75; the "
               "checkpoint before stands. A scheduler's grace time has to be longer to be of use.",
       .unit = "seconds",
       .min = 1,
       .max = 86400});
  }
};

// `checkpoint`: when and how many. every_steps counts in `train` stages; `keep` is CheckpointStore's, on_error
// RunSaver's.
struct CheckpointOptions {
  int64_t every_steps = 0;
  int64_t keep = 2;
  std::string on_error = "continue";

  template <class V>
  void Visit(V& v) {
    v("every_steps", every_steps,
      {.help = "Save after every so many optimizer steps of a stage; 0 saves only at the end of each stage and "
               "when asked.",
       .unit = "steps",
       .min = 0,
       .max = 1e12});
    v("keep", keep,
      {.help = "Checkpoints kept; older ones are deleted after a newer one is committed.", .min = 2, .max = 1e6});
    v("on_error", on_error,
      {.help = "When a save fails (disk full, I/O error) the checkpoint before it stays, and the run goes on with an "
               "alarm, or pauses until `grpoctl resume` tries again. `grpoctl checkpoint` answers with the error.",
       .choices = {"continue", "pause"}});
  }
};

// `completions`: what is kept of what was sampled. Read by `train` stages alone.
struct CompletionsOptions {
  int64_t train_every_steps = 1;

  template <class V>
  void Visit(V& v) {
    v("train_every_steps", train_every_steps,
      {.help = "What train stages sample is kept in completions.sqlite every so many steps; 0 keeps none of it. Other "
               "stages keep all.",
       .unit = "steps",
       .min = 0,
       .max = 1e12});
  }
};

// `optimizer` of a train stage: AdamW (arXiv:1711.05101) and the schedule of its learning rate. AdamW and
// LearningRateAt (trainer/optim/adamw.h) go by them; max_grad_norm is Loop's. That one_cycle has no warm-up beside its
// own is for the stage to check (Stage::Conflicts).
struct OptimizerOptions {
  double learning_rate = 1e-6;
  double beta1 = 0.9, beta2 = 0.999, eps = 1e-8, weight_decay = 0.0, l2 = 0.0;
  std::string weight_decay_on = "all";
  int64_t warmup_steps = 0;
  std::string schedule = "constant";
  double decay_start_frac = 0.0, final_learning_rate_frac = 0.0;
  double initial_learning_rate_frac = 0.04, peak_frac = 0.3;
  double max_grad_norm = 1.0;

  template <class V>
  void Visit(V& v) {
    v("learning_rate", learning_rate, {.help = "Peak learning rate.", .min = 0, .max = 10});
    v("beta1", beta1, {.help = "Decay of the first moment.", .min = 0, .max = 0.999999});
    v("beta2", beta2, {.help = "Decay of the second moment.", .min = 0, .max = 0.999999});
    v("eps", eps, {.help = "Added to the root of the second moment.", .min = 0, .max = 1});
    v("weight_decay", weight_decay,
      {.help = "Decoupled weight decay (AdamW): each step takes learning_rate times this fraction of a parameter from "
               "it, whatever its gradients were.",
       .min = 0,
       .max = 1});
    v("l2", l2,
      {.help =
           "L2 term (weight_decay of PyTorch's Adam): this many times the parameter is added to its gradient, after "
           "clipping and before the moments, which then scale it like any gradient. Of the two, weight_decay is "
           "usual.",
       .min = 0,
       .max = 1});
    v("weight_decay_on", weight_decay_on,
      {.help = "What weight_decay and l2 act on: every parameter, or matrices alone (embeddings are among them; norms "
               "and biases are left out).",
       .choices = {"all", "matrices"}});
    v("warmup_steps", warmup_steps,
      {.help = "Steps over which the rate rises linearly from learning_rate / warmup_steps. 0 with one_cycle, which "
               "rises by itself.",
       .unit = "steps",
       .min = 0,
       .max = 1e9});
    v("schedule", schedule,
      {.help = "After warm-up the rate stays, or falls linearly or along half a cosine to the end of the stage. "
               "one_cycle: it rises to learning_rate and falls again, both along half cosines.",
       .choices = {"constant", "linear", "cosine", "one_cycle"}});
    v("decay_start_frac", decay_start_frac,
      {.help = "linear, cosine: fraction of the stage's steps after which the rate falls.", .min = 0, .max = 1});
    v("final_learning_rate_frac", final_learning_rate_frac,
      {.help = "linear: fraction of learning_rate that it never falls below. cosine, one_cycle: the one to which it "
               "falls by the end of the stage.",
       .min = 0,
       .max = 1});
    v("initial_learning_rate_frac", initial_learning_rate_frac,
      {.help = "one_cycle: fraction of learning_rate at which the stage begins.", .min = 0, .max = 1});
    v("peak_frac", peak_frac,
      {.help = "one_cycle: fraction of the stage's steps over which the rate rises.", .min = 0, .max = 1});
    v("max_grad_norm", max_grad_norm,
      {.help = "Gradients are scaled down to this global 2-norm; 0 does not clip.", .min = 0, .max = 1e9});
  }
};

// Sampling keys of a stage. ToProto (trainer/stage/context.h) makes them what a lease carries. That a `train` stage
// cuts nothing off is for its algorithm to check (Algorithm::Conflicts), that prompt and max_new_tokens fit the context
// for CheckProblems.
struct SamplingOptions {
  double temperature = 1.0;
  double top_p = 1.0;
  int64_t top_k = 0;
  double min_p = 0.0;
  std::vector<std::string> stop;
  int64_t max_new_tokens = 512;

  template <class V>
  void Visit(V& v) {
    v("temperature", temperature, {.help = "Softmax temperature; the loss uses the same.", .min = 0, .max = 100});
    v("top_p", top_p,
      {.help =
           "Draw only from the most likely tokens whose probabilities sum to this. Not below 1 in `train` stages: the "
           "loss is of the whole distribution.",
       .min = 0.001,
       .max = 1});
    v("top_k", top_k,
      {.help = "Draw only from so many of the most likely tokens, before top_p; 0: all. Not in `train` stages.",
       .min = 0,
       .max = 1 << 24});
    v("min_p", min_p,
      {.help = "Draw only tokens at least this many times as likely as the most likely one (arXiv:2407.01082); 0: all. "
               "Not in `train` stages.",
       .min = 0,
       .max = 1});
    v("stop", stop,
      {.help = "Texts that end a completion, such as [\"\\nQ:\"] for a base model that runs on into the next "
               "question; its text ends before the first of them. Not in `train` stages."});
    v("max_new_tokens", max_new_tokens,
      {.help = "Longest completion, end-of-sequence token included.", .unit = "tokens", .min = 1, .max = 1 << 24});
  }
};

}  // namespace grpo

#endif  // GRPO_TRAINER_OPTIONS_H_
