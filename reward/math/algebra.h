// Equality of expressions with names in them, as functions: proven by a normal form. Expressions become rational
// functions of generators: the names, and what is no rational function of them (roots, exponentials, logarithms,
// irrational constants), which are made the same for what is known to be equal:
//   - sin, cos, tan, ... are rational functions of exp(i u); exp of a sum is a product; a^u is exp(u log a), for each
//     prime of a; exp(u/5) and exp(u/7) are powers of exp(u/35);
//   - roots of rational numbers are taken apart (power_sum.h), so that sqrt(12) u is 2 sqrt(3) u;
//   - log of a product is a sum; roots and absolute values of products are products;
//   - (n+k)! is a multiple of n!.
// Two expressions are equal when the numerator of their difference is zero modulo what the generators satisfy. The
// rules for roots, powers and logarithms of products hold where all factors are positive; the caller (scalar.h)
// compares values at points of both signs first.
#ifndef GRPO_REWARD_MATH_ALGEBRA_H_
#define GRPO_REWARD_MATH_ALGEBRA_H_

#include <functional>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "reward/math/fraction.h"
#include "reward/math/tree.h"
#include "reward/math/verdict.h"

namespace grpo::math {

// One assignment of generators; compares any number of expressions. One thread.
class Algebra {
 public:
  // `tree` grows by the closed expressions that are compared.
  Algebra(Tree* tree, bool natural_log, Work* work)
      : tree_(*tree), natural_log_(natural_log), work_(*work), arithmetic_(work) {}

  // Both in the same generators. Absent: no expressions that are known here, or too large.
  std::optional<std::pair<Fraction, Fraction>> Normalize(NodeId a, NodeId b);

  // Whether a fraction is zero. kDifferent is a proof only where no generator satisfies anything: names and constants.
  Verdict IsZero(const Fraction& value);

  // Whether one is a constant, not zero, times the other.
  Verdict AreProportional(const Fraction& a, const Fraction& b);

  // Every generator is a name, so that equal functions have one normal form.
  bool IsPure() const;
  // Every generator is a name or a constant, so that different normal forms are different functions.
  bool IsFree() const;

 private:
  enum class Kind : uint8_t {
    kName,
    // A closed expression, `node`.
    kConstant,
    // `base` to the power 1/index, or an absolute value: squared it is base, index 2.
    kRoot,
    // exp of `unit` times `base`.
    kExponential,
    // Of the polynomial `base`.
    kLogarithm,
    // Known by its name only.
    kOpaque,
  };
  struct Generator {
    std::string key;
    Kind kind;
    NodeId node = 0;
    Fraction base = {};
    int64_t index = 0;
    Rational unit = Rational();
  };
  // A factor of a product with its exponent.
  struct Factor {
    Fraction base;
    int64_t exponent;
  };
  struct Factors {
    Rational constant = Rational(1);
    std::vector<Factor> factors;
  };
  using Result = std::optional<Fraction>;

  Result Normalize(NodeId id);
  bool IsClosed(NodeId id);
  std::optional<int> IndexFor(Generator generator);
  Result GeneratorFor(Generator generator);
  Result ConstantFor(NodeId id);
  // Of a product of constants: that of their generators.
  Result ConstantsFor(NodeId id);
  Result NormalizeArithmetic(NodeId id);
  Result NormalizeFunction(NodeId id);
  Result NormalizePower(NodeId id);
  // An unknown function of normal forms: equal when those are.
  Result Opaque(const std::string& name, const std::vector<Fraction>& arguments);

  // algebra_functions.cc
  std::optional<Factors> Factorize(const Fraction& value);
  Result Root(const Fraction& radicand, int64_t index);
  // base^(power/index), with a generator for the root of the base.
  Result RootPower(const Fraction& base, int64_t power, int64_t index);
  // The root that a fraction is; null when it is something else.
  const Generator* RootOf(const Fraction& value) const;
  Result RationalPower(const Fraction& base, const Rational& exponent);
  Result Absolute(const Fraction& value);
  std::optional<int> SignOf(const Fraction& polynomial);
  Result Logarithm(const Fraction& argument);
  Result Factorial(const Fraction& argument);

  // algebra_exponentials.cc
  Result Trigonometric(const std::string& name, const Fraction& angle);
  Result Hyperbolic(const std::string& name, const Fraction& argument);
  // base^exponent of a closed base above zero (e is one), by its primes.
  Result ClosedPower(NodeId base, const Fraction& exponent);
  // base^exponent of a polynomial, each of its factors apart.
  Result SymbolicPower(const Fraction& base, const Fraction& exponent);
  // What a power of the base is whose exponent is a rational number times a closed expression.
  using ConstantPower = std::function<Result(const Rational& factor, NodeId closed)>;
  // base^exponent, term by term of the exponent; `key` names the base.
  Result Exponential(const std::string& key, const Fraction& exponent, const ConstantPower& constant_power);
  Result ExponentialOfTerm(const std::string& key, const Fraction& term, const ConstantPower& constant_power);
  // base^(factor * monomial): a power of the generator of this base and monomial.
  Result ExponentialPower(const std::string& key, const Fraction& monomial, const Rational& factor);
  // coefficient * constants * rest: the constants in the form that equal ones have, none of them in the rest.
  struct Term {
    Rational coefficient;
    NodeId constants;
    Fraction rest;
  };
  // Of a monomial over a monomial.
  std::optional<Term> Split(const Fraction& term);
  // The closed expression that a monomial of constants is; absent when it holds others.
  std::optional<NodeId> ClosedMonomial(const fmpz_mpoly_struct* polynomial, int64_t term);

  // Replaces powers of roots by their radicands in a polynomial.
  Result Reduce(const Fraction& polynomial);
  Verdict CoefficientsVanish(const fmpz_mpoly_struct* polynomial);

  Tree& tree_;
  const bool natural_log_;
  Work& work_;
  FractionArithmetic arithmetic_;
  std::vector<Generator> generators_;
  // A generator has become a finer one since it was used: what was made before says something else.
  bool is_stale_ = false;
  // Per node: 0 unknown, 1 names occur in it, 2 closed.
  std::vector<char> closed_;
};

}  // namespace grpo::math

#endif  // GRPO_REWARD_MATH_ALGEBRA_H_
