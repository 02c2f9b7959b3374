#include "trainer/stage/traces.h"

#include <unistd.h>

#include <cerrno>
#include <filesystem>
#include <fstream>
#include <optional>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/strings/strip.h"
#include "common/files.h"
#include "common/sha256.h"
#include "common/status_macros.h"

namespace grpo {
namespace {

using nlohmann::ordered_json;

// The text of a line, which holds valid UTF-8 only where Select or Open has seen to it.
std::string Line(const ordered_json& value) {
  return value.dump(-1, ' ', false, ordered_json::error_handler_t::replace) + "\n";
}

ordered_json ToJson(const GroupTraces& group) {
  ordered_json line = {{"group_index", group.group_index},
                       {"num_tokens", group.num_tokens},
                       {"rejected", group.rejected},
                       {"problem", group.problem},
                       {"traces", group.traces}};
  if (const v1::EndpointUsage& usage = group.usage; usage.num_requests() > 0) {
    line["endpoint"] = {{"num_answers", usage.num_requests()},
                        {"input_tokens", usage.input_tokens()},
                        {"output_tokens", usage.output_tokens()},
                        {"usd", usage.usd()}};
  }
  return line;
}

// nullopt for a line that was not written whole, or not by us.
std::optional<GroupTraces> FromJson(const ordered_json& line) {
  if (!line.is_object()) return std::nullopt;
  GroupTraces group;
  try {
    group.group_index = line.at("group_index").get<int64_t>();
    group.num_tokens = line.at("num_tokens").get<int64_t>();
    group.rejected = line.at("rejected").get<std::map<std::string, int64_t>>();
    group.problem = line.value("problem", ordered_json());
    if (const auto usage = line.find("endpoint"); usage != line.end()) {
      group.usage.set_num_requests(usage->at("num_answers").get<int64_t>());
      group.usage.set_input_tokens(usage->at("input_tokens").get<int64_t>());
      group.usage.set_output_tokens(usage->at("output_tokens").get<int64_t>());
      group.usage.set_usd(usage->at("usd").get<double>());
    }
    for (const ordered_json& trace : line.at("traces")) {
      if (!trace.at("problem").is_string() || !trace.value("completion", ordered_json("")).is_string())
        return std::nullopt;
      group.traces.push_back(trace);
    }
  } catch (const ordered_json::exception&) {
    return std::nullopt;
  }
  return group;
}

}  // namespace

std::string ProblemsFile(const std::string& traces_path) {
  return absl::StrCat(absl::StripSuffix(traces_path, ".jsonl"), ".problems.jsonl");
}

absl::StatusOr<std::unique_ptr<TraceLog>> TraceLog::Open(const std::string& path, const ordered_json& origin,
                                                         const std::function<void(const GroupTraces&)>& replay) {
  const std::string first_line = Line(origin);
  std::string line;
  int64_t num_groups = 0, num_good_bytes = 0;
  {
    std::ifstream file(path, std::ios::binary);
    if (std::getline(file, line) && !file.eof() && line + "\n" == first_line) {
      num_good_bytes = static_cast<int64_t>(first_line.size());
      // A line without its end was torn, whatever it holds.
      while (std::getline(file, line) && !file.eof()) {
        const std::optional<GroupTraces> group =
            FromJson(ordered_json::parse(line, nullptr, /*allow_exceptions=*/false));
        if (!group || group->group_index != num_groups) break;
        replay(*group);
        ++num_groups;
        num_good_bytes += static_cast<int64_t>(line.size()) + 1;
      }
    }
  }
  if (num_good_bytes == 0) {
    RETURN_IF_ERROR(WriteFileAtomically(path, first_line));
  } else if (::truncate(path.c_str(), num_good_bytes) != 0) {
    return ErrnoStatus(errno, "truncate", path);
  }
  std::FILE* file = std::fopen(path.c_str(), "ae");
  if (file == nullptr) return ErrnoStatus(errno, "open", path);
  return std::unique_ptr<TraceLog>(new TraceLog(path, file, num_groups));
}

TraceLog::~TraceLog() {
  std::fclose(file_);
}

absl::Status TraceLog::Append(const GroupTraces& group) {
  const std::string line = Line(ToJson(group));
  if (std::fwrite(line.data(), 1, line.size(), file_) != line.size() || std::fflush(file_) != 0)
    return ErrnoStatus(errno, "write", path_);
  ++num_groups_;
  return absl::OkStatus();
}

absl::Status TraceLog::ForEachGroup(absl::FunctionRef<absl::Status(const GroupTraces& group)> take) const {
  std::ifstream file(path_, std::ios::binary);
  std::string line;
  std::getline(file, line);  // the origin
  for (int64_t i = 0; i < num_groups_; ++i) {
    std::getline(file, line);
    const std::optional<GroupTraces> group = FromJson(ordered_json::parse(line, nullptr, /*allow_exceptions=*/false));
    if (!group)
      return absl::DataLossError(absl::StrCat(path_, " line ", i + 2,
                                              " cannot be read back: remove the file, then "
                                              "`grpoctl run --resume` samples it again"));
    RETURN_IF_ERROR(take(*group));
  }
  return absl::OkStatus();
}

absl::Status TraceLog::ForEach(absl::FunctionRef<absl::Status(const ordered_json& trace)> take) const {
  return ForEachGroup([&](const GroupTraces& group) {
    for (const ordered_json& trace : group.traces) RETURN_IF_ERROR(take(trace));
    return absl::OkStatus();
  });
}

absl::StatusOr<std::string> TraceLog::Export(const std::string& path) const {
  return WriteLines(path, [&](const LineSink& write) { return ForEach(write); });
}

absl::StatusOr<std::string> TraceLog::ExportProblems(const std::string& path) const {
  return WriteLines(path, [&](const LineSink& write) {
    return ForEachGroup(
        [&](const GroupTraces& group) { return group.problem.is_null() ? absl::OkStatus() : write(group.problem); });
  });
}

absl::StatusOr<std::string> TraceLog::WriteLines(const std::string& path,
                                                 absl::FunctionRef<absl::Status(const LineSink& write)> lines) {
  const std::string temporary = path + ".tmp";
  ASSIGN_OR_RETURN(SyncedFileWriter writer, SyncedFileWriter::Create(temporary));
  Sha256 hash;
  RETURN_IF_ERROR(lines([&](const ordered_json& line) {
    const std::string text = Line(line);
    hash.Update(text);
    return writer.Append(text);
  }));
  RETURN_IF_ERROR(writer.Finish());
  RETURN_IF_ERROR(Rename(temporary, path));
  RETURN_IF_ERROR(SyncFolder(std::filesystem::path(path).parent_path().string()));
  return hash.Finish();
}

}  // namespace grpo
