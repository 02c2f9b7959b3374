#include "trainer/dist/rank_environment.h"

#include <cstdlib>
#include <optional>

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "common/status_macros.h"

namespace grpo {
namespace {

std::optional<std::string> Variable(const char* name) {
  const char* value = std::getenv(name);
  return value == nullptr ? std::nullopt : std::make_optional<std::string>(value);
}

// The number in [low, high] that the variable holds; `otherwise` when it is not set.
absl::StatusOr<int> Number(const char* name, int low, int high, std::optional<int> otherwise) {
  const std::optional<std::string> text = Variable(name);
  if (!text.has_value() && otherwise.has_value()) return *otherwise;
  int value = 0;
  if (text.has_value() && absl::SimpleAtoi(*text, &value) && value >= low && value <= high) return value;
  return absl::InvalidArgumentError(
      absl::StrCat("the environment variable ", name, " is ",
                   text.has_value() ? absl::StrCat("'", *text, "'") : "not set", ", it must be ", low, " to ", high,
                   ": a trainer of several ranks needs RANK, WORLD_SIZE, MASTER_ADDR and MASTER_PORT in each"));
}

}  // namespace

absl::StatusOr<RankEnvironment> ReadRankEnvironment() {
  RankEnvironment environment;
  if (!Variable("RANK").has_value() && !Variable("WORLD_SIZE").has_value()) return environment;
  constexpr int kMaxRanks = 1 << 20;
  ASSIGN_OR_RETURN(environment.world_size, Number("WORLD_SIZE", 1, kMaxRanks, std::nullopt));
  ASSIGN_OR_RETURN(environment.rank, Number("RANK", 0, environment.world_size - 1, std::nullopt));
  ASSIGN_OR_RETURN(environment.local_rank, Number("LOCAL_RANK", 0, environment.world_size - 1, 0));
  ASSIGN_OR_RETURN(environment.restart_count, Number("TORCHELASTIC_RESTART_COUNT", 0, 1 << 30, 0));
  if (environment.world_size == 1) return environment;
  ASSIGN_OR_RETURN(const int port, Number("MASTER_PORT", 1, 65535, std::nullopt));
  environment.master_port = static_cast<uint16_t>(port);
  environment.master_addr = Variable("MASTER_ADDR").value_or("");
  if (environment.master_addr.empty()) {
    return absl::InvalidArgumentError(
        "the environment variable MASTER_ADDR is not set: it must name the machine of rank 0");
  }
  environment.agent_store = Variable("TORCHELASTIC_USE_AGENT_STORE").value_or("") == "True";
  return environment;
}

}  // namespace grpo
