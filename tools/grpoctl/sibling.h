// grpoctl-model: the sibling binary that links torch, so that grpoctl itself starts at once.
#ifndef GRPO_TOOLS_GRPOCTL_SIBLING_H_
#define GRPO_TOOLS_GRPOCTL_SIBLING_H_

#include <string>
#include <vector>

namespace grpo {

// Runs the sibling with these arguments in place of this process. Returns only when it cannot be started, after saying
// why: kExitNoInput.
int RunSibling(std::vector<std::string> arguments);

// Whether it was built.
bool HasSibling();

}  // namespace grpo

#endif  // GRPO_TOOLS_GRPOCTL_SIBLING_H_
