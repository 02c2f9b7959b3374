#include "reward/math/series.h"

#include <algorithm>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/string_view.h"
#include "reward/math/exact.h"

namespace grpo::math {
namespace {

constexpr int64_t kMaxExactTerms = 1000, kMaxWrittenTerms = 32, kMaxDegree = 12;
constexpr size_t kMaxNodes = 8192;
constexpr int kMaxDepth = 64;

bool IsSeries(const Node& node) {
  return node.op == Op::kFunction && node.kids.size() == 4 && (node.text == "sum" || node.text == "prod");
}

class Expander {
 public:
  Expander(Tree* tree, Work* work) : tree_(*tree), work_(*work), max_size_(tree->size() + kMaxNodes) {}

  NodeId Expand(NodeId id) {
    if (depth_ >= kMaxDepth || !Fits()) return id;
    ++depth_;
    Node node = tree_[id];
    bool changed = false;
    for (NodeId& kid : node.kids) {
      const NodeId expanded = Expand(kid);
      changed |= expanded != kid;
      kid = expanded;
    }
    NodeId result = changed ? tree_.Add(node) : id;
    if (IsSeries(node)) result = Carry(node).value_or(result);
    --depth_;
    return result;
  }

 private:
  using Written = std::optional<NodeId>;

  bool Fits() { return tree_.size() < max_size_ && work_.Spend(1); }

  Written Carry(const Node& series) {
    const bool is_sum = series.text == "sum";
    const NodeId term = series.kids[0], last = series.kids[3];
    const std::string variable = tree_[series.kids[1]].text;
    const std::optional<Rational> first = IntegerOf(series.kids[2]);
    if (!first.has_value()) return std::nullopt;
    const std::optional<Rational> end = IntegerOf(last);
    const NodeId one_before = tree_.Number(*first - Rational(1));
    const NodeId count = tree_.Add(Op::kAdd, {last, tree_.Add(Op::kNeg, {one_before})});
    if (!end.has_value()) {
      if (IsNumber(last)) return std::nullopt;
      if (is_sum) return PolynomialSum(term, variable, *first, count);
      const bool is_factorial = tree_[term].op == Op::kSymbol && tree_[term].text == variable;
      return is_factorial && *first == Rational(1) ? Written(tree_.Function("factorial", {last})) : std::nullopt;
    }
    const std::optional<int64_t> num_terms = (*end - *first + Rational(1)).ToInt64();
    if (!num_terms.has_value() || *num_terms < 1) return std::nullopt;
    if (*num_terms > kMaxWrittenTerms && is_sum) {
      const Written polynomial = PolynomialSum(term, variable, *first, count);
      if (polynomial.has_value()) return polynomial;
    }
    if (*num_terms > kMaxExactTerms) return std::nullopt;
    const Written exact = Exactly(term, variable, *first, *num_terms, is_sum);
    if (exact.has_value() || *num_terms > kMaxWrittenTerms) return exact;
    return TermByTerm(term, variable, *first, *num_terms, is_sum);
  }

  bool IsNumber(NodeId id) { return EvaluateExactly(tree_, id, &work_).ok(); }

  std::optional<Rational> IntegerOf(NodeId id) {
    const Exact exact = EvaluateExactly(tree_, id, &work_);
    return exact.ok() && exact.value.IsInteger() ? std::optional<Rational>(exact.value) : std::nullopt;
  }

  // Adds up numbers; the nodes of each term go again.
  Written Exactly(NodeId term, const std::string& variable, const Rational& first, int64_t num_terms, bool is_sum) {
    const size_t size = tree_.size();
    Rational total(is_sum ? 0 : 1);
    for (int64_t k = 0; k < num_terms; ++k) {
      const Written value = Substitute(term, variable, first + Rational(k));
      const Exact exact = value.has_value() ? EvaluateExactly(tree_, *value, &work_) : Exact();
      tree_.Truncate(size);
      if (!exact.ok() || total.Bits() + exact.value.Bits() > kMaxBits || !work_.Spend(1 + total.Bits() / 1024))
        return std::nullopt;
      total = is_sum ? total + exact.value : total * exact.value;
    }
    return tree_.Number(std::move(total));
  }

  Written TermByTerm(NodeId term, const std::string& variable, const Rational& first, int64_t num_terms, bool is_sum) {
    std::vector<NodeId> terms;
    for (int64_t k = 0; k < num_terms; ++k) {
      const Written value = Substitute(term, variable, first + Rational(k));
      if (!value.has_value()) return std::nullopt;
      // A term without a value, 1/0, and sums in it whose bounds were names until now.
      const NodeId expanded = Expand(*value);
      if (EvaluateExactly(tree_, expanded, &work_).kind == Exact::kUndefined) return std::nullopt;
      terms.push_back(expanded);
    }
    return terms.size() == 1 ? terms[0] : tree_.Add(is_sum ? Op::kAdd : Op::kMul, std::move(terms));
  }

  // Newton: the sum of f(first), f(first + 1), ... over n terms is that of D_j binomial(n, j + 1), where D_j is the
  // j-th difference of f at first, for a polynomial f up to its degree.
  Written PolynomialSum(NodeId term, const std::string& variable, const Rational& first, NodeId count) {
    const std::optional<int64_t> degree = DegreeIn(term, variable);
    if (!degree.has_value() || *degree > kMaxDegree) return std::nullopt;
    std::vector<NodeId> values, terms;
    for (int64_t k = 0; k <= *degree; ++k) {
      const Written value = Substitute(term, variable, first + Rational(k));
      if (!value.has_value()) return std::nullopt;
      values.push_back(*value);
    }
    for (int64_t j = 0; j <= *degree; ++j) {
      std::vector<NodeId> difference, falling;
      Rational weight(1), factorial(1);
      for (int64_t i = j; i >= 0; --i) {
        // (-1)^(j-i) binomial(j, i).
        difference.push_back(tree_.Add(Op::kMul, {tree_.Number(weight), values[i]}));
        weight = -weight * Rational(i) / Rational(j - i + 1);
      }
      for (int64_t i = 0; i <= j; ++i) {
        falling.push_back(tree_.Add(Op::kAdd, {count, tree_.Number(-i)}));
        factorial = factorial * Rational(i + 1);
      }
      falling.push_back(tree_.Add(Op::kAdd, std::move(difference)));
      terms.push_back(tree_.Add(Op::kDiv, {tree_.Add(Op::kMul, std::move(falling)), tree_.Number(factorial)}));
    }
    return Fits() ? Written(tree_.Add(Op::kAdd, std::move(terms))) : std::nullopt;
  }

  // The degree of a polynomial in a variable, or more; absent for anything else.
  std::optional<int64_t> DegreeIn(NodeId id, const std::string& variable) {
    const Node& node = tree_[id];
    if (node.op == Op::kSymbol) {
      if (node.text == variable) return 1;
      return MayDependOn(node.text, variable) ? std::nullopt : std::optional<int64_t>(0);
    }
    std::vector<int64_t> degrees;
    for (const NodeId kid : node.kids) {
      const std::optional<int64_t> degree = DegreeIn(kid, variable);
      if (!degree.has_value() || *degree > kMaxDegree) return std::nullopt;
      degrees.push_back(*degree);
    }
    const bool is_free = std::all_of(degrees.begin(), degrees.end(), [](int64_t degree) { return degree == 0; });
    switch (node.op) {
      case Op::kNeg:
      case Op::kAdd:
        return *std::max_element(degrees.begin(), degrees.end());
      case Op::kMul: {
        int64_t total = 0;
        for (const int64_t degree : degrees) total += degree;
        return total;
      }
      case Op::kDiv:
        return degrees[1] == 0 ? std::optional<int64_t>(degrees[0]) : std::nullopt;
      case Op::kPow: {
        if (is_free) return 0;
        const std::optional<int64_t> power =
            tree_[node.kids[1]].op == Op::kNumber ? tree_[node.kids[1]].value.ToInt64() : std::nullopt;
        if (!power.has_value() || *power < 0 || *power > kMaxDegree) return std::nullopt;
        return degrees[0] * *power;
      }
      default:
        return is_free && !MayDependOn(node.text, variable) ? std::optional<int64_t>(0) : std::nullopt;
    }
  }

  // Of "a_k", "a_{k+1}": names with the variable in them.
  static bool MayDependOn(absl::string_view name, absl::string_view variable) {
    const size_t script = name.find_first_of("_ ");
    return script != absl::string_view::npos && absl::StrContains(name.substr(script), variable);
  }

  // The term at a value; absent where a name holds the variable in an unknown way.
  Written Substitute(NodeId id, const std::string& variable, const Rational& value) {
    if (!Fits()) return std::nullopt;
    Node node = tree_[id];
    if (node.op == Op::kSymbol) {
      if (node.text == variable) return tree_.Number(value);
      if (!MayDependOn(node.text, variable)) return id;
      const std::string script = absl::StrCat("_", variable);
      if (node.text.find('_') != node.text.size() - script.size() || !absl::EndsWith(node.text, script))
        return std::nullopt;
      return tree_.Add(
          Node{.op = Op::kSymbol,
               .text = absl::StrCat(node.text.substr(0, node.text.size() - variable.size()), value.ToString())});
    }
    if (node.op == Op::kFunction && MayDependOn(node.text, variable)) return std::nullopt;
    // An inner sum over the same name has a variable of its own.
    const bool is_bound = IsSeries(node) && tree_[node.kids[1]].text == variable;
    bool changed = false;
    for (size_t i = 0; i < node.kids.size(); ++i) {
      const bool is_variable = IsSeries(node) && i == 1;
      if (is_variable || (is_bound && i == 0)) continue;
      const Written kid = Substitute(node.kids[i], variable, value);
      if (!kid.has_value()) return kid;
      changed |= *kid != node.kids[i];
      node.kids[i] = *kid;
    }
    return changed ? tree_.Add(std::move(node)) : id;
  }

  Tree& tree_;
  Work& work_;
  const size_t max_size_;
  int depth_ = 0;
};

}  // namespace

NodeId ExpandSeries(Tree* tree, NodeId id, Work* work) {
  for (size_t k = 0; k < tree->size(); ++k) {
    if (IsSeries((*tree)[static_cast<NodeId>(k)])) return Expander(tree, work).Expand(id);
  }
  return id;
}

}  // namespace grpo::math
