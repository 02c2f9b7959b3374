#include "common/run_lock.h"

#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include <cerrno>
#include <thread>
#include <utility>

#include "absl/base/thread_annotations.h"
#include "absl/cleanup/cleanup.h"
#include "absl/strings/str_cat.h"
#include "absl/synchronization/mutex.h"
#include "common/files.h"
#include "common/log.h"
#include "common/status_macros.h"
#include "common/thread.h"
#include "nlohmann/json.hpp"

namespace grpo {
namespace {

using nlohmann::ordered_json;

constexpr int64_t kMaxBytes = 1 << 12;
// An owner renews so often in a lease, and who waits for its end looks twice as often.
constexpr int kRenewalsPerLease = 10;
constexpr int kLooksPerLease = 2 * kRenewalsPerLease;
// How long an heir of a dead holder is waited for, and how often it is looked for. A trainer with much memory takes its
// time to end.
constexpr absl::Duration kHeirEnds = absl::Seconds(20), kLookForHeir = absl::Milliseconds(20);
// Of taking a file that others delete meanwhile.
constexpr int kAttempts = 10;

std::string HostName() {
  char name[256] = {};
  return ::gethostname(name, sizeof(name) - 1) == 0 ? name : "an unknown host";
}

// What stands in the file. Anything else than such an object reads as an empty one.
ordered_json ReadHolder(const std::string& text) {
  ordered_json holder = ordered_json::parse(text, nullptr, /*allow_exceptions=*/false);
  return holder.is_object() ? holder : ordered_json::object();
}

// "pid 4711 on host h1, run quickstart-0a1b2c3d".
std::string DescribeHolder(const std::string& path) {
  const std::string text = ReadFile(path, kMaxBytes).value_or("");
  const ordered_json holder = ReadHolder(text);
  const auto field = [&](const char* key) -> std::string {
    if (!holder.contains(key)) return "unknown";
    return holder[key].is_string() ? holder[key].get<std::string>()
                                   : holder[key].dump(-1, ' ', false, ordered_json::error_handler_t::replace);
  };
  const std::string run_id = field("run_id");
  return absl::StrCat("pid ", field("pid"), " on host ", field("host"),
                      run_id.empty() ? "" : absl::StrCat(", run ", run_id));
}

absl::Status TakenError(const std::string& folder) {
  return absl::AlreadyExistsError(absl::StrCat(
      "a run is going on in ", folder, " (", DescribeHolder(RunLock::PathIn(folder)),
      "): watch it with `grpoctl watch --run-dir ", folder, "`, or choose another folder with --run-dir DIR"));
}

enum class KernelLock { kHeld, kTaken, kNone };

// kHeld, too, when this descriptor or the one that it is a copy of holds it already.
absl::StatusOr<KernelLock> LockByKernel(int fd, const std::string& path, const RunLockOptions& options) {
  if (options.flock(fd, LOCK_EX | LOCK_NB) == 0) return KernelLock::kHeld;
  switch (errno) {
    case EWOULDBLOCK:
      return KernelLock::kTaken;
    case ENOLCK:
    case EOPNOTSUPP:
    case ENOSYS:
      return KernelLock::kNone;
    default:
      return ErrnoStatus(errno, "lock", path);
  }
}

// Whether who stands in the file ran on this machine and is gone.
bool HolderHasDied(const std::string& path) {
  const ordered_json holder = ReadHolder(ReadFile(path, kMaxBytes).value_or(""));
  if (!holder.contains("pid") || !holder["pid"].is_number_integer() || holder.value("host", "") != HostName())
    return false;
  const auto pid = holder["pid"].get<int64_t>();
  return pid > 0 && ::kill(static_cast<pid_t>(pid), 0) != 0 && errno == ESRCH;
}

// A holder that was killed may leave a child that it had handed the lock to, and that the kernel is still ending: who
// goes on with the run at once waits for that.
absl::StatusOr<KernelLock> LockAfterHeirs(int fd, const std::string& path, const RunLockOptions& options) {
  for (absl::Duration waited; true; waited += kLookForHeir) {
    ASSIGN_OR_RETURN(const KernelLock kernel, LockByKernel(fd, path, options));
    if (kernel != KernelLock::kTaken || waited >= kHeirEnds || !HolderHasDied(path)) return kernel;
    options.sleep(kLookForHeir);
  }
}

}  // namespace

class RunLock::Hold {
 public:
  // Owns `fd`, open at `path`.
  Hold(std::string path, int fd) : path_(std::move(path)), fd_(fd) {}
  ~Hold();

  int fd() const { return fd_; }
  PlaceOfFile place() const { return WhereIs(fd_, path_); }
  // Names this process and its run as the holder.
  absl::Status Describe(const std::string& run_id);
  // It is a lease: renewed from now on until destruction, which gives it back.
  absl::Status StartRenewing(absl::Duration every);

 private:
  absl::Status Write() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  void Renew(absl::Duration every);

  const std::string path_;
  const int fd_;
  absl::Mutex mutex_;
  std::string run_id_ ABSL_GUARDED_BY(mutex_);
  // How often it was renewed; what others see change.
  int64_t renewals_ ABSL_GUARDED_BY(mutex_) = 0;
  bool released_ ABSL_GUARDED_BY(mutex_) = false;
  // Readable once the renewals are to end; -1 where the kernel holds the lock.
  int stop_fd_ = -1;
  std::thread renewer_;
};

RunLock::Hold::~Hold() {
  if (renewer_.joinable()) {
    const uint64_t one = 1;
    [[maybe_unused]] const ssize_t written = ::write(stop_fd_, &one, sizeof(one));
    renewer_.join();
    ::close(stop_fd_);
    const absl::MutexLock lock(&mutex_);
    released_ = true;
    // In the file of this hold: one that another has put in its place is not touched.
    Write().IgnoreError();
  }
  ::close(fd_);
}

absl::Status RunLock::Hold::Describe(const std::string& run_id) {
  const absl::MutexLock lock(&mutex_);
  run_id_ = run_id;
  return Write();
}

// In place: whoever has taken the lease over has put another file at the path, which a late renewal must not touch.
absl::Status RunLock::Hold::Write() {
  ordered_json holder = {{"host", HostName()}, {"pid", ::getpid()}, {"run_id", run_id_}};
  if (renewals_ > 0) holder["renewals"] = renewals_;
  if (released_) holder["released"] = true;
  const std::string text = holder.dump(-1, ' ', false, ordered_json::error_handler_t::replace) + "\n";
  const ssize_t written = ::pwrite(fd_, text.data(), text.size(), 0);
  if (written < 0) return ErrnoStatus(errno, "write", path_);
  if (written < static_cast<ssize_t>(text.size())) return ErrnoStatus(ENOSPC, "write", path_);
  return ::ftruncate(fd_, static_cast<off_t>(text.size())) == 0 ? absl::OkStatus()
                                                                : ErrnoStatus(errno, "truncate", path_);
}

absl::Status RunLock::Hold::StartRenewing(absl::Duration every) {
  stop_fd_ = ::eventfd(0, EFD_CLOEXEC);
  if (stop_fd_ < 0) return ErrnoStatus(errno, "renew", path_);
  renewer_ = StartThread("renewing the lease of the run folder", [this, every] { Renew(every); });
  return absl::OkStatus();
}

void RunLock::Hold::Renew(absl::Duration every) {
  pollfd stop = {.fd = stop_fd_, .events = POLLIN, .revents = 0};
  bool failed = false;
  // poll's time is not the wall clock's. After a signal it renews early.
  while (::poll(&stop, 1, static_cast<int>(absl::ToInt64Milliseconds(every))) <= 0) {
    const absl::MutexLock lock(&mutex_);
    ++renewals_;
    const absl::Status written = Write();
    if (!written.ok() && !failed)
      spdlog::error("the lease of the run folder cannot be renewed ({}); another run may take it for left",
                    std::string(written.message()));
    failed = !written.ok();
  }
}

std::string RunLock::PathIn(const std::string& folder) {
  return folder + "/lock";
}

RunHolder RunLock::HolderOf(const std::string& folder) {
  const ordered_json holder = ReadHolder(ReadFile(PathIn(folder), kMaxBytes).value_or(""));
  const auto text = [&](const char* key) {
    const auto found = holder.find(key);
    return found != holder.end() && found->is_string() ? found->get<std::string>() : "";
  };
  const auto pid = holder.find("pid");
  return {.host = text("host"),
          .pid = pid != holder.end() && pid->is_number_integer() ? pid->get<int64_t>() : 0,
          .run_id = text("run_id")};
}

RunLock::RunLock(std::string folder, std::string run_id, RunLockOptions options, std::unique_ptr<Hold> hold)
    : folder_(std::move(folder)), run_id_(std::move(run_id)), options_(std::move(options)), hold_(std::move(hold)) {}

RunLock::~RunLock() = default;

absl::StatusOr<std::unique_ptr<RunLock>> RunLock::Take(const std::string& folder, const std::string& run_id,
                                                       RunLockOptions options) {
  ASSIGN_OR_RETURN(std::unique_ptr<Hold> hold, TakeHold(folder, run_id, options));
  return std::unique_ptr<RunLock>(new RunLock(folder, run_id, std::move(options), std::move(hold)));
}

absl::StatusOr<std::unique_ptr<RunLock>> RunLock::Inherit(const std::string& folder, int fd, const std::string& run_id,
                                                          RunLockOptions options) {
  if (::fcntl(fd, F_SETFD, FD_CLOEXEC) != 0)
    return absl::InvalidArgumentError(absl::StrCat("no descriptor ", fd, " of a run's lock was handed down"));
  const std::string path = PathIn(folder);
  auto hold = std::make_unique<Hold>(path, fd);
  if (hold->place() != PlaceOfFile::kSame) {
    hold.reset();
    return Take(folder, run_id, std::move(options));
  }
  ASSIGN_OR_RETURN(const KernelLock kernel, LockByKernel(fd, path, options));
  if (kernel == KernelLock::kTaken) return TakenError(folder);
  // A lease is its owner's, the parent's, to renew.
  return std::unique_ptr<RunLock>(new RunLock(folder, run_id, std::move(options), std::move(hold)));
}

absl::StatusOr<std::unique_ptr<RunLock::Hold>> RunLock::TakeHold(const std::string& folder, const std::string& run_id,
                                                                 const RunLockOptions& options) {
  const std::string path = PathIn(folder);
  for (int attempt = 0; attempt < kAttempts; ++attempt) {
    RETURN_IF_ERROR(MakeFolders(folder));
    int fd = ::open(path.c_str(), O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0644);
    const bool created = fd >= 0;
    if (!created && errno == EEXIST) fd = ::open(path.c_str(), O_RDWR | O_CLOEXEC);
    // Deleted in between.
    if (fd < 0 && errno == ENOENT) continue;
    if (fd < 0) return ErrnoStatus(errno, "open", path);
    auto hold = std::make_unique<Hold>(path, fd);
    ASSIGN_OR_RETURN(const KernelLock kernel, LockAfterHeirs(fd, path, options));
    if (kernel == KernelLock::kTaken) return TakenError(folder);
    // The first to create the file owns the lease.
    if (kernel == KernelLock::kNone && !created) {
      ASSIGN_OR_RETURN(hold, TakeLeaseOver(folder, run_id, options));
    }
    if (hold->place() != PlaceOfFile::kSame) continue;
    RETURN_IF_ERROR(hold->Describe(run_id));
    if (kernel == KernelLock::kNone) RETURN_IF_ERROR(hold->StartRenewing(options.lease / kRenewalsPerLease));
    return hold;
  }
  return absl::UnavailableError(absl::StrCat(path, " is deleted again and again by somebody else"));
}

absl::StatusOr<std::unique_ptr<RunLock::Hold>> RunLock::TakeLeaseOver(const std::string& folder,
                                                                      const std::string& run_id,
                                                                      const RunLockOptions& options) {
  const std::string path = PathIn(folder);
  const std::string seen = ReadFile(path, kMaxBytes).value_or("");
  if (!ReadHolder(seen).contains("released")) {
    spdlog::warn("{} has no locks of the kernel's: looking for {} whether the lease of {} is renewed", folder,
                 absl::FormatDuration(options.lease), DescribeHolder(path));
    for (int look = 0; look < kLooksPerLease; ++look) {
      options.sleep(options.lease / kLooksPerLease);
      if (ReadFile(path, kMaxBytes).value_or("") != seen) return TakenError(folder);
    }
  }
  // A file of its own, so that an owner that was only asleep finds another in the place of its own.
  const std::string mine = absl::StrCat(path, ".", HostName(), ".", ::getpid());
  ::unlink(mine.c_str());
  const int fd = ::open(mine.c_str(), O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0644);
  if (fd < 0) return ErrnoStatus(errno, "create", mine);
  const absl::Cleanup remove = [&] { ::unlink(mine.c_str()); };
  auto hold = std::make_unique<Hold>(path, fd);
  RETURN_IF_ERROR(hold->Describe(run_id));
  RETURN_IF_ERROR(Rename(mine, path));
  // Of two that came at the same time the second has it; one that comes later still is told of by Check.
  options.sleep(options.lease / kLooksPerLease);
  if (hold->place() != PlaceOfFile::kSame) return TakenError(folder);
  return hold;
}

absl::Status RunLock::Check() {
  const PlaceOfFile place = hold_->place();
  if (place == PlaceOfFile::kSame && !lost_) return absl::OkStatus();
  if (place == PlaceOfFile::kGone && !lost_) {
    absl::StatusOr<std::unique_ptr<Hold>> hold = TakeHold(folder_, run_id_, options_);
    if (hold.ok()) {
      hold_ = *std::move(hold);
      ++times_begun_anew_;
      return absl::OkStatus();
    }
    if (!absl::IsAlreadyExists(hold.status())) return hold.status();
  }
  lost_ = true;
  return absl::FailedPreconditionError(absl::StrCat(
      "another process has taken ", folder_, " (", DescribeHolder(PathIn(folder_)),
      "): this run ends, and writes nothing more there; let one run at a time have a folder (--run-dir DIR)"));
}

bool RunLock::IsOurs() const {
  return !lost_ && hold_->place() == PlaceOfFile::kSame;
}

absl::Status RunLock::SetRunId(const std::string& run_id) {
  run_id_ = run_id;
  return hold_->Describe(run_id);
}

int RunLock::fd() const {
  return hold_->fd();
}

}  // namespace grpo
