// Times the rule math_answer on JSON lines {"completion","answer"} from stdin, one thread:
//   zcat datasets/math500_test.jsonl.gz | sed 's/"solution"/"completion"/' | bazel-bin/tools/verifier_bench
// Prints one JSON line: completions, how many were paid, completions per second, and the microseconds of the median,
// the 99th percentile and the slowest one in the last of several passes.
#include <algorithm>
#include <chrono>
#include <iostream>
#include <string>
#include <vector>

#include "nlohmann/json.hpp"
#include "reward/rule.h"

namespace grpo {
namespace {

constexpr int kPasses = 5;

double Seconds() {
  return std::chrono::duration<double>(std::chrono::steady_clock::now().time_since_epoch()).count();
}

int Run() {
  std::vector<std::pair<std::string, v1::Prompt>> rows;
  for (std::string line; std::getline(std::cin, line);) {
    const nlohmann::json row = nlohmann::json::parse(line, nullptr, /*allow_exceptions=*/false);
    if (row.is_discarded() || !row.contains("completion") || !row.contains("answer")) {
      std::cerr << "verifier_bench: a line is no {\"completion\",\"answer\"}: " << line.substr(0, 80) << "\n";
      return 2;
    }
    v1::Prompt prompt;
    prompt.set_answer(row["answer"].get<std::string>());
    rows.emplace_back(row["completion"].get<std::string>(), std::move(prompt));
  }
  const auto rule = MakeRule("math_answer", Section());
  if (!rule.ok() || rows.empty()) {
    std::cerr << "verifier_bench: " << (rows.empty() ? "there are no lines on stdin" : rule.status().ToString())
              << "\n";
    return 2;
  }
  std::vector<double> micros(rows.size());
  double paid = 0, seconds = 0;
  for (int pass = 0; pass < kPasses; ++pass) {
    paid = 0;
    const double begin = Seconds();
    for (size_t i = 0; i < rows.size(); ++i) {
      const double start = Seconds();
      paid += (*rule)->Score({rows[i].first, rows[i].second}).value;
      micros[i] = (Seconds() - start) * 1e6;
    }
    seconds = Seconds() - begin;
  }
  std::sort(micros.begin(), micros.end());
  std::cout << nlohmann::json{{"completions", rows.size()},
                              {"paid", paid},
                              {"per_s", rows.size() / seconds},
                              {"p50_us", micros[micros.size() / 2]},
                              {"p99_us", micros[micros.size() * 99 / 100]},
                              {"max_us", micros.back()}}
            << "\n";
  return 0;
}

}  // namespace
}  // namespace grpo

int main() {
  return grpo::Run();
}
