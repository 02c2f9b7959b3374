#include "common/failpoint_on.h"

#include <fcntl.h>
#include <signal.h>
#include <unistd.h>

#include <atomic>
#include <cerrno>
#include <cstdio>
#include <cstdlib>
#include <map>
#include <tuple>
#include <utility>

#include "absl/strings/match.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "absl/strings/strip.h"
#include "absl/synchronization/mutex.h"
#include "absl/time/clock.h"
#include "common/exit_codes.h"
#include "common/failpoint.h"
#include "common/status_macros.h"

namespace grpo {
namespace {

std::string FromEnvironment(const char* name) {
  const char* value = std::getenv(name);
  return value == nullptr ? "" : value;
}

// `pattern` may end in * for whatever follows.
bool Matches(absl::string_view pattern, absl::string_view name) {
  return absl::ConsumeSuffix(&pattern, "*") ? absl::StartsWith(name, pattern) : name == pattern;
}

// True when this call was the one that created it: whoever comes later must not fail again.
bool CreateMarker(const std::string& path, const std::string& content) {
  const int fd = ::open(path.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0644);
  if (fd < 0 && errno == EEXIST) return false;
  const bool written = fd >= 0 && ::write(fd, content.data(), content.size()) == static_cast<ssize_t>(content.size());
  if (!written) {
    std::perror(path.c_str());
    std::abort();
  }
  ::close(fd);
  return true;
}

std::unique_ptr<Failpoints> ParsedOrAbort(absl::string_view list, const std::string& folder) {
  absl::StatusOr<std::unique_ptr<Failpoints>> parsed = Failpoints::Parse(list, folder);
  if (parsed.ok()) return *std::move(parsed);
  std::fprintf(stderr, "GRPO_FAILPOINTS: %s\n", std::string(parsed.status().message()).c_str());
  std::abort();
}

// No list is ever deleted, since another thread may be passing it; what is kept here is no leak.
Failpoints* Kept(std::unique_ptr<Failpoints> failpoints) {
  static absl::Mutex mutex(absl::kConstInit);
  static auto* const kept = new std::vector<std::unique_ptr<Failpoints>>;
  const absl::MutexLock lock(&mutex);
  kept->push_back(std::move(failpoints));
  return kept->back().get();
}

std::atomic<Failpoints*>& Armed() {
  static std::atomic<Failpoints*> armed =
      Kept(ParsedOrAbort(FromEnvironment("GRPO_FAILPOINTS"), FromEnvironment("GRPO_FAILPOINT_DIR")));
  return armed;
}
// When the process starts, so that a list with a mistake cannot pass unseen because its place was never reached.
[[maybe_unused]] const std::atomic<Failpoints*>& kArmedAtStart = Armed();

}  // namespace

int FailpointErrno(absl::string_view name, absl::string_view detail) {
  return Armed().load()->Pass(name, detail);
}

void ArmFailpoints(absl::string_view list, const std::string& folder) {
  Armed() = Kept(ParsedOrAbort(list, folder));
}

absl::StatusOr<std::unique_ptr<Failpoints>> Failpoints::Parse(absl::string_view list, const std::string& folder) {
  std::vector<Point> points;
  for (const absl::string_view text : absl::StrSplit(list, ';', absl::SkipWhitespace())) {
    ASSIGN_OR_RETURN(Point point, ParsePoint(absl::StripAsciiWhitespace(text)));
    point.marker_path = absl::StrCat(folder, "/", point.name, ".", points.size());
    points.push_back(std::move(point));
  }
  if (!points.empty() && ::access(folder.c_str(), W_OK) != 0) {
    return absl::InvalidArgumentError(
        absl::StrCat("GRPO_FAILPOINT_DIR is '", folder, "'; it must name a folder for the marks of what fired"));
  }
  return std::unique_ptr<Failpoints>(new Failpoints(std::move(points)));
}

absl::StatusOr<Failpoints::Point> Failpoints::ParsePoint(absl::string_view text) {
  const auto error = [text](absl::string_view what) {
    return absl::InvalidArgumentError(absl::StrCat("'", text, "' ", what, "; write name[(text)]=action@hit"));
  };
  const size_t equals = text.rfind('='), at = text.rfind('@');
  if (equals == text.npos || at == text.npos || at < equals) return error("has no =action@hit");
  Point point;
  absl::string_view place = text.substr(0, equals);
  if (const size_t open = place.find('('); open != place.npos) {
    if (!absl::EndsWith(place, ")")) return error("has a ( without its )");
    point.detail_part = std::string(place.substr(open + 1, place.size() - open - 2));
    place = place.substr(0, open);
  }
  if (place.empty() || place.find('/') != place.npos) return error("has no name");
  point.name = std::string(place);
  if (!absl::SimpleAtoi(text.substr(at + 1), &point.hit) || point.hit < 1) return error("has no hit from 1");
  static const auto* const kActions =
      new std::map<absl::string_view, std::pair<Action, int>>{{"kill", {Action::kKill, 0}},
                                                              {"kill_all", {Action::kKillAll, 0}},
                                                              {"stop", {Action::kStop, 0}},
                                                              {"exit", {Action::kExit, 0}},
                                                              {"hang", {Action::kHang, 0}},
                                                              {"error:EIO", {Action::kError, EIO}},
                                                              {"error:ENOSPC", {Action::kError, ENOSPC}}};
  absl::string_view action = text.substr(equals + 1, at - equals - 1);
  if (const auto known = kActions->find(action); known != kActions->end()) {
    std::tie(point.action, point.argument) = known->second;
  } else {
    point.action = Action::kDelay;
    if (!absl::ConsumePrefix(&action, "delay:") || !absl::SimpleAtoi(action, &point.argument) || point.argument < 0)
      return error("has no known action");
  }
  return point;
}

int Failpoints::Pass(absl::string_view name, absl::string_view detail) {
  std::vector<Point> due;
  {
    const absl::MutexLock lock(&mutex_);
    for (Point& point : points_) {
      if (!Matches(point.name, name) || !absl::StrContains(detail, point.detail_part)) continue;
      if (++point.num_passed != point.hit) continue;
      const std::string content =
          absl::StrCat("pid ", ::getpid(), "\nname ", name, "\ndetail ", detail, "\nhit ", point.hit, "\n");
      if (!CreateMarker(point.marker_path, content)) continue;
      // Under the lock, or another thread would be killed between creating its marker and writing it.
      if (EndsProcess(point.action)) Act(point);
      due.push_back(point);
    }
  }
  int error_number = 0;
  for (const Point& point : due) error_number = Act(point);
  return error_number;
}

bool Failpoints::EndsProcess(Action action) {
  return action == Action::kKill || action == Action::kKillAll || action == Action::kExit;
}

int Failpoints::Act(const Point& point) {
  switch (point.action) {
    case Action::kKillAll:
      ::kill(::getppid(), SIGKILL);
      [[fallthrough]];
    case Action::kKill:
      ::kill(::getpid(), SIGKILL);
      break;
    case Action::kStop:
      // To this thread: one that is sent to the process may be taken by another, and until all have stopped this one
      // would go on, past what it should not have done.
      ::raise(SIGSTOP);
      break;
    case Action::kExit:
      ::_exit(kExitInternal);
    case Action::kHang:
      while (true) ::pause();
    case Action::kDelay:
      absl::SleepFor(absl::Milliseconds(point.argument));
      break;
    case Action::kError:
      return point.argument;
  }
  return 0;
}

}  // namespace grpo
