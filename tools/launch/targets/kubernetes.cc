// Kubernetes with JobSet, by kubectl. A job's name here is NAMESPACE/NAME.
#include <filesystem>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "common/status_macros.h"
#include "nlohmann/json.hpp"
#include "tools/launch/job_file.h"
#include "tools/launch/kubernetes/manifest.h"
#include "tools/launch/kubernetes/yaml_text.h"
#include "tools/launch/run_client.h"
#include "tools/launch/target.h"

namespace grpo {
namespace {

using nlohmann::json;

constexpr char kFile[] = "kubernetes.yaml";
constexpr char kJobSets[] = "jobsets.jobset.x-k8s.io";
// The API server answers within seconds, or is not there.
constexpr absl::Duration kPatience = absl::Seconds(30);

absl::StatusOr<std::string> Kubectl(const std::vector<std::string>& arguments) {
  std::vector<std::string> argv = {"kubectl"};
  argv.insert(argv.end(), arguments.begin(), arguments.end());
  absl::StatusOr<std::string> said = RunClient(argv, kPatience);
  if (said.ok()) return said;
  const std::string message(said.status().message());
  if (absl::IsNotFound(said.status())) {
    return absl::NotFoundError(absl::StrCat(
        message, ": install kubectl and let it know the cluster (KUBECONFIG), or apply the manifest from where it is"));
  }
  if (absl::StrContains(message, "no matches for kind \"JobSet\"") ||
      absl::StrContains(message, "doesn't have a resource type \"jobsets\"")) {
    return absl::FailedPreconditionError(absl::StrCat(
        "the cluster has no JobSet: whoever runs it installs the controller (jobset.sigs.k8s.io) once. ", message));
  }
  if (absl::StrContains(message, "(NotFound)")) return absl::NotFoundError(message);
  return said;
}

// `text` as kubectl writes it for --output json. The process's memory holds what it names no longer than this.
absl::StatusOr<json> ParseAnswer(const std::string& text) {
  json answer = json::parse(text, /*cb=*/nullptr, /*allow_exceptions=*/false);
  if (!answer.is_object()) return absl::InternalError("kubectl did not answer with JSON");
  return answer;
}

// The text at a path of keys; empty where there is none.
std::string TextAt(const json& object, const std::string& path) {
  const json::json_pointer pointer(path);
  if (!object.contains(pointer) || !object.at(pointer).is_string()) return "";
  return object.at(pointer).get<std::string>();
}

struct Place {
  std::string name_space, name;
};

absl::StatusOr<Place> ParseJob(const std::string& job) {
  const std::pair<std::string, std::string> parts = absl::StrSplit(job, absl::MaxSplits('/', 1));
  if (parts.first.empty() || parts.second.empty())
    return absl::InvalidArgumentError(
        absl::StrCat("the job ", job, " is not NAMESPACE/NAME, as in default/quickstart-01"));
  return Place{parts.first, parts.second};
}

// The condition of this type that holds; null when none does.
const json* Condition(const json& job_set, const std::string& type) {
  const json::json_pointer conditions("/status/conditions");
  if (!job_set.contains(conditions)) return nullptr;
  for (const json& condition : job_set.at(conditions)) {
    if (TextAt(condition, "/type") == type && TextAt(condition, "/status") == "True") return &condition;
  }
  return nullptr;
}

// Whether a pod of some role is there.
bool IsActive(const json& job_set) {
  const json::json_pointer roles("/status/replicatedJobsStatus");
  if (!job_set.contains(roles)) return false;
  for (const json& role : job_set.at(roles)) {
    if (role.value("ready", 0) > 0) return true;
  }
  return false;
}

JobState StateOf(const json& job_set) {
  JobState state;
  state.run_dir = TextAt(job_set, "/metadata/annotations/run-dir");
  for (const char* type : {"Completed", "Failed", "Suspended"}) {
    const json* const condition = Condition(job_set, type);
    if (condition == nullptr) continue;
    state.word = type;
    state.ended = state.word != "Suspended";
    state.reason = TextAt(*condition, "/message");
    return state;
  }
  state.word = IsActive(job_set) ? "Running" : "Pending";
  if (const json* const startup = Condition(job_set, "StartupPolicyInProgress"); startup != nullptr)
    state.reason = TextAt(*startup, "/message");
  return state;
}

// The pods are told to stop. OK where there is none.
absl::Status Delete(const std::string& job, const std::string& wait) {
  ASSIGN_OR_RETURN(const Place place, ParseJob(job));
  return Kubectl({"delete", kJobSets, place.name, "--namespace", place.name_space, "--ignore-not-found", wait})
      .status();
}

class Kubernetes : public LaunchTarget {
 public:
  bool CarriesTls() const override { return true; }

  absl::StatusOr<std::vector<LaunchFile>> Render(const LaunchRequest& request) const override {
    ASSIGN_OR_RETURN(const std::vector<nlohmann::ordered_json> documents, KubernetesDocuments(request));
    const int mode = request.tls.empty() ? 0644 : 0600;
    return std::vector<LaunchFile>{{.name = kFile, .content = YamlText(documents), .mode = mode}};
  }

  absl::StatusOr<std::string> Submit(const std::string& folder) const override {
    // One of the same name that has ended would stay as it is, and nothing would run.
    const std::optional<LaunchedJob> before = ReadJob(std::filesystem::path(folder).parent_path().string());
    if (before.has_value() && before->target == "kubernetes") RETURN_IF_ERROR(Delete(before->job, "--wait=true"));
    ASSIGN_OR_RETURN(const std::string said,
                     Kubectl({"apply", "--filename", absl::StrCat(folder, "/", kFile), "--output", "json"}));
    ASSIGN_OR_RETURN(const json answer, ParseAnswer(said));
    for (const json& item : answer.value("items", json::array())) {
      if (TextAt(item, "/kind") == "JobSet")
        return absl::StrCat(TextAt(item, "/metadata/namespace"), "/", TextAt(item, "/metadata/name"));
    }
    return absl::InternalError("kubectl applied the manifest and named no JobSet");
  }

  absl::StatusOr<JobState> State(const std::string& job) const override {
    ASSIGN_OR_RETURN(const Place place, ParseJob(job));
    ASSIGN_OR_RETURN(const std::string said,
                     Kubectl({"get", kJobSets, place.name, "--namespace", place.name_space, "--output", "json"}));
    ASSIGN_OR_RETURN(const json answer, ParseAnswer(said));
    return StateOf(answer);
  }

  // The pods are told to stop (SIGTERM) and have terminationGracePeriodSeconds to save. Claim and configuration stay, so
  // that the run can go on.
  absl::Status Stop(const std::string& job) const override { return Delete(job, "--wait=false"); }

  std::vector<std::string> Hints(const std::string& job) const override {
    const absl::StatusOr<Place> place = ParseJob(job);
    if (!place.ok()) return {};
    const std::string in = absl::StrCat("kubectl --namespace ", place->name_space, " ");
    const std::string run = absl::StrCat("jobset.sigs.k8s.io/jobset-name=", place->name);
    return {
        absl::StrCat(in, "get pods --selector ", run, "  # where each process is, and what it waits for"),
        absl::StrCat(in, "logs --follow --prefix --max-log-requests 64 --selector ", run, "  # what all of them say"),
        absl::StrCat(in, "describe jobset ", place->name, "  # restarts, and why"),
        absl::StrCat(in, "port-forward service/", place->name,
                     "-trainer 7000:grpc  # then `grpoctl status --address 127.0.0.1:7000`, with the run's "
                     "--tls-ca, --tls-cert and --tls-key"),
        absl::StrCat(in, "delete jobset ", place->name, "  # stops it with a checkpoint; the run folder stays")};
  }
};

}  // namespace

std::unique_ptr<LaunchTarget> MakeKubernetes() {
  return std::make_unique<Kubernetes>();
}

}  // namespace grpo
