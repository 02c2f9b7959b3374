#include "reward/math/algebra.h"

#include <algorithm>
#include <map>
#include <utility>

#include "absl/strings/str_cat.h"
#include "reward/math/constant.h"
#include "reward/math/exact.h"
#include "reward/math/power_sum.h"

namespace grpo::math {
namespace {

constexpr int64_t kMaxConstantBits = 1000;
// Each makes generators finer, by common denominators of all that was met.
constexpr int kMaxPasses = 4;

std::vector<ulong> Exponents(const fmpz_mpoly_struct* polynomial, int64_t term) {
  std::vector<ulong> exponents(kNumGenerators);
  fmpz_mpoly_get_term_exp_ui(exponents.data(), polynomial, term, FractionRing());
  return exponents;
}

Rational Coefficient(const fmpz_mpoly_struct* polynomial, int64_t term) {
  fmpq_t value;
  fmpq_init(value);
  fmpz_mpoly_get_term_coeff_fmpz(fmpq_numref(value), polynomial, term, FractionRing());
  const Rational result(value);
  fmpq_clear(value);
  return result;
}

bool IsKnownFunction(const std::string& name) {
  for (const char* known :
       {"sin", "cos", "tan", "cot", "sec", "csc", "asin", "acos", "atan", "sinh", "cosh", "tanh", "log", "abs"}) {
    if (name == known) return true;
  }
  return false;
}

}  // namespace

bool Algebra::IsClosed(NodeId id) {
  if (closed_.size() < tree_.size()) closed_.resize(tree_.size());
  if (closed_[id] == 0) {
    const Node& node = tree_[id];
    const bool is_function = node.op == Op::kFunction && !IsKnownFunction(node.text);
    // An unknown function is no constant, a factorial of an integer is evaluated exactly.
    bool closed = node.op != Op::kSymbol && (!is_function || EvaluateExactly(tree_, id, &work_).ok());
    for (const NodeId kid : node.kids) closed = closed && IsClosed(kid);
    closed_[id] = closed ? 2 : 1;
  }
  return closed_[id] == 2;
}

bool Algebra::IsPure() const {
  return std::all_of(generators_.begin(), generators_.end(),
                     [](const Generator& generator) { return generator.kind == Kind::kName; });
}

bool Algebra::IsFree() const {
  return std::all_of(generators_.begin(), generators_.end(), [](const Generator& generator) {
    return generator.kind == Kind::kName || generator.kind == Kind::kConstant;
  });
}

std::optional<int> Algebra::IndexFor(Generator generator) {
  const auto same = std::find_if(generators_.begin(), generators_.end(),
                                 [&](const Generator& other) { return other.key == generator.key; });
  const int index = static_cast<int>(same - generators_.begin());
  if (same == generators_.end()) {
    if (generators_.size() == kNumGenerators) return std::nullopt;
    generators_.push_back(std::move(generator));
  }
  return index;
}

Algebra::Result Algebra::GeneratorFor(Generator generator) {
  const std::optional<int> index = IndexFor(std::move(generator));
  return index.has_value() ? Result(Fraction::Generator(*index)) : std::nullopt;
}

Algebra::Result Algebra::ConstantFor(NodeId id) {
  const Exact exact = EvaluateExactly(tree_, id, &work_);
  if (exact.ok()) return exact.value.Bits() > kMaxConstantBits ? Result() : Fraction(exact.value);
  const bool may_be_sum = tree_[id].op == Op::kRoot || tree_[id].op == Op::kPow;
  const std::optional<std::vector<PowerTerm>> terms =
      may_be_sum ? PowerTermsOf(&tree_, id, &work_) : std::optional<std::vector<PowerTerm>>();
  if (!terms.has_value()) {
    if (exact.kind != Exact::kNotRational) return std::nullopt;
    return GeneratorFor({.key = absl::StrCat("constant ", tree_.ToString(id)), .kind = Kind::kConstant, .node = id});
  }
  Result sum = Fraction();
  for (const PowerTerm& term : *terms) {
    const Result powers = ConstantsFor(term.powers);
    const bool fits = powers.has_value() && term.coefficient.Bits() <= kMaxConstantBits;
    const Result product = fits ? arithmetic_.Multiply(*powers, Fraction(term.coefficient)) : std::nullopt;
    sum = product.has_value() && sum.has_value() ? arithmetic_.Add(*sum, *product) : Result();
  }
  return sum;
}

Algebra::Result Algebra::ConstantsFor(NodeId id) {
  const Op op = tree_[id].op;
  const std::vector<NodeId> kids = tree_[id].kids;
  if (op == Op::kNumber) return Fraction(tree_[id].value);
  if (op == Op::kMul) {
    Result product = Fraction(Rational(1));
    for (const NodeId kid : kids) {
      const Result factor = product.has_value() ? ConstantsFor(kid) : product;
      product = factor.has_value() ? arithmetic_.Multiply(*product, *factor) : factor;
    }
    return product;
  }
  if (op == Op::kPow && tree_[kids[1]].op == Op::kNumber) {
    const std::optional<int64_t> times = tree_[kids[1]].value.ToInt64();
    const Result base = times.has_value() && tree_[kids[0]].kids.empty() ? ConstantsFor(kids[0]) : std::nullopt;
    if (base.has_value()) return arithmetic_.Power(*base, *times);
  }
  return GeneratorFor({.key = absl::StrCat("constant ", tree_.ToString(id)), .kind = Kind::kConstant, .node = id});
}

std::optional<std::pair<Fraction, Fraction>> Algebra::Normalize(NodeId a, NodeId b) {
  for (int pass = 0; pass < kMaxPasses; ++pass) {
    is_stale_ = false;
    Result x = Normalize(a);
    Result y = x.has_value() || is_stale_ ? Normalize(b) : x;
    if (is_stale_) continue;
    if (!x.has_value() || !y.has_value()) return std::nullopt;
    return std::pair(*std::move(x), *std::move(y));
  }
  return std::nullopt;
}

Algebra::Result Algebra::Normalize(NodeId id) {
  if (!work_.Spend(2)) return std::nullopt;
  const Op op = tree_[id].op;
  switch (op) {
    case Op::kNumber:
    case Op::kPi:
    case Op::kE:
    case Op::kI:
      return ConstantFor(id);
    case Op::kSymbol:
      return GeneratorFor({.key = absl::StrCat("name ", tree_[id].text), .kind = Kind::kName});
    case Op::kNeg:
    case Op::kPercent:
    case Op::kAdd:
    case Op::kMul:
    case Op::kDiv:
      return NormalizeArithmetic(id);
    case Op::kPow:
      return NormalizePower(id);
    case Op::kRoot: {
      if (IsClosed(id)) return ConstantFor(id);
      const Exact index = EvaluateExactly(tree_, tree_[id].kids[1], &work_);
      const Result radicand = Normalize(tree_[id].kids[0]);
      if (!radicand.has_value() || !index.ok() || index.value.Sign() <= 0) return std::nullopt;
      const std::optional<int64_t> n = index.value.ToInt64();
      return n.has_value() ? Root(*radicand, *n) : std::nullopt;
    }
    case Op::kQuantity: {
      if (tree_[id].text != "degree" && tree_[id].text != "radian") return std::nullopt;
      const NodeId angle = tree_[id].kids[0];
      if (tree_[id].text == "radian") return Normalize(angle);
      const NodeId scale = tree_.Add(Op::kDiv, {tree_.Add(Op::kPi, {}), tree_.Number(180)});
      return Normalize(tree_.Add(Op::kMul, {angle, scale}));
    }
    case Op::kFunction:
      return IsClosed(id) ? ConstantFor(id) : NormalizeFunction(id);
    default:
      return std::nullopt;
  }
}

Algebra::Result Algebra::NormalizeArithmetic(NodeId id) {
  const Op op = tree_[id].op;
  const std::vector<NodeId> kids = tree_[id].kids;
  Result result = Normalize(kids[0]);
  if (!result.has_value()) return result;
  if (op == Op::kNeg) return result->Negated();
  if (op == Op::kPercent) return arithmetic_.Divide(*result, Fraction(Rational(100)));
  for (size_t i = 1; i < kids.size() && result.has_value(); ++i) {
    const Result kid = Normalize(kids[i]);
    if (!kid.has_value()) return kid;
    result = op == Op::kAdd   ? arithmetic_.Add(*result, *kid)
             : op == Op::kMul ? arithmetic_.Multiply(*result, *kid)
                              : arithmetic_.Divide(*result, *kid);
  }
  return result;
}

Algebra::Result Algebra::NormalizePower(NodeId id) {
  const NodeId base = tree_[id].kids[0], exponent = tree_[id].kids[1];
  const Exact power = EvaluateExactly(tree_, exponent, &work_);
  if (power.ok()) {
    const std::optional<int64_t> integer = power.value.ToInt64();
    if (!integer.has_value() && IsClosed(base)) return ConstantFor(id);
    const Result normal = Normalize(base);
    if (!normal.has_value()) return normal;
    return integer.has_value() ? arithmetic_.Power(*normal, *integer) : RationalPower(*normal, power.value);
  }
  if (IsClosed(id)) return ConstantFor(id);
  const Result symbolic = Normalize(exponent);
  if (!symbolic.has_value()) return symbolic;
  if (IsClosed(base)) return ClosedPower(base, *symbolic);
  const Result normal = Normalize(base);
  return normal.has_value() ? SymbolicPower(*normal, *symbolic) : normal;
}

Algebra::Result Algebra::NormalizeFunction(NodeId id) {
  const std::string name = tree_[id].text;
  const std::vector<NodeId> kids = tree_[id].kids;
  if (name == "binom" && kids.size() == 2) {
    const NodeId rest = tree_.Add(Op::kAdd, {kids[0], tree_.Add(Op::kNeg, {kids[1]})});
    const NodeId below =
        tree_.Add(Op::kMul, {tree_.Function("factorial", {kids[1]}), tree_.Function("factorial", {rest})});
    return Normalize(tree_.Add(Op::kDiv, {tree_.Function("factorial", {kids[0]}), below}));
  }
  if (name == "log" && kids.size() <= 2) {
    const Result argument = Normalize(kids[0]);
    if (!argument.has_value()) return argument;
    const Result numerator = Logarithm(*argument);
    if (kids.size() == 1 && natural_log_) return numerator;
    const Result base = kids.size() == 2 ? Normalize(kids[1]) : Fraction(Rational(10));
    const bool is_natural = kids.size() == 2 && tree_[kids[1]].op == Op::kE;
    if (!numerator.has_value() || !base.has_value() || is_natural) return numerator;
    const Result denominator = Logarithm(*base);
    return denominator.has_value() ? arithmetic_.Divide(*numerator, *denominator) : denominator;
  }
  std::vector<Fraction> arguments;
  for (const NodeId kid : kids) {
    Result argument = Normalize(kid);
    if (!argument.has_value()) return argument;
    arguments.push_back(*std::move(argument));
  }
  if (arguments.size() != 1) return Opaque(name, arguments);
  const Fraction& argument = arguments[0];
  if (name == "abs") return Absolute(argument);
  if (name == "factorial") return Factorial(argument);
  if (name == "sinh" || name == "cosh" || name == "tanh") return Hyperbolic(name, argument);
  if (name == "sin" || name == "cos" || name == "tan" || name == "cot" || name == "sec" || name == "csc") {
    return Trigonometric(name, argument);
  }
  return Opaque(name, arguments);
}

Algebra::Result Algebra::Opaque(const std::string& name, const std::vector<Fraction>& arguments) {
  std::string key = absl::StrCat("function ", name);
  for (const Fraction& argument : arguments) absl::StrAppend(&key, " ", argument.ToString());
  return GeneratorFor({.key = std::move(key), .kind = Kind::kOpaque});
}

Algebra::Result Algebra::Reduce(const Fraction& polynomial) {
  Fraction result = polynomial;
  // A radicand may hold roots that were made before it: the last first.
  for (int g = static_cast<int>(generators_.size()) - 1; g >= 0; --g) {
    if (generators_[g].kind != Kind::kRoot) continue;
    const int64_t index = generators_[g].index;
    Fraction reduced;
    const int64_t num_terms = fmpz_mpoly_length(result.numerator(), FractionRing());
    for (int64_t term = 0; term < num_terms; ++term) {
      fmpz_mpoly_t monomial;
      fmpz_mpoly_init(monomial, FractionRing());
      fmpz_mpoly_get_term(monomial, result.numerator(), term, FractionRing());
      std::vector<ulong> exponents = Exponents(monomial, 0);
      const int64_t times = exponents[g] / index;
      exponents[g] %= index;
      fmpz_mpoly_set_term_exp_ui(monomial, 0, exponents.data(), FractionRing());
      Result product = Fraction::FromPolynomial(monomial);
      fmpz_mpoly_clear(monomial, FractionRing());
      const Result radicand = arithmetic_.Power(generators_[g].base, times);
      if (radicand.has_value()) product = arithmetic_.Multiply(*product, *radicand);
      const Result sum = radicand.has_value() && product.has_value() ? arithmetic_.Add(reduced, *product) : Result();
      if (!sum.has_value()) return sum;
      reduced = *sum;
    }
    result = std::move(reduced);
  }
  return result;
}

Verdict Algebra::CoefficientsVanish(const fmpz_mpoly_struct* polynomial) {
  // The terms with the same generators that are no constants.
  std::map<std::vector<ulong>, std::vector<NodeId>> groups;
  const int64_t num_terms = fmpz_mpoly_length(polynomial, FractionRing());
  for (int64_t term = 0; term < num_terms; ++term) {
    std::vector<ulong> exponents = Exponents(polynomial, term);
    std::vector<NodeId> factors = {tree_.Number(Coefficient(polynomial, term))};
    for (size_t g = 0; g < generators_.size(); ++g) {
      if (generators_[g].kind != Kind::kConstant || exponents[g] == 0) continue;
      factors.push_back(tree_.Add(Op::kPow, {generators_[g].node, tree_.Number(exponents[g])}));
      exponents[g] = 0;
    }
    groups[exponents].push_back(tree_.Add(Op::kMul, std::move(factors)));
  }
  Verdict verdict = Verdict::kEqual;
  for (const auto& [exponents, terms] : groups) {
    const Verdict zero = math::IsZero(tree_, tree_.Add(Op::kAdd, terms), natural_log_, &work_);
    if (zero == Verdict::kDifferent) return zero;
    if (zero == Verdict::kUndecided) verdict = zero;
  }
  return verdict;
}

Verdict Algebra::IsZero(const Fraction& value) {
  const Result reduced = Reduce(Fraction::FromPolynomial(value.numerator()));
  if (!reduced.has_value()) return Verdict::kUndecided;
  if (reduced->IsZero()) return Verdict::kEqual;
  const Verdict verdict = CoefficientsVanish(reduced->numerator());
  return verdict == Verdict::kDifferent && !IsFree() ? Verdict::kUndecided : verdict;
}

Verdict Algebra::AreProportional(const Fraction& a, const Fraction& b) {
  const Result x = Reduce(Fraction::FromPolynomial(a.numerator())), y = Reduce(Fraction::FromPolynomial(b.numerator()));
  if (!x.has_value() || !y.has_value()) return Verdict::kUndecided;
  if (x->IsZero() || y->IsZero()) return x->IsZero() == y->IsZero() ? Verdict::kEqual : Verdict::kDifferent;
  // The coefficients, made of constants, that both have at one monomial of the others.
  const auto without_constants = [&](std::vector<ulong> exponents) {
    for (size_t g = 0; g < generators_.size(); ++g) {
      if (generators_[g].kind == Kind::kConstant) exponents[g] = 0;
    }
    return exponents;
  };
  const std::vector<ulong> monomial = without_constants(Exponents(x->numerator(), 0));
  Fraction coefficients[2];
  for (const int side : {0, 1}) {
    const fmpz_mpoly_struct* polynomial = (side == 0 ? *x : *y).numerator();
    for (int64_t term = 0; term < fmpz_mpoly_length(polynomial, FractionRing()); ++term) {
      std::vector<ulong> exponents = Exponents(polynomial, term);
      if (without_constants(exponents) != monomial) continue;
      for (int g = 0; g < kNumGenerators; ++g) exponents[g] -= monomial[g];
      fmpz_mpoly_t part;
      fmpz_mpoly_init(part, FractionRing());
      fmpz_mpoly_get_term(part, polynomial, term, FractionRing());
      fmpz_mpoly_set_term_exp_ui(part, 0, exponents.data(), FractionRing());
      const Result sum = arithmetic_.Add(coefficients[side], Fraction::FromPolynomial(part));
      fmpz_mpoly_clear(part, FractionRing());
      if (!sum.has_value()) return Verdict::kUndecided;
      coefficients[side] = *sum;
    }
  }
  const Result left = arithmetic_.Multiply(*x, coefficients[1]), right = arithmetic_.Multiply(*y, coefficients[0]);
  if (!left.has_value() || !right.has_value()) return Verdict::kUndecided;
  const Result difference = arithmetic_.Add(*left, right->Negated());
  return difference.has_value() ? IsZero(*difference) : Verdict::kUndecided;
}

}  // namespace grpo::math
