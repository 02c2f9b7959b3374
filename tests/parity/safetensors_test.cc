// The reader of safetensors files against the reference library, on 2,000 damaged files
// (tools/parity/make_safetensors_goldens). What the library reads, this project reads with the same result or refuses
// for a reason listed below; what the library refuses, this project refuses.
#include "model/weights/safetensors.h"

#include <gtest/gtest.h>
#include <zlib.h>

#include <algorithm>
#include <map>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "absl/strings/escaping.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/strings/str_join.h"
#include "absl/strings/str_split.h"
#include "common/files.h"

namespace grpo {
namespace {

using nlohmann::json;

// Files that the library reads and this project does not.
struct Difference {
  // In our message.
  const char* message;
  const char* why;
};
constexpr Difference kDifferences[] = {
    {"has the key \"", "a key given twice: readers disagree about which one counts; the library takes the last tensor"},
    {"unknown key \"", "the library ignores it, and it may say how the bytes are to be read"},
    {"is nested deeper than", "below such an unknown key; the library skips up to 127 levels"},
    {"does not begin with {", "the format's description demands it; the library skips white space"},
    {"is not an object but [",
     "a list in the place of {dtype, shape, data_offsets}: the library's JSON reader takes it"},
    {"__metadata__ is not an object", "null: the library reads it as no metadata"},
    {"holds a NUL", "C programs read a name up to there; the library's later versions refuse it, too"},
    {"shape holds ", "an extent above int64, beside an extent of 0: no tensor of torch can have it"},
};

struct Verdict {
  // Empty when refused; otherwise of what was read, as the script computes it.
  std::string crc;
  std::string message;
};

Verdict Read(const std::string& file) {
  auto entries = ParseSafetensors(file);
  if (!entries.ok()) return {.crc = "", .message = std::string(entries.status().message())};
  std::sort(entries->begin(), entries->end(), [](const auto& a, const auto& b) { return a.name < b.name; });
  uLong crc = 0;
  for (const SafetensorsEntry& entry : *entries) {
    const std::string text =
        absl::StrCat(entry.name, "\n", entry.dtype, "\n", absl::StrJoin(entry.shape, ","), "\n", entry.bytes, "\n");
    crc = ::crc32(crc, reinterpret_cast<const Bytef*>(text.data()), text.size());
  }
  return {.crc = absl::StrFormat("%08x", crc), .message = ""};
}

std::string MakeFile(const json& bases, const json& test_case) {
  const std::string base = bases[test_case[0].get<size_t>()];
  std::string file;
  for (const std::string& part : std::vector<std::string>(absl::StrSplit(base, '.')))
    file += absl::HexStringToBytes(part);
  file.replace(test_case[2].get<size_t>(), test_case[3].get<size_t>(),
               absl::HexStringToBytes(test_case[4].get<std::string>()));
  if (test_case[1] == -1) return file;
  std::string length;
  for (int i = 0; i < 8; ++i) length.push_back(static_cast<char>(test_case[1].get<uint64_t>() >> (8 * i)));
  return length + file;
}

TEST(SafetensorsParityTest, VerdictsAreTheLibrarysButForTheDifferencesListed) {
  const auto content = ReadFile("tests/parity/safetensors_goldens.json");
  ASSERT_TRUE(content.ok()) << content.status();
  const json goldens = json::parse(*content);
  ASSERT_EQ(goldens["library"], "safetensors==0.8.0");
  ASSERT_EQ(goldens["cases"].size(), 2000u);
  int num_read = 0;
  std::map<std::string, int> num_differences;
  for (const json& test_case : goldens["cases"]) {
    const std::string file = MakeFile(goldens["bases"], test_case), theirs = test_case[5];
    const Verdict ours = Read(file);
    if (ours.crc == theirs) {
      num_read += ours.crc.empty() ? 0 : 1;
      continue;
    }
    EXPECT_EQ(ours.crc, "") << "read otherwise, or read where the library refuses: " << absl::CEscape(file);
    const auto* const listed =
        std::find_if(std::begin(kDifferences), std::end(kDifferences),
                     [&](const Difference& difference) { return absl::StrContains(ours.message, difference.message); });
    if (listed == std::end(kDifferences)) {
      ADD_FAILURE() << "refused, though the library reads it: " << ours.message << "\n" << absl::CEscape(file);
    } else {
      ++num_differences[listed->message];
    }
  }
  // Enough on either side to mean something, and no difference on the list that does not occur.
  EXPECT_GT(num_read, 200);
  for (const auto& [message, why] : kDifferences) {
    EXPECT_GT(num_differences[message], 0) << message;
    std::printf("%3d differ: %s...: %s\n", num_differences[message], message, why);
  }
  std::printf("%3d read alike, the others of 2000 refused alike\n", num_read);
}

}  // namespace
}  // namespace grpo
