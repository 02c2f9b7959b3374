// A data source of its keys alone, for tests.
#ifndef GRPO_DATA_SOURCES_TESTING_H_
#define GRPO_DATA_SOURCES_TESTING_H_

#include <memory>
#include <string>

#include "absl/status/statusor.h"
#include "absl/strings/str_cat.h"
#include "configs/load.h"
#include "data/sources.h"
#include "gtest/gtest.h"

namespace grpo {

// `keys` is YAML in flow style: "split: held_out, max_heads: 9".
inline absl::StatusOr<std::unique_ptr<DataSource>> Make(const std::string& source, const std::string& keys) {
  auto section = ParseConfigText(absl::StrCat("{", keys, "}"), "test.yaml");
  if (!section.ok()) return section.status();
  DataOptions options;
  options.source = source;
  options.options = *section;
  return MakeDataSource(options, ::testing::TempDir());
}

}  // namespace grpo

#endif  // GRPO_DATA_SOURCES_TESTING_H_
