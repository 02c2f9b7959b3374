#include "reward/math/constant.h"

#include <algorithm>
#include <numeric>
#include <set>
#include <string>
#include <vector>

#include "reward/math/calcium.h"
#include "reward/math/exact.h"

namespace grpo::math {
namespace {

constexpr int64_t kMaxNodes = 200, kMaxBits = 160, kMaxFunctions = 10;
// Of the field that all roots generate, at most the product of their indices. Beyond it one call can take seconds.
constexpr int64_t kMaxDegree = 20;
// Of all angles, their common denominator in half turns: Calcium works in its cyclotomic field.
constexpr int64_t kMaxAngleDenominator = 360;

// What an expression would cost, found without computing anything.
class Size {
 public:
  explicit Size(const Tree& tree) : tree_(tree) {}

  bool Fits(NodeId id) {
    Visit(id);
    return num_nodes_ <= kMaxNodes && degree_ <= kMaxDegree && fits_ &&
           static_cast<int64_t>(functions_.size()) <= kMaxFunctions;
  }

 private:
  void Visit(NodeId id) {
    const Node& node = tree_[id];
    if (++num_nodes_ > kMaxNodes) return;
    if (node.op == Op::kNumber) fits_ &= node.value.Bits() <= kMaxBits;
    if (node.op == Op::kRoot) AddRoot(id, tree_[node.kids[1]]);
    if (node.op == Op::kPow) AddPower(id, tree_[node.kids[1]]);
    if (node.op == Op::kFunction) functions_.insert(tree_.ToString(id));
    for (const NodeId kid : node.kids) Visit(kid);
  }

  void AddDegree(NodeId id, int64_t degree) {
    if (!functions_.insert(tree_.ToString(id)).second) return;
    degree_ = degree < 1 || degree > kMaxDegree ? kMaxDegree + 1 : std::min(degree_ * degree, kMaxDegree + 1);
  }

  void AddRoot(NodeId id, const Node& index) {
    AddDegree(id, index.op == Op::kNumber ? index.value.ToInt64().value_or(0) : 0);
  }

  void AddPower(NodeId id, const Node& exponent) {
    // Integer exponents multiply; others are roots or exponentials.
    if (exponent.op == Op::kNumber && exponent.value.IsInteger()) {
      fits_ &= exponent.value.Bits() <= 6;
    } else if (exponent.op == Op::kNumber) {
      AddDegree(id, exponent.value.Bits() <= 6 ? fmpz_get_si(fmpq_denref(exponent.value.get())) : 0);
    } else if (exponent.op == Op::kDiv && tree_[exponent.kids[0]].op == Op::kNumber &&
               tree_[exponent.kids[1]].op == Op::kNumber) {
      AddDegree(id, tree_[exponent.kids[1]].value.ToInt64().value_or(0));
    }
  }

  const Tree& tree_;
  int64_t num_nodes_ = 0, degree_ = 1;
  bool fits_ = true;
  std::set<std::string> functions_;
};

class Context {
 public:
  Context() {
    ca_ctx_init(context_);
    ca_ctx_set_option(context_, CA_OPT_PREC_LIMIT, 1024);
    ca_ctx_set_option(context_, CA_OPT_QQBAR_DEG_LIMIT, 24);
    ca_ctx_set_option(context_, CA_OPT_GROEBNER_LENGTH_LIMIT, 20);
    ca_ctx_set_option(context_, CA_OPT_GROEBNER_POLY_LENGTH_LIMIT, 100);
    ca_ctx_set_option(context_, CA_OPT_GROEBNER_POLY_BITS_LIMIT, 1000);
  }
  Context(const Context&) = delete;
  ~Context() { ca_ctx_clear(context_); }
  ca_ctx_struct* get() { return context_; }

 private:
  ca_ctx_t context_;
};

class Number {
 public:
  explicit Number(ca_ctx_struct* context) : context_(context) {
    ca_init(value_, context_);
    ca_unknown(value_, context_);
  }
  Number(Number&& other) noexcept : Number(other.context_) { ca_swap(value_, other.value_, context_); }
  ~Number() { ca_clear(value_, context_); }
  ca_struct* get() { return value_; }

 private:
  ca_ctx_struct* context_;
  ca_t value_;
};

class Evaluator {
 public:
  Evaluator(const Tree& tree, bool natural_log, ca_ctx_struct* context, Work* work)
      : tree_(tree), natural_log_(natural_log), context_(context), work_(*work) {}

  Number Evaluate(NodeId id) {
    const Node& node = tree_[id];
    Number result(context_);
    ca_struct* out = result.get();
    if (!work_.Spend(20)) return result;
    switch (node.op) {
      case Op::kNumber:
        ca_set_fmpq(out, node.value.get(), context_);
        return result;
      case Op::kPi:
        ca_pi(out, context_);
        return result;
      case Op::kE:
        ca_one(out, context_);
        ca_exp(out, out, context_);
        return result;
      case Op::kI:
        ca_i(out, context_);
        return result;
      default:
        break;
    }
    const Exact exact = EvaluateExactly(tree_, id, &work_);
    if (exact.ok()) {
      if (exact.value.Bits() <= kMaxBits) ca_set_fmpq(out, exact.value.get(), context_);
      return result;
    }
    if (exact.kind != Exact::kNotRational) return result;
    if (node.op == Op::kQuantity && node.text != "degree" && node.text != "radian") return result;
    std::vector<Number> kids;
    kids.reserve(node.kids.size());
    for (const NodeId kid : node.kids) {
      kids.push_back(Evaluate(kid));
      if (CA_IS_SPECIAL(kids.back().get())) return result;
    }
    if (!kids.empty() && work_.Spend(50)) Combine(node, &kids, out);
    return result;
  }

 private:
  void Combine(const Node& node, std::vector<Number>* kids, ca_t out) {
    ca_struct* first = (*kids)[0].get();
    switch (node.op) {
      case Op::kNeg:
        ca_neg(out, first, context_);
        return;
      case Op::kPercent:
        ca_div_ui(out, first, 100, context_);
        return;
      case Op::kQuantity:
        ca_set(out, first, context_);
        if (node.text == "degree") {
          ca_pi(first, context_);
          ca_mul(out, out, first, context_);
          ca_div_ui(out, out, 180, context_);
        }
        return;
      case Op::kAdd:
        ca_set(out, first, context_);
        for (size_t i = 1; i < kids->size(); ++i) ca_add(out, out, (*kids)[i].get(), context_);
        return;
      case Op::kMul:
        ca_set(out, first, context_);
        for (size_t i = 1; i < kids->size(); ++i) ca_mul(out, out, (*kids)[i].get(), context_);
        return;
      case Op::kDiv:
        if (ca_check_is_zero((*kids)[1].get(), context_) == T_FALSE) ca_div(out, first, (*kids)[1].get(), context_);
        return;
      case Op::kPow:
        Power(node, first, (*kids)[1].get(), out);
        return;
      case Op::kRoot:
        Root(first, (*kids)[1].get(), out);
        return;
      case Op::kFunction:
        Function(node.text, kids, out);
        return;
      default:
        return;
    }
  }

  void Power(const Node& node, ca_t base, ca_t exponent, ca_t out) {
    if (tree_[node.kids[0]].op == Op::kE) {
      ca_exp(out, exponent, context_);
      return;
    }
    // As ball.cc: of negative bases only integer and half-integer powers.
    Number twice(context_);
    ca_mul_ui(twice.get(), exponent, 2, context_);
    const bool negative = ca_check_is_negative_real(base, context_) != T_FALSE;
    if (negative && ca_check_is_integer(twice.get(), context_) != T_TRUE) return;
    if (CA_IS_QQ(exponent, context_)) {
      ca_pow(out, base, exponent, context_);
      return;
    }
    // Through the logarithm, whose multiples Calcium takes apart: 2^(log_2 5).
    ca_log(out, base, context_);
    ca_mul(out, out, exponent, context_);
    ca_exp(out, out, context_);
  }

  void Root(ca_t radicand, ca_t index, ca_t out) {
    if (!CA_IS_QQ(index, context_) || !fmpz_is_one(CA_FMPQ_DENREF(index))) return;
    fmpq_t exponent;
    fmpq_init(exponent);
    fmpq_inv(exponent, CA_FMPQ(index));
    const bool is_odd = fmpz_is_odd(CA_FMPQ_NUMREF(index));
    const truth_t negative = ca_check_is_negative_real(radicand, context_);
    if (is_odd && negative == T_TRUE) {
      ca_neg(out, radicand, context_);
      ca_pow_fmpq(out, out, exponent, context_);
      ca_neg(out, out, context_);
    } else if (!is_odd || negative == T_FALSE) {
      ca_pow_fmpq(out, radicand, exponent, context_);
    }
    fmpq_clear(exponent);
  }

  void Log(std::vector<Number>* kids, ca_t out) {
    ca_struct* argument = (*kids)[0].get();
    if (ca_check_is_zero(argument, context_) != T_FALSE) return;
    Number base(context_);
    if (kids->size() == 2) {
      ca_set(base.get(), (*kids)[1].get(), context_);
    } else {
      ca_set_ui(base.get(), 10, context_);
    }
    ca_log(out, argument, context_);
    if (kids->size() == 1 && natural_log_) return;
    ca_log(base.get(), base.get(), context_);
    if (ca_check_is_zero(base.get(), context_) != T_FALSE) {
      ca_unknown(out, context_);
      return;
    }
    ca_div(out, out, base.get(), context_);
  }

  bool AngleFits(ca_t angle) {
    Number turns(context_);
    Number pi(context_);
    ca_pi(pi.get(), context_);
    ca_div(turns.get(), angle, pi.get(), context_);
    if (!CA_IS_QQ(turns.get(), context_)) return true;
    const fmpz* denominator = CA_FMPQ_DENREF(turns.get());
    if (fmpz_cmp_si(denominator, kMaxAngleDenominator) > 0) return false;
    common_denominator_ = std::lcm(common_denominator_, fmpz_get_si(denominator));
    return common_denominator_ <= kMaxAngleDenominator;
  }

  void Function(const std::string& name, std::vector<Number>* kids, ca_t out) {
    if (!work_.Spend(200)) return;
    ca_struct* argument = (*kids)[0].get();
    if (name == "log" && kids->size() <= 2) {
      Log(kids, out);
      return;
    }
    if (kids->size() != 1) return;
    if (name == "abs") ca_abs(out, argument, context_);
    if (name == "asin") ca_asin(out, argument, context_);
    if (name == "acos") ca_acos(out, argument, context_);
    if (name == "atan") ca_atan(out, argument, context_);
    if (name == "sinh" || name == "cosh" || name == "tanh") Hyperbolic(name, argument, out);
    if (name == "sin" || name == "cos" || name == "tan" || name == "cot" || name == "sec" || name == "csc") {
      Trigonometric(name, argument, out);
    }
  }

  void Trigonometric(const std::string& name, ca_t angle, ca_t out) {
    if (!AngleFits(angle)) return;
    Number sine(context_), cosine(context_);
    ca_sin_cos(sine.get(), cosine.get(), angle, context_);
    if (name == "sin") ca_set(out, sine.get(), context_);
    if (name == "cos") ca_set(out, cosine.get(), context_);
    if (name == "tan") Divide(sine.get(), cosine.get(), out);
    if (name == "cot") Divide(cosine.get(), sine.get(), out);
    Number one(context_);
    ca_one(one.get(), context_);
    if (name == "sec") Divide(one.get(), cosine.get(), out);
    if (name == "csc") Divide(one.get(), sine.get(), out);
  }

  void Hyperbolic(const std::string& name, ca_t argument, ca_t out) {
    Number up(context_), down(context_), sum(context_), difference(context_);
    ca_exp(up.get(), argument, context_);
    ca_inv(down.get(), up.get(), context_);
    ca_add(sum.get(), up.get(), down.get(), context_);
    ca_sub(difference.get(), up.get(), down.get(), context_);
    if (name == "tanh") {
      Divide(difference.get(), sum.get(), out);
    } else {
      ca_div_ui(out, name == "sinh" ? difference.get() : sum.get(), 2, context_);
    }
  }

  void Divide(ca_t numerator, ca_t denominator, ca_t out) {
    if (ca_check_is_zero(denominator, context_) == T_FALSE) ca_div(out, numerator, denominator, context_);
  }

  const Tree& tree_;
  const bool natural_log_;
  ca_ctx_struct* context_;
  Work& work_;
  int64_t common_denominator_ = 1;
};

}  // namespace

Verdict IsZero(const Tree& tree, NodeId id, bool natural_log, Work* work) {
  if (!Size(tree).Fits(id) || !work->Spend(300)) return Verdict::kUndecided;
  Context context;
  Number value = Evaluator(tree, natural_log, context.get(), work).Evaluate(id);
  if (CA_IS_SPECIAL(value.get()) || !work->Spend(500)) return Verdict::kUndecided;
  switch (ca_check_is_zero(value.get(), context.get())) {
    case T_TRUE:
      return Verdict::kEqual;
    case T_FALSE:
      return Verdict::kDifferent;
    default:
      return Verdict::kUndecided;
  }
}

}  // namespace grpo::math
