#include "reward/math/equal.h"

#include <algorithm>
#include <cstddef>

#include "absl/strings/ascii.h"
#include "absl/strings/str_cat.h"
#include "reward/math/exact.h"
#include "reward/math/judge.h"
#include "reward/math/parse.h"
#include "reward/math/series.h"
#include "reward/math/text.h"
#include "reward/math/token.h"
#include "reward/math/unit.h"

namespace grpo::math {
namespace {

using absl::string_view;

// Characters of a reference that a message quotes, and of a form that is shown.
constexpr size_t kQuotedChars = 200, kFormChars = 500;
// About a microsecond each.
constexpr int64_t kMaxUnits = 15000;

// One side: its parts, their tokens, what was read.
struct Side {
  std::vector<string_view> parts;
  std::vector<std::vector<Token>> tokens = {};
  Reading reading = Reading::kUnread;
  NodeId root = 0;
};

// An integer of at most 18 digits and nothing else.
bool IsPlainInteger(string_view text) {
  if (!text.empty() && text[0] == '-') text.remove_prefix(1);
  return !text.empty() && text.size() <= 18 && text[0] != '0' &&
         std::all_of(text.begin(), text.end(), [](char c) { return absl::ascii_isdigit(c); });
}

bool FitsBudget(const Side& side, const EqualOptions& options) {
  size_t num_chars = 0;
  for (const string_view part : side.parts) num_chars += part.size();
  return num_chars <= static_cast<size_t>(options.max_answer_chars);
}

void TokenizeParts(Side* side) {
  for (const string_view part : side->parts) side->tokens.push_back(Tokenize(part));
}

void Read(Side* side, const EqualOptions& options, Tree* tree) {
  const ParseBudget budget;
  if (side->parts.size() > budget.max_items) {
    side->reading = Reading::kOverBudget;
    return;
  }
  Node list{.op = Op::kList, .text = ","};
  for (std::vector<Token>& tokens : side->tokens) {
    side->reading = Parse(std::move(tokens), budget, tree, &side->root);
    if (side->reading != Reading::kRead) return;
    list.kids.push_back(side->root);
  }
  if (list.kids.size() > 1) side->root = tree->Add(std::move(list));
  Work work(kMaxUnits, options.deadline);
  if (side->reading == Reading::kRead) side->root = ExpandSeries(tree, side->root, &work);
  // A division by zero has no meaning.
  if (side->reading == Reading::kRead && EvaluateExactly(*tree, side->root, &work).kind == Exact::kUndefined) {
    side->reading = Reading::kUnread;
  }
}

bool SameTokens(const std::vector<Token>& a, const std::vector<Token>& b) {
  return !a.empty() && std::equal(a.begin(), a.end(), b.begin(), b.end(),
                                  [](const Token& x, const Token& y) { return x.kind == y.kind && x.text == y.text; });
}

std::string Form(const Tree& tree, const Side& side) {
  return side.reading == Reading::kRead ? tree.ToString(side.root).substr(0, kFormChars) : "";
}

Comparison Decided(bool equal, const char* rule) {
  return {.equal = equal, .outcome = v1::OUTCOME_SCORED, .rule = rule};
}

Comparison Unread(const Side& gold, const Side& pred) {
  if (gold.reading != Reading::kRead) {
    return {.outcome = v1::OUTCOME_REFERENCE_UNPARSABLE, .rule = "the reference cannot be read"};
  }
  if (pred.reading == Reading::kUnread) return {.outcome = v1::OUTCOME_UNDECIDED, .rule = "the answer cannot be read"};
  return {.outcome = v1::OUTCOME_OVER_BUDGET, .rule = "the answer is over the budget"};
}

Comparison CompareSides(Side* gold, Side* pred, const EqualOptions& options) {
  const bool single = gold->parts.size() == 1 && pred->parts.size() == 1;
  if (!FitsBudget(*gold, options) || !FitsBudget(*pred, options)) {
    // Too long to look at, but not to see that it is the same.
    if (single && TrimDecoration(gold->parts[0]) == TrimDecoration(pred->parts[0])) return Decided(true, "same text");
    gold->reading = FitsBudget(*gold, options) ? Reading::kRead : Reading::kOverBudget;
    pred->reading = Reading::kOverBudget;
    return Unread(*gold, *pred);
  }
  TokenizeParts(gold);
  TokenizeParts(pred);
  const bool same = single && SameTokens(gold->tokens[0], pred->tokens[0]);
  if (same && !options.explain) return Decided(true, "same text");
  // In one order whichever is the reference, so that what the budget allows is the same both ways round.
  const bool gold_first = gold->parts <= pred->parts;
  Side *first = gold_first ? gold : pred, *second = gold_first ? pred : gold;
  ReleaseFlintAtThreadEnd();
  Tree tree;
  Read(first, options, &tree);
  Read(second, options, &tree);
  Comparison result;
  if (same) {
    result = Decided(true, "same text");
  } else if (gold->reading != Reading::kRead || pred->reading != Reading::kRead) {
    result = Unread(*gold, *pred);
  } else {
    Work work(kMaxUnits, options.deadline);
    const Decision decision =
        Judge(&tree, options.min_digits, options.decimal_comma, &work).Compare(first->root, second->root);
    if (decision.verdict != Verdict::kUndecided) {
      result = Decided(decision.IsEqual(), decision.rule);
    } else {
      result.outcome = work.exhausted() ? v1::OUTCOME_OVER_BUDGET : v1::OUTCOME_UNDECIDED;
      result.rule = work.exhausted() ? "the comparison is over the budget" : decision.rule;
    }
  }
  if (options.explain) {
    result.gold_form = Form(tree, *gold);
    result.pred_form = Form(tree, *pred);
  }
  return result;
}

Side SideOf(const std::vector<std::string>& parts) {
  Side side;
  side.parts.assign(parts.begin(), parts.end());
  return side;
}

}  // namespace

Comparison Equal(string_view gold, string_view pred, const EqualOptions& options) {
  // Most answers are small integers.
  if (!options.explain && IsPlainInteger(gold) && IsPlainInteger(pred))
    return Decided(gold == pred, "exact rational arithmetic");
  Side gold_side{.parts = {gold}}, pred_side{.parts = {pred}};
  return CompareSides(&gold_side, &pred_side, options);
}

Comparison Equal(string_view gold, const std::vector<std::string>& pred, const EqualOptions& options) {
  if (pred.size() == 1) return Equal(gold, pred[0], options);
  Side gold_side{.parts = {gold}}, pred_side = SideOf(pred);
  return CompareSides(&gold_side, &pred_side, options);
}

void ReadUnits() {
  UnitName("meter");
}

absl::Status CheckReadable(string_view gold, const EqualOptions& options) {
  Side side{.parts = {gold}};
  if (FitsBudget(side, options)) {
    TokenizeParts(&side);
    ReleaseFlintAtThreadEnd();
    Tree tree;
    Read(&side, options, &tree);
    if (side.reading == Reading::kRead) return absl::OkStatus();
  }
  return absl::InvalidArgumentError(
      absl::StrCat("the reference answer \"", gold.substr(0, kQuotedChars),
                   "\" cannot be read; math_answer reads numbers, expressions, equations, "
                   "intervals, sets, tuples, matrices, units and words in LaTeX or plain text, up to ",
                   options.max_answer_chars, " characters"));
}

}  // namespace grpo::math
