// libFuzzer target of extraction, parser and comparison (tools/fuzz verifier). The input is two texts with a byte 0xfe
// between them; whatever they are, a verdict comes back, the same both ways round.
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <string>

#include "absl/strings/string_view.h"
#include "reward/extract.h"
#include "reward/math/equal.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const absl::string_view input(reinterpret_cast<const char*>(data), size);
  const size_t cut = input.find('\xfe');
  const absl::string_view gold = input.substr(0, cut);
  const absl::string_view pred = cut == absl::string_view::npos ? gold : input.substr(cut + 1);
  const grpo::math::Comparison forth = grpo::math::Equal(gold, pred, {.explain = true});
  const grpo::math::Comparison back = grpo::math::Equal(pred, gold);
  if (forth.equal != back.equal) {
    std::fprintf(stderr, "not symmetric\n");
    std::abort();
  }
  const grpo::Extraction extraction = grpo::ExtractAnswer(pred, {.plain_fallback = true});
  if (!extraction.parts.empty()) grpo::math::Equal(gold, extraction.parts);
  return 0;
}
