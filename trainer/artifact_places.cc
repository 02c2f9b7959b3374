#include "trainer/artifact_places.h"

#include <filesystem>
#include <set>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"

namespace grpo {
namespace {

namespace fs = std::filesystem;

// What the run itself writes into its folder.
const std::set<std::string>& Taken() {
  static const auto* const taken =
      new std::set<std::string>{"answers",    "checkpoints",   "completions.sqlite", "config.yaml", "data.json",
                                "ended.json", "endpoint.json", "endpoints",          "launch",      "lock",
                                "logs",       "metrics.jsonl", "quarantine.jsonl",   "report.md",   "report.html",
                                "run_id",     "spending.json", "summary.json",       "synthesis",   "tls"};
  return *taken;
}

}  // namespace

std::vector<Conflict> ArtifactConflicts(const std::map<std::string, ArtifactOptions>& artifacts) {
  std::vector<Conflict> conflicts;
  // With a slash behind, so that a/ holds a/b/ and not ab/.
  std::map<std::string, std::string> places;
  for (const auto& [name, artifact] : artifacts) {
    const std::string key = absl::StrCat("artifacts.", name, ".path");
    const fs::path path = (fs::path(artifact.path) / "").lexically_normal();
    if (artifact.path.empty() || path.is_absolute() || *path.begin() == ".." || path == "./" || path == ".") {
      conflicts.push_back({key, "must be a folder inside the run folder, such as models/" + name});
    } else if (Taken().count(path.begin()->string()) > 0) {
      conflicts.push_back(
          {key, absl::StrCat("is where the run itself writes ", path.begin()->string(), "; take models/", name)});
    }
    const std::string place = path.string();
    for (const auto& [other, other_place] : places) {
      if (absl::StartsWith(place, other_place) || absl::StartsWith(other_place, place)) {
        conflicts.push_back(
            {key, absl::StrCat("lies in the same place as artifacts.", other, ", and one would replace the other")});
      }
    }
    places.emplace(name, place);
  }
  return conflicts;
}

}  // namespace grpo
