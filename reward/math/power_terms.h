// What power_sum.cc computes with: sums of products of powers, and their quotients.
#ifndef GRPO_REWARD_MATH_POWER_TERMS_H_
#define GRPO_REWARD_MATH_POWER_TERMS_H_

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <utility>

#include "absl/strings/str_cat.h"
#include "reward/math/power_sum.h"

namespace grpo::math {

// Whether a base of powers is a prime.
bool IsPrimeBase(const std::string& base);

// The value of a base that is an integer.
std::optional<Rational> ValueOfBase(const std::string& base);

// A sum of products without a common denominator.
class PowerTerms {
 public:
  using Terms = std::map<Powers, Rational>;

  PowerTerms() = default;
  explicit PowerTerms(Rational value) { Add({}, std::move(value)); }

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
struct PowerQuotient {
  PowerTerms numerator, denominator;
};

// Evaluates closed expressions; what bases in parentheses are holds for all of them. Absent: no such sum, or too large.
// One thread.
class PowerEvaluator {
 public:
  PowerEvaluator(const Tree& tree, Work* work) : tree_(tree), work_(*work) {}

  std::optional<PowerQuotient> Evaluate(NodeId id);
  std::optional<PowerTerms> Multiply(const PowerTerms& a, const PowerTerms& b);
  // The primes of a positive rational number, with what is left of it as a base of its own.
  std::optional<Powers> Factor(const Rational& value);

 private:
  static std::optional<PowerQuotient> Whole(std::optional<PowerTerms> sum);
  std::optional<PowerQuotient> EvaluateNode(NodeId id);
  static std::optional<PowerQuotient> Base(const char* name);
  std::optional<PowerQuotient> Arithmetic(NodeId id);
  std::optional<PowerQuotient> Total(const PowerQuotient& a, const PowerQuotient& b);
  std::optional<PowerQuotient> Product(const PowerQuotient& a, const PowerQuotient& b);
  // 1 / value, of the expression `id`; absent where it is not proven that this is not zero.
  std::optional<PowerQuotient> Inverse(const PowerQuotient& value, NodeId id);
  std::optional<PowerQuotient> Power(NodeId base_id, const Rational& exponent, bool is_root);
  // As ball.cc: the real root of a negative number when the index is odd; of its other powers only integer and
  // half-integer ones.
  std::optional<PowerQuotient> SinglePower(const Powers& powers, const Rational& coefficient, const Rational& exponent,
                                           bool is_root);
  // A root of a sum that is proven to be positive: its content apart, the rest is a base of its own.
  std::optional<PowerQuotient> SumPower(const PowerTerms& sum, NodeId id, const Rational& exponent);
  // Adds coefficient times a product of any powers to *sum, in the form that each product has once.
  bool AddProduct(Powers powers, Rational coefficient, PowerTerms* sum);
  // The factors of a positive integer with `weight` as the exponent of each.
  bool AddFactors(const fmpz_t positive, const Rational& weight, Powers* powers);

  const Tree& tree_;
  Work& work_;
  int depth_ = 0;
  // What the bases in parentheses are.
  std::map<std::string, PowerTerms> sums_;
};

}  // namespace grpo::math

#endif  // GRPO_REWARD_MATH_POWER_TERMS_H_
