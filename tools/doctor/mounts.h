// Which file system a path is on, and how it is mounted.
#ifndef GRPO_TOOLS_DOCTOR_MOUNTS_H_
#define GRPO_TOOLS_DOCTOR_MOUNTS_H_

#include <set>
#include <string>

#include "absl/strings/string_view.h"

namespace grpo {

struct Mount {
  // "ext4", "nfs4"; empty where it is not known.
  std::string type = {};
  std::string point = {};
  // Of the mount and of the file system: "rw", "soft", "local_lock=none".
  std::set<std::string> options = {};

  bool IsNetwork() const;
};

// `mountinfo` is /proc/self/mountinfo, `path` absolute and without links. Pure.
Mount MountOf(absl::string_view mountinfo, absl::string_view path);

}  // namespace grpo

#endif  // GRPO_TOOLS_DOCTOR_MOUNTS_H_
