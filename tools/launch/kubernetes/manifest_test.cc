#include "tools/launch/kubernetes/manifest.h"

#include <cstdlib>

#include "absl/strings/escaping.h"
#include "absl/strings/str_cat.h"
#include "common/files.h"
#include "common/status_testing.h"
#include "gmock/gmock.h"
#include "tools/launch/kubernetes/yaml_text.h"

namespace grpo {
namespace {

using Json = nlohmann::ordered_json;
using ::testing::HasSubstr;
using ::testing::Not;

// Four ranks on two machines, three workers, two reward servers.
RunConfig ClusterConfig() {
  RunConfig config;
  config.run.name = "quickstart";
  config.trainer.ranks = 4;
  config.trainer.stop_within_s = 90;
  config.rewards["rules"].rules["math_answer"];
  config.rollout_worker.workers = 3;
  config.reward_server.servers = 2;
  config.network.host = "0.0.0.0";
  config.network.tls_ca = "/home/me/runs/quickstart/tls/ca.pem";
  config.network.tls_cert = "/home/me/runs/quickstart/tls/node.pem";
  config.network.tls_key = "/home/me/runs/quickstart/tls/node.key";
  config.launch.trainer = {.nodes = 2, .gpus_per_process = 1};
  KubernetesOptions& options = config.launch.kubernetes;
  options.namespace_name = "learning";
  options.image = "images.example/grpo:cuda";
  options.storage_class = "fast";
  options.queue = "team-a";
  options.node_selector = {{"accelerator", "h100"}};
  options.tolerations = {{.key = "nvidia.com/gpu", .effect = "NoSchedule"}};
  return config;
}

LaunchRequest RequestFor(const RunConfig& config) {
  LaunchRequest request = {.config = config, .run_dir = "/home/me/runs/quickstart", .run_id = "quickstart-01234567"};
  request.trainer = {.nodes = 2, .processes_per_node = 2, .gpus = 1, .cpus = 4, .memory_gib = 2.5};
  request.rollout_worker = {.nodes = 1, .processes_per_node = 3, .cpus = 2, .memory_gib = 1};
  request.reward_server = {.nodes = 1, .processes_per_node = 2, .cpus = 1, .memory_gib = 1};
  request.disk_gib = 3;
  for (const char* name : {"ca.pem", "ca.key", "node.pem", "node.key", "trainer.key", "worker.key", "operator.key"})
    request.tls.push_back({.name = name, .content = absl::StrCat("the ", name, "\n"), .mode = 0600});
  return request;
}

// Of this kind; null when there is none.
Json Find(const std::vector<Json>& documents, const std::string& kind) {
  for (const Json& document : documents) {
    if (document["kind"] == kind) return document;
  }
  return nullptr;
}

Json PodOf(const std::vector<Json>& documents, int role) {
  return Find(documents, "JobSet")["spec"]["replicatedJobs"][role]["template"]["spec"]["template"]["spec"];
}

TEST(KubernetesManifest, OfFourRanksOnTwoMachines) {
  const RunConfig config = ClusterConfig();
  ASSERT_OK_AND_ASSIGN(std::vector<Json> documents, KubernetesDocuments(RequestFor(config)));
  for (Json& document : documents) {
    // Every key of the configuration: what it holds is other tests' business.
    if (document["kind"] == "ConfigMap") document["data"]["config.yaml"] = "CONFIG\n";
  }
  const std::string text = YamlText(documents);
  if (const char* folder = ::getenv("GRPO_WRITE_PLANS"); folder != nullptr) {
    ASSERT_OK(WriteFileSynced(absl::StrCat(folder, "/cluster.yaml"), text));
  }
  ASSERT_OK_AND_ASSIGN(const std::string golden, ReadFile("tools/launch/kubernetes/testdata/cluster.yaml"));
  EXPECT_EQ(text, golden) << "if this is as it should be, write it anew: "
                             "GRPO_WRITE_PLANS=$PWD/tools/launch/kubernetes/testdata "
                             "bazel-bin/tools/launch/kubernetes/manifest_test";
}

TEST(KubernetesManifest, PodsGetTheirOwnKeysAndNobodyGetsTheAuthoritys) {
  const RunConfig config = ClusterConfig();
  ASSERT_OK_AND_ASSIGN(const std::vector<Json> documents, KubernetesDocuments(RequestFor(config)));
  const Json secret = Find(documents, "Secret");
  EXPECT_EQ(secret["stringData"]["worker.key"], "the worker.key\n");
  EXPECT_FALSE(secret["stringData"].contains("ca.key"));
  EXPECT_FALSE(secret["stringData"].contains("operator.key"));
  const std::vector<std::string> expected = {"trainer.key", "", "worker.key"};
  for (int role = 0; role < 3; ++role) {
    std::string keys;
    const Json pod = PodOf(documents, role);
    for (const Json& volume : pod["volumes"]) {
      if (!volume.contains("secret")) continue;
      for (const Json& item : volume["secret"]["items"]) {
        const std::string name = item["key"];
        if (name != "ca.pem" && name != "node.pem" && name != "node.key") absl::StrAppend(&keys, name);
      }
    }
    EXPECT_EQ(keys, expected[role]) << role;
  }
}

TEST(KubernetesManifest, OneRankAPodIsTheTrainerItself) {
  RunConfig config = ClusterConfig();
  config.launch.trainer.nodes = 4;
  ASSERT_OK_AND_ASSIGN(const std::vector<Json> documents, KubernetesDocuments(RequestFor(config)));
  const Json container = PodOf(documents, 0)["containers"][0];
  EXPECT_EQ(container["command"][0], "/opt/grpo/bin/trainer");
  EXPECT_EQ(container["env"][0]["name"], "RANK");
  EXPECT_THAT(container["env"][0]["valueFrom"]["fieldRef"]["fieldPath"].get<std::string>(),
              HasSubstr("job-completion-index"));
  EXPECT_EQ(container["resources"]["limits"]["nvidia.com/gpu"], "1");
  EXPECT_EQ(Find(documents, "JobSet")["spec"]["replicatedJobs"][0]["template"]["spec"]["completions"], 4);
}

TEST(KubernetesManifest, AClaimThatIsThereIsUsedAndNoneIsMade) {
  RunConfig config = ClusterConfig();
  config.launch.kubernetes.claim = "shared-runs";
  ASSERT_OK_AND_ASSIGN(const std::vector<Json> documents, KubernetesDocuments(RequestFor(config)));
  EXPECT_TRUE(Find(documents, "PersistentVolumeClaim").is_null());
  EXPECT_THAT(YamlText(documents), HasSubstr("claimName: shared-runs"));
}

TEST(KubernetesManifest, WithoutRewardsThereAreRanksAlone) {
  RunConfig config = ClusterConfig();
  config.rewards.clear();
  ASSERT_OK_AND_ASSIGN(const std::vector<Json> documents, KubernetesDocuments(RequestFor(config)));
  EXPECT_EQ(Find(documents, "JobSet")["spec"]["replicatedJobs"].size(), 1);
  EXPECT_EQ(Find(documents, "JobSet")["spec"]["failurePolicy"]["rules"].size(), 2);
}

TEST(KubernetesManifest, ARunThatCallsAServerElsewhereMay) {
  RunConfig config = ClusterConfig();
  ASSERT_OK_AND_ASSIGN(std::vector<Json> documents, KubernetesDocuments(RequestFor(config)));
  EXPECT_EQ(Find(documents, "NetworkPolicy")["spec"]["egress"].size(), 2);
  config.rewards["rules"].rules["elsewhere"].type = "remote";
  ASSERT_OK_AND_ASSIGN(documents, KubernetesDocuments(RequestFor(config)));
  EXPECT_EQ(Find(documents, "NetworkPolicy")["spec"]["egress"], Json::array({Json::object()}));
}

TEST(KubernetesManifest, SmallFilesTravelAndLargeOnesAreLookedForInTheContainers) {
  const std::string folder = ::testing::TempDir();
  ASSERT_OK(WriteFileSynced(folder + "/tokenizer.json", "{}"));
  ASSERT_OK(WriteFileSynced(folder + "/large.json", std::string(600 << 10, 'x')));
  RunConfig config = ClusterConfig();
  config.policies["small"].random_init.tokenizer = folder + "/tokenizer.json";
  config.policies["large"].random_init.tokenizer = folder + "/large.json";
  config.policies["claim"].path = "/runs/models/base";
  ASSERT_OK_AND_ASSIGN(const std::vector<Json> documents, KubernetesDocuments(RequestFor(config)));
  const Json expected = {{"file-0-tokenizer.json", absl::Base64Escape("{}")}};
  const Json configured = Find(documents, "ConfigMap");
  EXPECT_EQ(configured["binaryData"], expected);
  const std::string yaml = configured["data"]["config.yaml"];
  EXPECT_THAT(yaml, HasSubstr("\"/etc/grpo/config/file-0-tokenizer.json\""));
  EXPECT_THAT(yaml, Not(HasSubstr(folder + "/tokenizer.json")));
  EXPECT_THAT(yaml, HasSubstr(folder + "/large.json"));
}

// The run's own certificates: each process is told where its role's are, and probes present them.
TEST(KubernetesManifest, WithoutCertificatesInTheConfigurationPodsGetTheRunsOwn) {
  RunConfig config = ClusterConfig();
  config.network.tls_ca = config.network.tls_cert = config.network.tls_key = "";
  ASSERT_OK_AND_ASSIGN(const std::vector<Json> documents, KubernetesDocuments(RequestFor(config)));
  const std::string roles[] = {"trainer", "reward_server", "worker"};
  for (int role = 0; role < 3; ++role) {
    const Json container = PodOf(documents, role)["containers"][0];
    EXPECT_THAT(container["command"].dump(), HasSubstr(R"("--tls-dir","/etc/grpo/tls")")) << role;
    if (!container.contains("readinessProbe")) continue;
    EXPECT_THAT(container["readinessProbe"].dump(),
                HasSubstr(absl::StrCat("\"--tls-cert\",\"/etc/grpo/tls/", roles[role], ".pem\"")));
  }
}

TEST(KubernetesManifest, SaysWhatIsNeeded) {
  RunConfig config = ClusterConfig();
  config.launch.kubernetes.image.clear();
  config.network.host = "127.0.0.1";
  for (const char* key : {"deploy/image/build", "network.host"})
    EXPECT_STATUS(KubernetesDocuments(RequestFor(config)), absl::StatusCode::kInvalidArgument, key);
}

TEST(KubernetesName, IsALabelThatLeavesRoomForPods) {
  EXPECT_EQ(KubernetesName("quickstart-01234567"), "quickstart-01234567");
  EXPECT_EQ(KubernetesName("My_Run.2-01234567"), "my-run-2-01234567");
  EXPECT_EQ(KubernetesName("7b-01234567"), "run-7b-01234567");
  EXPECT_EQ(KubernetesName("__"), "run");
  const std::string cut = KubernetesName(std::string(60, 'a') + "-01234567");
  EXPECT_EQ(cut, std::string(29, 'a') + "-01234567");
}

}  // namespace
}  // namespace grpo
