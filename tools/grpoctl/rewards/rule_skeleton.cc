#include "tools/grpoctl/rewards/rule_skeleton.h"

#include <algorithm>
#include <filesystem>
#include <map>

#include "absl/strings/ascii.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "absl/strings/str_replace.h"
#include "common/files.h"
#include "common/status_macros.h"

namespace grpo {
namespace {

struct SdkFile {
  const char *path, *text;
};

// The files of sdk/, so that grpoctl needs no repository beside it.
constexpr SdkFile kSdkFiles[] = {
#include "sdk/sdk_files.inc"
};

// File of sdk/ -> file to write.
using Files = std::vector<std::pair<std::string, std::string>>;

const std::map<std::string, Files>& Kinds() {
  static const auto* kinds = new std::map<std::string, Files>{
      {"yaml", {{"templates/my_rule.yaml", "my_rule.yaml"}}},
      {"python",
       {{"templates/my_rule_python.yaml", "my_rule.yaml"},
        {"templates/my_rule.py", "my_rule.py"},
        {"python/grpo_rule.py", "grpo_rule.py"}}},
      {"cpp",
       {{"templates/my_rule_cpp.yaml", "my_rule.yaml"},
        {"templates/my_rule.cc", "my_rule.cc"},
        {"cpp/grpo_rule.h", "grpo_rule.h"}}},
      {"remote",
       {{"templates/my_rule.yaml", "my_rule.yaml"}, {"templates/my_rule_remote.yaml", "my_rule_remote.yaml"}}},
      {"compiled", {{"templates/my_rule_compiled.cc", "my_rule.cc"}}},
  };
  return *kinds;
}

bool IsRuleName(const std::string& name) {
  const auto allowed = [](unsigned char c) { return absl::ascii_islower(c) || absl::ascii_isdigit(c) || c == '_'; };
  return !name.empty() && absl::ascii_islower(name[0]) && std::all_of(name.begin(), name.end(), allowed);
}

// "my_rule" -> "MyRule".
std::string CamelCase(const std::string& name) {
  std::string text;
  bool upper = true;
  for (const char c : name) {
    if (c != '_') text.push_back(upper ? absl::ascii_toupper(c) : c);
    upper = c == '_';
  }
  return text;
}

}  // namespace

const std::vector<std::string>& SkeletonKinds() {
  static const auto* names = [] {
    auto* all = new std::vector<std::string>;
    for (const auto& [name, files] : Kinds()) all->push_back(name);
    return all;
  }();
  return *names;
}

absl::StatusOr<std::vector<std::string>> WriteSkeleton(const std::string& name, const std::string& kind,
                                                       const std::string& folder) {
  namespace fs = std::filesystem;
  if (!IsRuleName(name)) {
    return absl::InvalidArgumentError(
        absl::StrCat("\"", name, "\" is no name for a rule: use lower-case letters, digits and _, a letter first"));
  }
  const auto found = Kinds().find(kind);
  if (found == Kinds().end()) {
    return absl::InvalidArgumentError(
        absl::StrCat("there is no kind \"", kind, "\"; choose one of ", absl::StrJoin(SkeletonKinds(), ", ")));
  }
  std::vector<std::string> paths;
  for (const auto& [source, target] : found->second) {
    paths.push_back((fs::path(folder) / absl::StrReplaceAll(target, {{"my_rule", name}})).string());
    if (fs::exists(paths.back())) {
      return absl::AlreadyExistsError(absl::StrCat(paths.back(), " is there already; choose another name or folder"));
    }
  }
  RETURN_IF_ERROR(MakeFolders(folder));
  for (size_t i = 0; i < paths.size(); ++i) {
    const auto* file = std::find_if(std::begin(kSdkFiles), std::end(kSdkFiles),
                                    [&](const SdkFile& candidate) { return candidate.path == found->second[i].first; });
    RETURN_IF_ERROR(WriteFileAtomically(
        paths[i], absl::StrReplaceAll(file->text, {{"my_rule", name}, {"MyRule", CamelCase(name)}})));
  }
  return paths;
}

}  // namespace grpo
