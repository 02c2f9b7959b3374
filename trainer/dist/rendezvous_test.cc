#include "trainer/dist/rendezvous.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <unistd.h>

#include <chrono>
#include <csignal>
#include <string>
#include <thread>
#include <torch/csrc/distributed/c10d/TCPStore.hpp>
#include <vector>

#include "absl/strings/str_cat.h"
#include "common/free_port.h"
#include "common/status_testing.h"
#include "common/stop_signal.h"

namespace grpo {
namespace {

using StorePointer = c10::intrusive_ptr<c10d::Store>;

constexpr auto kUnavailable = absl::StatusCode::kUnavailable;
// For ranks that are there, and for those that never come.
constexpr absl::Duration kPatience = absl::Seconds(30), kImpatience = absl::Milliseconds(500);

class RendezvousTest : public ::testing::Test {
 protected:
  void SetUp() override {
    const auto port = FreePort();
    ASSERT_OK(port);
    port_ = static_cast<uint16_t>(*port);
  }

  RankEnvironment Environment(int rank, int world_size) const {
    return {.rank = rank,
            .world_size = world_size,
            .local_rank = rank,
            .master_addr = "127.0.0.1",
            .master_port = port_,
            .agent_store = false,
            .restart_count = 0};
  }

  // The store that torchrun serves to all ranks.
  c10::intrusive_ptr<c10d::TCPStore> Agent() const {
    c10d::TCPStoreOptions options;
    options.port = port_;
    options.isServer = true;
    options.waitWorkers = false;
    return c10::make_intrusive<c10d::TCPStore>("127.0.0.1", options);
  }
  static RankEnvironment AtAgent(RankEnvironment environment) {
    environment.agent_store = true;
    return environment;
  }

  // Opens the stores of these ranks at the same time; by their place in `environments`.
  static std::vector<absl::StatusOr<StorePointer>> OpenAll(const std::vector<RankEnvironment>& environments,
                                                           absl::Duration timeout) {
    std::vector<absl::StatusOr<StorePointer>> stores(environments.size());
    std::vector<std::thread> threads;
    for (size_t i = 0; i < environments.size(); ++i)
      threads.emplace_back([&, i] { stores[i] = OpenStore(environments[i], "", timeout); });
    for (std::thread& thread : threads) thread.join();
    return stores;
  }

  // Whether a TCP connection to this address comes about.
  bool CanConnect(const char* address) const {
    const int fd = ::socket(AF_INET, SOCK_STREAM, 0);
    sockaddr_in to = {};
    to.sin_family = AF_INET;
    to.sin_port = htons(port_);
    ::inet_pton(AF_INET, address, &to.sin_addr);
    const bool connected = ::connect(fd, reinterpret_cast<const sockaddr*>(&to), sizeof(to)) == 0;
    ::close(fd);
    return connected;
  }

  uint16_t port_ = 0;
};

TEST_F(RendezvousTest, RanksThatHaveMetSeeWhatEachOtherWrites) {
  const auto stores = OpenAll({Environment(0, 3), Environment(1, 3), Environment(2, 3)}, kPatience);
  for (const auto& store : stores) ASSERT_OK(store);
  (*stores[2])->set("greeting", std::vector<uint8_t>{'h', 'i'});
  for (const auto& store : stores) EXPECT_EQ((*store)->get("greeting"), (std::vector<uint8_t>{'h', 'i'}));
}

TEST_F(RendezvousTest, ARankThatComesBeforeTheOthersWaitsForThem) {
  const auto agent = Agent();
  std::vector<absl::StatusOr<StorePointer>> early;
  std::thread rank_1([&] { early = OpenAll({AtAgent(Environment(1, 2))}, kPatience); });
  agent->wait({"grpo/0/arrived/1"}, std::chrono::seconds(30));
  EXPECT_OK(OpenStore(AtAgent(Environment(0, 2)), "", kPatience));
  rank_1.join();
  EXPECT_OK(early[0]);
}

TEST_F(RendezvousTest, AStopEndsTheWait) {
  GTEST_FLAG_SET(death_test_style, "threadsafe");
  const auto wait = [this] {
    InstallStopSignal();
    ::raise(SIGTERM);
    const absl::Status status = OpenStore(Environment(1, 2), "", kPatience).status();
    ::_exit(absl::IsAborted(status) ? 75 : 1);
  };
  EXPECT_EXIT(wait(), ::testing::ExitedWithCode(75), "");
}

TEST_F(RendezvousTest, AnUnknownNameIsWaitedForAndThenNamed) {
  RankEnvironment environment = Environment(1, 2);
  environment.master_addr = "no such host";
  EXPECT_STATUS(OpenStore(environment, "eth1", kImpatience), kUnavailable,
                "MASTER_ADDR no such host cannot be resolved");
}

// c10d by itself listens on every interface (docs/design.md law 9).
TEST_F(RendezvousTest, RankZeroListensAtItsAddressAndNowhereElse) {
  const auto stores = OpenAll({Environment(0, 2), Environment(1, 2)}, kPatience);
  for (const auto& store : stores) ASSERT_OK(store);
  EXPECT_TRUE(CanConnect("127.0.0.1"));
  EXPECT_FALSE(CanConnect("127.0.0.2")) << "another address of the same machine";
}

TEST_F(RendezvousTest, EveryRankThatDidNotComeIsNamed) {
  auto agent = Agent();
  std::vector<RankEnvironment> ranks;
  for (int rank = 0; rank < 5; ++rank) ranks.push_back(AtAgent(Environment(rank, 5)));
  std::vector<absl::StatusOr<StorePointer>> stores;
  std::thread others([&] { stores = OpenAll({ranks[2], ranks[3]}, kPatience); });
  agent->wait({"grpo/0/arrived/2", "grpo/0/arrived/3"}, std::chrono::seconds(30));
  EXPECT_STATUS(OpenStore(ranks[0], "", kImpatience), kUnavailable, "rank 1, 4 of 5 did not arrive within 500ms");
  agent.reset();
  others.join();
  for (const auto& store : stores) EXPECT_STATUS(store, kUnavailable, "the store of rank 0 is gone");
}

TEST_F(RendezvousTest, WithoutRankZeroTheOthersSayWhereTheyLookedForIt) {
  EXPECT_STATUS(OpenStore(Environment(1, 2), "", kImpatience), kUnavailable,
                absl::StrCat("rank 1 cannot reach the store of rank 0 at 127.0.0.1:", port_, ": "));
}

TEST_F(RendezvousTest, APortThatAnotherHoldsIsNamed) {
  const int fd = ::socket(AF_INET, SOCK_STREAM, 0);
  sockaddr_in at = {};
  at.sin_family = AF_INET;
  at.sin_port = htons(port_);
  at.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  ASSERT_EQ(::bind(fd, reinterpret_cast<const sockaddr*>(&at), sizeof(at)), 0);
  ASSERT_EQ(::listen(fd, 1), 0);
  EXPECT_STATUS(
      OpenStore(Environment(0, 2), "", kPatience), kUnavailable,
      absl::StrCat("rank 0 cannot listen at MASTER_ADDR 127.0.0.1 MASTER_PORT ", port_, ": Address already in use"));
  ::close(fd);
}

// torchrun serves one store over all its restarts: who arrived before the ranks died has not arrived now.
TEST_F(RendezvousTest, ARestartDoesNotMeetTheRanksOfTheStartBefore) {
  const auto agent = Agent();
  std::vector<RankEnvironment> ranks = {AtAgent(Environment(0, 2)), AtAgent(Environment(1, 2))};
  for (const auto& store : OpenAll(ranks, kPatience)) {
    ASSERT_OK(store);
    (*store)->set("leftover", std::vector<uint8_t>{1});
  }
  for (RankEnvironment& rank : ranks) rank.restart_count = 1;
  EXPECT_STATUS(OpenStore(ranks[1], "", kImpatience), kUnavailable, "rank 0 of 2 did not arrive within 500ms");
  const auto again = OpenAll(ranks, kPatience);
  for (const auto& store : again) {
    ASSERT_OK(store);
    EXPECT_FALSE((*store)->check({"leftover"}));
  }
}

TEST_F(RendezvousTest, AnAddressOffLoopbackIsRefusedBeforeAnythingListens) {
  RankEnvironment environment = Environment(0, 2);
  environment.master_addr = "0.0.0.0";
  EXPECT_STATUS(OpenStore(environment, "", kPatience), absl::StatusCode::kInvalidArgument,
                "MASTER_ADDR 0.0.0.0 is not on loopback");
  EXPECT_FALSE(CanConnect("127.0.0.1"));
}

TEST(CheckPrivateTest, LoopbackIsPrivateAndNothingElseIsByItself) {
  for (const char* const host : {"127.0.0.1", "127.45.6.7", "::1", "localhost"})
    EXPECT_OK(CheckPrivate(host, "")) << host;
  for (const char* const host : {"0.0.0.0", "::", "10.0.0.1", "192.168.1.1", "192.0.2.1", "128.0.0.1",
                                 "126.255.255.255", "fe80::1", "2001:db8::1", "::ffff:127.0.0.1"}) {
    EXPECT_STATUS(CheckPrivate(host, ""), absl::StatusCode::kInvalidArgument,
                  absl::StrCat("MASTER_ADDR ", host, " is not on loopback"));
    EXPECT_OK(CheckPrivate(host, "eth1")) << "declared private by its user";
  }
}

TEST(CheckPrivateTest, ANameThatCannotBeResolvedIsSaid) {
  EXPECT_STATUS(CheckPrivate("no such host", ""), kUnavailable, "MASTER_ADDR no such host cannot be resolved");
}

}  // namespace
}  // namespace grpo
