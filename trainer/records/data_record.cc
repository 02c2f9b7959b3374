#include "trainer/records/data_record.h"

#include <utility>

#include "absl/strings/str_cat.h"
#include "common/files.h"
#include "common/status_macros.h"
#include "nlohmann/json.hpp"

namespace grpo {
namespace {

using nlohmann::json;

constexpr int64_t kMaxBytes = int64_t{64} << 20;

}  // namespace

DataRecord::DataRecord(std::string path, const std::map<std::string, std::string>& data_sha256,
                       const std::map<std::string, std::string>& read_by)
    : path_(std::move(path)) {
  for (const auto& [data, sha256] : data_sha256) {
    const auto reader = read_by.find(data);
    entries_[data] = {.sha256 = sha256, .read_by = reader == read_by.end() ? "" : reader->second};
  }
}

// nlohmann's at() and get() throw on a missing key or another type; this is where that ends.
absl::StatusOr<std::optional<DataRecord>> DataRecord::Read(const std::string& path) {
  const absl::StatusOr<std::string> content = ReadFile(path, kMaxBytes);
  if (absl::IsNotFound(content.status())) return std::nullopt;
  RETURN_IF_ERROR(content.status());
  DataRecord record(path);
  try {
    const json read = json::parse(*content);
    for (const auto& [data, entry] : read.at("data").items()) {
      record.entries_[data] = {.sha256 = entry.at("sha256").get<std::string>(),
                               .read_by = entry.at("read_by").get<std::string>()};
    }
    for (const json& change : read.at("changes")) {
      record.changes_.push_back({.data = change.at("data").get<std::string>(),
                                 .old_sha256 = change.at("old_sha256").get<std::string>(),
                                 .new_sha256 = change.at("new_sha256").get<std::string>(),
                                 .read_by = {}});
    }
  } catch (const json::exception& error) {
    return absl::DataLossError(absl::StrCat(path, ": ", error.what()));
  }
  return record;
}

std::vector<DataChange> DataRecord::Changes(const std::map<std::string, std::string>& data_sha256) const {
  std::vector<DataChange> changes;
  for (const auto& [data, entry] : entries_) {
    const auto found = data_sha256.find(data);
    const std::string now = found == data_sha256.end() ? "" : found->second;
    if (now != entry.sha256)
      changes.push_back({.data = data, .old_sha256 = entry.sha256, .new_sha256 = now, .read_by = entry.read_by});
  }
  return changes;
}

void DataRecord::Take(const std::vector<DataChange>& changes) {
  for (const DataChange& change : changes) {
    entries_[change.data].sha256 = change.new_sha256;
    changes_.push_back(change);
  }
}

absl::Status DataRecord::MarkRead(const std::vector<std::string>& data, const std::string& stage) {
  for (const std::string& name : data) {
    const auto found = entries_.find(name);
    if (found != entries_.end() && found->second.read_by.empty()) found->second.read_by = stage;
  }
  return Write();
}

absl::Status DataRecord::Write() const {
  json data = json::object(), changes = json::array();
  for (const auto& [name, entry] : entries_) data[name] = {{"sha256", entry.sha256}, {"read_by", entry.read_by}};
  for (const DataChange& change : changes_) {
    changes.push_back({{"data", change.data}, {"old_sha256", change.old_sha256}, {"new_sha256", change.new_sha256}});
  }
  return WriteFileAtomically(
      path_, json({{"data", data}, {"changes", changes}}).dump(1, ' ', false, json::error_handler_t::replace) + "\n");
}

}  // namespace grpo
