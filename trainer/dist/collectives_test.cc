#include "trainer/dist/collectives.h"

#include <ATen/TensorOperators.h>
#include <ATen/ops/full.h>
#include <ATen/ops/rand.h>

#include <cmath>

#include "absl/strings/str_cat.h"
#include "absl/synchronization/notification.h"
#include "common/free_port.h"
#include "common/status_testing.h"
#include "gmock/gmock.h"
#include "trainer/dist/agreement.h"
#include "trainer/dist/rank_testing.h"
#include "trainer/fingerprint.h"

namespace grpo {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;

TEST(CollectivesTest, SumsAcrossRanksWithTheSameBitsOnEachForAnyBucketSize) {
  // [ranks][tensors] of odd sizes, an empty one among them.
  std::vector<std::vector<at::Tensor>> values(3);
  for (auto& of_rank : values) {
    for (const int64_t size : {7, 1, 0, 1000, 33}) of_rank.push_back(at::rand({size}) - 0.5);
  }
  for (const int64_t bucket_bytes : {1, 200, 1 << 20}) {
    std::vector<std::string> hashes(3);
    RunRanks(3,
             [&](Collectives& collectives) {
               std::vector<at::Tensor> mine;
               for (const at::Tensor& value : values[collectives.rank()]) mine.push_back(value.clone());
               ASSERT_OK(collectives.AllReduceSum(mine));
               std::vector<std::pair<std::string, at::Tensor>> named;
               for (size_t i = 0; i < mine.size(); ++i) {
                 const at::Tensor expected = values[0][i] + values[1][i] + values[2][i];
                 EXPECT_TRUE(mine[i].numel() == 0 || (mine[i] - expected).abs().max().item<float>() < 1e-6f);
                 named.emplace_back("", mine[i]);
               }
               hashes[collectives.rank()] = WeightsHash(named);
             },
             {.bucket_bytes = bucket_bytes});
    EXPECT_EQ(hashes[0], hashes[1]);
    EXPECT_EQ(hashes[0], hashes[2]);
  }
}

TEST(CollectivesTest, PassesBytesOfAnyLength) {
  RunRanks(3, [&](Collectives& collectives) {
    const int rank = collectives.rank();
    const std::string mine(rank * 1000, static_cast<char>('a' + rank));  // rank 0's is empty
    ASSERT_OK_AND_ASSIGN(const std::vector<std::string> all, collectives.AllGather(mine));
    EXPECT_THAT(all, ElementsAre("", std::string(1000, 'b'), std::string(2000, 'c')));

    std::string bytes = rank == 0 ? std::string(1 << 20, 'x') : "to be replaced";
    ASSERT_OK(collectives.Broadcast(bytes));
    EXPECT_EQ(bytes, std::string(1 << 20, 'x'));

    for (int message = 0; message < 3; ++message) {
      if (rank == 0) {
        ASSERT_OK(collectives.Send({"", absl::StrCat("one ", message), ""}));
      } else {
        ASSERT_OK_AND_ASSIGN(const std::string received, collectives.Receive([] { return absl::OkStatus(); }));
        EXPECT_EQ(received, rank == 1 ? absl::StrCat("one ", message) : "");
      }
    }
  });
}

TEST(CollectivesTest, ARankThatIsGoneMakesTheOthersUnavailable) {
  RunRanks(2, [&](Collectives& collectives) {
    if (collectives.rank() == 1) return;  // its sockets close
    EXPECT_STATUS(collectives.AllReduceSum({at::full({3}, 1.0f)}), absl::StatusCode::kUnavailable,
                  "the sum of the gradients failed on rank 0 of 2");
    EXPECT_TRUE(collectives.broken());
  });
}

TEST(CollectivesTest, ARankThatHangsMakesTheOthersUnavailableAfterTheTimeout) {
  absl::Notification done;
  RunRanks(2,
           [&](Collectives& collectives) {
             if (collectives.rank() == 1) return done.WaitForNotification();
             EXPECT_STATUS(collectives.AllGather("x").status(), absl::StatusCode::kUnavailable,
                           "took longer than 4s (trainer.collective_timeout_s)");
             done.Notify();
           },
           {.timeout = absl::Seconds(4)});
}

TEST(CollectivesTest, EveryRankCanBeAskedWhatItIsDoing) {
  RunRanks(2, [&](Collectives& collectives) {
    collectives.SetPhase(absl::StrCat("phase of ", collectives.rank()));
    ASSERT_OK(collectives.AllGather("").status());
    ASSERT_OK_AND_ASSIGN(const std::vector<Collectives::Phase> phases, collectives.Phases());
    ASSERT_EQ(phases.size(), 2u);
    EXPECT_EQ(phases[0].name, "phase of 0");
    EXPECT_EQ(phases[1].name, "phase of 1");
    EXPECT_EQ(phases[1].sequence, 1);
    ASSERT_OK(collectives.AllGather("").status());
  });
}

TEST(CollectivesTest, ASingleRankNeedsNobody) {
  const auto collectives = Collectives::SingleRank();
  const at::Tensor value = at::full({2}, 3.0f);
  ASSERT_OK(collectives->AllReduceSum({value}));
  EXPECT_EQ(value.sum().item<float>(), 6);
  ASSERT_OK_AND_ASSIGN(const std::vector<std::string> all, collectives->AllGather("mine"));
  EXPECT_THAT(all, ElementsAre("mine"));
  collectives->SetPhase("alone");
  ASSERT_OK_AND_ASSIGN(const auto phases, collectives->Phases());
  EXPECT_EQ(phases[0].name, "alone");
}

TEST(RendezvousTest, AnAddressThatIsNotPrivateIsRefused) {
  EXPECT_STATUS(Collectives::Connect({.rank = 1, .world_size = 2, .master_addr = "192.0.2.1", .master_port = 29500},
                                     {.start_timeout = absl::Seconds(1)}),
                absl::StatusCode::kInvalidArgument, "network.private_interface");
}

TEST(RendezvousTest, ARankThatDoesNotComeIsNamed) {
  ASSERT_OK_AND_ASSIGN(const int port, FreePort());
  const RankEnvironment rank_0 = {
      .world_size = 3, .master_addr = "127.0.0.1", .master_port = static_cast<uint16_t>(port)};
  const auto alone = Collectives::Connect(rank_0, {.start_timeout = absl::Seconds(1)});
  EXPECT_EQ(alone.status().code(), absl::StatusCode::kUnavailable);
  EXPECT_THAT(std::string(alone.status().message()), HasSubstr("rank 1, 2 of 3 did not arrive"));
}

TEST(AgreementTest, WhatOneRankFindsHoldsForAll) {
  RunRanks(3, [&](Collectives& collectives) {
    const int rank = collectives.rank();
    v1::UpdateReport mine;
    mine.set_grad_norm(rank == 1 ? NAN : 2.0);
    (*mine.mutable_sums())["loss"] = 1 + rank;
    if (rank == 2) (*mine.mutable_sums())["kl"] = 0.5;
    if (rank == 1) mine.set_logprob_abs_diff_max(1e-3);
    ASSERT_OK_AND_ASSIGN(const v1::UpdateReport all, Agree(collectives, mine));
    EXPECT_FALSE(IsFinite(all));
    EXPECT_EQ(all.sums().at("loss"), 6);
    EXPECT_EQ(all.sums().at("kl"), 0.5);
    EXPECT_EQ(all.logprob_abs_diff_max(), 1e-3);
  });
}

TEST(AgreementTest, DivergedWeightsAndOtherConfigurationsAreNamedOnEveryRank) {
  RunRanks(2, [&](Collectives& collectives) {
    EXPECT_OK(ExpectSameWeights(collectives, "abc"));
    EXPECT_STATUS(ExpectSameWeights(collectives, collectives.rank() == 0 ? "abc" : "abd"), absl::StatusCode::kInternal,
                  "rank 1 holds the weights abd, rank 0 holds abc");
    EXPECT_OK(ExpectSameConfiguration(collectives, "12"));
    EXPECT_STATUS(ExpectSameConfiguration(collectives, collectives.rank() == 0 ? "12" : "13"),
                  absl::StatusCode::kInvalidArgument, "with configuration 13");
    EXPECT_STATUS(ExpectSameConfiguration(collectives, "12", collectives.rank() == 0 ? "cuda" : "cpu"),
                  absl::StatusCode::kInvalidArgument, "rank 1 computes on cpu, rank 0 on cuda");
  });
}

}  // namespace
}  // namespace grpo
