// Seeded random schedules of everything that can happen to workers, against the invariants of coordinator.h. A naive
// model beside it says who holds what and who died with what.
#include <map>
#include <optional>
#include <set>

#include "common/seeds.h"
#include "common/status_testing.h"
#include "coordinator/coordinator.h"
#include "coordinator/testing.h"

namespace grpo {
namespace {

constexpr int64_t kGroups = 400, kBatch = 4, kBuffer = 12;
constexpr int kSlots = 5;
constexpr absl::Duration kTtl = absl::Seconds(30), kLost = absl::Seconds(4);

CoordinatorOptions Options() {
  CoordinatorOptions options;
  options.max_buffered_groups = kBuffer;
  // About two groups: leasing stops and goes.
  options.max_buffered_bytes = 3000;
  return options;
}

class ScheduleTest : public CoordinatorFixture, public ::testing::WithParamInterface<int> {
 protected:
  ScheduleTest() : CoordinatorFixture(Options()), rng_(static_cast<uint64_t>(GetParam())) {}

  // A worker process, dead ones included: what they hold runs out.
  struct Process {
    int slot = 0;
    bool alive = true, blocked = false;
    absl::Duration last_seen;
    // What it works on, by its own account.
    std::vector<v1::Lease> working;
  };
  // A lease, as the model sees it.
  struct Held {
    std::string worker;
    absl::Duration expires;
  };

  absl::Duration Now() const { return clock_.Now(); }
  bool Chance(double probability) { return rng_.Uniform() < probability; }
  int64_t Below(int64_t n) { return static_cast<int64_t>(rng_.Below(static_cast<uint64_t>(n))); }

  std::set<int64_t> HeldBy(const std::string& worker) const {
    std::set<int64_t> groups;
    for (const auto& [index, held] : held_) {
      if (held.worker == worker) groups.insert(index);
    }
    return groups;
  }

  // The model's blame: a second death must find the group alone.
  void EndLease(int64_t index, bool died) {
    const std::string worker = held_.at(index).worker;
    const size_t num_held = HeldBy(worker).size();
    held_.erase(index);
    if (!died) return;
    deaths_[index].push_back(worker);
    if (deaths_[index].size() == 2) {
      EXPECT_EQ(num_held, 1u) << "group " << index << " was quarantined beside others";
    }
  }

  // Brings the model to the present; call before every call of a worker.
  void Expire() {
    for (int64_t index = 0; index < kGroups; ++index) {
      const auto held = held_.find(index);
      if (held == held_.end() || held->second.expires > Now()) continue;
      const Process& process = processes_.at(held->second.worker);
      EndLease(index, Now() - process.last_seen > kLost && !process.blocked);
      ++num_expired_;
    }
  }

  Process& Called(const std::string& id) {
    Process& process = processes_.at(id);
    process.last_seen = Now();
    return process;
  }

  void Start(int slot) {
    Expire();
    const std::string old_id = id_of_slot_[slot];
    if (!old_id.empty()) {
      for (const int64_t index : HeldBy(old_id)) EndLease(index, !processes_.at(old_id).blocked);
      processes_.at(old_id).alive = false;
    }
    const std::string id = Join(absl::StrCat("rollout-", slot), ++attempts_[slot]);
    id_of_slot_[slot] = id;
    processes_[id] = {.slot = slot, .alive = true, .blocked = false, .last_seen = Now(), .working = {}};
  }

  void Beats(const std::string& id) {
    Expire();
    Process& process = Called(id);
    std::vector<v1::Lease> kept;
    const std::vector<v1::LeaseKey> lost =
        Beat(id, process.working, process.blocked ? "reward server away" : "", /*blocked_for_ms=*/0);
    for (const v1::Lease& lease : process.working) {
      const int64_t index = lease.key().group_index();
      const bool is_lost = std::any_of(lost.begin(), lost.end(), [&](const v1::LeaseKey& key) {
        return key.group_index() == index && key.attempt() == lease.key().attempt();
      });
      std::vector<std::string>& dead = deaths_[index];
      // Who speaks of it was not dead.
      const bool is_newest = newest_attempt_[index] == lease.key().attempt() && accepted_attempt_.count(index) == 0;
      if (is_newest && held_.count(index) == 0 && dead.size() == 1 && dead.back() == id) dead.pop_back();
      if (is_lost) continue;
      kept.push_back(lease);
      held_[index] = {.worker = id, .expires = Now() + kTtl};
      CheckAlone(id);
    }
    process.working = std::move(kept);
  }

  void CheckAlone(const std::string& id) {
    const std::set<int64_t> held = HeldBy(id);
    for (const int64_t index : held) {
      EXPECT_TRUE(deaths_[index].empty() || held.size() == 1) << "suspect " << index << " is not alone with " << id;
    }
  }

  void Takes(const std::string& id) {
    Expire();
    Process& process = Called(id);
    for (const v1::Lease& lease : Take(id, 1 + static_cast<int32_t>(Below(4)))) {
      const int64_t index = lease.key().group_index();
      EXPECT_EQ(held_.count(index), 0u) << "group " << index << " is with two workers";
      EXPECT_LT(deaths_[index].size(), 2u) << "group " << index << " is quarantined";
      EXPECT_EQ(accepted_attempt_.count(index), 0u);
      EXPECT_GT(lease.key().attempt(), newest_attempt_[index]);
      newest_attempt_[index] = lease.key().attempt();
      held_[index] = {.worker = id, .expires = Now() + kTtl};
      process.working.push_back(lease);
      handed_out_.emplace_back(id, lease);
    }
    CheckAlone(id);
  }

  // Hands in what the worker has, or dies of it.
  void Works(const std::string& id) {
    Process& process = processes_.at(id);
    if (process.working.empty()) return;
    const int64_t i = Below(static_cast<int64_t>(process.working.size()));
    const v1::Lease lease = process.working[i];
    if (poison_.count(lease.key().group_index()) > 0) {
      process.alive = false;
      ++num_poisoned_;
      return;
    }
    process.working.erase(process.working.begin() + i);
    HandsIn(id, lease);
    if (Chance(0.1)) HandsIn(id, lease);
  }

  // Anything that was ever leased, at any time, again and again.
  void HandsIn(const std::string& id, const v1::Lease& lease) {
    Expire();
    const int64_t index = lease.key().group_index();
    const absl::StatusOr<v1::SubmitCompletionResponse> response = Submit(lease, id);
    if (absl::IsNotFound(response.status())) {
      EXPECT_NE(id_of_slot_[processes_.at(id).slot], id);
      return;
    }
    Called(id);
    const bool is_newest = newest_attempt_[index] == lease.key().attempt();
    if (!response.ok()) {
      EXPECT_TRUE(absl::IsFailedPrecondition(response.status())) << response.status();
      EXPECT_TRUE(!is_newest || deaths_[index].size() == 2) << response.status();
      ++num_refused_;
    } else if (response->result() == v1::SUBMIT_RESULT_DUPLICATE) {
      EXPECT_EQ(accepted_attempt_.at(index), lease.key().attempt());
      ++num_duplicate_;
    } else {
      EXPECT_TRUE(is_newest);
      EXPECT_TRUE(accepted_attempt_.emplace(index, lease.key().attempt()).second) << "taken twice: group " << index;
      held_.erase(index);
    }
  }

  // The trainer: offers what fits, collects what is done.
  void Train() {
    Expire();
    const int64_t offer_end = std::min(kGroups, next_ + kBuffer);
    ASSERT_OK(coordinator_.Offer(TestGroups("rl", offered_, offer_end - offered_)));
    offered_ = offer_end;
    if (next_ == kGroups) return;
    const auto groups = coordinator_.Collect("rl", next_, kBatch, absl::ZeroDuration());
    for (const QuarantinedGroup& group : coordinator_.TakeQuarantined()) {
      const int64_t index = group.lease.key().group_index();
      EXPECT_EQ(group.dead_workers, deaths_[index]);
      EXPECT_TRUE(quarantined_.insert(index).second);
    }
    if (absl::IsDeadlineExceeded(groups.status())) return;
    ASSERT_OK(groups);
    auto group = groups->begin();
    for (int64_t index = next_; index < next_ + kBatch; ++index) {
      if (quarantined_.count(index) > 0) continue;
      ASSERT_NE(group, groups->end());
      ASSERT_EQ(group->lease.key().group_index(), index);
      ASSERT_EQ(group->completions.size(), 2u);
      const std::string text = absl::StrCat(index, "/", accepted_attempt_.at(index));
      for (const v1::ScoredCompletion& scored : group->completions) ASSERT_EQ(scored.completion().text(), text);
      ++group;
    }
    ASSERT_EQ(group, groups->end());
    next_ += kBatch;
  }

  void CheckCounters() {
    Expire();
    const v1::LeaseCounters counters = coordinator_.Counters();
    int64_t num_quarantined = 0;
    for (const auto& [index, workers] : deaths_) num_quarantined += workers.size() == 2;
    EXPECT_EQ(counters.num_leased(), static_cast<int64_t>(held_.size()));
    EXPECT_EQ(counters.num_quarantined_total(), num_quarantined);
    EXPECT_EQ(counters.num_expired_total(), num_expired_);
    EXPECT_EQ(counters.num_refused_total(), num_refused_);
    EXPECT_EQ(counters.num_duplicate_total(), num_duplicate_);
    EXPECT_LE(counters.num_pending() + counters.num_leased() + counters.num_ready(), kBuffer);
  }

  // One thing happens; with `trouble`, also what no prompt is to blame for.
  void Event(bool trouble) {
    const int slot = static_cast<int>(Below(kSlots));
    const std::string id = id_of_slot_[slot];
    if (id.empty() || !processes_.at(id).alive) {
      if (id.empty() || Chance(0.5)) Start(slot);
      return;
    }
    const double event = rng_.Uniform();
    if (event < 0.3) {
      Takes(id);
    } else if (event < 0.6) {
      Works(id);
    } else if (event < 0.75) {
      clock_.Advance(absl::Seconds(1));
      for (const std::string& each : id_of_slot_) {
        if (!each.empty() && processes_.at(each).alive) Beats(each);
      }
    } else if (event < 0.95 || !trouble) {
      Train();
    } else if (event < 0.96) {
      processes_.at(id).alive = false;
    } else if (event < 0.97) {
      // Everybody hangs for a while.
      clock_.Advance(absl::Seconds(1 + Below(40)));
    } else if (event < 0.98) {
      Expire();
      processes_.at(id).blocked = !processes_.at(id).blocked;
      Beats(id);
    } else if (!handed_out_.empty()) {
      const auto [worker, lease] = handed_out_[static_cast<size_t>(Below(static_cast<int64_t>(handed_out_.size())))];
      // The dead write no letters.
      if (poison_.count(lease.key().group_index()) == 0) HandsIn(worker, lease);
    }
  }

  Rng rng_;
  // Kill every worker that works on them.
  std::set<int64_t> poison_;
  std::map<std::string, Process> processes_;
  std::vector<std::string> id_of_slot_ = std::vector<std::string>(kSlots);
  std::map<int, int32_t> attempts_;
  std::map<int64_t, Held> held_;
  std::map<int64_t, std::vector<std::string>> deaths_;
  std::map<int64_t, int32_t> newest_attempt_, accepted_attempt_;
  std::vector<std::pair<std::string, v1::Lease>> handed_out_;
  std::set<int64_t> quarantined_;
  int64_t offered_ = 0, next_ = 0;
  int64_t num_expired_ = 0, num_refused_ = 0, num_duplicate_ = 0, num_poisoned_ = 0;
};

TEST_P(ScheduleTest, EveryGroupIsCollectedOnceWholeOrQuarantinedAlone) {
  for (int64_t index = 0; index < kGroups; ++index) {
    if (Chance(0.03)) poison_.insert(index);
  }
  int64_t num_events = 0;
  for (; next_ < kGroups && num_events < 200'000 && !HasFailure(); ++num_events) {
    Event(/*trouble=*/true);
    CheckCounters();
  }
  ASSERT_EQ(next_, kGroups) << "nobody makes progress";
  EXPECT_GT(num_events, 2000);
  EXPECT_GT(num_expired_, 0);
  EXPECT_GT(num_duplicate_, 0);
  for (const int64_t index : poison_) EXPECT_EQ(quarantined_.count(index), 1u) << index;
}

TEST_P(ScheduleTest, WhenOnlyPromptsKillNobodyElseIsQuarantinedAndNoneKillsThreeTimes) {
  for (int64_t index = 0; index < kGroups; ++index) {
    if (Chance(0.05)) poison_.insert(index);
  }
  for (int64_t i = 0; next_ < kGroups && i < 200'000 && !HasFailure(); ++i) Event(/*trouble=*/false);
  ASSERT_EQ(next_, kGroups) << "nobody makes progress";
  EXPECT_EQ(quarantined_, poison_);
  EXPECT_LE(num_poisoned_, 2 * static_cast<int64_t>(poison_.size()));
}

INSTANTIATE_TEST_SUITE_P(Seeds, ScheduleTest, ::testing::Range(0, 10));

}  // namespace
}  // namespace grpo
