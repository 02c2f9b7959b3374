#include "trainer/checkpoint/store.h"

#include <sys/mman.h>

#include <algorithm>
#include <filesystem>
#include <system_error>

#include "absl/strings/ascii.h"
#include "absl/strings/match.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/strings/str_join.h"
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
// A manifest names tens of files.
constexpr int64_t kMaxManifestBytes = 1 << 24;
// Of a file that comes in parts, per write.
constexpr size_t kGatheredBytes = size_t{1} << 20;

std::optional<int64_t> SequenceOf(const std::string& name) {
  int64_t sequence = 0;
  if (!absl::StartsWith(name, kPrefix) || !absl::SimpleAtoi(absl::StripPrefix(name, kPrefix), &sequence))
    return std::nullopt;
  return sequence;
}

// The manifest's entry of a file, of which all parts are added in order.
class EntryMaker {
 public:
  void Add(absl::string_view part) {
    hash_.Update(part);
    size_ += part.size();
  }
  // Once.
  json Finish(const std::string& name) { return {{"name", name}, {"size", size_}, {"sha256", hash_.Finish()}}; }

 private:
  Sha256 hash_;
  size_t size_ = 0;
};

// Writes and fsyncs a file; its entry.
absl::StatusOr<json> WriteContent(const std::string& folder, const std::string& name, const FileContent& content) {
  ASSIGN_OR_RETURN(SyncedFileWriter writer, SyncedFileWriter::Create(absl::StrCat(folder, "/", name)));
  EntryMaker entry;
  // Small parts are gathered, large ones written as they are.
  std::string gathered;
  const auto flush = [&]() -> absl::Status {
    RETURN_IF_ERROR(writer.Append(gathered));
    gathered.clear();
    return absl::OkStatus();
  };
  RETURN_IF_ERROR(content.WriteTo([&](absl::string_view part) -> absl::Status {
    entry.Add(part);
    if (gathered.size() + part.size() > kGatheredBytes) RETURN_IF_ERROR(flush());
    if (part.size() > kGatheredBytes) return writer.Append(part);
    gathered.append(part.data(), part.size());
    return absl::OkStatus();
  }));
  RETURN_IF_ERROR(flush());
  RETURN_IF_ERROR(writer.Finish());
  return entry.Finish(name);
}

// The entry of a file that is there. Its pages leave memory again as soon as they were read.
json EntryOf(const std::string& name, absl::string_view mapped) {
  constexpr size_t kPieceBytes = size_t{4} << 20;  // whole pages
  EntryMaker entry;
  for (size_t begin = 0; begin < mapped.size(); begin += kPieceBytes) {
    const absl::string_view piece = mapped.substr(begin, kPieceBytes);
    entry.Add(piece);
    ::madvise(const_cast<char*>(piece.data()), piece.size(), MADV_DONTNEED);
  }
  return entry.Finish(name);
}

// Every byte of a manifest is determined by the entries.
std::string ManifestText(const json& entries) {
  return json({{"format", kFormat}, {"files", entries}}).dump(1) + "\n";
}

bool IsEntry(const json& entry) {
  return entry.is_object() && entry.contains("name") && entry["name"].is_string() && entry.contains("size") &&
         entry["size"].is_number_integer() && entry.contains("sha256") && entry["sha256"].is_string();
}

// What the manifest says, if it says it in the right form.
absl::StatusOr<json> ParseEntries(const std::string& text) {
  const json manifest = json::parse(text, nullptr, /*allow_exceptions=*/false);
  if (!manifest.is_object() || !manifest.contains("files") || !manifest["files"].is_array())
    return absl::DataLossError("is not a manifest");
  if (!manifest.contains("format") || manifest["format"] != kFormat)
    return absl::DataLossError(absl::StrCat("is not of format ", kFormat, ", the only one that this build reads"));
  for (const json& entry : manifest["files"]) {
    if (!IsEntry(entry)) return absl::DataLossError("has an entry without name, size and sha256");
    const std::string name = entry["name"].get<std::string>();
    if (name.empty() || name.find('/') != std::string::npos)
      return absl::DataLossError(absl::StrCat("names a file '", name, "'"));
  }
  return manifest["files"];
}

}  // namespace

std::string CheckpointStore::Path(const std::string& name) const {
  return absl::StrCat(folder_, "/", name);
}

absl::StatusOr<std::string> CheckpointStore::Save(int64_t sequence, const CheckpointFiles& files) {
  RETURN_IF_ERROR(MayWrite(guard_));
  RETURN_IF_ERROR(MakeFolders(folder_));
  const std::string name = absl::StrFormat("%s%012d", kPrefix, sequence);
  std::error_code error;
  const bool exists = fs::exists(Path(name), error);
  // The same state is not saved twice: a checkpoint that is in place and whole stays.
  if (!exists || !Problems(name).empty()) {
    if (exists) RETURN_IF_ERROR(Discard(name));
    RETURN_IF_ERROR(Commit(name, files));
  }
  RETURN_IF_ERROR(WriteFileAtomically(Path(kLatest), name + "\n"));
  DeleteOld(name);
  return name;
}

absl::Status CheckpointStore::Commit(const std::string& name, const CheckpointFiles& files) const {
  const std::string temporary = Path(name) + kTemporarySuffix;
  absl::Status status = WriteFolder(temporary, files);
  // That took its time: what is there now may be another run's.
  RETURN_IF_ERROR(MayWrite(guard_));
  if (status.ok()) status = Rename(temporary, Path(name));
  if (!status.ok()) {
    RemoveAll(temporary).IgnoreError();
    return status;
  }
  status = SyncFolder(folder_);
  if (!status.ok()) Discard(name).IgnoreError();
  return status;
}

absl::Status CheckpointStore::WriteFolder(const std::string& temporary, const CheckpointFiles& files) const {
  RETURN_IF_ERROR(RemoveAll(temporary));
  RETURN_IF_ERROR(MakeFolders(temporary));
  json entries = json::array();
  for (const auto& [name, content] : files) {
    ASSIGN_OR_RETURN(entries.emplace_back(), WriteContent(temporary, name, content));
  }
  RETURN_IF_ERROR(WriteFileSynced(absl::StrCat(temporary, "/", kManifest), ManifestText(entries)));
  return SyncFolder(temporary);
}

absl::Status CheckpointStore::Discard(const std::string& name) const {
  const std::string temporary = Path(name) + kTemporarySuffix;
  RETURN_IF_ERROR(RemoveAll(temporary));
  RETURN_IF_ERROR(Rename(Path(name), temporary));
  return RemoveAll(temporary);
}

void CheckpointStore::DeleteOld(const std::string& newest) const {
  std::vector<std::string> names = List();
  absl::Status status;
  // The run went on from before these, so LoadNewest found them broken.
  for (; !names.empty() && names.back() != newest; names.pop_back()) {
    spdlog::error("deleting the broken checkpoint {}: the run has gone on without it", names.back());
    status.Update(Discard(names.back()));
  }
  for (int64_t i = 0; i + keep_ < static_cast<int64_t>(names.size()); ++i) status.Update(Discard(names[i]));
  // What a killed process left half written.
  std::error_code error;
  for (const fs::directory_entry& entry : fs::directory_iterator(folder_, error)) {
    if (absl::StrContains(entry.path().filename().string(), kTemporarySuffix))
      status.Update(RemoveAll(entry.path().string()));
  }
  if (!status.ok()) spdlog::warn("old checkpoints stay, and take room: {}", std::string(status.message()));
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

std::vector<std::string> CheckpointStore::Read(const std::string& name, Loaded* loaded) const {
  const absl::StatusOr<std::string> text = ReadFile(absl::StrCat(Path(name), "/", kManifest), kMaxManifestBytes);
  if (!text.ok()) return {absl::StrCat(kManifest, " cannot be read: ", text.status().message())};
  const absl::StatusOr<json> entries = ParseEntries(*text);
  if (!entries.ok()) return {absl::StrCat(kManifest, " ", entries.status().message())};
  std::vector<std::string> problems;
  json found = json::array();
  for (const json& entry : *entries) {
    const std::string file = entry["name"].get<std::string>();
    absl::StatusOr<std::unique_ptr<MappedFile>> mapped = MappedFile::Open(absl::StrCat(Path(name), "/", file));
    if (!mapped.ok()) {
      problems.push_back(absl::StrCat(file, " cannot be read: ", mapped.status().message()));
      continue;
    }
    const absl::string_view content = (*mapped)->content();
    found.push_back(EntryOf(file, content));
    if (const absl::Status unchanged = (*mapped)->Check(); !unchanged.ok()) {
      problems.push_back(absl::StrCat(file, " cannot be read: ", unchanged.message()));
    } else if (found.back() != entry) {
      problems.push_back(absl::StrCat(file, " has ", content.size(), " bytes of SHA-256 ",
                                      found.back()["sha256"].get<std::string>(), ", the manifest says ",
                                      entry["size"].dump(), " of ", entry["sha256"].get<std::string>()));
    }
    loaded->files[file] = content;
    loaded->mapped.push_back(*std::move(mapped));
  }
  if (problems.empty() && ManifestText(found) != *text)
    problems.push_back(absl::StrCat(kManifest, " is not what its files say: it was changed after it was written"));
  return problems;
}

absl::StatusOr<CheckpointStore::Loaded> CheckpointStore::Load(const std::string& name) const {
  const std::optional<int64_t> sequence = SequenceOf(name);
  if (!sequence)
    return absl::InvalidArgumentError(absl::StrCat(name, " is not the name of a checkpoint (step-<number>)"));
  Loaded loaded{.sequence = *sequence, .name = name, .files = {}, .mapped = {}};
  const std::vector<std::string> problems = Read(name, &loaded);
  if (problems.empty()) return loaded;
  return absl::DataLossError(absl::StrCat(Path(name), ": ", absl::StrJoin(problems, "; ")));
}

absl::Status CheckpointStore::Loaded::Check() const {
  for (const std::unique_ptr<MappedFile>& file : mapped) RETURN_IF_ERROR(file->Check());
  return absl::OkStatus();
}

std::vector<std::string> CheckpointStore::Problems(const std::string& name) const {
  Loaded unused;
  return Read(name, &unused);
}

absl::StatusOr<std::string> CheckpointStore::Latest() const {
  ASSIGN_OR_RETURN(const std::string text, ReadFile(Path(kLatest), kMaxManifestBytes));
  for (const std::string& name : List()) {
    if (text == name + "\n") return name;
  }
  return absl::DataLossError(
      absl::StrCat(Path(kLatest), " names '", absl::StripAsciiWhitespace(text), "', which is not there"));
}

absl::StatusOr<std::optional<CheckpointStore::Loaded>> CheckpointStore::LoadNewest() const {
  std::vector<std::string> names = List();
  if (names.empty()) return std::nullopt;
  absl::Status newest_error;
  for (auto name = names.rbegin(); name != names.rend(); ++name) {
    absl::StatusOr<Loaded> loaded = Load(*name);
    if (loaded.ok()) {
      if (!newest_error.ok()) spdlog::error("CHECKPOINT {} IS USED INSTEAD", *name);
      return std::optional<Loaded>(*std::move(loaded));
    }
    spdlog::error("CHECKPOINT {} IS BROKEN and is not used: {}", *name, std::string(loaded.status().message()));
    if (newest_error.ok()) newest_error = loaded.status();
  }
  return Annotate(newest_error,
                  absl::StrCat("none of the ", names.size(), " checkpoints in ", folder_, " is whole; the newest"));
}

}  // namespace grpo
