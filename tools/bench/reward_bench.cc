// How fast a reward server scores over gRPC, and whether hostile completions stand in others' way.
//
//   bazel-bin/tools/reward_bench [--seconds 10] [--threads 2] [--min-items-per-second N] [--max-p99-ratio R]
//       [--max-growth-mib M]
//
// A server and its callers in one process, over loopback, so that both share the machine's cores. Four callers send
// groups of 1,024 completions (math_answer and format_tags; one in five answers is LaTeX). Then the same with one row
// in a hundred hostile: answers that take the rules' whole budget, and megabytes. Latency is of ordinary rows, from
// when a row is handed to gRPC until its score is read. Exit status 1 when a bound that was given is not met.
#include <malloc.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <cstdio>
#include <map>
#include <string>
#include <thread>
#include <vector>

#include "CLI/CLI.hpp"
#include "absl/strings/str_cat.h"
#include "common/files.h"
#include "common/log.h"
#include "common/malloc_arenas.h"
#include "common/rpc/client.h"
#include "common/rpc/server.h"
#include "reward/service.h"

namespace grpo {
namespace {

using std::chrono::steady_clock;

constexpr int kGroup = 1024, kCallers = 4;

struct Flags {
  double seconds = 10, min_items_per_second = 0, max_p99_ratio = 1e9, max_growth_mib = 1e9;
  int64_t threads = 2, hostile_every = 100;
};

double ResidentMib() {
  // What the allocator keeps for later is no growth.
  malloc_trim(0);
  long pages = 0, resident = 0;
  if (FILE* file = std::fopen("/proc/self/statm", "r")) {
    if (std::fscanf(file, "%ld %ld", &pages, &resident) != 2) resident = 0;
    std::fclose(file);
  }
  return static_cast<double>(resident) * static_cast<double>(sysconf(_SC_PAGESIZE)) / (1 << 20);
}

std::string Ordinary(int i) {
  const std::string thinking =
      absl::StrCat("<think>", i, "*2=", 2 * i, "; so half of it is what was asked for</think>");
  if (i % 5 == 0) return absl::StrCat(thinking, "<answer>\\frac{", 2 * i, "}{\\sqrt{4}}</answer>");
  return absl::StrCat(thinking, "<answer>", i, "</answer>");
}

std::string Hostile(int i) {
  static const auto* rows = [] {
    auto* all = new std::vector<std::string>;
    std::string radicals = "2";
    for (int n = 3; n < 40; n += 2) absl::StrAppend(&radicals, "+\\sqrt{", n, "}");
    all->push_back("<answer>" + radicals + "</answer>");
    std::string nest = "2";
    for (int n = 0; n < 40; ++n) nest = absl::StrCat("\\sqrt{2+", nest, "}");
    all->push_back("<answer>" + nest + "</answer>");
    std::string product = "1";
    for (int n = 0; n < 100; ++n) absl::StrAppend(&product, "(x+", n, ")^9");
    all->push_back("<answer>" + product + "</answer>");
    all->push_back("<answer>" + std::string(1 << 20, '9') + "</answer>");
    std::string boxes;
    while (boxes.size() < 1 << 20) boxes += "\\boxed{1}, ";
    all->push_back(boxes);
    return all;
  }();
  return (*rows)[i % rows->size()];
}

struct Result {
  std::vector<double> ordinary_ms, hostile_ms;
  double items_per_second = 0;
  int64_t num_wrong = 0;
};

// One group; the reference is 7.
void CallOnce(rpc::Client& client, const v1::RewardProfileRef& profile, int64_t hostile_every, Result* result) {
  const auto stub = v1::RewardService::NewStub(client.channel());
  rpc::CallContext context(client, absl::Seconds(120));
  const auto stream = stub->Score(&context);
  std::vector<steady_clock::time_point> sent(kGroup);
  std::thread writer([&] {
    v1::ScoreRequest request;
    *request.mutable_header()->mutable_profile() = profile;
    request.mutable_header()->mutable_prompt()->set_answer("7");
    stream->Write(request);
    for (int i = 0; i < kGroup; ++i) {
      const bool hostile = hostile_every > 0 && i % hostile_every == 0;
      request.mutable_completion()->set_index(i);
      request.mutable_completion()->set_text(hostile ? Hostile(static_cast<int>(i / hostile_every)) : Ordinary(i));
      sent[i] = steady_clock::now();
      // The last of each thirty-two lets the buffered ones go.
      if (!stream->Write(request, i % 32 == 31 ? grpc::WriteOptions() : grpc::WriteOptions().set_buffer_hint())) break;
    }
    stream->WritesDone();
  });
  v1::ScoreResponse response;
  int num_read = 0;
  while (stream->Read(&response)) {
    ++num_read;
    const int i = response.index();
    const double ms = std::chrono::duration<double, std::milli>(steady_clock::now() - sent[i]).count();
    const bool hostile = hostile_every > 0 && i % hostile_every == 0;
    (hostile ? result->hostile_ms : result->ordinary_ms).push_back(ms);
    if (!hostile && response.score().value() != (i == 7 ? 2 : 1)) ++result->num_wrong;
  }
  writer.join();
  if (!stream->Finish().ok() || num_read != kGroup) result->num_wrong += kGroup;
}

Result Load(const std::string& address, const v1::RewardProfileRef& profile, double seconds, int64_t hostile_every) {
  std::vector<Result> results(kCallers);
  std::vector<std::thread> callers;
  const auto begin = steady_clock::now();
  for (Result& result : results) {
    callers.emplace_back([&] {
      const auto client = *rpc::Client::Create(address);
      while (steady_clock::now() - begin < std::chrono::duration<double>(seconds)) {
        CallOnce(*client, profile, hostile_every, &result);
      }
    });
  }
  for (std::thread& caller : callers) caller.join();
  const double took = std::chrono::duration<double>(steady_clock::now() - begin).count();
  Result all;
  for (const Result& result : results) {
    all.ordinary_ms.insert(all.ordinary_ms.end(), result.ordinary_ms.begin(), result.ordinary_ms.end());
    all.hostile_ms.insert(all.hostile_ms.end(), result.hostile_ms.begin(), result.hostile_ms.end());
    all.num_wrong += result.num_wrong;
  }
  all.items_per_second = static_cast<double>(all.ordinary_ms.size() + all.hostile_ms.size()) / took;
  return all;
}

double Quantile(std::vector<double> values, double q) {
  if (values.empty()) return 0;
  const auto at = values.begin() + static_cast<int64_t>(q * static_cast<double>(values.size() - 1));
  std::nth_element(values.begin(), at, values.end());
  return *at;
}

void Print(const char* name, const Result& result) {
  std::printf("%-22s %12.0f %9.1f %9.1f %9.1f %12.1f %8ld\n", name, result.items_per_second,
              Quantile(result.ordinary_ms, 0.5), Quantile(result.ordinary_ms, 0.99), Quantile(result.ordinary_ms, 1),
              Quantile(result.hostile_ms, 0.99), static_cast<long>(result.num_wrong));
  std::fflush(stdout);
}

int Run(const Flags& flags) {
  const auto service =
      RewardServiceImpl::Make({{"main", DefaultRewardProfile()}}, {.threads = flags.threads, .max_waiting = 1 << 20});
  const auto server = rpc::Server::Start({}, {service->get()});
  const std::string address = (*server)->address();
  const v1::RewardProfileRef profile = (*RewardProfile::Make("main", DefaultRewardProfile()))->ref();
  // What is made once (caches, threads of gRPC) is no growth.
  Load(address, profile, 1, flags.hostile_every);
  std::this_thread::sleep_for(std::chrono::seconds(1));
  const double idle_mib = ResidentMib();
  std::printf("%-22s %12s %9s %9s %9s %12s %8s\n", "", "items/s", "p50 ms", "p99 ms", "max ms", "hostile p99", "wrong");
  const Result ordinary = Load(address, profile, flags.seconds, 0);
  Print("ordinary", ordinary);
  const Result mixed = Load(address, profile, flags.seconds, flags.hostile_every);
  Print(absl::StrCat("1 in ", flags.hostile_every, " hostile").c_str(), mixed);
  std::this_thread::sleep_for(std::chrono::seconds(2));
  const double growth_mib = ResidentMib() - idle_mib;
  const double ratio = Quantile(mixed.ordinary_ms, 0.99) / Quantile(ordinary.ordinary_ms, 0.99);
  std::printf("p99 of ordinary rows among hostile ones: %.2f times; memory: idle %.0f MiB, %+.1f MiB after\n", ratio,
              idle_mib, growth_mib);
  const bool met = ordinary.items_per_second >= flags.min_items_per_second && ratio <= flags.max_p99_ratio &&
                   growth_mib <= flags.max_growth_mib && ordinary.num_wrong + mixed.num_wrong == 0;
  if (!met) std::printf("a bound is not met\n");
  return met ? 0 : 1;
}

}  // namespace
}  // namespace grpo

int main(int argc, char** argv) {
  // As reward/server_main.cc does.
  grpo::LimitMallocArenas();
  grpo::Flags flags;
  CLI::App app("How fast a reward server scores, and whether hostile completions stand in others' way.");
  app.add_option("--seconds", flags.seconds, "Length of each measurement");
  app.add_option("--threads", flags.threads, "The server's reward_server.threads");
  app.add_option("--hostile-every", flags.hostile_every, "One row in so many is hostile")->check(CLI::Range(1, 1024));
  app.add_option("--min-items-per-second", flags.min_items_per_second, "Fail below this");
  app.add_option("--max-p99-ratio", flags.max_p99_ratio, "Fail above this");
  app.add_option("--max-growth-mib", flags.max_growth_mib, "Fail above this");
  CLI11_PARSE(app, argc, argv);
  grpo::InitLogging("reward_bench");
  return grpo::Run(flags);
}
