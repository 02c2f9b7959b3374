#include "data/problem_file.h"

#include <filesystem>
#include <unordered_map>
#include <unordered_set>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "common/log.h"
#include "common/seeds.h"
#include "common/status_macros.h"
#include "data/file_reader.h"
#include "data/record_items.h"

namespace grpo {
namespace {

class ProblemFile : public DataSource {
 public:
  ProblemFile(std::vector<DataItem> items, std::string content_sha256)
      : items_(std::move(items)), content_sha256_(std::move(content_sha256)) {}
  int64_t size() const override { return static_cast<int64_t>(items_.size()); }
  DataItem At(int64_t index) const override { return items_.at(static_cast<size_t>(index)); }
  std::string content_sha256() const override { return content_sha256_; }

 private:
  const std::vector<DataItem> items_;
  const std::string content_sha256_;
};

// The fields of the preset, unless the configuration names others.
absl::StatusOr<FieldPlan> MakePlan(const ProblemFileOptions& options, const FileKind& kind, const Section& section) {
  FieldPlan plan;
  absl::StatusOr<PromptTemplate> prompt = PromptTemplate::Parse(options.prompt_template);
  if (!prompt.ok()) return SectionError(section, "template", prompt.status().message());
  plan.prompt = *std::move(prompt);
  if (const absl::Status holds = plan.prompt.CheckHoldsProblem(); !holds.ok()) {
    return SectionError(section, "template", holds.message());
  }
  const Preset* const preset = FindPreset(kind.preset);
  const auto fields = [&](const char* key, const std::string& configured, const std::vector<const char*>& published) {
    if (preset != nullptr && !SectionText(section, key).has_value()) {
      return std::vector<std::string>(published.begin(), published.end());
    }
    return configured.empty() ? std::vector<std::string>{} : std::vector<std::string>{configured};
  };
  static const auto* const none = new Preset{};
  const Preset& published = preset == nullptr ? *none : *preset;
  plan.problem = fields("problem_field", options.problem_field, published.problem);
  plan.answer = fields("answer_field", options.answer_field, published.answer);
  plan.id = fields("id_field", options.id_field, published.id);
  plan.completion = options.completion_field;
  plan.options_seed = static_cast<uint64_t>(kind.options_seed);
  if (plan.problem.empty() && published.problem_text[0] == '\0') {
    return SectionError(section, "problem_field", "is empty: name the field that holds the problem");
  }
  if (preset == nullptr) return plan;
  if (plan.problem.empty()) {
    ASSIGN_OR_RETURN(plan.problem_text, PromptTemplate::Parse(published.problem_text));
  }
  if (!SectionText(section, "answer_field").has_value()) plan.answer_form = published.answer_form;
  plan.wrong_options.assign(published.wrong_options.begin(), published.wrong_options.end());
  plan.metadata.emplace(published.metadata.begin(), published.metadata.end());
  return plan;
}

// Collects items, and what is wrong with records and with all of them together.
class Collector {
 public:
  Collector(const ProblemFileOptions& options, const FieldPlan& plan, bool drop_repeated)
      : options_(options), plan_(plan), drop_repeated_(drop_repeated) {}

  absl::Status Add(absl::StatusOr<Json> record, const RecordPlace& place) {
    const absl::Status added = record.ok() ? Take(*std::move(record), place) : record.status();
    if (added.ok()) return added;
    const std::string message = absl::StrCat(place.text, ": ", added.message());
    if (!options_.skip_bad_lines) {
      return error_ = absl::DataLossError(
                 absl::StrCat(message, ". Mend the line, or set skip_bad_lines: true to leave such lines out"));
    }
    // The first few name the lines; thousands would hide everything else in the log.
    if (++num_skipped_ <= 10) spdlog::warn("skipped {}", message);
    return absl::OkStatus();
  }

  // Of the record that ended the reading.
  const absl::Status& error() const { return error_; }

  // Logs what was left out. InvalidArgument for a template that makes different problems one prompt.
  absl::Status Finish(const std::string& path) const {
    if (num_skipped_ > 0) spdlog::warn("{}: skipped {} bad lines, kept {}", path, num_skipped_, items_.size());
    if (num_repeated_ > 0)
      spdlog::info("{}: left out {} lines that repeat another, kept {}", path, num_repeated_, items_.size());
    if (prompts_.size() < problems_.size() && prompts_.size() == 1) {
      return absl::InvalidArgumentError(
          absl::StrCat("makes the prompt of all ", items_.size(), " problems \"", items_[0].prompt.text(),
                       "\": write {problem}, in single braces, where the problem stands"));
    }
    if (prompts_.size() < problems_.size()) {
      spdlog::warn(
          "{}: the template makes {} different problems {} different prompts; does it hold all of {{problem}}?", path,
          problems_.size(), prompts_.size());
    }
    return absl::OkStatus();
  }

  std::vector<DataItem> TakeItems() { return std::move(items_); }

 private:
  absl::Status Take(Json record, const RecordPlace& place) {
    ASSIGN_OR_RETURN(RecordItem made, MakeItem(plan_, std::move(record), place.id));
    const v1::Prompt& prompt = made.item.prompt;
    if (const auto bytes = static_cast<int64_t>(prompt.ByteSizeLong()); bytes > kMaxPromptBytes) {
      return absl::InvalidArgumentError(
          absl::StrCat("the problem has ", bytes, " bytes with its metadata, allowed are ", kMaxPromptBytes));
    }
    if (drop_repeated_ && !seen_.insert(CombineSeeds(HashName(prompt.text()), HashName(prompt.answer()))).second) {
      ++num_repeated_;
      return absl::OkStatus();
    }
    if (const auto [first, is_new] = place_of_id_.emplace(prompt.id(), place.id); !is_new) {
      return absl::InvalidArgumentError(
          absl::StrCat("the id \"", prompt.id(), "\" is that of ", Spoken(first->second), " already"));
    }
    prompts_.insert(HashName(prompt.text()));
    problems_.insert(HashName(made.problem));
    items_.push_back(std::move(made.item));
    return absl::OkStatus();
  }

  // "line/17" as "line 17".
  static std::string Spoken(std::string place) {
    place[place.find('/')] = ' ';
    return place;
  }

  // A lease carries one prompt, in messages of 4 MiB.
  static constexpr int64_t kMaxPromptBytes = 3 << 20;

  const ProblemFileOptions& options_;
  const FieldPlan& plan_;
  const bool drop_repeated_;
  std::vector<DataItem> items_;
  std::unordered_map<std::string, std::string> place_of_id_;
  // Hashes; equal ones of different texts would cost one problem in 2^64.
  std::unordered_set<uint64_t> seen_, prompts_, problems_;
  int64_t num_skipped_ = 0, num_repeated_ = 0;
  absl::Status error_;
};

}  // namespace

absl::StatusOr<std::unique_ptr<DataSource>> MakeProblemFile(const ProblemFileOptions& options, const FileKind& kind,
                                                            const DataSourceContext& context) {
  ASSIGN_OR_RETURN(const FieldPlan plan, MakePlan(options, kind, context.section));
  const std::string path = (std::filesystem::path(context.base_folder) / options.path).lexically_normal().string();
  const Preset* const preset = FindPreset(kind.preset);
  Collector collector(options, plan, preset != nullptr && preset->drop_repeated);
  const absl::StatusOr<std::string> sha256 = ReadRecords(
      path,
      {.format = kind.format, .max_record_bytes = options.max_line_bytes, .max_file_bytes = options.max_file_bytes},
      [&](absl::StatusOr<Json> record, const RecordPlace& place) { return collector.Add(std::move(record), place); });
  if (!sha256.ok()) {
    if (!collector.error().ok()) return collector.error();
    const bool too_long = absl::IsInvalidArgument(sha256.status());
    const absl::Status placed = SectionError(
        context.section, "path",
        absl::StrCat(sha256.status().message(), too_long ? ": raise max_file_bytes if that is meant" : ""));
    return absl::Status(sha256.status().code(), placed.message());
  }
  if (const absl::Status whole = collector.Finish(path); !whole.ok()) {
    return SectionError(context.section, "template", whole.message());
  }
  std::vector<DataItem> items = collector.TakeItems();
  if (items.empty()) {
    return absl::DataLossError(
        SectionError(context.section, "path", absl::StrCat(path, " holds no problem")).message());
  }
  return std::make_unique<ProblemFile>(std::move(items), *sha256);
}

}  // namespace grpo
