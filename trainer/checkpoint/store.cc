#include "trainer/checkpoint/store.h"

#include <algorithm>
#include <cerrno>
#include <cstdio>
#include <filesystem>
#include <system_error>

#include "absl/strings/match.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/strings/strip.h"
#include "common/files.h"
#include "common/log.h"
#include "common/sha256.h"
#include "common/status_macros.h"
#include "nlohmann/json.hpp"

namespace grpo {
namespace {

namespace fs = std::filesystem;
using nlohmann::json;

constexpr char kPrefix[] = "step-";
constexpr char kTemporarySuffix[] = ".tmp";
constexpr char kManifest[] = "manifest.json";
constexpr char kLatest[] = "LATEST";
constexpr int kFormat = 1;

std::optional<int64_t> SequenceOf(const std::string& name) {
  int64_t sequence = 0;
  if (!absl::StartsWith(name, kPrefix) || !absl::SimpleAtoi(absl::StripPrefix(name, kPrefix), &sequence))
    return std::nullopt;
  return sequence;
}

absl::Status CheckEntry(const std::string& folder, const json& entry, CheckpointStore::Loaded& loaded) {
  const std::string name = entry.value("name", "");
  if (name.empty() || name.find('/') != std::string::npos) {
    return absl::DataLossError(absl::StrCat(folder, "/", kManifest, " names a file '", name, "'"));
  }
  absl::StatusOr<std::string> content = ReadFile(absl::StrCat(folder, "/", name));
  if (!content.ok()) return absl::DataLossError(content.status().message());
  const std::string sha256 = Sha256Hex(*content);
  if (static_cast<int64_t>(content->size()) != entry.value("size", int64_t{-1}) ||
      sha256 != entry.value("sha256", "")) {
    return absl::DataLossError(absl::StrCat(folder, "/", name, " has ", content->size(), " bytes of SHA-256 ", sha256,
                                            ", the manifest says ", entry.value("size", int64_t{-1}), " of ",
                                            entry.value("sha256", "")));
  }
  loaded.files[name] = *std::move(content);
  return absl::OkStatus();
}

}  // namespace

absl::StatusOr<std::string> CheckpointStore::Save(int64_t sequence, const std::map<std::string, std::string>& files) {
  RETURN_IF_ERROR(MakeFolders(folder_));
  const std::string name = absl::StrFormat("%s%012d", kPrefix, sequence);
  const std::string final_path = absl::StrCat(folder_, "/", name);
  // The same state is not saved twice: a checkpoint in place is whole.
  if (fs::exists(final_path)) {
    if (Load(name).ok()) return name;
    std::error_code ignored;
    fs::remove_all(final_path, ignored);
  }
  const std::string temporary = absl::StrCat(final_path, kTemporarySuffix);
  absl::Status status = WriteFolder(temporary, files);
  if (status.ok() && std::rename(temporary.c_str(), final_path.c_str()) != 0)
    status = ErrnoStatus(errno, "rename", final_path);
  if (!status.ok()) {
    std::error_code ignored;
    fs::remove_all(temporary, ignored);
    return status;
  }
  RETURN_IF_ERROR(SyncFolder(folder_));
  RETURN_IF_ERROR(WriteFileAtomically(absl::StrCat(folder_, "/", kLatest), name + "\n"));
  DeleteOld();
  return name;
}

absl::Status CheckpointStore::WriteFolder(const std::string& temporary,
                                          const std::map<std::string, std::string>& files) const {
  std::error_code ignored;
  fs::remove_all(temporary, ignored);
  RETURN_IF_ERROR(MakeFolders(temporary));
  json manifest = {{"format", kFormat}, {"files", json::array()}};
  for (const auto& [name, content] : files) {
    RETURN_IF_ERROR(WriteFileSynced(absl::StrCat(temporary, "/", name), content));
    manifest["files"].push_back({{"name", name}, {"size", content.size()}, {"sha256", Sha256Hex(content)}});
  }
  RETURN_IF_ERROR(WriteFileSynced(absl::StrCat(temporary, "/", kManifest), manifest.dump(1) + "\n"));
  return SyncFolder(temporary);
}

void CheckpointStore::DeleteOld() const {
  const std::vector<std::string> names = List();
  std::error_code error;
  for (int64_t i = 0; i + keep_ < static_cast<int64_t>(names.size()); ++i) {
    fs::remove_all(absl::StrCat(folder_, "/", names[i]), error);
    if (error) spdlog::warn("cannot delete the old checkpoint {}: {}", names[i], error.message());
  }
  // What a killed process left half written.
  for (const fs::directory_entry& entry : fs::directory_iterator(folder_, error)) {
    if (absl::EndsWith(entry.path().filename().string(), kTemporarySuffix)) fs::remove_all(entry.path(), error);
  }
}

std::vector<std::string> CheckpointStore::List() const {
  std::vector<std::string> names;
  std::error_code error;
  for (const fs::directory_entry& entry : fs::directory_iterator(folder_, error)) {
    const std::string name = entry.path().filename().string();
    if (SequenceOf(name)) names.push_back(name);
  }
  std::sort(names.begin(), names.end(),
            [](const std::string& a, const std::string& b) { return SequenceOf(a) < SequenceOf(b); });
  return names;
}

absl::StatusOr<CheckpointStore::Loaded> CheckpointStore::Load(const std::string& name) const {
  const std::string folder = absl::StrCat(folder_, "/", name);
  const std::optional<int64_t> sequence = SequenceOf(name);
  if (!sequence)
    return absl::InvalidArgumentError(absl::StrCat(name, " is not the name of a checkpoint (step-<number>)"));
  absl::StatusOr<std::string> text = ReadFile(absl::StrCat(folder, "/", kManifest));
  if (!text.ok()) return absl::DataLossError(absl::StrCat(name, " has no manifest: ", text.status().message()));
  const json manifest = json::parse(*text, nullptr, /*allow_exceptions=*/false);
  if (!manifest.is_object() || !manifest.contains("files") || !manifest["files"].is_array()) {
    return absl::DataLossError(absl::StrCat(folder, "/", kManifest, " is not a manifest"));
  }
  if (!manifest.contains("format") || manifest["format"] != kFormat) {
    return absl::DataLossError(absl::StrCat(folder, " is not of format ", kFormat, ", the only one this build reads"));
  }
  Loaded loaded{.sequence = *sequence, .name = name, .files = {}};
  for (const json& entry : manifest["files"]) {
    const bool fits = entry.is_object() && entry.contains("name") && entry["name"].is_string() &&
                      entry.contains("size") && entry["size"].is_number_integer() && entry.contains("sha256") &&
                      entry["sha256"].is_string();
    if (!fits)
      return absl::DataLossError(absl::StrCat(folder, "/", kManifest, " has an entry without name, size and sha256"));
    RETURN_IF_ERROR(CheckEntry(folder, entry, loaded));
  }
  return loaded;
}

absl::StatusOr<std::optional<CheckpointStore::Loaded>> CheckpointStore::LoadNewest() const {
  std::vector<std::string> names = List();
  if (names.empty()) return std::nullopt;
  absl::Status newest_error;
  for (auto name = names.rbegin(); name != names.rend(); ++name) {
    absl::StatusOr<Loaded> loaded = Load(*name);
    if (loaded.ok()) return std::optional<Loaded>(*std::move(loaded));
    spdlog::error("CHECKPOINT {} IS BROKEN and is not used: {}", *name, std::string(loaded.status().message()));
    if (newest_error.ok()) newest_error = loaded.status();
  }
  return Annotate(newest_error,
                  absl::StrCat("none of the ", names.size(), " checkpoints in ", folder_, " is whole; the newest"));
}

}  // namespace grpo
