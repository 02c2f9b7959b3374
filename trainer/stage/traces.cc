#include "trainer/stage/traces.h"

#include <unistd.h>

#include <cerrno>
#include <filesystem>
#include <fstream>
#include <optional>
#include <utility>

#include "absl/strings/str_cat.h"
#include "common/files.h"
#include "common/sha256.h"
#include "common/status_macros.h"
#include "common/utf8.h"

namespace grpo {
namespace {

using nlohmann::ordered_json;

std::string Identity(absl::string_view prompt, absl::string_view completion) {
  return Sha256Hex(absl::StrCat(prompt.size(), ":", prompt, completion));
}

// The text of a line, which holds valid UTF-8 only where Select or Open has seen to it.
std::string Line(const ordered_json& value) {
  return value.dump(-1, ' ', false, ordered_json::error_handler_t::replace) + "\n";
}

ordered_json ToJson(const GroupTraces& group) {
  ordered_json line = {{"group_index", group.group_index},
                       {"num_tokens", group.num_tokens},
                       {"rejected", group.rejected},
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
    if (const auto usage = line.find("endpoint"); usage != line.end()) {
      group.usage.set_num_requests(usage->at("num_answers").get<int64_t>());
      group.usage.set_input_tokens(usage->at("input_tokens").get<int64_t>());
      group.usage.set_output_tokens(usage->at("output_tokens").get<int64_t>());
      group.usage.set_usd(usage->at("usd").get<double>());
    }
    for (const ordered_json& trace : line.at("traces")) {
      if (!trace.at("problem").is_string() || !trace.at("completion").is_string()) return std::nullopt;
      group.traces.push_back(trace);
    }
  } catch (const ordered_json::exception&) {
    return std::nullopt;
  }
  return group;
}

double RuleValue(const v1::Score& score, const std::string& name) {
  const v1::RuleScore* rule = FindRule(score, name);
  return rule == nullptr ? 0 : rule->value();
}

}  // namespace

std::string TraceSelector::RejectionReason(const v1::Prompt& prompt, const v1::ScoredCompletion& scored,
                                           size_t num_kept) const {
  const v1::Score& score = scored.score();
  const std::string& text = scored.completion().text();
  if (score.excluded()) return "unscored";
  const v1::FinishReason finish = scored.completion().finish_reason();
  if (finish != v1::FINISH_REASON_STOP && finish != v1::FINISH_REASON_STOP_STRING) return "unfinished";
  if (RuleValue(score, options_.accuracy_rule) < 1) return "wrong";
  if (!options_.format_rule.empty() && RuleValue(score, options_.format_rule) < 1) return "malformed";
  if (!IsUtf8(text)) return "not_utf8";
  if (seen_.count(Identity(prompt.text(), text)) > 0) return "duplicate";
  if (options_.max_traces_per_problem > 0 && static_cast<int64_t>(num_kept) >= options_.max_traces_per_problem)
    return "over_cap";
  return "";
}

GroupTraces TraceSelector::Select(const ScoredGroup& group) {
  const v1::Lease& lease = group.lease;
  const v1::Prompt& prompt = lease.prompt();
  GroupTraces result;
  result.group_index = lease.key().group_index();
  result.usage = group.usage;
  for (const v1::ScoredCompletion& scored : group.completions) {
    const v1::Completion& completion = scored.completion();
    result.num_tokens += completion.ids_size();
    const std::string reason = RejectionReason(prompt, scored, result.traces.size());
    if (!reason.empty()) {
      ++result.rejected[reason];
      continue;
    }
    ordered_json rewards = ordered_json::object();
    for (const v1::RuleScore& rule : scored.score().rules()) rewards[rule.name()] = rule.value();
    ordered_json trace = {{"id", absl::StrCat(prompt.id(), "#", result.group_index, ".", completion.index())},
                          {"problem", prompt.text()},
                          {"answer", prompt.answer()},
                          {"completion", completion.text()},
                          {"policy", lease.policy().policy_id()}};
    if (!model_.empty()) trace["model"] = model_;
    trace["policy_number"] = lease.policy().number();
    trace["stage"] = lease.key().stage();
    trace["group_index"] = result.group_index;
    trace["sample_index"] = completion.index();
    trace["seed"] = std::to_string(lease.seed());
    if (!lease.endpoint()) trace["num_tokens"] = CompletionLength(completion);
    trace["reward"] = scored.score().value();
    trace["rewards"] = std::move(rewards);
    result.traces.push_back(std::move(trace));
    seen_.insert(Identity(prompt.text(), completion.text()));
  }
  return result;
}

void TraceSelector::Remember(const GroupTraces& group) {
  for (const ordered_json& trace : group.traces) {
    seen_.insert(Identity(trace.at("problem").get_ref<const std::string&>(),
                          trace.at("completion").get_ref<const std::string&>()));
  }
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

absl::Status TraceLog::ForEach(absl::FunctionRef<absl::Status(const ordered_json& trace)> take) const {
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
    for (const ordered_json& trace : group->traces) RETURN_IF_ERROR(take(trace));
  }
  return absl::OkStatus();
}

absl::StatusOr<std::string> TraceLog::Export(const std::string& path) const {
  const std::string temporary = path + ".tmp";
  ASSIGN_OR_RETURN(SyncedFileWriter writer, SyncedFileWriter::Create(temporary));
  Sha256 hash;
  RETURN_IF_ERROR(ForEach([&](const ordered_json& trace) {
    const std::string text = Line(trace);
    hash.Update(text);
    return writer.Append(text);
  }));
  RETURN_IF_ERROR(writer.Finish());
  RETURN_IF_ERROR(Rename(temporary, path));
  RETURN_IF_ERROR(SyncFolder(std::filesystem::path(path).parent_path().string()));
  return hash.Finish();
}

}  // namespace grpo
