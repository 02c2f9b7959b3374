// A number of a loss that may change over a stage: a temperature, a share. Links no torch.
#ifndef GRPO_TRAINER_SCHEDULE_H_
#define GRPO_TRAINER_SCHEDULE_H_

#include <string>

#include "configs/visit.h"

namespace grpo {

// Keys of a number that stays, or goes from one value to another. Value semantics.
struct Schedule {
  double start = 1, end = 1;
  std::string shape = "constant";
  double over_frac = 1;

  // The value where `done_frac` of the stage's steps, in [0, 1], are done: `start` for a constant; else from `start` to
  // `end` along a line or half a cosine over the first over_frac of the stage, and `end` from there on. Pure.
  double At(double done_frac) const;
  // The schedule whose value is factor times this one's, or factor times what is missing to 1. Shapes are affine in
  // their ends, so that this holds at every step.
  Schedule Times(double factor) const;
  Schedule OneMinus(double factor) const;
  // Whether it has this value all along.
  bool Stays(double value) const { return start == value && (shape == "constant" || end == value); }
  // A number that stays.
  static Schedule Constant(double value) { return {.start = value, .end = value}; }

  // Numbers of any size: what a program writes. Files have the narrower ones below.
  template <class V>
  void Visit(V& v) {
    VisitWithin(v, -1e12, 1e12);
  }

 protected:
  template <class V>
  void VisitWithin(V& v, double min, double max) {
    v("start", start, {.help = "Its value at the stage's first step.", .min = min, .max = max});
    v("end", end, {.help = "linear and cosine: the value that it reaches.", .min = min, .max = max});
    v("shape", shape,
      {.help = "It stays at start, or goes to end along a line or half a cosine.",
       .choices = {"constant", "linear", "cosine"}});
    v("over_frac", over_frac,
      {.help = "linear and cosine: the share of the stage's steps in which it goes from start to end.",
       .min = 0,
       .max = 1});
  }
};

// Of a softmax; above 0.
struct TemperatureSchedule : Schedule {
  template <class V>
  void Visit(V& v) {
    VisitWithin(v, 0.01, 1000);
  }
};

// The share of one of two, half by default.
struct ShareSchedule : Schedule {
  ShareSchedule() : Schedule(Constant(0.5)) {}

  template <class V>
  void Visit(V& v) {
    VisitWithin(v, 0, 1);
  }
};

}  // namespace grpo

#endif  // GRPO_TRAINER_SCHEDULE_H_
