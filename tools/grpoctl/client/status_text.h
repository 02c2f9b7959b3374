// A status snapshot as tables for people and as JSON for programs. Pure; any thread.
#ifndef GRPO_TOOLS_GRPOCTL_CLIENT_STATUS_TEXT_H_
#define GRPO_TOOLS_GRPOCTL_CLIENT_STATUS_TEXT_H_

#include <string>

#include "proto/trainer.pb.h"

namespace grpo {

// Several tables: the run, its stages, and the ranks (where there are several), workers and reward servers that it has.
std::string StatusTable(const v1::RunStatus& status);

// proto3 JSON with the fields' names as in the .proto and every field present; 64-bit integers are strings, as proto3
// JSON has them. One line without its end, or indented.
std::string StatusJson(const v1::RunStatus& status, bool indented);

}  // namespace grpo

#endif  // GRPO_TOOLS_GRPOCTL_CLIENT_STATUS_TEXT_H_
