// Problems, traces or documents of several sources, in shares.
#include "data/mix.h"

#include <cmath>

#include "absl/strings/str_cat.h"
#include "data/source_plugin.h"

namespace grpo {
namespace {

constexpr double kParts = 10000;

// In ten-thousandths.
absl::StatusOr<std::vector<int64_t>> Shares(const MixOptions& options, const Section& section) {
  std::vector<int64_t> shares;
  int64_t sum = 0;
  for (const auto& [name, share] : options.mix) {
    const double parts = std::round(share * kParts);
    if (std::abs(share * kParts - parts) > 1e-6 || parts < 1) {
      return SectionError(section, "mix." + name,
                          absl::StrCat("is ", share,
                                       "; a share is a number of whole "
                                       "ten-thousandths, from 0.0001 to 1"));
    }
    shares.push_back(static_cast<int64_t>(parts));
    sum += shares.back();
  }
  if (static_cast<double>(sum) == kParts) return shares;
  return SectionError(section, "mix",
                      absl::StrCat("has shares that add up to ", static_cast<double>(sum) / kParts, "; make it 1"));
}

absl::Status Check(const Section& section) {
  MixOptions options;
  RETURN_IF_ERROR(LoadOptions(section, &options));
  return Shares(options, section).status();
}

absl::StatusOr<std::unique_ptr<DataSource>> Make(const MixOptions& options, const DataSourceContext& context) {
  ASSIGN_OR_RETURN(std::vector<int64_t> shares, Shares(options, context.section));
  std::vector<SourcePart> parts;
  for (const auto& [name, share] : options.mix) {
    const std::string key = absl::StrCat("mix.", name);
    if (context.open == nullptr) return SectionError(context.section, key, "there are no other data to mix here");
    ASSIGN_OR_RETURN(std::unique_ptr<DataSource> source, context.open(name));
    RETURN_IF_ERROR(CheckSameKind(parts, *source, context.section, key));
    parts.push_back({.name = name, .source = std::move(source)});
  }
  return std::make_unique<MixedSource>(std::move(parts), MixSchedule(std::move(shares)));
}

}  // namespace

DataSourcePlugin DataSource_mix() {
  DataSourcePlugin plugin =
      MakeDataSourcePlugin<MixOptions>("Other sources, in shares; a stage reads it as it reads any other.", Make);
  plugin.check = Check;
  return plugin;
}

}  // namespace grpo
