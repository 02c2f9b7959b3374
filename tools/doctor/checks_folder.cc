// The file system of the run folder.
#include <unistd.h>

#include <algorithm>
#include <cmath>
#include <filesystem>
#include <optional>
#include <string>
#include <system_error>

#include "absl/cleanup/cleanup.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "common/files.h"
#include "tools/doctor/checks.h"
#include "tools/doctor/folder_probe.h"
#include "tools/doctor/mounts.h"

namespace grpo {
namespace {

namespace fs = std::filesystem;

// Longer, and a save is felt between steps.
constexpr absl::Duration kSlowSync = absl::Seconds(1);
constexpr absl::Duration kSkew = absl::Seconds(5);
constexpr int64_t kFewBytes = int64_t{2} << 30, kFewInodes = 10000;
// Of a socket's path, with the zero behind it.
constexpr size_t kMaxSocketBytes = 108;

// The folder itself, or the nearest one above it that is there; absolute, without links.
std::string ExistingPart(const std::string& run_dir) {
  std::error_code error;
  fs::path place = fs::absolute(run_dir, error);
  while (!fs::exists(place, error) && place.has_relative_path()) place = place.parent_path();
  const fs::path canonical = fs::canonical(place, error);
  return (error ? place : canonical).string();
}

void CheckNfs(const Mount& mount, Findings* findings) {
  const auto has = [&](const char* option) { return mount.options.count(option) > 0; };
  if (has("soft") || has("softerr"))
    findings->Warn("NFS is mounted soft: a server that is away makes writes fail that a run relies on",
                   "mount it hard");
  if (has("nolock") || has("local_lock=all") || has("local_lock=flock"))
    findings->Warn("NFS keeps locks on this machine only (nolock or local_lock): two machines can take the same run",
                   "mount it without nolock and local_lock, or start a run from one machine only");
  if (has("nocto"))
    findings->Warn("NFS is mounted nocto: a machine may read a file as it was before another closed it",
                   "mount it without nocto");
}

void CheckMount(const Mount& mount, const std::string& place, Findings* findings) {
  const std::string what = absl::StrCat(place, " is on ", mount.type.empty() ? "a file system not known" : mount.type,
                                        mount.point.empty() ? "" : ", mounted at ", mount.point);
  if (mount.options.count("ro") > 0)
    return findings->Problem(what + ", read-only", "choose another folder with --run-dir DIR", kExitNotAllowed);
  if (mount.type == "tmpfs" || mount.type == "ramfs") {
    findings->Warn(what + ": in memory, and gone with the machine's next start",
                   "choose a folder on a disk, or copy checkpoints and models away");
  } else if (mount.type == "overlay") {
    findings->Warn(what + ": a container's own layer, gone with the container", "mount a volume for the run folder");
  } else if (mount.type == "lustre" && mount.options.count("flock") == 0) {
    findings->Warn(what + " without -o flock: no locks between machines", "have it mounted with -o flock");
  } else {
    findings->Ok(absl::StrCat(what, mount.IsNetwork() ? ": shared, as far as others mount it" : ""));
  }
  if (mount.type == "nfs" || mount.type == "nfs4") CheckNfs(mount, findings);
}

void CheckRoom(const Machine& machine, const std::string& place, Findings* findings) {
  const std::optional<DiskSpace> space = machine.Space(place);
  if (!space.has_value()) return;
  const std::string what =
      absl::StrFormat("%.1f of %.1f GiB are free", std::ldexp(static_cast<double>(space->bytes_free), -30),
                      std::ldexp(static_cast<double>(space->bytes_total), -30));
  if (space->bytes_free < kFewBytes) {
    findings->Warn(what, "make room; `grpoctl validate CONFIG` says what checkpoints and models take");
  } else {
    findings->Ok(what);
  }
  if (space->inodes_total > 0 && space->inodes_free < kFewInodes)
    findings->Warn(absl::StrCat("room for ", space->inodes_free, " more files (inodes)"),
                   "delete files, old runs first");
}

// `why` is what breaks without it.
void Say(const absl::Status& status, const std::string& promise, const std::string& why, Findings* findings) {
  if (status.ok()) return findings->Ok(promise);
  findings->Problem(absl::StrCat(promise, ", does not hold: ", status.message()),
                    why + "; choose another file system with --run-dir DIR", kExitCannotCreate);
}

void CheckLocks(const std::string& scratch, Findings* findings) {
  const absl::StatusOr<Locking> locking = ProbeLock(scratch);
  if (!locking.ok()) return Say(locking.status(), "locks between processes (flock)", "runs need them", findings);
  switch (*locking) {
    case Locking::kHolds:
      return findings->Ok("locks between processes (flock) hold");
    case Locking::kUnsupported:
      return findings->Warn("it has no locks (flock): a run's folder is held by a lease that is renewed in a file",
                            "nothing, if it may take 30 s to go on with a run that was killed");
    case Locking::kDoesNotHold:
      return findings->Problem("a lock (flock) that one process holds is given to another",
                               "two runs can write into one folder; choose another file system with --run-dir DIR",
                               kExitCannotCreate);
  }
}

void Probe(const Machine& machine, const std::string& scratch, Findings* findings) {
  Say(ProbeRename(scratch), "a rename replaces a file at once", "checkpoints are committed by it", findings);
  const absl::StatusOr<absl::Duration> sync = ProbeSync(scratch);
  const std::string synced =
      absl::StrCat("fsync of a file and its folder",
                   sync.ok() ? absl::StrFormat(" (%.1f ms)", absl::ToDoubleMilliseconds(*sync)) : "");
  if (sync.ok() && *sync > kSlowSync) {
    findings->Warn(synced + " takes its time", "save less often (checkpoint.every_steps), or on a faster disk");
  } else {
    Say(sync.status(), synced, "what is saved would not survive a crash", findings);
  }
  Say(ProbeAppend(scratch), "what two processes append to a file stays whole", "logs would lose lines", findings);
  Say(ProbeVisibility(scratch), "what is closed is seen by other processes", "processes find each other by files",
      findings);
  CheckLocks(scratch, findings);
  const absl::StatusOr<absl::Duration> ahead = ProbeClock(scratch, machine.Now());
  if (ahead.ok() && absl::AbsDuration(*ahead) > kSkew)
    findings->Warn(absl::StrCat("its clock is ", absl::FormatDuration(absl::AbsDuration(*ahead)),
                                *ahead > absl::ZeroDuration() ? " ahead of" : " behind", " this machine's"),
                   "keep the clocks of server and machines by a time server: certificates go by them");
}

}  // namespace

void CheckRunFolder(const Subject& subject, Findings* findings) {
  const std::string place = ExistingPart(subject.run_dir);
  const Mount mount = MountOf(subject.machine.Read("/proc/self/mountinfo").value_or(""), place);
  CheckMount(mount, place, findings);
  CheckRoom(subject.machine, place, findings);
  std::error_code error;
  const std::string socket = (fs::absolute(subject.run_dir, error) / "weights.sock").string();
  if (socket.size() >= kMaxSocketBytes)
    findings->Warn(absl::StrCat("the run folder's path is too long for a socket in it (", socket.size(), " bytes)"),
                   "weights go to all workers by gRPC; a path of less than 95 bytes spares a copy on this machine");
  const std::string scratch = absl::StrCat(place, "/.grpoctl_doctor.", ::getpid());
  const absl::Cleanup remove = [&] { RemoveAll(scratch).IgnoreError(); };
  if (const absl::Status made = MakeFolders(scratch); !made.ok())
    return findings->Problem(std::string(made.message()), "choose another folder with --run-dir DIR",
                             ExitCodeFor(made, kExitCannotCreate));
  Probe(subject.machine, scratch, findings);
}

}  // namespace grpo
