#include "reward/math/power_sum.h"

#include <flint/fmpz.h>
#include <flint/ulong_extras.h>

#include <algorithm>
#include <numeric>
#include <utility>

#include "absl/strings/ascii.h"
#include "absl/strings/str_cat.h"
#include "reward/math/ball.h"
#include "reward/math/exact.h"

namespace grpo::math {
namespace {

// Of a sum; of the products that a multiplication makes.
constexpr size_t kMaxTerms = 48, kMaxProducts = 400;
// Of a coefficient, and of an exponent.
constexpr int64_t kMaxBits = 8192, kMaxExponentBits = 4096;
// Integer powers up to so many bits belong to the coefficient; of larger ones the exponents are multiples of this.
constexpr int64_t kWrittenBits = 1024, kExponentStep = 64;
constexpr int64_t kMaxSumPower = 32, kMaxDepth = 128;
constexpr size_t kMaxBaseChars = 1000;
// Primes below it are searched for in integers that do not fit a word.
constexpr uint64_t kTrialBound = 1000;

class Integer {
 public:
  explicit Integer(const fmpz_t value) { fmpz_init_set(value_, value); }
  Integer(const Integer&) = delete;
  ~Integer() { fmpz_clear(value_); }
  fmpz* get() { return value_; }

 private:
  fmpz_t value_;
};

Rational RationalOf(const fmpz_t numerator) {
  fmpq_t value;
  fmpq_init(value);
  fmpz_set(fmpq_numref(value), numerator);
  const Rational result(value);
  fmpq_clear(value);
  return result;
}

Rational Denominator(const Rational& value) {
  return RationalOf(fmpq_denref(value.get()));
}

bool IsOdd(const Rational& integer) {
  return fmpz_is_odd(fmpq_numref(integer.get()));
}

bool IsPrime(const std::string& base) {
  return absl::ascii_isdigit(base[0]);
}

// The value of a base that is an integer.
std::optional<Rational> ValueOf(const std::string& base) {
  if (!IsPrime(base) && base[0] != '?') return std::nullopt;
  return Rational::FromDigits(base[0] == '?' ? base.substr(1) : base, 0);
}

// A sum of products without a common denominator.
class Sum {
 public:
  using Terms = std::map<Powers, Rational>;

  Sum() = default;
  explicit Sum(Rational value) { Add({}, std::move(value)); }

  void Add(const Powers& powers, const Rational& coefficient) {
    Rational& total = terms[powers];
    total = total + coefficient;
    if (total.Sign() == 0) terms.erase(powers);
  }
  bool IsZero() const { return terms.empty(); }
  bool IsSingle() const { return terms.size() == 1; }
  bool IsOne() const { return IsSingle() && terms.begin()->first.empty() && terms.begin()->second == Rational(1); }
  std::string ToString() const {
    std::string text;
    for (const auto& [powers, coefficient] : terms) {
      absl::StrAppend(&text, "+", coefficient.ToString());
      for (const auto& [base, exponent] : powers) absl::StrAppend(&text, "*", base, "^", exponent.ToString());
    }
    return text;
  }

  Terms terms;
};

// numerator / denominator, the latter proven not to be zero.
struct Quotient {
  Sum numerator, denominator;
};

class Evaluator {
 public:
  Evaluator(const Tree& tree, Work* work) : tree_(tree), work_(*work) {}

  std::optional<Quotient> Evaluate(NodeId id) {
    if (depth_ >= kMaxDepth || !work_.Spend(2)) return std::nullopt;
    ++depth_;
    std::optional<Quotient> result = EvaluateNode(id);
    --depth_;
    return result;
  }

  std::optional<Sum> Multiply(const Sum& a, const Sum& b) {
    const size_t num_products = a.terms.size() * b.terms.size();
    if (num_products > kMaxProducts || !work_.Spend(1 + num_products)) return std::nullopt;
    Sum result;
    for (const auto& [powers_a, coefficient_a] : a.terms) {
      for (const auto& [powers_b, coefficient_b] : b.terms) {
        Powers powers = powers_a;
        for (const auto& [base, exponent] : powers_b) powers[base] = powers[base] + exponent;
        if (!AddProduct(std::move(powers), coefficient_a * coefficient_b, &result)) return std::nullopt;
      }
    }
    return result;
  }

  // The primes of a positive rational number, with what is left of it as a base of its own.
  std::optional<Powers> Factor(const Rational& value) {
    Powers powers;
    const bool fits = AddFactors(fmpq_numref(value.get()), Rational(1), &powers) &&
                      AddFactors(fmpq_denref(value.get()), Rational(-1), &powers);
    return fits ? std::optional<Powers>(std::move(powers)) : std::nullopt;
  }

 private:
  static std::optional<Quotient> Whole(std::optional<Sum> sum) {
    if (!sum.has_value()) return std::nullopt;
    return Quotient{*std::move(sum), Sum(Rational(1))};
  }

  std::optional<Quotient> EvaluateNode(NodeId id) {
    const Node& node = tree_[id];
    switch (node.op) {
      case Op::kNumber:
        return node.value.Bits() > kMaxBits ? std::nullopt : Whole(Sum(node.value));
      case Op::kPi:
        return Base("pi");
      case Op::kE:
        return Base("e");
      case Op::kI:
        return Base("i");
      case Op::kNeg:
      case Op::kPercent:
      case Op::kAdd:
      case Op::kMul:
      case Op::kDiv:
        return Arithmetic(id);
      case Op::kPow: {
        const Exact exponent = EvaluateExactly(tree_, node.kids[1], &work_);
        if (!exponent.ok() || exponent.value.Bits() > kMaxExponentBits) return std::nullopt;
        return Power(node.kids[0], exponent.value, /*is_root=*/false);
      }
      case Op::kRoot: {
        const Exact index = EvaluateExactly(tree_, node.kids[1], &work_);
        if (!index.ok() || !index.value.IsInteger() || index.value.Sign() <= 0 || index.value.Bits() > 32)
          return std::nullopt;
        return Power(node.kids[0], Rational(1) / index.value, /*is_root=*/true);
      }
      case Op::kFunction: {
        const Exact exact = EvaluateExactly(tree_, id, &work_);
        return exact.ok() && exact.value.Bits() <= kMaxBits ? Whole(Sum(exact.value)) : std::nullopt;
      }
      default:
        return std::nullopt;
    }
  }

  static std::optional<Quotient> Base(const char* name) {
    Sum sum;
    sum.Add({{name, Rational(1)}}, Rational(1));
    return Whole(std::move(sum));
  }

  std::optional<Quotient> Arithmetic(NodeId id) {
    const Op op = tree_[id].op;
    std::optional<Quotient> result = Evaluate(tree_[id].kids[0]);
    if (op == Op::kNeg || op == Op::kPercent) {
      return result.has_value() ? Product(*result, {Sum(op == Op::kNeg ? Rational(-1) : Rational(1) / Rational(100)),
                                                    Sum(Rational(1))})
                                : result;
    }
    for (size_t i = 1; i < tree_[id].kids.size() && result.has_value(); ++i) {
      const std::optional<Quotient> next = Evaluate(tree_[id].kids[i]);
      if (!next.has_value()) return next;
      if (op == Op::kAdd) {
        result = Total(*result, *next);
      } else if (op == Op::kMul) {
        result = Product(*result, *next);
      } else {
        const std::optional<Quotient> inverse = Inverse(*next, tree_[id].kids[i]);
        result = inverse.has_value() ? Product(*result, *inverse) : inverse;
      }
    }
    return result;
  }

  std::optional<Quotient> Total(const Quotient& a, const Quotient& b) {
    const std::optional<Sum> left = Multiply(a.numerator, b.denominator), right = Multiply(b.numerator, a.denominator);
    std::optional<Sum> below = Multiply(a.denominator, b.denominator);
    if (!left.has_value() || !right.has_value() || !below.has_value()) return std::nullopt;
    Quotient result{*left, *std::move(below)};
    for (const auto& [powers, coefficient] : right->terms) result.numerator.Add(powers, coefficient);
    if (result.numerator.terms.size() > kMaxTerms) return std::nullopt;
    return result;
  }

  std::optional<Quotient> Product(const Quotient& a, const Quotient& b) {
    std::optional<Sum> above = Multiply(a.numerator, b.numerator), below = Multiply(a.denominator, b.denominator);
    if (!above.has_value() || !below.has_value()) return std::nullopt;
    if (above->terms.size() > kMaxTerms || below->terms.size() > kMaxTerms) return std::nullopt;
    return Quotient{*std::move(above), *std::move(below)};
  }

  // 1 / value, of the expression `id`; absent where it is not proven that this is not zero.
  std::optional<Quotient> Inverse(const Quotient& value, NodeId id) {
    if (value.numerator.IsZero()) return std::nullopt;
    if (value.numerator.IsSingle()) {
      const auto& [powers, coefficient] = *value.numerator.terms.begin();
      Powers inverse;
      for (const auto& [base, exponent] : powers) inverse[base] = -exponent;
      Sum sum;
      if (!AddProduct(std::move(inverse), Rational(1) / coefficient, &sum)) return std::nullopt;
      return Product({std::move(sum), Sum(Rational(1))}, {value.denominator, Sum(Rational(1))});
    }
    const Ball ball = EvaluateBall(tree_, id, {}, /*natural_log=*/false, /*precision=*/96, &work_);
    if (!ball.IsFinite() || acb_contains_zero(ball.get())) return std::nullopt;
    return Quotient{value.denominator, value.numerator};
  }

  std::optional<Quotient> Power(NodeId base_id, const Rational& exponent, bool is_root) {
    const std::optional<Quotient> base = Evaluate(base_id);
    if (!base.has_value() || base->numerator.IsZero() || exponent.Sign() == 0) return std::nullopt;
    if (base->denominator.IsSingle()) {
      const std::optional<Quotient> below = Inverse({base->denominator, Sum(Rational(1))}, base_id);
      const std::optional<Sum> whole = below.has_value() ? Multiply(base->numerator, below->numerator) : std::nullopt;
      if (!whole.has_value()) return std::nullopt;
      if (whole->IsSingle()) {
        const auto& [powers, coefficient] = *whole->terms.begin();
        return SinglePower(powers, coefficient, exponent, is_root);
      }
      if (!exponent.IsInteger()) return SumPower(*whole, base_id, exponent);
    }
    const std::optional<int64_t> times = exponent.ToInt64();
    if (!times.has_value() || std::abs(*times) > kMaxSumPower) return std::nullopt;
    std::optional<Quotient> result = base;
    for (int64_t k = 1; k < std::abs(*times) && result.has_value(); ++k) result = Product(*result, *base);
    return result.has_value() && *times < 0 ? Inverse(*result, base_id) : result;
  }

  // As ball.cc: the real root of a negative number when the index is odd; of its other powers only integer and
  // half-integer ones.
  std::optional<Quotient> SinglePower(const Powers& powers, const Rational& coefficient, const Rational& exponent,
                                      bool is_root) {
    const bool is_negative = coefficient.Sign() < 0;
    Rational sign(1);
    Powers result;
    if (!exponent.IsInteger()) {
      if (powers.count("i") > 0) return std::nullopt;
      if (is_negative) {
        const Rational index = Denominator(exponent);
        if (is_root && IsOdd(index)) {
          sign = Rational(-1);
        } else if (index == Rational(2)) {
          result["i"] = exponent * index;
        } else {
          return std::nullopt;
        }
      }
    } else if (is_negative && IsOdd(exponent)) {
      sign = Rational(-1);
    }
    for (const auto& [base, power] : powers) result[base] = result[base] + power * exponent;
    const std::optional<int64_t> times = exponent.ToInt64();
    const Rational magnitude = coefficient.Abs();
    const bool is_small =
        times.has_value() && std::abs(*times) < kMaxBits && magnitude.Bits() * std::abs(*times) < kWrittenBits;
    if (is_small || magnitude == Rational(1)) {
      if (is_small) sign = sign * magnitude.Pow(*times);
    } else {
      const std::optional<Powers> factors = Factor(magnitude);
      if (!factors.has_value()) return std::nullopt;
      for (const auto& [base, power] : *factors) result[base] = result[base] + power * exponent;
    }
    Sum sum;
    if (!AddProduct(std::move(result), sign, &sum)) return std::nullopt;
    return Whole(std::move(sum));
  }

  // A root of a sum that is proven to be positive: its content apart, the rest is a base of its own.
  std::optional<Quotient> SumPower(const Sum& sum, NodeId id, const Rational& exponent) {
    const Ball ball = EvaluateBall(tree_, id, {}, /*natural_log=*/false, /*precision=*/96, &work_);
    if (!ball.IsFinite() || !acb_is_real(ball.get()) || !arb_is_positive(ball.real())) return std::nullopt;
    Rational content;
    for (const auto& [powers, coefficient] : sum.terms) {
      fmpq_t common;
      fmpq_init(common);
      fmpq_gcd(common, content.get(), coefficient.get());
      content = Rational(common);
      fmpq_clear(common);
    }
    Sum primitive;
    for (const auto& [powers, coefficient] : sum.terms) primitive.Add(powers, coefficient / content);
    const std::string base = absl::StrCat("(", primitive.ToString(), ")");
    if (base.size() > kMaxBaseChars) return std::nullopt;
    sums_.emplace(base, primitive);
    return SinglePower({{base, Rational(1)}}, content, exponent, /*is_root=*/true);
  }

  // Adds coefficient times a product of any powers to *sum, in the form that each product has once.
  bool AddProduct(Powers powers, Rational coefficient, Sum* sum) {
    Powers kept;
    std::optional<Sum> expanded;
    for (const auto& [base, exponent] : powers) {
      if (exponent.Sign() == 0) continue;
      if (exponent.Bits() > kMaxExponentBits) return false;
      const Rational whole = exponent.Floor();
      const std::optional<int64_t> times = whole.ToInt64();
      if (base == "i") {
        if (!exponent.IsInteger()) return false;
        if (fmpz_fdiv_ui(fmpq_numref(exponent.get()), 4) >= 2) coefficient = -coefficient;
        if (IsOdd(exponent)) kept[base] = Rational(1);
      } else if (const std::optional<Rational> value = ValueOf(base); value.has_value()) {
        const bool is_written =
            times.has_value() && std::abs(*times) <= kWrittenBits && std::abs(*times) * value->Bits() <= kWrittenBits;
        const int64_t rest = is_written ? *times : fmpz_fdiv_ui(fmpq_numref(whole.get()), kExponentStep);
        if (rest * value->Bits() > kMaxBits) return false;
        coefficient = coefficient * value->Pow(rest);
        if (const Rational left = exponent - Rational(rest); left.Sign() != 0) kept[base] = left;
      } else if (base[0] == '(' && times.has_value() && *times >= 1) {
        if (*times > kMaxSumPower) return false;
        if (!expanded.has_value()) expanded = Sum(Rational(1));
        for (int64_t k = 0; k < *times && expanded.has_value(); ++k) expanded = Multiply(*expanded, sums_.at(base));
        if (!expanded.has_value()) return false;
        if (const Rational left = exponent - whole; left.Sign() != 0) kept[base] = left;
      } else {
        kept[base] = exponent;
      }
    }
    if (coefficient.Bits() > kMaxBits) return false;
    if (!expanded.has_value()) {
      sum->Add(kept, coefficient);
      return true;
    }
    Sum rest;
    rest.Add(kept, coefficient);
    const std::optional<Sum> product = Multiply(*expanded, rest);
    if (!product.has_value()) return false;
    for (const auto& [product_powers, product_coefficient] : product->terms)
      sum->Add(product_powers, product_coefficient);
    return true;
  }

  // The factors of a positive integer with `weight` as the exponent of each.
  bool AddFactors(const fmpz_t positive, const Rational& weight, Powers* powers) {
    if (fmpz_bits(positive) > kMaxBits || !work_.Spend(5)) return false;
    Integer rest(positive);
    const auto add = [&](const std::string& base, int64_t times) {
      (*powers)[base] = (*powers)[base] + weight * Rational(times);
    };
    if (!fmpz_abs_fits_ui(rest.get())) {
      if (!work_.Spend(50 + fmpz_bits(rest.get()) / 20)) return false;
      for (uint64_t prime = 2; prime < kTrialBound; prime = n_nextprime(prime, /*proved=*/1)) {
        fmpz_t factor;
        fmpz_init_set_ui(factor, prime);
        const int64_t times = fmpz_remove(rest.get(), rest.get(), factor);
        fmpz_clear(factor);
        if (times > 0) add(absl::StrCat(prime), times);
      }
    }
    if (fmpz_is_one(rest.get())) return true;
    if (!fmpz_abs_fits_ui(rest.get())) {
      Integer root(rest.get());
      const int64_t times = fmpz_is_perfect_power(root.get(), rest.get());
      add(absl::StrCat("?", RationalOf(times > 0 ? root.get() : rest.get()).ToString()), std::max<int64_t>(times, 1));
      return true;
    }
    if (!work_.Spend(fmpz_bits(rest.get()) > 40 ? 200 : 5)) return false;
    n_factor_t factors;
    n_factor_init(&factors);
    n_factor(&factors, fmpz_get_ui(rest.get()), /*proved=*/1);
    for (int i = 0; i < factors.num; ++i) add(absl::StrCat(factors.p[i]), factors.exp[i]);
    return true;
  }

  const Tree& tree_;
  Work& work_;
  int depth_ = 0;
  // What the bases in parentheses are.
  std::map<std::string, Sum> sums_;
};

// Whether a coefficient times powers is 1.
Verdict IsOne(Powers powers, Rational coefficient, Evaluator* evaluator) {
  if (coefficient.Sign() < 0) return Verdict::kDifferent;
  const std::optional<Powers> factors = evaluator->Factor(coefficient);
  if (!factors.has_value()) return Verdict::kUndecided;
  for (const auto& [base, exponent] : *factors) powers[base] = powers[base] + exponent;
  Verdict verdict = Verdict::kEqual;
  bool are_primes = true;
  for (const auto& [base, exponent] : powers) {
    if (exponent.Sign() == 0) continue;
    verdict = Verdict::kDifferent;
    are_primes &= IsPrime(base);
  }
  return verdict == Verdict::kDifferent && !are_primes ? Verdict::kUndecided : verdict;
}

// Roots of different products of primes, none of them rational, are linearly independent over the rational numbers and
// over Q(i) (A. Besicovitch, 1940).
bool AreIndependent(const Sum& sum) {
  for (const auto& [powers, coefficient] : sum.terms) {
    for (const auto& [base, exponent] : powers) {
      if (base != "i" && !(IsPrime(base) && exponent.Sign() > 0 && exponent < Rational(1))) return false;
    }
  }
  return true;
}

// An expression for powers; absent where a base is a sum.
std::optional<NodeId> NodeFor(const Powers& powers, Tree* tree) {
  std::vector<NodeId> factors;
  // One root for all that fit in one.
  int64_t index = 1;
  Rational radicand(1);
  for (const auto& [base, exponent] : powers) {
    const std::optional<int64_t> denominator = Denominator(exponent).ToInt64();
    if (ValueOf(base).has_value() && denominator.has_value() && *denominator <= 1000 && index <= 1000)
      index = std::lcm(index, *denominator);
  }
  for (const auto& [base, exponent] : powers) {
    if (base[0] == '(') return std::nullopt;
    const std::optional<Rational> value = ValueOf(base);
    const std::optional<int64_t> times = (exponent * Rational(index)).ToInt64();
    if (value.has_value() && times.has_value() && *times > 0 && *times < index &&
        radicand.Bits() + value->Bits() * *times <= 160) {
      radicand = radicand * value->Pow(*times);
      continue;
    }
    const NodeId node = value.has_value() ? tree->Number(*value)
                        : base == "pi"    ? tree->Add(Op::kPi, {})
                        : base == "e"     ? tree->Add(Op::kE, {})
                                          : tree->Add(Op::kI, {});
    factors.push_back(exponent == Rational(1) ? node : tree->Add(Op::kPow, {node, tree->Number(exponent)}));
  }
  if (!(radicand == Rational(1)))
    factors.push_back(tree->Add(Op::kRoot, {tree->Number(radicand), tree->Number(index)}));
  if (factors.empty()) return tree->Number(1);
  return factors.size() == 1 ? factors[0] : tree->Add(Op::kMul, std::move(factors));
}

}  // namespace

std::optional<std::vector<PowerTerm>> PowerTermsOf(Tree* tree, NodeId id, Work* work) {
  Evaluator evaluator(*tree, work);
  const std::optional<Quotient> value = evaluator.Evaluate(id);
  if (!value.has_value() || !value->denominator.IsOne()) return std::nullopt;
  std::vector<PowerTerm> terms;
  for (const auto& [powers, coefficient] : value->numerator.terms) {
    const std::optional<NodeId> node = NodeFor(powers, tree);
    if (!node.has_value()) return std::nullopt;
    terms.push_back({coefficient, *node});
  }
  return terms;
}

Verdict ComparePowerSums(const Tree& tree, NodeId a, NodeId b, Work* work) {
  Evaluator evaluator(tree, work);
  const std::optional<Quotient> x = evaluator.Evaluate(a);
  const std::optional<Quotient> y = x.has_value() ? evaluator.Evaluate(b) : std::nullopt;
  if (!y.has_value()) return Verdict::kUndecided;
  const std::optional<Sum> left = evaluator.Multiply(x->numerator, y->denominator),
                           right = evaluator.Multiply(y->numerator, x->denominator);
  if (!left.has_value() || !right.has_value()) return Verdict::kUndecided;
  if (left->IsZero() || right->IsZero()) {
    if (left->IsZero() && right->IsZero()) return Verdict::kEqual;
    // One term is never zero.
    const Sum& other = left->IsZero() ? *right : *left;
    return other.IsSingle() || AreIndependent(other) ? Verdict::kDifferent : Verdict::kUndecided;
  }
  if (left->IsSingle() && right->IsSingle()) {
    Powers quotient = left->terms.begin()->first;
    for (const auto& [base, exponent] : right->terms.begin()->first) quotient[base] = quotient[base] - exponent;
    const Verdict verdict =
        IsOne(std::move(quotient), left->terms.begin()->second / right->terms.begin()->second, &evaluator);
    if (verdict != Verdict::kUndecided) return verdict;
  }
  Sum difference = *left;
  for (const auto& [powers, coefficient] : right->terms) difference.Add(powers, -coefficient);
  if (difference.IsZero()) return Verdict::kEqual;
  // In units of its first term, so that powers too large to write out come near each other.
  Powers inverse;
  for (const auto& [base, exponent] : difference.terms.begin()->first) inverse[base] = -exponent;
  Sum unit;
  unit.Add(inverse, Rational(1));
  const std::optional<Sum> scaled = evaluator.Multiply(difference, unit);
  if (!scaled.has_value()) return Verdict::kUndecided;
  if (scaled->IsZero()) return Verdict::kEqual;
  return scaled->IsSingle() || AreIndependent(*scaled) ? Verdict::kDifferent : Verdict::kUndecided;
}

}  // namespace grpo::math
