// Which of several teachers samples which problem, and in what order groups are sampled. Links no torch.
#ifndef GRPO_TRAINER_STAGE_TEACHER_SHARES_H_
#define GRPO_TRAINER_STAGE_TEACHER_SHARES_H_

#include <cstdint>
#include <string>
#include <vector>

#include "configs/visit.h"
#include "trainer/plugin.h"

namespace grpo {

// An element of `teachers`.
struct TeacherShare {
  std::string policy;
  double share = 1;

  template <class V>
  void Visit(V& v) {
    v("policy", policy, {.help = "Key under `policies`: one of the teachers.", .required = true});
    v("share", share,
      {.help = "Of the problems that it samples, over the sum of all shares. Which they are depends on the run's seed "
               "and the problem's place in the data alone, not on who is free.",
       .min = 1e-6,
       .max = 1e6});
  }
};

// Keys as they stand below `teachers`: a policy that stands there twice.
std::vector<Conflict> Conflicts(const std::vector<TeacherShare>& teachers);

// The teacher, by its place in the list, of the problem with this index in the data. At least one teacher. Pure.
size_t TeacherOf(const std::vector<TeacherShare>& teachers, uint64_t seed, int64_t problem);

// The groups of a stage: first those of the first teacher, so that workers change their weights once a teacher. Within
// a teacher's the problems are in the order of the data.
struct TeacherGroups {
  // By group: the problem's index in the data.
  std::vector<int64_t> problems;
  // By teacher: its first group; behind them the number of groups.
  std::vector<int64_t> first;
};
// Of these problems, which rise. Pure.
TeacherGroups GroupByTeacher(const std::vector<TeacherShare>& teachers, uint64_t seed,
                             const std::vector<int64_t>& problems);

}  // namespace grpo

#endif  // GRPO_TRAINER_STAGE_TEACHER_SHARES_H_
