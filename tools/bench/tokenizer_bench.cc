// Times our tokenizer for tools/bench/compare_tokenizers:
//   tokenizer_bench TOKENIZER_JSON SECONDS < texts (one JSON string a line)
// Prints JSON: `cold_s`, the first pass over the texts by a new tokenizer, the best of some, and `warm_s`, a later
// pass, and the number of tokens.
#include <algorithm>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <iostream>
#include <limits>
#include <memory>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "common/files.h"
#include "model/tokenizer/tokenizer.h"

namespace grpo {
namespace {

double Now() {
  return std::chrono::duration<double>(std::chrono::steady_clock::now().time_since_epoch()).count();
}

int Run(const std::string& path, double seconds) {
  const auto content = ReadFile(path);
  std::vector<std::string> texts;
  for (std::string line; std::getline(std::cin, line);) texts.push_back(nlohmann::json::parse(line));
  double cold = std::numeric_limits<double>::infinity(), warm = cold;
  size_t num_tokens = 0;
  const auto pass = [&](const Tokenizer& tokenizer) {
    num_tokens = 0;
    const double begin = Now();
    for (const std::string& text : texts) {
      const auto ids = tokenizer.Encode(text);
      if (!ids.ok()) {
        std::cerr << ids.status() << "\n";
        std::exit(1);
      }
      num_tokens += ids->size();
    }
    return Now() - begin;
  };
  for (int i = 0; i < 3; ++i) {
    const auto tokenizer = Tokenizer::FromJson(content.value_or(""));
    if (!tokenizer.ok()) {
      std::cerr << path << ": " << tokenizer.status() << "\n";
      return 1;
    }
    cold = std::min(cold, pass(**tokenizer));
    for (const double begin = Now(); Now() - begin < seconds / 3;) warm = std::min(warm, pass(**tokenizer));
  }
  std::printf("{\"cold_s\": %.9g, \"warm_s\": %.9g, \"tokens\": %zu}\n", cold, warm, num_tokens);
  return 0;
}

}  // namespace
}  // namespace grpo

int main(int argc, char** argv) {
  return argc == 3 ? grpo::Run(argv[1], std::atof(argv[2])) : 64;
}
