// Sets of real numbers: intervals, points, unions, and what inequalities in one name allow.
#ifndef GRPO_REWARD_MATH_REGION_H_
#define GRPO_REWARD_MATH_REGION_H_

#include <optional>
#include <string>
#include <vector>

#include "reward/math/scalar.h"
#include "reward/math/tree.h"
#include "reward/math/verdict.h"

namespace grpo::math {

// Builds and compares the regions of one tree. One thread.
class Regions {
 public:
  Regions(Tree* tree, Scalars* scalars, Work* work) : tree_(*tree), scalars_(*scalars), work_(*work) {}

  // Whether a node is written as a region: an interval, a union, an inequality, a set of numbers.
  bool IsRegion(NodeId id) const;
  // Whether a node can be nothing else: a pair is one only by its counterpart.
  bool IsOnlyRegion(NodeId id) const;

  Decision Compare(NodeId a, NodeId b);

 private:
  struct Region {
    enum Kind { kInterval, kUnion, kIntersection, kDifference } kind = kInterval;
    // Absent: infinite.
    std::optional<NodeId> low = {}, high = {};
    bool has_low = false, has_high = false;
    // An interval that holds nothing.
    bool is_empty = false;
    std::vector<Region> parts = {};
  };
  using Built = std::optional<Region>;
  // coefficient * name + constant, both closed.
  struct Linear {
    NodeId coefficient, constant;
  };

  Built Build(NodeId id, std::string* name);
  Built BuildTuple(NodeId id);
  Built BuildList(NodeId id, std::string* name);
  Built BuildRelation(NodeId id, std::string* name);
  Built BuildInequality(NodeId left, char relation, NodeId right, std::string* name);
  Built BuildAbsolute(NodeId inside, char relation, NodeId bound, std::string* name);
  // Where name relation bound.
  static Region Ray(NodeId bound, char relation);
  static Region Combine(Region::Kind kind, std::vector<Region> parts);
  std::optional<Linear> LinearIn(NodeId id, std::string* name);

  // The bounds of all regions in order, each once; false when the order of two is not known.
  bool Collect(const Region& region);
  int IndexOf(NodeId bound) const;
  // Cells: 2i is the gap below bound i, 2i + 1 the bound itself.
  bool Contains(const Region& region, int cell) const;
  bool IsEmpty(const Region& region);

  Tree& tree_;
  Scalars& scalars_;
  Work& work_;
  std::vector<NodeId> bounds_;
  // For every node that is a bound: its place in bounds_.
  std::vector<std::pair<NodeId, NodeId>> same_as_;
};

}  // namespace grpo::math

#endif  // GRPO_REWARD_MATH_REGION_H_
