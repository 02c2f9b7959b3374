// Countdown after TinyZero: the answer is an expression over + - * / and parentheses that uses each number of the task
// exactly once and reaches the target; 1 when it does, format_value for any other answer. The numbers are the
// metadata's `numbers`, the target its `target`, else the reference answer. Departures: exact rational arithmetic in
// place of Python's eval and a tolerance of 1e-5; a ** b and a // b, which eval would take, are no expressions.
#include <algorithm>
#include <optional>

#include "absl/strings/ascii.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "reward/answer.h"
#include "reward/math/rational.h"
#include "reward/rule_plugin.h"

namespace grpo {
namespace {

struct CountdownOptions {
  AnswerOptions answer;
  double format_value = 0.1;

  template <class V>
  void Visit(V& v) {
    answer.Visit(v);
    v("format_value", format_value, {.help = "Of an answer that is not right.", .min = 0, .max = 1});
  }
};

// So long an answer uses no number once; its nesting is no danger to the stack.
constexpr size_t kMaxAnswerBytes = 1000;
constexpr size_t kMaxNumbers = 100;
constexpr int64_t kMaxNumber = 1'000'000'000;

struct Task {
  std::vector<int64_t> numbers;
  int64_t target;
};

std::optional<int64_t> WholeNumber(const google::protobuf::Value& value) {
  const double number = value.number_value();
  if (value.kind_case() != google::protobuf::Value::kNumberValue || !(number >= -kMaxNumber && number <= kMaxNumber) ||
      number != static_cast<double>(static_cast<int64_t>(number))) {
    return std::nullopt;
  }
  return static_cast<int64_t>(number);
}

absl::StatusOr<Task> TaskOf(const v1::Prompt& prompt) {
  const auto& fields = prompt.metadata().fields();
  Task task;
  const auto numbers = fields.find("numbers");
  if (numbers == fields.end() || numbers->second.list_value().values_size() == 0 ||
      numbers->second.list_value().values_size() > static_cast<int>(kMaxNumbers)) {
    return absl::InvalidArgumentError(
        absl::StrCat("the metadata has no `numbers`: give a list of 1 to ", kMaxNumbers, " whole numbers"));
  }
  for (const auto& value : numbers->second.list_value().values()) {
    const std::optional<int64_t> number = WholeNumber(value);
    if (!number.has_value() || *number < 0) {
      return absl::InvalidArgumentError(
          absl::StrCat("`numbers` holds something else than whole numbers from 0 to ", kMaxNumber));
    }
    task.numbers.push_back(*number);
  }
  std::sort(task.numbers.begin(), task.numbers.end());
  const auto target = fields.find("target");
  const std::optional<int64_t> given = target == fields.end() ? std::nullopt : WholeNumber(target->second);
  if (given.has_value()) {
    task.target = *given;
  } else if (target != fields.end() || !absl::SimpleAtoi(prompt.answer(), &task.target)) {
    return absl::InvalidArgumentError("neither `target` in the metadata nor the reference answer is a whole number");
  }
  return task;
}

// Recursive descent; each method reads what it is named after and moves on. Absent: no expression, or a division by 0.
class Expression {
 public:
  explicit Expression(absl::string_view text) : rest_(text) {}

  std::optional<math::Rational> Value() {
    std::optional<math::Rational> value = Sum();
    Skip();
    return rest_.empty() ? value : std::nullopt;
  }
  const std::vector<int64_t>& numbers() const { return numbers_; }

 private:
  void Skip() { rest_ = absl::StripLeadingAsciiWhitespace(rest_); }
  bool Take(char c) {
    Skip();
    if (rest_.empty() || rest_[0] != c) return false;
    rest_.remove_prefix(1);
    return true;
  }

  std::optional<math::Rational> Sum() {
    std::optional<math::Rational> value = Product();
    while (value.has_value()) {
      const bool plus = Take('+');
      if (!plus && !Take('-')) break;
      const std::optional<math::Rational> term = Product();
      if (!term.has_value()) return std::nullopt;
      value = plus ? *value + *term : *value - *term;
    }
    return value;
  }

  std::optional<math::Rational> Product() {
    std::optional<math::Rational> value = Factor();
    while (value.has_value()) {
      const bool times = Take('*');
      if (!times && !Take('/')) break;
      const std::optional<math::Rational> factor = Factor();
      if (!factor.has_value() || (!times && factor->Sign() == 0)) return std::nullopt;
      value = times ? *value * *factor : *value / *factor;
    }
    return value;
  }

  std::optional<math::Rational> Factor() {
    if (Take('-')) {
      const std::optional<math::Rational> factor = Factor();
      return factor.has_value() ? std::make_optional(-*factor) : std::nullopt;
    }
    if (Take('(')) {
      std::optional<math::Rational> value = Sum();
      return Take(')') ? value : std::nullopt;
    }
    Skip();
    size_t digits = 0;
    while (digits < rest_.size() && absl::ascii_isdigit(rest_[digits])) ++digits;
    int64_t number = 0;
    if (digits == 0 || !absl::SimpleAtoi(rest_.substr(0, digits), &number)) return std::nullopt;
    rest_.remove_prefix(digits);
    numbers_.push_back(number);
    // More numbers than any task has, so that values stay small.
    if (numbers_.size() > kMaxNumbers || number > kMaxNumber) return std::nullopt;
    return math::Rational(number);
  }

  absl::string_view rest_;
  std::vector<int64_t> numbers_;
};

class CountdownRule final : public Rule {
 public:
  explicit CountdownRule(const CountdownOptions& options) : options_(options) { math::ReleaseFlintAtThreadEnd(); }

  RuleResult Score(const RuleInput& input) const override {
    math::ReleaseFlintAtThreadEnd();
    const absl::StatusOr<Task> task = TaskOf(input.prompt);
    if (!task.ok()) {
      return {.outcome = v1::OUTCOME_REFERENCE_UNPARSABLE, .decided_by = std::string(task.status().message())};
    }
    const Extraction extraction = ReadAnswer(input, options_.answer);
    if (extraction.outcome != v1::OUTCOME_SCORED) return {.outcome = extraction.outcome};
    const std::string answer = extraction.Text();
    const std::string reason = WhyWrong(answer, *task);
    return {.value = reason.empty() ? 1.0 : options_.format_value,
            .extracted = CutForLog(answer),
            .decided_by = reason.empty() ? "each number is used once and the target is reached" : reason};
  }

  absl::Status CheckReference(const v1::Prompt& prompt) const override { return TaskOf(prompt).status(); }

 private:
  // Empty for a right answer.
  static std::string WhyWrong(absl::string_view answer, const Task& task) {
    if (answer.size() > kMaxAnswerBytes) return "the answer is too long to use each number once";
    Expression expression(answer);
    const std::optional<math::Rational> value = expression.Value();
    if (!value.has_value()) return "the answer is no expression";
    std::vector<int64_t> used = expression.numbers();
    std::sort(used.begin(), used.end());
    if (used != task.numbers) return "the answer does not use each number once";
    return *value == math::Rational(task.target) ? "" : "the answer does not reach the target";
  }

  const CountdownOptions options_;
};

}  // namespace

RewardRulePlugin RewardRule_countdown() {
  return MakeRewardRulePlugin<CountdownOptions, CountdownRule>(
      "1 when the answer reaches the target with each number used once, format_value for another answer.",
      /*min_value=*/0, /*max_value=*/1);
}

}  // namespace grpo
