#include "reward/program_process.h"

#include <errno.h>
#include <poll.h>
#include <unistd.h>

#include <algorithm>
#include <cmath>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/strings/strip.h"
#include "common/status_macros.h"
#include "google/protobuf/util/json_util.h"
#include "reward/answer.h"
#include "reward/program_protocol.h"

namespace grpo {
namespace {

using std::chrono::steady_clock;

constexpr size_t kMaxLastWords = 2000;

std::string Frame(absl::string_view content) {
  return absl::StrCat(program::Bytes(static_cast<uint32_t>(content.size())), content);
}

int MillisecondsUntil(steady_clock::time_point time) {
  const auto left = std::chrono::duration_cast<std::chrono::milliseconds>(time - steady_clock::now()).count() + 1;
  return static_cast<int>(std::clamp<int64_t>(left, 0, 1'000'000));
}

}  // namespace

absl::StatusOr<std::unique_ptr<ProgramProcess>> ProgramProcess::Start(const SandboxOptions& options,
                                                                      const std::string& version, Time give_up_at) {
  ASSIGN_OR_RETURN(const SandboxedProcess started, StartSandboxed(options));
  std::unique_ptr<ProgramProcess> process(new ProgramProcess(started));
  ASSIGN_OR_RETURN(const std::string greeting, process->Exchange("", program::kMaxAnswerBytes, give_up_at));
  const auto fields = program::FieldsOf(greeting);
  if (!fields.has_value() || fields->size() < 4 || (*fields)[0] != program::kMagic) {
    return process->Failure("it does not greet as a rule; begin it with the SDK's serve (sdk/)");
  }
  const uint32_t protocol = program::NumberFrom<uint32_t>((*fields)[1]).value_or(0);
  if (protocol != program::kProtocolVersion) {
    return absl::FailedPreconditionError(absl::StrCat("the program speaks protocol version ", protocol,
                                                      ", this server ", program::kProtocolVersion,
                                                      ": take the SDK file that belongs to this server"));
  }
  if (!version.empty() && (*fields)[3] != version) {
    return absl::FailedPreconditionError(absl::StrCat("the program is version \"", (*fields)[3], "\" of the rule ",
                                                      (*fields)[2], ", the configuration asks for \"", version, "\""));
  }
  return process;
}

absl::StatusOr<RuleResult> ProgramProcess::Ask(const RuleInput& input, Time give_up_at) {
  const uint64_t number = static_cast<uint64_t>(num_answers_) + 1;
  std::string metadata = "{}", content;
  if (input.prompt.has_metadata()) {
    metadata.clear();
    // What cannot be JSON came from no JSON.
    if (!google::protobuf::util::MessageToJsonString(input.prompt.metadata(), &metadata).ok()) metadata = "{}";
  }
  program::AppendField(program::Bytes(number), &content);
  program::AppendField(input.completion, &content);
  program::AppendField(input.prompt.id(), &content);
  program::AppendField(input.prompt.text(), &content);
  program::AppendField(input.prompt.answer(), &content);
  program::AppendField(metadata, &content);
  program::AppendField({reinterpret_cast<const char*>(input.ids.data()), input.ids.size() * sizeof(uint32_t)},
                       &content);
  if (content.size() > program::kMaxFrameBytes) return absl::InternalError("the completion is too long for a program");
  ASSIGN_OR_RETURN(const std::string answer, Exchange(Frame(content), program::kMaxAnswerBytes, give_up_at));
  const auto fields = program::FieldsOf(answer);
  if (!fields.has_value() || fields->size() < 5 || program::NumberFrom<uint64_t>((*fields)[0]) != number ||
      (*fields)[1].size() != 1 || (*fields)[2].size() != sizeof(double)) {
    return Failure("it wrote something else than the answer to what it was asked");
  }
  RuleResult result;
  result.value = *program::NumberFrom<double>((*fields)[2]);
  result.extracted = CutForLog((*fields)[3]);
  result.decided_by = CutForLog((*fields)[4]);
  switch ((*fields)[1][0]) {
    case v1::OUTCOME_SCORED:
    case v1::OUTCOME_NO_ANSWER:
    case v1::OUTCOME_UNDECIDED:
    case v1::OUTCOME_REFERENCE_UNPARSABLE:
    case v1::OUTCOME_RULE_ERROR:
      result.outcome = static_cast<v1::Outcome>((*fields)[1][0]);
      break;
    default:
      return Failure(absl::StrCat("it answered with outcome ", static_cast<int>((*fields)[1][0])));
  }
  ++num_answers_;
  return result;
}

absl::StatusOr<std::string> ProgramProcess::Exchange(absl::string_view out, size_t max_bytes, Time give_up_at) {
  char buffer[65536];
  while (true) {
    if (received_.size() >= 4) {
      const uint32_t size = *program::NumberFrom<uint32_t>(absl::string_view(received_).substr(0, 4));
      if (size > max_bytes)
        return Failure(absl::StrCat("it wrote a frame of ", size, " bytes, at most ", max_bytes, " are read"));
      if (received_.size() > 4 + size) return Failure("it wrote more than one answer");
      if (received_.size() == 4 + size && out.empty()) return std::exchange(received_, "").substr(4);
    }
    pollfd waiting[] = {{.fd = process_.out, .events = POLLIN, .revents = 0},
                        {.fd = process_.error, .events = POLLIN, .revents = 0},
                        {.fd = out.empty() ? -1 : process_.in, .events = POLLOUT, .revents = 0}};
    if (steady_clock::now() >= give_up_at) {
      DrainError();
      return absl::DeadlineExceededError(
          absl::StrCat("the program did not answer in time", last_words_.empty() ? "" : "; it wrote: ", last_words_));
    }
    if (::poll(waiting, 3, MillisecondsUntil(give_up_at)) < 0 && errno != EINTR) return Failure("poll failed");
    if (waiting[1].revents != 0) DrainError();
    if (waiting[0].revents != 0) {
      const ssize_t count = ::read(process_.out, buffer, sizeof(buffer));
      if (count == 0) return Failure("it closed its standard output");
      if (count > 0) received_.append(buffer, count);
    }
    if ((waiting[2].revents & POLLOUT) != 0) {
      const ssize_t count = ::write(process_.in, out.data(), out.size());
      if (count > 0) out.remove_prefix(count);
    } else if ((waiting[2].revents & (POLLERR | POLLHUP)) != 0) {
      return Failure("it closed its standard input");
    }
  }
}

bool ProgramProcess::IsIdle() const {
  pollfd out = {.fd = process_.out, .events = POLLIN, .revents = 0};
  return received_.empty() && ::poll(&out, 1, 0) == 0;
}

void ProgramProcess::DrainError() {
  char buffer[4096];
  // One that floods it is read a little at a time, until the deadline.
  const ssize_t count = ::read(process_.error, buffer, sizeof(buffer));
  if (count <= 0) {
    // Closed: poll would report it for ever.
    if (count == 0) {
      ::close(process_.error);
      process_.error = -1;
    }
    return;
  }
  last_words_.append(buffer, count);
  if (last_words_.size() > kMaxLastWords) last_words_.erase(0, last_words_.size() - kMaxLastWords);
}

absl::Status ProgramProcess::Failure(absl::string_view what) {
  if (process_.error >= 0) DrainError();
  const std::string end = EndSandboxed(&process_);
  return absl::InternalError(
      absl::StrCat("the program failed: ", what, "; ", end,
                   last_words_.empty() ? "" : "; it wrote: ", absl::StripAsciiWhitespace(last_words_)));
}

}  // namespace grpo
