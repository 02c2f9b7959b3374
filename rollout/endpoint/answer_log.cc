#include "rollout/endpoint/answer_log.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <filesystem>
#include <optional>
#include <utility>

#include "absl/strings/escaping.h"
#include "absl/strings/str_cat.h"
#include "common/failpoint.h"
#include "common/files.h"
#include "common/log.h"
#include "common/sha256.h"
#include "common/status_macros.h"
#include "common/utf8.h"
#include "coordinator/endpoint_usage.h"
#include "nlohmann/json.hpp"

namespace grpo {
namespace {

using nlohmann::json;

constexpr size_t kReadBytes = 1 << 20;

struct Line {
  std::string key;
  LoggedAnswer answer;
};

json ToJson(const Choice& choice) {
  json object = {{"finish_reason", v1::FinishReason_Name(choice.finish_reason)}};
  if (IsUtf8(choice.text)) {
    object["text"] = choice.text;
  } else {
    object["text_base64"] = absl::Base64Escape(choice.text);
  }
  return object;
}

std::string ToLine(const std::string& key, const LoggedAnswer& answer) {
  json choices = json::array();
  for (const Choice& choice : answer.choices) choices.push_back(ToJson(choice));
  const json line = {{"key", key},
                     {"first", answer.first},
                     {"choices", std::move(choices)},
                     {"num_requests", answer.usage.num_requests()},
                     {"input_tokens", answer.usage.input_tokens()},
                     {"output_tokens", answer.usage.output_tokens()},
                     {"usd", answer.usage.usd()}};
  return line.dump() + "\n";
}

// Throws json's exceptions.
Choice ChoiceFrom(const json& object) {
  Choice choice;
  if (const auto bytes = object.find("text_base64"); bytes != object.end()) {
    absl::Base64Unescape(bytes->get<std::string>(), &choice.text);
  } else {
    choice.text = object.at("text").get<std::string>();
  }
  v1::FinishReason_Parse(object.at("finish_reason").get<std::string>(), &choice.finish_reason);
  return choice;
}

// nullopt for a line that was not written whole, or not by us.
std::optional<Line> FromLine(absl::string_view text) {
  const json object = json::parse(text.begin(), text.end(), nullptr, /*allow_exceptions=*/false);
  if (!object.is_object()) return std::nullopt;
  Line line;
  try {
    line.key = object.at("key").get<std::string>();
    line.answer.first = object.at("first").get<int32_t>();
    for (const json& choice : object.at("choices")) line.answer.choices.push_back(ChoiceFrom(choice));
    line.answer.usage.set_num_requests(object.at("num_requests").get<int64_t>());
    line.answer.usage.set_input_tokens(object.at("input_tokens").get<int64_t>());
    line.answer.usage.set_output_tokens(object.at("output_tokens").get<int64_t>());
    line.answer.usage.set_usd(object.at("usd").get<double>());
  } catch (const json::exception&) {
    return std::nullopt;
  }
  return line;
}

absl::Status ReadAt(int file, const std::string& path, int64_t offset, std::string* into) {
  for (size_t got = 0; got < into->size();) {
    const ssize_t now = ::pread(file, into->data() + got, into->size() - got, offset + static_cast<int64_t>(got));
    if (now < 0 && errno == EINTR) continue;
    if (now < 0) return ErrnoStatus(errno, "read", path);
    if (now == 0) into->resize(got);
    got += static_cast<size_t>(now);
  }
  return absl::OkStatus();
}

}  // namespace

std::string AnswerKey(const EndpointOptions& endpoint, absl::string_view prompt, const v1::SamplingParams& sampling,
                      uint64_t seed) {
  // What the server is sent, apart from how many completions at a time.
  return Sha256Hex(absl::StrCat(endpoint.route, "\n", seed, "\n", sampling.num_completions(), "\n",
                                RequestBody(endpoint, prompt, sampling, 1, seed)));
}

absl::StatusOr<std::unique_ptr<AnswerLog>> AnswerLog::Open(const std::string& path) {
  RETURN_IF_ERROR(MakeFolders(std::filesystem::path(path).parent_path().string()));
  // What was asked of a paid service is its owner's business.
  Descriptor file(::open(path.c_str(), O_RDWR | O_APPEND | O_CREAT | O_CLOEXEC, 0600));
  if (file.get() < 0) return ErrnoStatus(errno, "open", path);
  std::unique_ptr<AnswerLog> log(new AnswerLog(path, std::move(file)));
  absl::MutexLock io(&log->io_mutex_);
  RETURN_IF_ERROR(log->ReadOn());
  return log;
}

absl::Status AnswerLog::ReadOn() {
  std::string text, part;
  int64_t begin = read_bytes_;  // of `text` in the file
  while (true) {
    part.resize(kReadBytes);
    RETURN_IF_ERROR(ReadAt(file_.get(), path_, begin + static_cast<int64_t>(text.size()), &part));
    if (part.empty()) return absl::OkStatus();
    size_t searched = text.size(), done = 0;
    text += part;
    for (size_t end; (end = text.find('\n', searched)) != std::string::npos; searched = done = end + 1) {
      TakeLine(absl::string_view(text).substr(done, end - done), begin + static_cast<int64_t>(done));
    }
    text.erase(0, done);
    begin += static_cast<int64_t>(done);
    read_bytes_ = begin;
  }
}

void AnswerLog::TakeLine(absl::string_view line, int64_t offset) {
  if (line.empty()) return;
  const std::optional<Line> read = FromLine(line);
  if (!read.has_value()) {
    spdlog::warn("{}: the line at byte {} was not written whole and is passed over", path_, offset);
    return;
  }
  absl::MutexLock lock(&mutex_);
  places_[read->key].push_back({.offset = offset, .size = static_cast<int64_t>(line.size())});
  AddUsage(read->answer.usage, &spent_);
}

absl::StatusOr<std::vector<LoggedAnswer>> AnswerLog::Find(const std::string& key) const {
  std::vector<Place> places;
  {
    absl::MutexLock lock(&mutex_);
    if (const auto found = places_.find(key); found != places_.end()) places = found->second;
  }
  std::vector<LoggedAnswer> answers;
  // Lines never change.
  for (const Place& place : places) {
    std::string text(static_cast<size_t>(place.size), '\0');
    RETURN_IF_ERROR(ReadAt(file_.get(), path_, place.offset, &text));
    std::optional<Line> line = FromLine(text);
    if (!line.has_value())
      return absl::DataLossError(absl::StrCat(path_, ": the line at byte ", place.offset, " changed"));
    answers.push_back(std::move(line->answer));
  }
  return answers;
}

absl::Status AnswerLog::Append(const std::string& key, const LoggedAnswer& answer) {
  absl::MutexLock io(&io_mutex_);
  if (absl::Status written = Write(ToLine(key, answer)); !written.ok()) {
    absl::MutexLock lock(&mutex_);
    AddUsage(answer.usage, &spent_);
    return written;
  }
  absl::Status status = Sync();
  // Durable or not, the line is in the file, and counts once it is read.
  status.Update(ReadOn());
  return status;
}

absl::Status AnswerLog::Write(const std::string& line) {
  struct stat info = {};
  if (::fstat(file_.get(), &info) != 0) return ErrnoStatus(errno, "stat", path_);
  std::string last(info.st_size > 0 ? 1 : 0, '\0');
  RETURN_IF_ERROR(ReadAt(file_.get(), path_, info.st_size - 1, &last));
  // Behind what another writer, or this one on a full disk, did not finish.
  const std::string text = (last.empty() || last == "\n" ? "" : "\n") + line;
  ssize_t size = 0;
  do {
    size = ::write(file_.get(), text.data(), text.size());
  } while (size < 0 && errno == EINTR);
  if (size < 0) return ErrnoStatus(errno, "write", path_);
  if (static_cast<size_t>(size) != text.size()) return ErrnoStatus(ENOSPC, "write", path_);
  return absl::OkStatus();
}

absl::Status AnswerLog::Sync() {
  int error_number = FailpointErrno("answers.fdatasync", path_);
  if (error_number == 0 && ::fdatasync(file_.get()) != 0) error_number = errno;
  return error_number == 0 ? absl::OkStatus() : ErrnoStatus(error_number, "fdatasync", path_);
}

v1::EndpointUsage AnswerLog::spent() const {
  absl::MutexLock lock(&mutex_);
  return spent_;
}

}  // namespace grpo
