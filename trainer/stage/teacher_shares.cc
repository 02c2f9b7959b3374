#include "trainer/stage/teacher_shares.h"

#include <set>

#include "absl/strings/str_cat.h"
#include "common/seeds.h"

namespace grpo {

std::vector<Conflict> Conflicts(const std::vector<TeacherShare>& teachers) {
  std::vector<Conflict> conflicts;
  std::set<std::string> policies;
  for (size_t i = 0; i < teachers.size(); ++i) {
    if (policies.insert(teachers[i].policy).second) continue;
    conflicts.push_back({absl::StrCat(i, ".policy"),
                         absl::StrCat("is ", teachers[i].policy, ", which is a teacher already: add up its shares")});
  }
  return conflicts;
}

size_t TeacherOf(const std::vector<TeacherShare>& teachers, uint64_t seed, int64_t problem) {
  double sum = 0;
  for (const TeacherShare& teacher : teachers) sum += teacher.share;
  double rest = UniformAt(seed, static_cast<uint64_t>(problem)) * sum;
  for (size_t i = 0; i + 1 < teachers.size(); ++i) {
    rest -= teachers[i].share;
    if (rest < 0) return i;
  }
  return teachers.size() - 1;
}

TeacherGroups GroupByTeacher(const std::vector<TeacherShare>& teachers, uint64_t seed,
                             const std::vector<int64_t>& problems) {
  TeacherGroups groups;
  for (size_t teacher = 0; teacher < teachers.size(); ++teacher) {
    groups.first.push_back(static_cast<int64_t>(groups.problems.size()));
    for (const int64_t problem : problems) {
      if (TeacherOf(teachers, seed, problem) == teacher) groups.problems.push_back(problem);
    }
  }
  groups.first.push_back(static_cast<int64_t>(groups.problems.size()));
  return groups;
}

}  // namespace grpo
