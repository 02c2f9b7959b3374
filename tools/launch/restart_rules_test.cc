#include "tools/launch/restart_rules.h"

#include <signal.h>

#include <initializer_list>
#include <set>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "common/exit_codes.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace grpo {
namespace {

// Every cell, in words: phase, exit, then the reactions of the trainer's rank 0, its other ranks, a reward server, a
// worker.
constexpr char kWholeTable[] = R"(
starting success   end_run            nothing            end_run  restart
starting peer_lost restart_all_ranks  restart_all_ranks  end_run  restart
starting permanent end_run            end_run            end_run  end_run
starting error     end_run            end_run            end_run  restart
starting killed    end_run            restart_all_ranks  end_run  restart
starting not_started restart_all_ranks  restart_all_ranks  restart  restart
running  success   end_run            nothing            restart  restart
running  peer_lost restart_all_ranks  restart_all_ranks  restart  restart
running  permanent end_run            end_run            end_run  end_run
running  error     end_run            end_run            restart  restart
running  killed    restart_all_ranks  restart_all_ranks  restart  restart
running  not_started restart_all_ranks  restart_all_ranks  restart  restart
ending   success   end_run            nothing            nothing  nothing
ending   peer_lost end_run            nothing            nothing  nothing
ending   permanent end_run            nothing            nothing  nothing
ending   error     end_run            nothing            nothing  nothing
ending   killed    end_run            nothing            nothing  nothing
ending   not_started end_run            nothing            nothing  nothing
)";

TEST(RestartRules, EveryCell) {
  std::set<std::string> rows;
  for (const absl::string_view line : absl::StrSplit(kWholeTable, '\n', absl::SkipEmpty())) {
    const std::vector<std::string> words = absl::StrSplit(line, ' ', absl::SkipEmpty());
    ASSERT_EQ(words.size(), 2 + kRoles.size()) << line;
    rows.insert(words[0] + " " + words[1]);
    for (const Phase phase : kPhases) {
      for (const Exit exit : kExits) {
        if (Name(phase) != words[0] || Name(exit) != words[1]) continue;
        for (size_t i = 0; i < kRoles.size(); ++i)
          EXPECT_EQ(Name(ReactionTo(phase, exit, kRoles[i])), words[2 + i]) << line << ", role " << i;
      }
    }
  }
  EXPECT_EQ(rows.size(), kPhases.size() * kExits.size());
}

TEST(RestartRules, ExitCodesFallIntoClasses) {
  for (const int code : {kExitUsage, kExitData, kExitNoInput, kExitNotAllowed, kExitConfig})
    EXPECT_EQ(Name(ClassifyExit(code, /*has_peers=*/true)), "permanent") << code;
  for (const int code :
       std::initializer_list<int>{1, 9, kExitInternal, kExitCannotCreate, kExitIo, kExitRetry, kExitSignalBase})
    EXPECT_EQ(Name(ClassifyExit(code, /*has_peers=*/true)), "error") << code;
  for (const int code : {kExitSignalBase + SIGKILL, kExitSignalBase + SIGTERM})
    EXPECT_EQ(Name(ClassifyExit(code, /*has_peers=*/false)), "killed") << code;
  // srun's: SLURM_EXIT_ERROR, and an error number of Slurm's.
  for (const int code : {222, 233}) EXPECT_EQ(Name(ClassifyExit(code, /*has_peers=*/true)), "not_started") << code;
  EXPECT_EQ(Name(ClassifyExit(kExitSignalBase + SIGRTMAX, /*has_peers=*/true)), "killed");
  EXPECT_EQ(Name(ClassifyExit(kExitOk, /*has_peers=*/false)), "success");
  EXPECT_EQ(Name(ClassifyExit(kExitUnavailable, /*has_peers=*/true)), "peer_lost");
  EXPECT_EQ(Name(ClassifyExit(kExitUnavailable, /*has_peers=*/false)), "error");
}

TEST(RestartRules, TheRanksOfATrainerAreOneRole) {
  EXPECT_EQ(RoleName(Role::kTrainer), RoleName(Role::kTrainerRank));
  std::set<absl::string_view> names;
  for (const Role role : kRoles) names.insert(RoleName(role));
  EXPECT_THAT(names, ::testing::ElementsAre("reward_server", "rollout_worker", "trainer"));
}

}  // namespace
}  // namespace grpo
