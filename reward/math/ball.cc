#include "reward/math/ball.h"

#include <acb_hypgeom.h>

#include <vector>

namespace grpo::math {
namespace {

using UnaryFunction = void (*)(acb_t, const acb_t, slong);

void Asinh(acb_t out, const acb_t in, slong precision) {
  acb_asinh(out, in, precision);
}

struct Named {
  const char* name;
  UnaryFunction function;
};

constexpr Named kFunctions[] = {
    {"sin", &acb_sin},   {"cos", &acb_cos},   {"tan", &acb_tan},   {"cot", &acb_cot},     {"sec", &acb_sec},
    {"csc", &acb_csc},   {"asin", &acb_asin}, {"acos", &acb_acos}, {"atan", &acb_atan},   {"sinh", &acb_sinh},
    {"cosh", &acb_cosh}, {"tanh", &acb_tanh}, {"asinh", &Asinh},   {"acosh", &acb_acosh}, {"atanh", &acb_atanh},
};

// A function's cost in units at a precision.
int64_t Cost(int64_t precision) {
  return 2 + precision / 100;
}

class Evaluator {
 public:
  Evaluator(const Tree& tree, const Point& point, bool natural_log, int64_t precision, Work* work)
      : tree_(tree), point_(point), natural_log_(natural_log), precision_(precision), work_(*work) {}

  Ball Evaluate(NodeId id) {
    const Node& node = tree_[id];
    Ball result;
    acb_indeterminate(result.get());
    if (!work_.Spend(1)) return result;
    switch (node.op) {
      case Op::kNumber:
        if (node.value.Bits() < (int64_t{1} << 17)) acb_set_fmpq(result.get(), node.value.get(), precision_);
        return result;
      case Op::kSymbol:
        if (const auto at = point_.find(node.text); at != point_.end()) {
          acb_set_fmpq(result.get(), at->second.get(), precision_);
        }
        return result;
      case Op::kPi:
        acb_const_pi(result.get(), precision_);
        return result;
      case Op::kE:
        acb_zero(result.get());
        arb_const_e(result.real(), precision_);
        return result;
      case Op::kI:
        acb_onei(result.get());
        return result;
      default:
        break;
    }
    std::vector<Ball> kids;
    if (node.op == Op::kQuantity && node.text != "degree" && node.text != "radian") return result;
    for (const NodeId kid : node.kids) {
      kids.push_back(Evaluate(kid));
      if (!kids.back().IsFinite()) return result;
    }
    if (!kids.empty() && work_.Spend(Cost(precision_))) Combine(node, kids, &result);
    return result;
  }

 private:
  void Combine(const Node& node, const std::vector<Ball>& kids, Ball* result) {
    acb_struct* out = result->get();
    const acb_struct* first = kids[0].get();
    switch (node.op) {
      case Op::kNeg:
        acb_neg(out, first);
        return;
      case Op::kPercent:
        acb_div_ui(out, first, 100, precision_);
        return;
      case Op::kQuantity:
        acb_set(out, first);
        if (node.text == "degree") ScaleByPi(out, 180);
        return;
      case Op::kAdd:
        acb_set(out, first);
        for (size_t i = 1; i < kids.size(); ++i) acb_add(out, out, kids[i].get(), precision_);
        return;
      case Op::kMul:
        acb_set(out, first);
        for (size_t i = 1; i < kids.size(); ++i) acb_mul(out, out, kids[i].get(), precision_);
        return;
      case Op::kDiv:
        acb_div(out, first, kids[1].get(), precision_);
        return;
      case Op::kPow:
        Power(kids[0], kids[1], out);
        return;
      case Op::kRoot:
        Root(kids[0], tree_[node.kids[1]], out);
        return;
      case Op::kFunction:
        Function(node.text, kids, out);
        return;
      default:
        return;
    }
  }

  void ScaleByPi(acb_t out, int64_t divisor) {
    Ball pi;
    acb_const_pi(pi.get(), precision_);
    acb_mul(out, out, pi.get(), precision_);
    acb_div_si(out, out, divisor, precision_);
  }

  // A negative base has square roots; what its other fractional powers are depends on who writes them.
  void Power(const Ball& base, const Ball& exponent, acb_t out) {
    if (acb_is_int(exponent.get()) || acb_is_real(base.get()) == 0 || arb_is_positive(base.real())) {
      acb_pow(out, base.get(), exponent.get(), precision_);
    } else if (acb_is_zero(base.get()) && arb_is_positive(exponent.real())) {
      acb_zero(out);
    } else if (arb_is_negative(base.real())) {
      Ball twice;
      acb_mul_ui(twice.get(), exponent.get(), 2, precision_);
      if (acb_is_int(twice.get())) acb_pow(out, base.get(), exponent.get(), precision_);
    }
  }

  // The real root of a negative number when the index is odd, else the principal one.
  void Root(const Ball& radicand, const Node& index, acb_t out) {
    const std::optional<int64_t> n = index.op == Op::kNumber ? index.value.ToInt64() : std::nullopt;
    if (!n.has_value() || *n < 1 || *n > 10000) return;
    if (*n % 2 == 1 && acb_is_real(radicand.get())) {
      if (arb_is_negative(radicand.real())) {
        acb_neg(out, radicand.get());
        acb_root_ui(out, out, *n, precision_);
        acb_neg(out, out);
        return;
      }
      if (!arb_is_nonnegative(radicand.real())) return;
    }
    acb_root_ui(out, radicand.get(), *n, precision_);
  }

  void Log(const std::vector<Ball>& kids, acb_t out) {
    if (acb_contains_zero(kids[0].get())) return;
    Ball base;
    if (kids.size() == 2) {
      base = kids[1];
    } else {
      acb_set_ui(base.get(), 10);
    }
    acb_log(out, kids[0].get(), precision_);
    if (kids.size() == 1 && natural_log_) return;
    acb_log(base.get(), base.get(), precision_);
    acb_div(out, out, base.get(), precision_);
  }

  void Function(const std::string& name, const std::vector<Ball>& kids, acb_t out) {
    if (!work_.Spend(4 * Cost(precision_))) return;
    if (name == "log" && kids.size() <= 2) {
      Log(kids, out);
      return;
    }
    if (name == "binom" && kids.size() == 2) {
      Binomial(kids[0], kids[1], out);
      return;
    }
    if (kids.size() != 1) return;
    const acb_struct* argument = kids[0].get();
    if (name == "abs") {
      acb_zero(out);
      acb_abs(acb_realref(out), argument, precision_);
    } else if (name == "factorial") {
      if (mag_cmp_2exp_si(Magnitude(kids[0]).get(), 16) < 0) Factorial(kids[0], out);
    } else if (name == "acot") {
      acb_inv(out, argument, precision_);
      acb_atan(out, out, precision_);
    } else {
      for (const Named& named : kFunctions) {
        if (name == named.name) named.function(out, argument, precision_);
      }
    }
  }

  class Bound {
   public:
    explicit Bound(const acb_struct* value) {
      mag_init(value_);
      acb_get_mag(value_, value);
    }
    Bound(const Bound&) = delete;
    ~Bound() { mag_clear(value_); }
    const mag_struct* get() const { return value_; }

   private:
    mag_t value_;
  };
  static Bound Magnitude(const Ball& ball) { return Bound(ball.get()); }

  void Factorial(const Ball& n, acb_t out) {
    Ball shifted;
    acb_add_ui(shifted.get(), n.get(), 1, precision_);
    acb_gamma(out, shifted.get(), precision_);
  }

  void Binomial(const Ball& n, const Ball& k, acb_t out) {
    if (mag_cmp_2exp_si(Magnitude(n).get(), 12) >= 0 || mag_cmp_2exp_si(Magnitude(k).get(), 12) >= 0) return;
    Ball difference, below;
    acb_sub(difference.get(), n.get(), k.get(), precision_);
    Factorial(k, below.get());
    Factorial(difference, difference.get());
    acb_mul(below.get(), below.get(), difference.get(), precision_);
    Factorial(n, out);
    acb_div(out, out, below.get(), precision_);
  }

  const Tree& tree_;
  const Point& point_;
  const bool natural_log_;
  const int64_t precision_;
  Work& work_;
};

}  // namespace

Ball EvaluateBall(const Tree& tree, NodeId id, const Point& point, bool natural_log, int64_t precision, Work* work) {
  return Evaluator(tree, point, natural_log, precision, work).Evaluate(id);
}

}  // namespace grpo::math
