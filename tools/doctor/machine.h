// What the checks look at: this machine, or in a test another one.
#ifndef GRPO_TOOLS_DOCTOR_MACHINE_H_
#define GRPO_TOOLS_DOCTOR_MACHINE_H_

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/time/time.h"

namespace grpo {

// Of the file system that a path is on.
struct DiskSpace {
  int64_t bytes_free = 0, bytes_total = 0;
  // 0 of 0 where the file system does not count them.
  int64_t inodes_free = 0, inodes_total = 0;
};

// Thread-safe. What is asked for and cannot be found out is nullopt or empty: that says nothing.
class Machine {
 public:
  virtual ~Machine() = default;

  // --- The system's files: /proc, /sys, /dev ---
  // Without the white space at both ends; a megabyte at most.
  virtual std::optional<std::string> Read(const std::string& path) const = 0;
  // Names in a folder, sorted.
  virtual std::vector<std::string> List(const std::string& folder) const = 0;
  virtual std::optional<DiskSpace> Space(const std::string& path) const = 0;

  // --- What the kernel says of this process ---
  // Its soft limit (RLIMIT_NOFILE, ...); nullopt for none.
  virtual std::optional<int64_t> Limit(int resource) const = 0;
  // Processors that it may run on.
  virtual int64_t NumProcessors() const = 0;
  // common/machine_memory.h.
  virtual std::optional<int64_t> MemoryBytes() const = 0;
  // SandboxShortfall of reward/sandbox.h, which starts children to find out.
  virtual std::string SandboxShortfall() const = 0;
  // The kernel's version of Landlock; 0 for none.
  virtual int LandlockVersion() const = 0;

  // --- Programs ---
  // In PATH; empty for one that is not there.
  virtual std::string Which(const std::string& program) const = 0;
  // What it writes to stdout. NotFound when there is no such program, DeadlineExceeded after ten seconds, otherwise
  // Unavailable with its exit code and what it wrote to stderr.
  virtual absl::StatusOr<std::string> Run(const std::vector<std::string>& argv) const = 0;

  // --- Network ---
  virtual std::string HostName() const = 0;
  // Addresses in numbers; none for a name that does not resolve.
  virtual std::vector<std::string> Resolve(const std::string& host) const = 0;
  // Whether a server could bind there now: ErrnoStatus's codes, AlreadyExists for a port that is taken. Leaves nothing.
  virtual absl::Status CanBind(const std::string& host, int64_t port) const = 0;

  // --- Time ---
  // By the wall clock, which certificates go by.
  virtual absl::Time Now() const = 0;
  // Whether the kernel's clock is kept by a server of time.
  virtual std::optional<bool> ClockIsKept() const = 0;
};

// The one that this process runs on. Lives for ever.
const Machine& ThisMachine();

}  // namespace grpo

#endif  // GRPO_TOOLS_DOCTOR_MACHINE_H_
