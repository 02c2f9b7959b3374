// The child's side of the sandbox: from the clone to the program.
#ifndef GRPO_REWARD_SANDBOX_CHILD_H_
#define GRPO_REWARD_SANDBOX_CHILD_H_

#include <linux/filter.h>

#include <cstdint>
#include <string>
#include <vector>

namespace grpo {

// Where a program may write, on file systems that are its own; in no other mount namespace does it exist.
inline constexpr char kSandboxScratch[] = "/dev/scratch";
// Of the scratch folder, and so of a file.
inline constexpr int64_t kSandboxScratchBytes = 16 << 20;

// What the sandbox is made of besides limits and the filter of system calls. What a part needs, the child asks for;
// where it does not get it, it does not become the program.
struct SandboxParts {
  // A user namespace, for what follows without powers over the system.
  bool user = false;
  // Namespaces of processes, network, System V's objects and names.
  bool namespaces = false;
  // A mount namespace: all is read-only but the scratch folder, /proc is its own, /dev has no devices that matter.
  bool mounts = false;
  // Landlock's version; 0 goes without.
  int landlock = 0;

  // Whether there is a folder to write to, and both walls around it.
  bool may_write() const { return mounts && landlock > 0; }
};

// All that the child needs, made before the clone: between it and exec nothing may allocate or lock.
struct SandboxPlan {
  SandboxParts parts;
  // Where the program may lie, tried in order; none: the child ends when all is set up.
  std::vector<std::string> paths;
  std::vector<char*> argv, environment;
  // An absolute path.
  std::string folder;
  int64_t memory_bytes, cpu_seconds;
  // For /proc/self/uid_map and gid_map.
  std::string user_map, group_map;
  // What Landlock lets it read where it has no mount namespace: all but other processes and devices.
  std::vector<std::string> readable;
  // MakeSandboxFilter's.
  std::vector<sock_filter> filter;
  // Its standard streams, and where to write an int: why it did not become the program. Above 3.
  int in, out, error, report;
};

// Flags for clone(2), besides SIGCHLD.
uint64_t SandboxCloneFlags(const SandboxParts& parts);

// The kernel's version of Landlock; 0 for none.
int LandlockVersion();

// Runs in the child, alone. Ends it, with a report to plan->report, unless it becomes the program: then the report is
// closed without one. 0 is reported when there is no program to become.
[[noreturn]] void BecomeProgram(SandboxPlan* plan);

}  // namespace grpo

#endif  // GRPO_REWARD_SANDBOX_CHILD_H_
