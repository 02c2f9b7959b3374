#include "common/thread_stacks.h"

#include <execinfo.h>
#include <signal.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <cerrno>
#include <filesystem>
#include <fstream>
#include <vector>

#include "absl/debugging/symbolize.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "absl/time/time.h"
#include "common/clock.h"

namespace grpo {
namespace {

constexpr int kAskSignal = SIGURG;
constexpr int kMaxFrames = 48;
constexpr absl::Duration kThreadPatience = absl::Milliseconds(200);
constexpr absl::Duration kPatience = absl::Seconds(3);
constexpr absl::Duration kLook = absl::Milliseconds(1);

// Whose stack is asked for; its negative while that thread writes it, 0 once it has or nobody is asked.
std::atomic<pid_t> g_asked{0};
std::array<void*, kMaxFrames> g_frames;
int g_num_frames = 0;

pid_t ThreadId() {
  return static_cast<pid_t>(::syscall(SYS_gettid));
}

void OnAsk(int) {
  const int saved_errno = errno;
  pid_t self = ThreadId();
  // One that answers too late finds that it is asked no more.
  if (g_asked.compare_exchange_strong(self, -self)) {
    g_num_frames = ::backtrace(g_frames.data(), kMaxFrames);
    g_asked.store(0);
  }
  errno = saved_errno;
}

// Waits until the thread that is asked has written its stack; false when it does not.
bool Answered(absl::Duration deadline) {
  while (g_asked.load() != 0 && Clock::Real().Now() < deadline) absl::SleepFor(kLook);
  return g_asked.load() == 0;
}

// Frames of the thread; none when it does not answer. Sets *usable to false when a thread never ends writing: nobody
// can be asked after it.
std::vector<void*> FramesOf(pid_t thread, bool* usable) {
  g_asked.store(thread);
  const bool sent = ::syscall(SYS_tgkill, ::getpid(), thread, kAskSignal) == 0;
  if (!sent || !Answered(Clock::Real().Now() + kThreadPatience)) {
    pid_t asked = thread;
    if (g_asked.compare_exchange_strong(asked, 0)) return {};
    if (!Answered(Clock::Real().Now() + kThreadPatience)) {
      *usable = false;
      return {};
    }
  }
  return std::vector<void*>(g_frames.begin(), g_frames.begin() + g_num_frames);
}

std::string FirstLineOf(const std::string& path) {
  std::ifstream file(path);
  std::string line;
  std::getline(file, line);
  return line;
}

// "thread 77 (grpc_global_tim), S in futex_wait_queue"
std::string Head(pid_t thread) {
  const std::string folder = absl::StrCat("/proc/self/task/", thread, "/");
  const std::string stat = FirstLineOf(folder + "stat"), place = FirstLineOf(folder + "wchan");
  const size_t name_end = stat.rfind(')');
  const std::string state = name_end != std::string::npos ? stat.substr(name_end + 1, 2) : "";
  return absl::StrCat("thread ", thread, " (", FirstLineOf(folder + "comm"), "),", state,
                      place.empty() || place == "0" ? "" : absl::StrCat(" in ", place));
}

std::string Lines(const std::vector<void*>& frames) {
  std::string lines;
  // The handler and what the kernel put below it.
  constexpr size_t kOwn = 2;
  for (size_t i = kOwn; i < frames.size(); ++i) {
    char name[512];
    // What is stored is where the call returns to.
    const void* const call = static_cast<char*>(frames[i]) - (i > kOwn ? 1 : 0);
    absl::StrAppend(&lines, "    ", absl::Symbolize(call, name, sizeof(name)) ? name : "?", " [",
                    absl::Hex(reinterpret_cast<uintptr_t>(frames[i])), "]\n");
  }
  return lines;
}

std::vector<pid_t> OtherThreads() {
  std::vector<pid_t> threads;
  std::error_code error;
  for (std::filesystem::directory_iterator task("/proc/self/task", error), end; !error && task != end;
       task.increment(error)) {
    pid_t thread = 0;
    if (absl::SimpleAtoi(task->path().filename().string(), &thread) && thread != ThreadId()) threads.push_back(thread);
  }
  std::sort(threads.begin(), threads.end());
  return threads;
}

}  // namespace

void InstallThreadStacks() {
  // The first call loads a library, which no handler may.
  void* frame = nullptr;
  ::backtrace(&frame, 1);
  struct sigaction action = {};
  action.sa_handler = OnAsk;
  action.sa_flags = SA_RESTART;
  ::sigemptyset(&action.sa_mask);
  ::sigaction(kAskSignal, &action, nullptr);
}

std::string ThreadStacks() {
  std::string text;
  bool usable = true;
  const absl::Duration deadline = Clock::Real().Now() + kPatience;
  for (const pid_t thread : OtherThreads()) {
    // Before the question, which ends the wait that it tells of.
    absl::StrAppend(&text, Head(thread), "\n");
    if (usable && Clock::Real().Now() < deadline) absl::StrAppend(&text, Lines(FramesOf(thread, &usable)));
  }
  return text;
}

}  // namespace grpo
