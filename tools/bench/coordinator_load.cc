// What one coordinator carries: the real service on the one side, simulated workers on the other, in two processes, so
// that each is measured by itself. tools/bench/coordinator_load starts both and prints a table.
//
//   coordinator_load serve --groups-per-step 1000 --payload-mb 500    a coordinator whose "trainer" offers and collects
//   coordinator_load work --address HOST:PORT --workers 1000          lease, "generate", hand in, heartbeat
//   coordinator_load pull --address HOST:PORT --workers 16            all of the weights, by each worker at a time
//
// `serve` prints its address, and then a line of JSON a second until it is told to stop; the others print one at their
// end. The groups hold what the coordinator's tests make (coordinator/testing.h), with more tokens. A step of rank 0 is
// stood for by a fixed piece of arithmetic on one thread, which the transfers disturb as they would a real one.
#include <sys/resource.h>

#include <algorithm>
#include <atomic>
#include <cstdio>
#include <map>
#include <memory>
#include <string>
#include <thread>
#include <vector>

#include "CLI/CLI.hpp"
#include "absl/strings/str_cat.h"
#include "common/clock.h"
#include "common/log.h"
#include "common/mutex.h"
#include "common/rpc/client.h"
#include "common/rpc/server.h"
#include "common/rpc/status.h"
#include "common/status_macros.h"
#include "common/stop_signal.h"
#include "common/thread.h"
#include "coordinator/coordinator.h"
#include "coordinator/service.h"
#include "coordinator/testing.h"
#include "nlohmann/json.hpp"

namespace grpo {
namespace {

using nlohmann::json;

struct Flags {
  std::string address;
  int64_t workers = 1000, groups_per_step = 1000, completions = 8, tokens = 256, payload_mb = 1;
  double seconds = 20, generate_s = 1, heartbeat_s = 2;
};

absl::Duration Now() {
  return Clock::Real().Now();
}

void PrintLine(const json& line) {
  std::printf("%s\n", line.dump().c_str());
  std::fflush(stdout);
}

// Durations and outcomes of one kind of call. Thread-safe.
class Tally {
 public:
  void Add(absl::Duration took, const grpc::Status& status) {
    const MutexLock lock(&mutex_);
    if (status.ok()) ms_.push_back(absl::ToDoubleMilliseconds(took));
    if (!status.ok())
      ++errors_[absl::StrCat(static_cast<int>(status.error_code()), " ", status.error_message().substr(0, 80))];
  }
  json ToJson(double seconds) {
    const MutexLock lock(&mutex_);
    std::vector<double> ms = ms_;
    std::sort(ms.begin(), ms.end());
    const auto quantile = [&ms](double q) {
      return ms.empty() ? 0 : ms[static_cast<size_t>(q * static_cast<double>(ms.size() - 1))];
    };
    return {{"per_second", static_cast<double>(ms.size()) / seconds},
            {"p50_ms", quantile(0.5)},
            {"p99_ms", quantile(0.99)},
            {"max_ms", quantile(1)},
            {"errors", errors_}};
  }

 private:
  Mutex mutex_;
  std::vector<double> ms_ ABSL_GUARDED_BY(mutex_);
  std::map<std::string, int64_t> errors_ ABSL_GUARDED_BY(mutex_);
};

// --- serve ---

// Offers steps of groups, two ahead, and collects them, as a stage does.
void FeedAndCollect(const Flags& flags, Coordinator& coordinator, std::atomic<int64_t>& num_collected) {
  constexpr int64_t kStepsAhead = 2;
  const int64_t count = flags.groups_per_step;
  for (int64_t offered = 0, collected = 0; !StopRequested();) {
    for (; offered < collected + kStepsAhead; ++offered) {
      std::vector<v1::Lease> groups =
          TestGroups("load", offered * count, count, static_cast<int32_t>(flags.completions));
      for (v1::Lease& group : groups) group.mutable_sampling()->set_max_new_tokens(static_cast<int32_t>(flags.tokens));
      if (const absl::Status status = coordinator.Offer(groups); !status.ok())
        spdlog::error("not offered: {}", status.ToString());
    }
    const auto done = coordinator.Collect("load", collected * count, count, absl::Milliseconds(200));
    if (!done.ok()) continue;
    num_collected += static_cast<int64_t>(done->size());
    ++collected;
  }
}

// A fixed piece of arithmetic, some milliseconds long; returns how long it took this time.
absl::Duration StandInStep() {
  static std::vector<float> values(1 << 16, 1.0f);
  const absl::Duration began = Now();
  for (int round = 0; round < 400; ++round) {
    for (float& value : values) value = value * 0.999f + 0.001f;
  }
  return Now() - began;
}

int Serve(const Flags& flags) {
  CoordinatorOptions options;
  options.heartbeat_interval_s = flags.heartbeat_s;
  options.max_buffered_groups = 4 * flags.groups_per_step;
  Coordinator coordinator(options, {.run_id = "load"});
  coordinator.Publish(TestWeights(7, std::string(static_cast<size_t>(flags.payload_mb) * 1'000'000, 'w')));
  CoordinatorService service(&coordinator);
  const auto server = rpc::Server::Start({}, {&service});
  if (!server.ok()) {
    spdlog::error("{}", server.status().ToString());
    return 1;
  }
  std::printf("%s\n", (*server)->address().c_str());
  std::fflush(stdout);
  std::atomic<int64_t> num_collected = 0;
  std::thread trainer = StartThread("the trainer", [&] { FeedAndCollect(flags, coordinator, num_collected); });
  while (!StopRequested()) {
    const absl::Duration began = Now();
    double longest_ms = 0, sum_ms = 0;
    int num_steps = 0;
    for (; Now() - began < absl::Seconds(1) && !StopRequested(); ++num_steps) {
      const double ms = absl::ToDoubleMilliseconds(StandInStep());
      longest_ms = std::max(longest_ms, ms);
      sum_ms += ms;
      // The rest of a core is for the service; a trainer's ranks have theirs.
      WaitForStop(absl::Milliseconds(20));
    }
    PrintLine({{"collected", num_collected.load()},
               {"workers", coordinator.Workers().size()},
               {"step_ms", num_steps > 0 ? sum_ms / num_steps : 0},
               {"longest_step_ms", longest_ms}});
  }
  coordinator.End();
  trainer.join();
  return 0;
}

// --- work ---

// One simulated worker: two threads and two connections, like a real one, and no model. The threads end with the
// process.
class SimulatedWorker {
 public:
  SimulatedWorker(const Flags& flags, int64_t number, std::map<std::string, Tally>& tallies)
      : flags_(flags), name_(absl::StrCat("w", number)), tallies_(tallies) {}

  absl::Status Start() {
    ASSIGN_OR_RETURN(client_, rpc::Client::Create(flags_.address));
    ASSIGN_OR_RETURN(heartbeat_client_, rpc::Client::Create(flags_.address));
    threads_.push_back(StartThread("the worker", [this] { Work(); }));
    threads_.push_back(StartThread("the heartbeat", [this] { Beat(); }));
    return absl::OkStatus();
  }

 private:
  // One unary call, counted under `what`.
  template <typename Request, typename Response>
  bool Call(const char* what, const rpc::Client& client, const Request& request, Response* response,
            grpc::Status (v1::Coordinator::Stub::*method)(grpc::ClientContext*, const Request&, Response*)) {
    const auto stub = v1::Coordinator::NewStub(client.channel());
    rpc::CallContext context(client, absl::Seconds(15));
    const absl::Duration began = Now();
    const grpc::Status status = context.Ended(((*stub).*method)(&context, request, response));
    tallies_.at(what).Add(Now() - began, status);
    return status.ok();
  }

  std::string WorkerId() {
    const MutexLock lock(
        &mutex_, [this]() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_) { return !worker_id_.empty() || StopRequested(); });
    return worker_id_;
  }

  void Beat() {
    rpc::Backoff backoff;
    v1::RegisterResponse registered;
    while (!StopRequested() &&
           !Call("register", *heartbeat_client_, TestWorker(name_), &registered, &v1::Coordinator::Stub::Register))
      WaitForStop(backoff.Next());
    {
      const MutexLock lock(&mutex_);
      worker_id_ = registered.worker_id();
    }
    v1::HeartbeatRequest request;
    request.set_worker_id(registered.worker_id());
    while (!WaitForStop(absl::Seconds(flags_.heartbeat_s))) {
      request.clear_active();
      {
        const MutexLock lock(&mutex_);
        for (const v1::Lease& lease : leases_) *request.add_active() = lease.key();
      }
      v1::HeartbeatResponse response;
      Call("heartbeat", *heartbeat_client_, request, &response, &v1::Coordinator::Stub::Heartbeat);
    }
  }

  void Work() {
    rpc::Backoff backoff;
    v1::LeaseGroupsRequest request;
    request.set_worker_id(WorkerId());
    request.set_max_groups(1);
    request.set_max_completions(static_cast<int32_t>(flags_.completions));
    request.set_wait_ms(5000);
    while (!StopRequested()) {
      v1::LeaseGroupsResponse response;
      if (!Call("lease", *client_, request, &response, &v1::Coordinator::Stub::LeaseGroups)) {
        WaitForStop(backoff.Next());
        continue;
      }
      backoff.Reset();
      Hold({response.leases().begin(), response.leases().end()});
      if (response.leases().empty() || WaitForStop(absl::Seconds(flags_.generate_s))) continue;
      for (const v1::Lease& lease : response.leases()) Submit(lease);
      Hold({});
    }
  }

  void Hold(std::vector<v1::Lease> leases) {
    const MutexLock lock(&mutex_);
    leases_ = std::move(leases);
  }

  void Submit(const v1::Lease& lease) {
    const auto stub = v1::Coordinator::NewStub(client_->channel());
    rpc::CallContext context(*client_, absl::Minutes(1));
    const absl::Duration began = Now();
    v1::SubmitCompletionResponse response;
    const auto writer = stub->SubmitCompletion(&context, &response);
    v1::SubmitCompletionRequest request;
    *request.mutable_header() = TestHeader(lease, WorkerId());
    bool written = writer->Write(request);
    for (v1::ScoredCompletion& scored : TestCompletions(lease)) {
      Lengthen(scored.mutable_completion());
      request.Clear();
      *request.mutable_completion() = std::move(scored);
      written = written && writer->Write(request);
    }
    writer->WritesDone();
    tallies_.at("submit").Add(Now() - began, context.Ended(writer->Finish()));
  }

  // To as many tokens as were asked for.
  void Lengthen(v1::Completion* completion) const {
    while (completion->ids_size() < flags_.tokens) {
      completion->add_ids(1);
      completion->add_sample_logprob(-0.25f);
    }
    completion->mutable_spans(0)->set_num_tokens(completion->ids_size());
  }

  const Flags& flags_;
  const std::string name_;
  std::map<std::string, Tally>& tallies_;
  std::shared_ptr<rpc::Client> client_, heartbeat_client_;
  Mutex mutex_;
  std::string worker_id_ ABSL_GUARDED_BY(mutex_);
  std::vector<v1::Lease> leases_ ABSL_GUARDED_BY(mutex_);
  std::vector<std::thread> threads_;
};

int Work(const Flags& flags) {
  std::map<std::string, Tally> tallies;
  for (const char* const what : {"register", "heartbeat", "lease", "submit"}) tallies[what];
  std::vector<std::unique_ptr<SimulatedWorker>> workers;
  for (int64_t i = 0; i < flags.workers; ++i) {
    workers.push_back(std::make_unique<SimulatedWorker>(flags, i, tallies));
    if (const absl::Status status = workers.back()->Start(); !status.ok()) {
      spdlog::error("{}", status.ToString());
      return 1;
    }
  }
  WaitForStop(absl::Seconds(flags.seconds));
  json line;
  for (auto& [what, tally] : tallies) line[what] = tally.ToJson(flags.seconds);
  PrintLine(line);
  // Threads that wait for answers end with the process; nothing is lost with them.
  std::_Exit(0);
}

// --- pull ---

absl::Status PullAll(const Flags& flags, int64_t* num_bytes) {
  ASSIGN_OR_RETURN(const std::shared_ptr<rpc::Client> client, rpc::Client::Create(flags.address));
  const auto stub = v1::Coordinator::NewStub(client->channel());
  rpc::CallContext context(*client, absl::Hours(1));
  v1::PullWeightsRequest request;
  request.mutable_policy()->set_policy_id("model");
  request.mutable_policy()->set_number(7);
  const auto reader = stub->PullWeights(&context, request);
  for (v1::PullWeightsResponse response; reader->Read(&response);)
    *num_bytes += static_cast<int64_t>(response.chunk().data().size());
  return rpc::FromGrpc(context.Ended(reader->Finish()));
}

int Pull(const Flags& flags) {
  std::vector<double> seconds(static_cast<size_t>(flags.workers));
  std::vector<int64_t> bytes(seconds.size());
  std::atomic<int64_t> num_failed = 0;
  std::vector<std::thread> threads;
  const absl::Duration began = Now();
  for (size_t i = 0; i < seconds.size(); ++i) {
    threads.push_back(StartThread("a pull", [&, i] {
      if (const absl::Status status = PullAll(flags, &bytes[i]); !status.ok()) {
        ++num_failed;
        spdlog::warn("a pull failed: {}", status.ToString());
      }
      seconds[i] = absl::ToDoubleSeconds(Now() - began);
    }));
  }
  for (std::thread& thread : threads) thread.join();
  const double all = absl::ToDoubleSeconds(Now() - began);
  double sum_bytes = 0;
  for (const int64_t count : bytes) sum_bytes += static_cast<double>(count);
  PrintLine({{"first_s", *std::min_element(seconds.begin(), seconds.end())},
             {"last_s", *std::max_element(seconds.begin(), seconds.end())},
             {"gb_per_s", sum_bytes / 1e9 / all},
             {"failed", num_failed.load()}});
  return 0;
}

int Main(int argc, char** argv) {
  Flags flags;
  CLI::App app("What one coordinator carries: the real service, and simulated workers.");
  app.require_subcommand(1);
  CLI::App* const serve = app.add_subcommand("serve", "The coordinator, with a trainer that offers and collects");
  serve->add_option("--groups-per-step", flags.groups_per_step, "Groups of a step; two steps are offered ahead");
  serve->add_option("--payload-mb", flags.payload_mb, "Weights of the policy, in millions of bytes");
  CLI::App* const work = app.add_subcommand("work", "Workers that lease, wait and hand in");
  work->add_option("--seconds", flags.seconds, "How long they are measured");
  work->add_option("--generate", flags.generate_s, "Seconds from a lease to its submission");
  CLI::App* const pull = app.add_subcommand("pull", "Workers that pull the weights at the same time");
  for (CLI::App* const verb : {work, pull}) {
    verb->add_option("--address", flags.address, "As `serve` said it")->required();
    verb->add_option("--workers", flags.workers, "How many")->check(CLI::Range(1, 100'000));
  }
  for (CLI::App* const verb : {serve, work}) {
    verb->add_option("--completions", flags.completions, "Of a group");
    verb->add_option("--tokens", flags.tokens, "Of a completion");
    verb->add_option("--heartbeat", flags.heartbeat_s, "Seconds between two heartbeats");
  }
  CLI11_PARSE(app, argc, argv);
  InitLogging("coordinator_load");
  // Not a line for each of a thousand workers.
  spdlog::set_level(spdlog::level::warn);
  InstallStopSignal({.die_with_parent = true});
  // Two connections a worker; what the process may open is asked for whole.
  rlimit files = {};
  ::getrlimit(RLIMIT_NOFILE, &files);
  files.rlim_cur = files.rlim_max;
  if (work->parsed() || pull->parsed()) ::setrlimit(RLIMIT_NOFILE, &files);
  if (serve->parsed()) return Serve(flags);
  return work->parsed() ? Work(flags) : Pull(flags);
}

}  // namespace
}  // namespace grpo

int main(int argc, char** argv) {
  return grpo::Guarded("coordinator_load", [&] { return grpo::Main(argc, argv); });
}
