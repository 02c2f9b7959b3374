// What `grpoctl launch` asks a cluster for. Plain data, which the trainer and its peers never read.
#ifndef GRPO_CONFIGS_LAUNCH_OPTIONS_H_
#define GRPO_CONFIGS_LAUNCH_OPTIONS_H_

#include <cstdint>
#include <map>
#include <string>
#include <vector>

#include "configs/visit.h"

namespace grpo {

// `launch.<role>`: where the processes of a role run. How many there are is said elsewhere: trainer.ranks,
// reward_server.servers, rollout_worker.workers.
struct LaunchRoleOptions {
  int64_t nodes = 1;
  int64_t processes_per_node = 0;
  int64_t gpus_per_process = 0;
  int64_t cpus_per_process = 1;
  double memory_gib = 0;

  template <class V>
  void Visit(V& v) {
    v("nodes", nodes,
      {.help = "Machines that the role's processes are spread over, in blocks.", .min = 1, .max = 65536});
    v("processes_per_node", processes_per_node,
      {.help = "Processes of the role on each machine at most; 0: as many as it takes for all of them.",
       .min = 0,
       .max = 65536});
    v("gpus_per_process", gpus_per_process, {.help = "GPUs asked for each process.", .min = 0, .max = 64});
    v("cpus_per_process", cpus_per_process,
      {.help = "Processor cores asked for each process.", .min = 1, .max = 65536});
    v("memory_gib", memory_gib,
      {.help =
           "Memory asked for each process; 0: what the configuration needs by `grpoctl validate`'s estimate, with a "
           "quarter more.",
       .unit = "GiB",
       .min = 0,
       .max = 1e6});
  }
};

// `launch.slurm`.
struct SlurmOptions {
  std::string partition, account, qos, time_limit, constraint, container;
  bool heterogeneous = false;
  int64_t stop_notice_s = 120;
  std::vector<std::string> sbatch;

  template <class V>
  void Visit(V& v) {
    v("partition", partition, {.help = "sbatch --partition; empty: the cluster's default."});
    v("account", account, {.help = "sbatch --account; empty: yours."});
    v("qos", qos, {.help = "sbatch --qos; empty: the cluster's default."});
    v("time_limit", time_limit, {.help = "sbatch --time, as in 1-12:00:00; empty: the partition's."});
    v("constraint", constraint, {.help = "sbatch --constraint, as in h100; empty: none."});
    v("container", container,
      {.help = "Root file system of an OCI bundle in which every process runs (srun --container); empty: none."});
    v("heterogeneous", heterogeneous,
      {.help =
           "A component of the job for each role, so that each gets machines of its own kind. Slurm starts such jobs "
           "by its backfill scheduler only."});
    v("stop_notice_s", stop_notice_s,
      {.help = "So long before the time limit the job is told to save, exit with 75 and be queued again (--signal).",
       .unit = "seconds",
       .min = 1,
       .max = 65535});
    v("sbatch", sbatch, {.help = "More options of sbatch, one an element, as in --mail-type=FAIL."});
  }
};

// One of `launch.kubernetes.tolerations`.
struct TolerationOptions {
  std::string key, op = "Exists", value, effect;

  template <class V>
  void Visit(V& v) {
    v("key", key, {.help = "The taint's key.", .required = true});
    v("operator", op, {.help = "How it is compared.", .choices = {"Exists", "Equal"}});
    v("value", value, {.help = "With operator Equal: the taint's value."});
    v("effect", effect,
      {.help = "The taint's effect; empty: all.", .choices = {"", "NoSchedule", "PreferNoSchedule", "NoExecute"}});
  }
};

// `launch.kubernetes`.
struct KubernetesOptions {
  std::string namespace_name = "default", image, claim, queue;
  double claim_gib = 0;
  std::string storage_class;
  std::map<std::string, std::string> node_selector;
  std::vector<TolerationOptions> tolerations;

  template <class V>
  void Visit(V& v) {
    v("namespace", namespace_name, {.help = "Namespace of everything that is made."});
    v("image", image, {.help = "Image that every container runs (deploy/image makes it); needed to launch."});
    v("claim", claim,
      {.help = "PersistentVolumeClaim for the run folder, mounted by the processes that use it; empty: one is made."});
    v("claim_gib", claim_gib,
      {.help = "Size of the claim that is made; 0: twice the disk that `grpoctl validate` says the run needs.",
       .unit = "GiB",
       .min = 0,
       .max = 1e9});
    v("storage_class", storage_class, {.help = "Of the claim that is made; empty: the cluster's default."});
    v("queue", queue, {.help = "Kueue's queue (label kueue.x-k8s.io/queue-name); empty: none."});
    v("node_selector", node_selector, {.help = "Labels that a machine must have."});
    v("tolerations", tolerations, {.help = "Taints that are put up with."});
  }
};

// `launch.ray`.
struct RayOptions {
  std::string address = "auto", working_dir, strategy = "PACK";

  template <class V>
  void Visit(V& v) {
    v("address", address, {.help = "Address of the cluster's head, HOST:PORT; auto: the cluster of this machine."});
    v("working_dir", working_dir,
      {.help = "Runtime environment: folder that Ray brings to each machine; empty: programs and files are on all of "
               "them already."});
    v("strategy", strategy,
      {.help = "How the placement group spreads over machines.",
       .choices = {"PACK", "SPREAD", "STRICT_PACK", "STRICT_SPREAD"}});
  }
};

// `launch`.
struct LaunchOptions {
  LaunchRoleOptions trainer, rollout_worker, reward_server;
  SlurmOptions slurm;
  KubernetesOptions kubernetes;
  RayOptions ray;

  template <class V>
  void Visit(V& v) {
    v("trainer", trainer, {.help = "Machines of the trainer's ranks."});
    v("rollout_worker", rollout_worker, {.help = "Machines of the workers."});
    v("reward_server", reward_server, {.help = "Machines of the reward servers."});
    v("slurm", slurm, {.help = "For `--on slurm`."});
    v("kubernetes", kubernetes, {.help = "For `--on kubernetes`."});
    v("ray", ray, {.help = "For `--on ray`."});
  }
};

}  // namespace grpo

#endif  // GRPO_CONFIGS_LAUNCH_OPTIONS_H_
