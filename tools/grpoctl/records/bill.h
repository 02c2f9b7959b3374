// What policies took to make, and what they give for it beside their teachers. Pure; any thread.
#ifndef GRPO_TOOLS_GRPOCTL_RECORDS_BILL_H_
#define GRPO_TOOLS_GRPOCTL_RECORDS_BILL_H_

#include <string>
#include <vector>

#include "trainer/stage/report.h"

namespace grpo {

// What it took to make a policy as one stage found it: the sum over its lineage, that is the stages that trained it or
// what it was initialised from, and those that wrote what these learned from. Over all starts of the run; without what
// was there before the run (a folder of weights, an endpoint).
struct MakingCost {
  double seconds = 0, tokens = 0, usd = 0;
  // The same with the making of the policies that taught it or wrote for it.
  double seconds_with_teachers = 0;
};
// `stage` is one of `stages`, which are all of the run so far. Zero for a policy that nobody trained, and where the
// reports do not say on what they built.
MakingCost CostOf(const StageReport& stage, const std::vector<StageReport>& stages);

// A sentence for each measured policy and each measured one that taught it or wrote for it: "student to its teacher
// r1_zero: 1/5.7 of the parameters, 1/5.7 of the bytes of weights, 3.1 times the tokens/s, 98.3 % of pass@1". Tokens/s
// and pass@1 only where both were measured under the same conditions. A policy that taught itself has none. Printable.
std::vector<std::string> TeacherSentences(const std::vector<StageReport>& stages);

// A sentence for each stage on which several starts of the run worked: its figures hold what was done twice. Printable.
std::vector<std::string> RepeatedWork(const std::vector<StageReport>& stages);

}  // namespace grpo

#endif  // GRPO_TOOLS_GRPOCTL_RECORDS_BILL_H_
