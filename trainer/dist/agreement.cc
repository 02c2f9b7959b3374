#include "trainer/dist/agreement.h"

#include <algorithm>
#include <cmath>

#include "absl/strings/str_cat.h"
#include "common/status_macros.h"
#include "common/version.h"

namespace grpo {
namespace {

template <typename Message>
absl::StatusOr<std::vector<Message>> Exchange(Collectives& collectives, const Message& mine) {
  ASSIGN_OR_RETURN(const std::vector<std::string> texts, collectives.AllGather(mine.SerializeAsString()));
  std::vector<Message> all(texts.size());
  for (size_t rank = 0; rank < texts.size(); ++rank) {
    if (!all[rank].ParseFromString(texts[rank]))
      return absl::InternalError(absl::StrCat("rank ", rank, " sent no ", mine.GetTypeName()));
  }
  return all;
}

}  // namespace

absl::StatusOr<v1::UpdateReport> Agree(Collectives& collectives, const v1::UpdateReport& mine) {
  ASSIGN_OR_RETURN(const std::vector<v1::UpdateReport> reports, Exchange(collectives, mine));
  v1::UpdateReport all;
  all.set_grad_norm(reports[0].grad_norm());
  for (const v1::UpdateReport& report : reports) {
    if (!std::isfinite(report.grad_norm())) all.set_grad_norm(report.grad_norm());
    for (const auto& [name, sum] : report.sums()) (*all.mutable_sums())[name] += sum;
    if (report.has_logprob_abs_diff_max())
      all.set_logprob_abs_diff_max(std::max(all.logprob_abs_diff_max(), report.logprob_abs_diff_max()));
  }
  return all;
}

bool IsFinite(const v1::UpdateReport& report) {
  return std::isfinite(report.grad_norm()) && std::all_of(report.sums().begin(), report.sums().end(),
                                                          [](const auto& sum) { return std::isfinite(sum.second); });
}

absl::Status ExpectSameWeights(Collectives& collectives, const std::string& weights_hash) {
  ASSIGN_OR_RETURN(const std::vector<std::string> all, collectives.AllGather(weights_hash));
  for (size_t rank = 0; rank < all.size(); ++rank) {
    if (all[rank] == all[0]) continue;
    return absl::InternalError(
        absl::StrCat("rank ", rank, " holds the weights ", all[rank], ", rank 0 holds ", all[0],
                     ": the ranks have diverged (unlike machines, or faulty memory); go on from a checkpoint"));
  }
  return absl::OkStatus();
}

absl::Status ExpectSameConfiguration(Collectives& collectives, const std::string& config_sha256,
                                     const std::string& device) {
  v1::RankHandshake mine;
  mine.set_device(device);
  mine.set_build(kBuild);
  mine.set_config_sha256(config_sha256);
  ASSIGN_OR_RETURN(const std::vector<v1::RankHandshake> all, Exchange(collectives, mine));
  for (size_t rank = 1; rank < all.size(); ++rank) {
    if (all[rank].build() == all[0].build() && all[rank].config_sha256() == all[0].config_sha256()) continue;
    return absl::InvalidArgumentError(
        absl::StrCat("rank ", rank, " is build ", all[rank].build(), " with configuration ", all[rank].config_sha256(),
                     ", rank 0 is build ", all[0].build(), " with configuration ", all[0].config_sha256(),
                     ": start every rank with the same binary and file"));
  }
  for (size_t rank = 1; rank < all.size(); ++rank) {
    if (all[rank].device() == all[0].device()) continue;
    return absl::InvalidArgumentError(absl::StrCat(
        "rank ", rank, " computes on ", all[rank].device(), ", rank 0 on ", all[0].device(),
        ": a machine has fewer GPUs than ranks, or none; lower trainer.ranks, or set trainer.device to cpu"));
  }
  return absl::OkStatus();
}

}  // namespace grpo
