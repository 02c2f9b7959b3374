#include "trainer/stage/endpoint_policy.h"

#include <cstdlib>
#include <vector>

#include "absl/strings/str_cat.h"
#include "common/log.h"
#include "common/sha256.h"

namespace grpo {
namespace {

class EndpointPolicy : public StagePolicy {
 public:
  EndpointPolicy(std::string name, EndpointOptions endpoint) : name_(std::move(name)), endpoint_(std::move(endpoint)) {}

  v1::PolicyRef ref() const override {
    v1::PolicyRef ref;
    ref.set_policy_id(name_);
    return ref;
  }
  std::string endpoint_model() const override { return endpoint_.model; }
  const ModelConfig& config() const override { Lacks("shape"); }
  const Tokenizer& tokenizer() const override { Lacks("tokenizer"); }
  std::string WeightsHash() const override {
    return Sha256Hex(absl::StrCat("endpoint\n", endpoint_.route, "\n", endpoint_.model));
  }
  absl::Status Publish() override { return absl::OkStatus(); }
  absl::Status ExportTo(const std::string&) const override { return HasNone("weights"); }
  absl::StatusOr<std::vector<TopK>> TopLogprobs(const std::vector<TokenizedTrace>&, int64_t) const override {
    return HasNone("probabilities");
  }

 private:
  absl::Status HasNone(absl::string_view what) const {
    return absl::FailedPreconditionError(absl::StrCat("policies.", name_, " is only an address and has no ", what));
  }
  [[noreturn]] void Lacks(const char* what) const {
    spdlog::critical("policies.{} is only an address and has no {}: this is a fault of the program", name_, what);
    std::abort();
  }

  const std::string name_;
  const EndpointOptions endpoint_;
};

}  // namespace

std::unique_ptr<StagePolicy> MakeEndpointPolicy(const std::string& name, const EndpointOptions& endpoint) {
  return std::make_unique<EndpointPolicy>(name, endpoint);
}

}  // namespace grpo
