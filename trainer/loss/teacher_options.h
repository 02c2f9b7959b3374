// Keys of the losses that compare a student with teachers: what a file says in an algorithm's keys, and what the
// algorithm then gives its losses. Links no torch.
#ifndef GRPO_TRAINER_LOSS_TEACHER_OPTIONS_H_
#define GRPO_TRAINER_LOSS_TEACHER_OPTIONS_H_

#include <string>
#include <vector>

#include "configs/visit.h"
#include "trainer/schedule.h"

namespace grpo {

// A teacher of soft labels.
struct TeacherOptions {
  std::string policy;
  bool stored = false;
  double weight = 1;
  TemperatureSchedule temperature;

  template <class V>
  void Visit(V& v) {
    v("policy", policy,
      {.help = "Key under `policies` of a policy that is only read: each rank of the trainer holds it."});
    v("stored", stored,
      {.help =
           "In place of a policy: the log-probabilities that a synthesize stage with teacher_top_k stored beside the "
           "traces; no teacher is needed then."});
    v("weight", weight,
      {.help = "Its share among the teachers; the weights are divided by their sum.", .min = 1e-6, .max = 1e6});
    v("temperature", temperature,
      {.help = "Softens both distributions: softmax(logits / T). High shows what the teacher thinks of all the other "
               "tokens; it may fall to 1 over the stage."});
  }
};

// Which divergence, with its own keys beside.
struct DivergenceChoice {
  std::string type = "forward_kl";
  Section options;

  template <class V>
  void Visit(V& v) {
    v("type", type,
      {.help = "Which one (trainer/divergences.inc lists them, docs/distillation.md has their formulas)."});
    v.Rest(options);
  }
};

// `soft_labels`: sum_t distill_weight_t * sum_teachers share * [T^2] * D(p_t || q_t) with p = softmax(teacher's logits
// / T), q = softmax(student's logits / T).
struct SoftLabelsOptions {
  std::vector<TeacherOptions> teachers;
  DivergenceChoice divergence;
  bool temperature_squared = true;
  int64_t top_k = 0;
  std::string tail = "bucket";

  template <class V>
  void Visit(V& v) {
    v("teachers", teachers, {.help = "Whose distributions the student is to come near."});
    v("divergence", divergence, {.help = "What is minimised between a teacher's distribution and the student's."});
    v("temperature_squared", temperature_squared,
      {.help = "Whether the divergence is multiplied by T^2, so that its gradient keeps its size when T changes "
               "(arXiv:1503.02531 section 2). DistillKit does, TRL does not."});
    v("top_k", top_k,
      {.help = "Only so many of a teacher's most likely tokens are compared; 0: the whole vocabulary.",
       .unit = "tokens",
       .min = 0,
       .max = 1 << 20});
    v("tail", tail,
      {.help = "With top_k, the tokens behind them: dropped (what is left sums to less than 1), renormalised (both "
               "distributions are divided by what they give to those tokens), or one bucket that holds all the rest.",
       .choices = {"dropped", "renormalised", "bucket"}});
  }
};

// A student's layer and the teacher's that it is compared with.
struct LayerPair {
  int64_t student = 1, teacher = 1;

  template <class V>
  void Visit(V& v) {
    v("student", student, {.help = "Layer of the student, counted from 1.", .min = 1, .max = 1024});
    v("teacher", teacher, {.help = "Layer of the teacher, counted from 1.", .min = 1, .max = 1024});
  }
};

// `features`: sum_t distill_weight_t * mean over pairs of mse_weight * mean_d (P h_student - h_teacher)^2 +
// cosine_weight * (1 - cos(P h_student, h_teacher)), with h what leaves a layer at the token that predicts t, and P a
// learned projection where the widths differ.
struct FeaturesOptions {
  std::string teacher;
  std::vector<LayerPair> pairs;
  double mse_weight = 1, cosine_weight = 0;

  // Those that are compared: `pairs`, or, without any, every layer of a student of num_student layers, spread evenly
  // over the teacher's: layer i goes with the teacher's layer ceil(i * num_teacher / num_student).
  std::vector<LayerPair> Pairs(int64_t num_student, int64_t num_teacher) const {
    if (!pairs.empty()) return pairs;
    std::vector<LayerPair> even;
    for (int64_t i = 1; i <= num_student; ++i) even.push_back({i, (i * num_teacher + num_student - 1) / num_student});
    return even;
  }

  template <class V>
  void Visit(V& v) {
    v("teacher", teacher,
      {.help = "Key under `policies` of the policy whose layers the student's are compared with; empty: none are."});
    v("pairs", pairs,
      {.help = "Layers that are compared; none: every layer of the student, spread evenly over the teacher's."});
    v("mse_weight", mse_weight, {.help = "Factor of the mean squared difference.", .min = 0, .max = 1e6});
    v("cosine_weight", cosine_weight, {.help = "Factor of 1 - cosine.", .min = 0, .max = 1e6});
  }
};

}  // namespace grpo

#endif  // GRPO_TRAINER_LOSS_TEACHER_OPTIONS_H_
