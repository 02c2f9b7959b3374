// A teacher that does what a test tells it, and the sampler that asks it.
#ifndef GRPO_ROLLOUT_ENDPOINT_SAMPLER_TESTING_H_
#define GRPO_ROLLOUT_ENDPOINT_SAMPLER_TESTING_H_

#include <cstdint>
#include <filesystem>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/status/statusor.h"
#include "absl/strings/str_cat.h"
#include "absl/synchronization/mutex.h"
#include "absl/time/clock.h"
#include "absl/time/time.h"
#include "common/http/testing.h"
#include "common/status_testing.h"
#include "gmock/gmock.h"
#include "nlohmann/json.hpp"
#include "rollout/endpoint/sampler.h"

namespace grpo {

inline GroupRequest Group(int64_t id, int32_t num_completions = 4, int32_t max_new_tokens = 100) {
  GroupRequest request = {
      .id = id, .prompt = absl::StrCat("problem ", id), .seed = 77 + static_cast<uint64_t>(id), .sampling = {}};
  request.sampling.set_num_completions(num_completions);
  request.sampling.set_max_new_tokens(max_new_tokens);
  request.sampling.set_temperature(1);
  return request;
}

// What the server does with a request, by its number from 0; nullopt: a good answer.
using Misbehave = std::function<std::optional<http::TestAnswer>(int64_t number, const nlohmann::json& request)>;

// A teacher that answers with "problem I/SEED.CHOICE", 10 input and 5 output tokens a completion.
class Teacher {
 public:
  explicit Teacher(Misbehave misbehave = nullptr)
      : misbehave_(std::move(misbehave)),
        server_([this](const http::TestRequest& request) { return Answer(request); }) {}

  static http::TestAnswer Good(const nlohmann::json& request, int64_t num_choices,
                               const std::string& model = "teacher") {
    const std::string prompt = request.at("messages").at(0).at("content");
    nlohmann::json choices = nlohmann::json::array();
    for (int64_t i = 0; i < num_choices; ++i) {
      const std::string text = absl::StrCat(prompt, "/", request.at("seed").get<int64_t>(), ".", i);
      choices.push_back({{"message", {{"content", text}}}, {"finish_reason", "stop"}});
    }
    const nlohmann::json usage = {{"prompt_tokens", 10}, {"completion_tokens", 5 * num_choices}};
    return {.body = nlohmann::json({{"model", model}, {"choices", choices}, {"usage", usage}}).dump()};
  }
  static int64_t NumAsked(const nlohmann::json& request) { return request.value("n", int64_t{1}); }

  std::string url() const { return server_.url() + "/v1"; }
  // Completions of good answers, by problem.
  std::map<std::string, int64_t> answered() {
    absl::MutexLock lock(&mutex_);
    return answered_;
  }
  std::vector<nlohmann::json> requests() {
    absl::MutexLock lock(&mutex_);
    return requests_;
  }
  std::vector<http::TestRequest> raw() {
    absl::MutexLock lock(&mutex_);
    return raw_;
  }

 private:
  http::TestAnswer Answer(const http::TestRequest& raw) {
    const nlohmann::json request = nlohmann::json::parse(raw.body);
    int64_t number;
    {
      absl::MutexLock lock(&mutex_);
      number = static_cast<int64_t>(requests_.size());
      requests_.push_back(request);
      raw_.push_back(raw);
    }
    if (misbehave_) {
      if (std::optional<http::TestAnswer> bad = misbehave_(number, request)) return *std::move(bad);
    }
    absl::MutexLock lock(&mutex_);
    answered_[request.at("messages").at(0).at("content")] += NumAsked(request);
    return Good(request, NumAsked(request));
  }

  const Misbehave misbehave_;
  absl::Mutex mutex_;
  std::map<std::string, int64_t> answered_ ABSL_GUARDED_BY(mutex_);
  std::vector<nlohmann::json> requests_ ABSL_GUARDED_BY(mutex_);
  std::vector<http::TestRequest> raw_ ABSL_GUARDED_BY(mutex_);
  http::TestServer server_;
};

class EndpointSamplerTest : public ::testing::Test {
 protected:
  void SetUp() override {
    folder_ = absl::StrCat(::testing::TempDir(), "/", ::testing::UnitTest::GetInstance()->current_test_info()->name());
    std::filesystem::remove_all(folder_);
  }

  std::unique_ptr<EndpointSampler> Make(const std::string& url,
                                        const std::function<void(EndpointOptions&)>& change = nullptr) {
    EndpointSampler::Options options;
    options.policy = "t";
    options.endpoint.url = url;
    options.endpoint.model = "teacher";
    options.endpoint.concurrency = 3;
    options.endpoint.timeout_s = 20;
    options.folder = folder_;
    options.retry = {.first = absl::Milliseconds(1), .longest = absl::Milliseconds(20)};
    if (change) change(options.endpoint);
    absl::StatusOr<std::unique_ptr<EndpointSampler>> sampler = EndpointSampler::Create(options);
    EXPECT_OK(sampler);
    return *std::move(sampler);
  }

  // Polls until `done`.
  template <typename Done>
  static bool Wait(Done done) {
    for (int i = 0; i < 20000; ++i) {
      if (done()) return true;
      absl::SleepFor(absl::Milliseconds(1));
    }
    return false;
  }

  // Every group that becomes whole until nothing is under way, by id.
  static std::map<int64_t, SampledGroup> RunDry(EndpointSampler& sampler) {
    std::map<int64_t, SampledGroup> groups;
    const bool done = Wait([&] {
      const absl::StatusOr<std::vector<SampledGroup>> whole = sampler.Step();
      EXPECT_OK(whole);
      for (const SampledGroup& group : *whole) {
        EXPECT_TRUE(groups.emplace(group.id, group).second) << "group " << group.id << " came twice";
      }
      return sampler.idle();
    });
    EXPECT_TRUE(done) << sampler.blocked_reason();
    return groups;
  }

  // Whole, in order, every text another, and nothing that a server without ids cannot know.
  static void ExpectGood(const SampledGroup& group, size_t num_completions) {
    EXPECT_EQ(group.error, "");
    EXPECT_THAT(group.prompt_ids, ::testing::IsEmpty());
    EXPECT_EQ(group.policy_digest, "");
    ASSERT_EQ(group.completions.size(), num_completions) << group.id;
    std::set<std::string> texts;
    for (size_t i = 0; i < num_completions; ++i) {
      const v1::Completion& completion = group.completions[i];
      EXPECT_EQ(completion.index(), i);
      EXPECT_THAT(completion.text(), ::testing::HasSubstr(absl::StrCat("problem ", group.id, "/")));
      EXPECT_EQ(completion.finish_reason(), v1::FINISH_REASON_STOP);
      EXPECT_EQ(completion.ids_size() + completion.sample_logprob_size() + completion.spans_size(), 0);
      texts.insert(completion.text());
    }
    EXPECT_EQ(texts.size(), num_completions);
  }

  std::string folder_;
};

}  // namespace grpo

#endif  // GRPO_ROLLOUT_ENDPOINT_SAMPLER_TESTING_H_
