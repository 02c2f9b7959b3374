#include "tools/launch/launch.h"

#include <sys/stat.h>

#include <algorithm>
#include <cerrno>
#include <filesystem>
#include <map>
#include <memory>
#include <optional>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/strings/str_join.h"
#include "common/files.h"
#include "common/rpc/certificate_folder.h"
#include "common/rpc/credentials.h"
#include "common/status_macros.h"
#include "configs/load.h"
#include "configs/network_options.h"
#include "nlohmann/json.hpp"
#include "tools/grpoctl/estimate.h"
#include "tools/grpoctl/text.h"
#include "tools/launch/places.h"
#include "tools/launch/run_certificates.h"
#include "trainer/disk_need.h"
#include "trainer/memory_need.h"

namespace grpo {
namespace {

using json = nlohmann::ordered_json;

constexpr double kGib = 1024.0 * 1024 * 1024;
// What the libraries of a process take, and how much more than an estimate is asked for.
constexpr double kLibrariesGib = 0.3, kMargin = 1.25, kLeastGib = 1;

// Of certificates that are carried to where nobody renews them: longer than runs last.
constexpr absl::Duration kCarriedLife = absl::Hours(365 * 24);

// Of the rank that needs most, in the stage that needs most.
absl::StatusOr<double> RankBytes(const RunConfig& config, Preflight& preflight) {
  ASSIGN_OR_RETURN(const std::vector<StageMemory> stages, StageMemories(config, preflight));
  double most = 0;
  for (const StageMemory& stage : stages) most = std::max(most, stage.OfRankZero());
  return most;
}

// For what each policy that has weights asks of its holders.
struct PolicyBytes {
  // The largest worker, on the CPU and on a GPU, and rank 0's buffers for workers.
  double worker = 0, worker_gpu = 0, buffers = 0;
};
absl::StatusOr<PolicyBytes> LargestPolicy(const RunConfig& config, Preflight& preflight) {
  PolicyBytes most;
  for (const auto& [name, policy] : config.policies) {
    if (policy.endpoint.given()) continue;
    ASSIGN_OR_RETURN(const PolicyShape* const shape, preflight.Shape(name));
    most.worker = std::max(most.worker, EstimateWorker(shape->config, policy, config.rollout_worker).Total());
    most.worker_gpu =
        std::max(most.worker_gpu, EstimateGpuWorker(shape->config, policy, config.rollout_worker).Total());
    if (config.coordinator.shared_memory_weights)
      most.buffers = std::max(most.buffers, EstimateWeightBuffers(shape->config, policy.compute_dtype));
  }
  return most;
}

// What is wrong with the GPUs that are asked for a role's processes, which have this `device`.
absl::Status CheckGpus(const RoleCount& role, const std::string& device) {
  const int64_t gpus = role.options->gpus_per_process;
  const std::string key = absl::StrCat("launch.", RoleName(role.role), ".gpus_per_process is ", gpus);
  if (device == "cuda" && gpus == 0)
    return absl::InvalidArgumentError(absl::StrCat(key, ", but ", RoleName(role.role), ".device is cuda: set it to 1"));
  if (device == "cpu" && gpus > 0)
    return absl::InvalidArgumentError(absl::StrCat(key, ", but ", RoleName(role.role), ".device is cpu: set it to 0"));
  return absl::OkStatus();
}

// The bytes on the CPU and on the GPU by the estimates; `device`: the role's in the configuration.
absl::StatusOr<RoleNeed> NeedOf(const RoleCount& role, const std::string& device, double estimated_bytes,
                                double estimated_gpu_bytes) {
  ASSIGN_OR_RETURN(const int64_t per_host, ProcessesPerHost(role));
  RETURN_IF_ERROR(CheckGpus(role, device));
  const double estimate = std::max(kLeastGib, kMargin * (estimated_bytes / kGib + kLibrariesGib));
  return RoleNeed{.nodes = role.Nodes(),
                  .processes_per_node = per_host,
                  .gpus = role.options->gpus_per_process,
                  .cpus = role.options->cpus_per_process,
                  .memory_gib = role.options->memory_gib > 0 ? role.options->memory_gib : estimate,
                  .gpu_memory_gib = role.options->gpus_per_process > 0 ? estimated_gpu_bytes / kGib : 0};
}

// A role's row and object.
struct RoleRow {
  std::string name;
  int64_t count;
  const RoleNeed& need;
};
std::vector<RoleRow> RowsOf(const LaunchRequest& request) {
  const std::vector<RoleCount> roles = RolesOf(request.config);
  return {{"trainer", roles[0].count, request.trainer},
          {"rollout_worker", roles[1].count, request.rollout_worker},
          {"reward_server", roles[2].count, request.reward_server}};
}

std::string Port(int64_t port) {
  return port == 0 ? "a port that is found when it starts" : absl::StrCat("port ", port);
}

// The files at these paths, those that are not empty, each once and by its base name.
absl::StatusOr<std::vector<LaunchFile>> ReadAll(const std::vector<std::string>& paths) {
  std::map<std::string, std::string> paths_by_name;
  std::vector<LaunchFile> files;
  for (const std::string& path : paths) {
    if (path.empty()) continue;
    const std::string name = std::filesystem::path(path).filename().string();
    const auto [known, is_new] = paths_by_name.emplace(name, path);
    if (!is_new && known->second == path) continue;
    if (!is_new) {
      return absl::InvalidArgumentError(
          absl::StrCat("network names ", known->second, " and ", path, ", which are to lie in one folder: rename one"));
    }
    absl::StatusOr<std::string> content = ReadFile(path, rpc::kMaxPemBytes);
    if (!content.ok()) return absl::InvalidArgumentError(absl::StrCat("network: ", content.status().message()));
    files.push_back({.name = name, .content = *std::move(content), .mode = 0600});
  }
  return files;
}

// Of a configuration, what WithLaunchDefaults looks at.
struct NetworkGiven {
  NetworkOptions network;
  Section others;

  template <class V>
  void Visit(V& v) {
    v("network", network, {.help = "Addresses, tokens, TLS."});
    v.Rest(others);
  }
};

}  // namespace

absl::StatusOr<std::vector<std::string>> WithLaunchDefaults(const std::string& config,
                                                            std::vector<std::string> overrides) {
  ASSIGN_OR_RETURN(const Section section, ParseConfigFile(config, overrides));
  NetworkGiven given;
  // No address: what is absent stays as it is. What is wrong with the keys is for whoever loads all of them to say.
  given.network.host = "";
  const absl::Status loaded = LoadOptions(section, &given);
  if (loaded.ok() && given.network.host.empty()) overrides.push_back("network.host=0.0.0.0");
  return overrides;
}

absl::StatusOr<LaunchRequest> MakeLaunchRequest(const RunConfig& config, Preflight& preflight,
                                                const LaunchPlace& place) {
  ASSIGN_OR_RETURN(const double rank_bytes, RankBytes(config, preflight));
  ASSIGN_OR_RETURN(const PolicyBytes policy, LargestPolicy(config, preflight));
  ASSIGN_OR_RETURN(const double disk_bytes, DiskNeed(config, preflight));
  ASSIGN_OR_RETURN(const double rank_gpu_bytes, RankGpuBytes(config, preflight));
  // In the order of RolesOf.
  const double estimates[] = {rank_bytes + policy.buffers, policy.worker, 0};
  const double gpu_estimates[] = {rank_gpu_bytes, policy.worker_gpu, 0};
  const std::string devices[] = {config.trainer.device, config.rollout_worker.device, "auto"};
  std::vector<RoleNeed> needs;
  std::vector<std::string> errors;
  const std::vector<RoleCount> roles = RolesOf(config);
  for (size_t i = 0; i < roles.size(); ++i) {
    const absl::StatusOr<RoleNeed> need = NeedOf(roles[i], devices[i], estimates[i], gpu_estimates[i]);
    if (!need.ok()) errors.emplace_back(need.status().message());
    needs.push_back(need.ok() ? *need : RoleNeed());
  }
  if (!errors.empty()) return absl::InvalidArgumentError(absl::StrJoin(errors, "\n"));
  return LaunchRequest{.config = config,
                       .run_dir = place.run_dir,
                       .run_id = place.run_id,
                       .programs = place.programs,
                       .grpoctl = place.grpoctl,
                       .resume = place.resume,
                       .trainer = needs[0],
                       .rollout_worker = needs[1],
                       .reward_server = needs[2],
                       .disk_gib = disk_bytes / kGib,
                       .tls = place.tls,
                       .allow_other_device = place.allow_other_device};
}

absl::StatusOr<std::vector<LaunchFile>> PrepareTls(const LaunchTarget& target, const NetworkOptions& network,
                                                   const std::string& folder, const std::string& run_id) {
  std::vector<std::string> paths = {network.token_file, network.tls_ca, network.tls_cert, network.tls_key};
  if (NeedsRunCertificates(network)) {
    RETURN_IF_ERROR(MakeFolders(folder));
    RETURN_IF_ERROR(MakeRunCertificates({.run_dir = folder,
                                         .run_id = run_id,
                                         .hosts = {},
                                         .life = target.CarriesTls() ? kCarriedLife : rpc::kCertificateLife}));
    const std::string made = RunCertificateFolder(folder);
    paths = {rpc::AuthorityPath(made)};
    for (const rpc::CallerRole role : rpc::kCallerRoles) {
      paths.push_back(rpc::CertificatePath(made, role));
      paths.push_back(rpc::KeyPath(made, role));
    }
  }
  if (!target.CarriesTls()) return std::vector<LaunchFile>();
  return ReadAll(paths);
}

absl::Status WriteLaunchFiles(const std::vector<LaunchFile>& files, const std::string& folder) {
  RETURN_IF_ERROR(MakeFolders(folder));
  for (const LaunchFile& file : files) {
    const std::string path = absl::StrCat(folder, "/", file.name);
    // What holds a secret is nobody else's at any moment, and WriteFileAtomically keeps no rights.
    const mode_t before = ::umask(static_cast<mode_t>(0777 & ~file.mode));
    const absl::Status written = WriteFileAtomically(path, file.content);
    ::umask(before);
    RETURN_IF_ERROR(written);
    if (::chmod(path.c_str(), static_cast<mode_t>(file.mode)) != 0) return ErrnoStatus(errno, "chmod", path);
  }
  return absl::OkStatus();
}

absl::Status ExpectNoJob(const std::string& run_dir) {
  const std::optional<LaunchedJob> job = ReadJob(run_dir);
  if (!job.has_value()) return absl::OkStatus();
  ASSIGN_OR_RETURN(const std::unique_ptr<LaunchTarget> target, MakeLaunchTarget(job->target));
  const absl::StatusOr<JobState> state = target->State(job->job);
  if (absl::IsNotFound(state.status())) return absl::OkStatus();
  const std::string whose =
      absl::StrCat("job ", job->job, " of ", job->target, ", run ", job->run_id, ", submitted ", job->submitted_at);
  if (!state.ok()) {
    return absl::UnavailableError(
        absl::StrCat(run_dir, " was launched before (", whose,
                     "), and whether that job still runs cannot be told: ", state.status().message()));
  }
  if (state->ended) return absl::OkStatus();
  return absl::AlreadyExistsError(
      absl::StrCat(run_dir, " is the folder of a run that was launched (", whose, ") and is ", Printable(state->word),
                   ": watch it with `grpoctl watch --run-dir ", run_dir, "`, end it with `grpoctl stop --run-dir ",
                   run_dir, "`, or choose another folder with --run-dir DIR"));
}

std::string LaunchText(const LaunchRequest& request, const std::string& target, const std::vector<LaunchFile>& files) {
  std::vector<std::vector<std::string>> rows = {
      {"role", "processes", "machines", "on each", "GPUs each", "CPUs each", "memory each", "of a GPU each"}};
  for (const RoleRow& row : RowsOf(request)) {
    rows.push_back({row.name, absl::StrCat(row.count), absl::StrCat(row.need.nodes),
                    absl::StrCat(row.need.processes_per_node), absl::StrCat(row.need.gpus), absl::StrCat(row.need.cpus),
                    FormatBytes(row.need.memory_gib * kGib),
                    row.need.gpu_memory_gib > 0 ? FormatBytes(row.need.gpu_memory_gib * kGib) : ""});
  }
  const NetworkOptions& network = request.config.network;
  std::string text = absl::StrCat(
      "Run ", Printable(request.run_id), " in ", Printable(request.run_dir), ", to be launched on ", target, ":\n\n",
      FormatTable(rows), "\nServers bind to ", network.host,
      NeedsRunCertificates(network) ? ", with certificates of the run's own" : "", "; the trainer serves at ",
      Port(network.trainer_port),
      request.config.trainer.ranks > 1 ? absl::StrCat(", its ranks meet at ", Port(network.rendezvous_port)) : "",
      ".\nDisk: at most ", FormatBytes(request.disk_gib * kGib), " at a time in the run folder.\nFiles:");
  for (const LaunchFile& file : files) absl::StrAppend(&text, " ", file.name);
  return text + "\n";
}

std::string LaunchJson(const LaunchRequest& request, const std::string& target, const std::vector<LaunchFile>& files) {
  json document = {{"target", target}, {"run_id", request.run_id}, {"run_dir", request.run_dir}};
  for (const RoleRow& row : RowsOf(request)) {
    document["roles"][row.name] = {{"processes", row.count},
                                   {"nodes", row.need.nodes},
                                   {"processes_per_node", row.need.processes_per_node},
                                   {"gpus_per_process", row.need.gpus},
                                   {"cpus_per_process", row.need.cpus},
                                   {"memory_gib", row.need.memory_gib},
                                   {"gpu_memory_gib", row.need.gpu_memory_gib}};
  }
  const NetworkOptions& network = request.config.network;
  document["addresses"] = {
      {"host", network.host}, {"trainer_port", network.trainer_port}, {"rendezvous_port", network.rendezvous_port}};
  document["run_certificates"] = NeedsRunCertificates(network);
  document["disk_gib"] = request.disk_gib;
  document["files"] = json::array();
  for (const LaunchFile& file : files) document["files"].push_back(file.name);
  return document.dump(2, ' ', false, json::error_handler_t::replace) + "\n";
}

}  // namespace grpo
