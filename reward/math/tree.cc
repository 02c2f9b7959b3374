#include "reward/math/tree.h"

namespace grpo::math {
namespace {

// How an operator is written between, before or around its kids.
struct Form {
  const char *open, *between, *close;
};

Form FormOf(const Node& node) {
  switch (node.op) {
    case Op::kAdd:
      return {"(", " + ", ")"};
    case Op::kMul:
      return {"(", "*", ")"};
    case Op::kDiv:
      return {"(", "/", ")"};
    case Op::kNeg:
      return {"-", "", ""};
    case Op::kPow:
      return {"(", "^", ")"};
    case Op::kRoot:
      return {"root(", ", ", ")"};
    case Op::kPercent:
      return {"", "", "%"};
    case Op::kSet:
      return {"{", ", ", "}"};
    case Op::kList:
      return {"", ", ", ""};
    case Op::kRatio:
      return {"", " : ", ""};
    case Op::kUnion:
      return {"", " cup ", ""};
    case Op::kIntersection:
      return {"", " cap ", ""};
    case Op::kSetMinus:
      return {"", " setminus ", ""};
    default:
      return {"(", ", ", ")"};
  }
}

const char* NameOf(Op op) {
  switch (op) {
    case Op::kPi:
      return "pi";
    case Op::kE:
      return "e";
    case Op::kI:
      return "i";
    case Op::kInfinity:
      return "infinity";
    case Op::kEmptySet:
      return "{}";
    default:
      return "";
  }
}

const char* SignOf(char relation) {
  switch (relation) {
    case kEqual:
      return " = ";
    case kNotEqual:
      return " != ";
    case kLess:
      return " < ";
    case kLessEqual:
      return " <= ";
    case kGreater:
      return " > ";
    case kGreaterEqual:
      return " >= ";
    case kApproximately:
      return " ~ ";
    case kElement:
      return " in ";
    case kNotElement:
      return " not in ";
    case kCongruent:
      return " mod= ";
    default:
      return " subset ";
  }
}

}  // namespace

bool Tree::SameForm(NodeId a, NodeId b) const {
  if (a == b) return true;
  const Node &x = nodes_[a], &y = nodes_[b];
  if (x.op != y.op || x.text != y.text || x.kids.size() != y.kids.size() || x.num_columns != y.num_columns)
    return false;
  if (x.op == Op::kNumber && !(x.value == y.value)) return false;
  for (size_t i = 0; i < x.kids.size(); ++i) {
    if (!SameForm(x.kids[i], y.kids[i])) return false;
  }
  return true;
}

std::string Tree::ToString(NodeId id) const {
  std::string result;
  Write(id, &result);
  return result;
}

void Tree::Write(NodeId id, std::string* out) const {
  const Node& node = nodes_[id];
  if (node.op == Op::kNumber) {
    out->append(node.value.ToString());
    return;
  }
  if (node.op == Op::kSymbol || node.op == Op::kText || node.op == Op::kNumberSet) {
    out->append(node.text);
    return;
  }
  if (node.kids.empty()) {
    out->append(node.op == Op::kFunction ? node.text : NameOf(node.op));
    return;
  }
  const Form form = FormOf(node);
  if (node.op == Op::kFunction || node.op == Op::kPlusMinus) out->append(node.text);
  out->append(node.op == Op::kTuple ? node.text.substr(0, 1) : form.open);
  for (size_t i = 0; i < node.kids.size(); ++i) {
    if (i > 0) {
      const bool new_row = node.op == Op::kMatrix && i % node.num_columns == 0;
      out->append(node.op == Op::kRelation ? SignOf(node.text[i - 1]) : new_row ? "; " : form.between);
    }
    Write(node.kids[i], out);
  }
  out->append(node.op == Op::kTuple ? node.text.substr(1) : form.close);
  if (node.op == Op::kQuantity) out->append(" " + node.text);
}

}  // namespace grpo::math
