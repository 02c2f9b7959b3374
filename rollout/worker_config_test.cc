#include "rollout/worker_config.h"

#include "common/files.h"
#include "common/sha256.h"
#include "common/status_testing.h"

namespace grpo {
namespace {

const std::string& Path() {
  static const auto* const path = new std::string(::testing::TempDir() + "/resolved.yaml");
  return *path;
}

TEST(LoadWorkerConfig, TakesItsPartAndTheHashOfTheWhole) {
  const std::string content = "rollout_worker: {slots: 5, context_tokens: 99}\nstages: [{name: rl}]\n";
  ASSERT_OK(WriteFileSynced(Path(), content));
  WorkerOptions options;
  options.identity.worker_name = "rollout-7";
  ASSERT_OK(LoadWorkerConfig(Path(), options));
  EXPECT_EQ(options.identity.config_sha256, Sha256Hex(content));
  EXPECT_EQ(options.identity.worker_name, "rollout-7");
  EXPECT_EQ(options.rollout.slots, 5);
  EXPECT_EQ(options.rollout.threads, 1);
  EXPECT_EQ(options.rollout.ContextTokens(/*max_positions=*/512), 99);
  EXPECT_EQ(options.rollout.ContextTokens(/*max_positions=*/64), 64);
}

TEST(LoadWorkerConfig, TakesTheEndpointsAmongThePoliciesAndKeepsAnswersBesideTheFile) {
  ASSERT_OK(WriteFileSynced(Path(),
                            "policies:\n"
                            "  base: {path: /models/base, endpoint: {url: \"\", concurrency: 8}}\n"
                            "  teacher: {endpoint: {url: https://host/v1, model: m, concurrency: 3}}\n"));
  WorkerOptions options;
  ASSERT_OK(LoadWorkerConfig(Path(), options));
  ASSERT_EQ(options.endpoints.endpoints.size(), 1u);
  EXPECT_EQ(options.endpoints.endpoints.at("teacher").model, "m");
  EXPECT_EQ(options.endpoints.endpoints.at("teacher").concurrency, 3);
  EXPECT_EQ(options.endpoints.answers_folder + "/", ::testing::TempDir() + "answers/");
}

TEST(LoadWorkerConfig, ProvesItselfByTheRunsOwnCertificatesWhereALauncherNamesThem) {
  ASSERT_OK(WriteFileSynced(Path(), "network: {host: 0.0.0.0}\n"));
  WorkerOptions options;
  ASSERT_OK(LoadWorkerConfig(Path(), options));
  EXPECT_EQ(options.client.tls_ca, "");
  ASSERT_OK(LoadWorkerConfig(Path(), options, "/run/tls"));
  EXPECT_EQ(options.client.tls_ca, "/run/tls/ca.pem");
  EXPECT_EQ(options.client.tls_cert, "/run/tls/worker.pem");
  EXPECT_EQ(options.client.tls_key, "/run/tls/worker.key");
}

TEST(LoadWorkerConfig, NamesTheKeyThatIsWrongAndTheFileThatIsMissing) {
  ASSERT_OK(WriteFileSynced(Path(), "rollout_worker: {slot: 5}\n"));
  WorkerOptions options;
  EXPECT_STATUS(LoadWorkerConfig(Path(), options), absl::StatusCode::kInvalidArgument, "did you mean slots?");
  EXPECT_STATUS(LoadWorkerConfig(Path() + ".none", options), absl::StatusCode::kNotFound, "resolved.yaml.none");
}

}  // namespace
}  // namespace grpo
