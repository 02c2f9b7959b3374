#include "reward/math/exact.h"

#include <flint/fmpz.h>

#include <algorithm>
#include <utility>
#include <vector>

namespace grpo::math {
namespace {

constexpr int64_t kMaxFactorial = 5000;

Exact Value(Rational value) {
  return {Exact::kValue, std::move(value)};
}

class Evaluator {
 public:
  Evaluator(const Tree& tree, Work* work) : tree_(tree), work_(*work) {}

  Exact Evaluate(NodeId id) {
    const Node& node = tree_[id];
    if (node.op == Op::kNumber) return node.value.Bits() > kMaxBits ? Exact{Exact::kTooLarge} : Value(node.value);
    if (!IsArithmetic(node) || !work_.Spend(1)) return {};
    std::vector<Rational> kids;
    for (const NodeId kid : node.kids) {
      Exact value = Evaluate(kid);
      if (!value.ok()) return value;
      kids.push_back(std::move(value.value));
    }
    int64_t bits = 0;
    for (const Rational& kid : kids) bits += kid.Bits();
    if (bits > kMaxBits || !work_.Spend(bits / 1024)) return {Exact::kTooLarge};
    switch (node.op) {
      case Op::kNeg:
        return Value(-kids[0]);
      case Op::kPercent:
        return Value(kids[0] / Rational(100));
      case Op::kAdd:
        return Fold(kids, [](const Rational& a, const Rational& b) { return a + b; });
      case Op::kMul:
        return Fold(kids, [](const Rational& a, const Rational& b) { return a * b; });
      case Op::kDiv:
        return kids[1].Sign() == 0 ? Exact{Exact::kUndefined} : Value(kids[0] / kids[1]);
      case Op::kPow:
        return Power(kids[0], kids[1]);
      case Op::kRoot:
        return Root(kids[0], kids[1]);
      default:
        return Function(node.text, kids);
    }
  }

 private:
  static bool IsArithmetic(const Node& node) {
    switch (node.op) {
      case Op::kNeg:
      case Op::kPercent:
      case Op::kAdd:
      case Op::kMul:
      case Op::kDiv:
      case Op::kPow:
      case Op::kRoot:
        return true;
      case Op::kFunction:
        for (const char* name :
             {"factorial", "factorial2", "binom", "abs", "floor", "ceil", "gcd", "lcm", "max", "min", "mod"}) {
          if (node.text == name) return true;
        }
        return false;
      default:
        return false;
    }
  }

  template <class F>
  static Exact Fold(const std::vector<Rational>& values, F combine) {
    Rational result = values[0];
    for (size_t i = 1; i < values.size(); ++i) result = combine(result, values[i]);
    return Value(std::move(result));
  }

  Exact Power(const Rational& base, const Rational& exponent) {
    if (!exponent.IsInteger()) {
      // a^(p/q) where the root comes out even.
      const Rational denominator = exponent.Denominator();
      const std::optional<int64_t> index = denominator.ToInt64();
      if (!index.has_value() || *index > 64 || base.Sign() < 0) return {};
      const std::optional<Rational> root = base.Root(*index);
      return root.has_value() ? Power(*root, exponent * denominator) : Exact{};
    }
    if (base.Sign() == 0) {
      if (exponent.Sign() <= 0) return {Exact::kUndefined};
      return Value(base);
    }
    if (base == Rational(1)) return Value(base);
    const std::optional<int64_t> power = exponent.ToInt64();
    if (base == Rational(-1)) {
      return Value(fmpz_is_even(fmpq_numref(exponent.get())) ? Rational(1) : base);
    }
    if (!power.has_value() || std::abs(*power) > kMaxBits || base.Bits() * std::abs(*power) > kMaxBits) {
      return {Exact::kTooLarge};
    }
    if (!work_.Spend(base.Bits() * std::abs(*power) / 1024)) return {Exact::kTooLarge};
    return Value(base.Pow(*power));
  }

  static Exact Root(const Rational& radicand, const Rational& index) {
    const std::optional<int64_t> n = index.ToInt64();
    if (!n.has_value() || *n < 1 || *n > 1000) return {};
    const std::optional<Rational> root = radicand.Root(*n);
    return root.has_value() ? Value(*root) : Exact{};
  }

  Exact Function(const std::string& name, const std::vector<Rational>& kids) {
    if (name == "max" || name == "min") {
      return Fold(kids, [&](const Rational& a, const Rational& b) { return (a < b) == (name == "max") ? b : a; });
    }
    if (name == "abs" && kids.size() == 1) return Value(kids[0].Abs());
    if (name == "floor" && kids.size() == 1) return Value(kids[0].Floor());
    if (name == "ceil" && kids.size() == 1) return Value(-(-kids[0]).Floor());
    for (const Rational& kid : kids) {
      if (!kid.IsInteger()) return {};
    }
    if (name == "gcd" || name == "lcm") return Fold(kids, name == "gcd" ? &Gcd : &Lcm);
    if (kids.size() == 2 && name == "mod") return {};
    if (kids.size() == 2 && name == "binom") return Binomial(kids[0], kids[1]);
    if (kids.size() != 1 || kids[0].Sign() < 0) return {};
    const std::optional<int64_t> n = kids[0].ToInt64();
    if (!n.has_value() || *n > kMaxFactorial || !work_.Spend(*n / 10)) return {Exact::kTooLarge};
    return Integer([&](fmpz_t result) {
      if (name == "factorial") {
        fmpz_fac_ui(result, *n);
      } else {
        fmpz_one(result);
        for (int64_t k = *n; k > 1; k -= 2) fmpz_mul_ui(result, result, k);
      }
    });
  }

  Exact Binomial(const Rational& n, const Rational& k) {
    const std::optional<int64_t> top = n.ToInt64(), bottom = k.ToInt64();
    if (!top.has_value() || !bottom.has_value() || *top < 0 || *bottom < 0) return {};
    if (*top > 10000 || !work_.Spend(*top / 10)) return {Exact::kTooLarge};
    return Integer([&](fmpz_t result) { fmpz_bin_uiui(result, *top, *bottom); });
  }

  template <class F>
  static Exact Integer(F compute) {
    fmpq_t result;
    fmpq_init(result);
    compute(fmpq_numref(result));
    Rational value(result);
    fmpq_clear(result);
    return Value(std::move(value));
  }

  static Rational Gcd(const Rational& a, const Rational& b) {
    return Integer([&](fmpz_t result) { fmpz_gcd(result, fmpq_numref(a.get()), fmpq_numref(b.get())); }).value;
  }
  static Rational Lcm(const Rational& a, const Rational& b) {
    return Integer([&](fmpz_t result) { fmpz_lcm(result, fmpq_numref(a.get()), fmpq_numref(b.get())); }).value;
  }

  const Tree& tree_;
  Work& work_;
};

// The exponent of 10^k; absent for anything else.
std::optional<int64_t> PowerOfTen(const Tree& tree, NodeId id) {
  const Node& node = tree[id];
  if (node.op != Op::kPow) return std::nullopt;
  const Node &base = tree[node.kids[0]], *exponent = &tree[node.kids[1]];
  if (base.op != Op::kNumber || !(base.value == Rational(10))) return std::nullopt;
  const bool negative = exponent->op == Op::kNeg;
  if (negative) exponent = &tree[exponent->kids[0]];
  if (exponent->op != Op::kNumber) return std::nullopt;
  const std::optional<int64_t> value = exponent->value.ToInt64();
  if (!value.has_value() || std::abs(*value) > 10000) return std::nullopt;
  return negative ? -*value : *value;
}

}  // namespace

Exact EvaluateExactly(const Tree& tree, NodeId id, Work* work) {
  return Evaluator(tree, work).Evaluate(id);
}

std::optional<Decimal> DecimalOf(const Tree& tree, NodeId id) {
  const Node& node = tree[id];
  if (node.op == Op::kNumber && node.is_decimal && node.value.Bits() <= kMaxBits) {
    return Decimal{node.value, Rational::FromDigits("1", node.last_digit_exponent), node.num_significant_digits};
  }
  if (node.op == Op::kNeg || node.op == Op::kPercent) {
    std::optional<Decimal> decimal = DecimalOf(tree, node.kids[0]);
    if (!decimal.has_value()) return std::nullopt;
    if (node.op == Op::kNeg) {
      decimal->value = -decimal->value;
    } else {
      const Rational hundredth = Rational::FromDigits("1", -2);
      decimal->value = decimal->value * hundredth;
      decimal->last_digit = decimal->last_digit * hundredth;
    }
    return decimal;
  }
  if (node.op != Op::kMul || node.kids.size() != 2) return std::nullopt;
  std::optional<Decimal> decimal = DecimalOf(tree, node.kids[0]);
  const std::optional<int64_t> exponent = PowerOfTen(tree, node.kids[1]);
  if (!decimal.has_value() || !exponent.has_value()) return std::nullopt;
  const Rational power = Rational::FromDigits("1", *exponent);
  decimal->value = decimal->value * power;
  decimal->last_digit = decimal->last_digit * power;
  return decimal;
}

}  // namespace grpo::math
