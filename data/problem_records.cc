#include "data/problem_records.h"

#include <utility>
#include <vector>

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "common/log.h"
#include "common/seeds.h"
#include "common/status_macros.h"
#include "configs/load.h"
#include "data/presets.h"

namespace grpo {
namespace {

// A lease carries one prompt, in messages of 4 MiB.
constexpr int64_t kMaxPromptBytes = 3 << 20;

// "line/17" as "line" and 17.
std::pair<absl::string_view, int64_t> Split(absl::string_view place) {
  const size_t slash = place.find('/');
  int64_t number = 0;
  (void)absl::SimpleAtoi(place.substr(slash + 1), &number);
  return {place.substr(0, slash), number};
}

}  // namespace

absl::StatusOr<FieldPlan> MakeFieldPlan(const ProblemFileOptions& options, const FileKind& kind,
                                        const Section& section) {
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

absl::StatusOr<RecordItem> TakeRecord(const FieldPlan& plan, absl::StatusOr<Json> record, const RecordPlace& place) {
  RETURN_IF_ERROR(record.status());
  ASSIGN_OR_RETURN(RecordItem made, MakeItem(plan, *std::move(record), place.id));
  if (const auto bytes = static_cast<int64_t>(made.item.prompt.ByteSizeLong()); bytes > kMaxPromptBytes) {
    return absl::InvalidArgumentError(
        absl::StrCat("the problem has ", bytes, " bytes with its metadata, allowed are ", kMaxPromptBytes));
  }
  return made;
}

absl::StatusOr<RecordKeys> KeysOf(const absl::StatusOr<RecordItem>& record) {
  RETURN_IF_ERROR(record.status());
  const v1::Prompt& prompt = record->item.prompt;
  return RecordKeys{.id = prompt.id(),
                    .prompt = HashName(prompt.text()),
                    .problem = HashName(record->problem),
                    .answer = HashName(prompt.answer())};
}

absl::Status NoProblem(const Section& section, const std::string& path) {
  return absl::DataLossError(SectionError(section, "path", absl::StrCat(path, " holds no problem")).message());
}

RecordCheck::RecordCheck(const ProblemFileOptions& options, const FileKind& kind)
    : options_(options), drop_repeated_(FindPreset(kind.preset) != nullptr && FindPreset(kind.preset)->drop_repeated) {}

absl::StatusOr<bool> RecordCheck::Add(const absl::StatusOr<RecordKeys>& record, const RecordPlace& place) {
  const absl::StatusOr<bool> kept = Keep(record, place);
  if (kept.ok()) {
    num_kept_ += *kept;
    return kept;
  }
  const std::string message = absl::StrCat(place.text, ": ", kept.status().message());
  if (!options_.skip_bad_lines) {
    return error_ = absl::DataLossError(
               absl::StrCat(message, ". Mend the line, or set skip_bad_lines: true to leave such lines out"));
  }
  // The first few name the lines; thousands would hide everything else in the log.
  if (++num_skipped_ <= 10) spdlog::warn("skipped {}", message);
  return false;
}

absl::StatusOr<bool> RecordCheck::Keep(const absl::StatusOr<RecordKeys>& record, const RecordPlace& place) {
  RETURN_IF_ERROR(record.status());
  if (drop_repeated_ && !seen_.insert(CombineSeeds(record->prompt, record->answer)).second) {
    ++num_repeated_;
    return false;
  }
  const auto [unit, number] = Split(place.id);
  if (const auto [first, is_new] = number_of_id_.emplace(HashName(record->id), number); !is_new) {
    return absl::InvalidArgumentError(
        absl::StrCat("the id \"", record->id, "\" is that of ", unit, " ", first->second, " already"));
  }
  prompts_.insert(record->prompt);
  problems_.insert(record->problem);
  return true;
}

absl::Status RecordCheck::Finish(const std::string& path, const std::string& first_prompt) const {
  if (num_skipped_ > 0) spdlog::warn("{}: skipped {} bad lines, kept {}", path, num_skipped_, num_kept_);
  if (num_repeated_ > 0)
    spdlog::info("{}: left out {} lines that repeat another, kept {}", path, num_repeated_, num_kept_);
  if (prompts_.size() < problems_.size() && prompts_.size() == 1) {
    return absl::InvalidArgumentError(absl::StrCat("makes the prompt of all ", num_kept_, " problems \"", first_prompt,
                                                   "\": write {problem}, in single braces, where the problem stands"));
  }
  if (prompts_.size() < problems_.size()) {
    spdlog::warn("{}: the template makes {} different problems {} different prompts; does it hold all of {{problem}}?",
                 path, problems_.size(), prompts_.size());
  }
  return absl::OkStatus();
}

}  // namespace grpo
