#include <algorithm>
#include <cmath>
#include <limits>
#include <utility>

#include "expression_text.hpp"
#include "expression_tree.hpp"
#include "runrig/engine/expression.hpp"

namespace runrig {
namespace detail {
namespace {

using Tree = std::shared_ptr<const ExpressionTree>;

/// A tree that grows at its end.
class Grown {
 public:
  explicit Grown(ExpressionTree tree) : tree_(std::move(tree)) {}
  std::uint32_t add(Operation operation, std::uint32_t column, std::array<std::uint32_t, 3> arguments = {}) {
    tree_.nodes.push_back({operation, column, arguments});
    return static_cast<std::uint32_t>(tree_.nodes.size() - 1);
  }
  std::uint32_t add(const Literal& literal, std::uint32_t column) {
    tree_.literals.push_back(literal);
    return add(Operation::literal, column, {static_cast<std::uint32_t>(tree_.literals.size() - 1)});
  }
  std::uint32_t add(ReductionNode reduction, std::uint32_t column) {
    tree_.reductions.push_back(std::move(reduction));
    return add(Operation::reduction, column, {static_cast<std::uint32_t>(tree_.reductions.size() - 1)});
  }
  [[nodiscard]] ExpressionTree& tree() noexcept { return tree_; }
  [[nodiscard]] Tree share() && { return std::make_shared<const ExpressionTree>(std::move(tree_)); }

 private:
  ExpressionTree tree_;
};

/// `operation` of the whole of `argument`.
Tree applied(Operation operation, const Tree& argument) {
  Grown grown(*argument);
  const std::uint32_t column = argument->nodes.back().column;
  grown.add(operation, column, {static_cast<std::uint32_t>(argument->nodes.size() - 1)});
  return std::move(grown).share();
}

/// `nan` where `argument` is NaN, else `otherwise`, or the argument itself.
Tree marked(const Tree& argument, const Literal& nan, const std::optional<Literal>& otherwise) {
  Grown grown(*argument);
  const std::uint32_t column = argument->nodes.back().column;
  const auto whole = static_cast<std::uint32_t>(argument->nodes.size() - 1);
  const std::uint32_t condition = grown.add(Operation::isnan, column, {whole});
  const std::uint32_t first = grown.add(nan, column);
  const std::uint32_t second = otherwise ? grown.add(*otherwise, column) : whole;
  grown.add(Operation::where, column, {condition, first, second});
  return std::move(grown).share();
}

/// Puts reductions of real numbers for one of complex numbers, and what makes its result of theirs. Returns the node of
/// the result.
std::uint32_t add_real_reductions(Grown& to, const ReductionNode& reduction, std::uint32_t column) {
  constexpr double nan = std::numeric_limits<double>::quiet_NaN();
  const auto reduced = [&](Reduction operation, NanPolicy policy, Tree argument) {
    ReductionNode node = reduction;
    node.operation = operation;
    node.nan = policy;
    node.argument = std::move(argument);
    return to.add(std::move(node), column);
  };
  // A complex number is NaN if one of its parts is; then neither is counted.
  const bool skip = reduction.nan == NanPolicy::skip;
  const Tree argument = skip ? marked(reduction.argument, Literal::of_complex(nan, nan), {}) : reduction.argument;
  const auto of_parts = [&](Reduction operation) {
    const std::uint32_t real = reduced(operation, reduction.nan, applied(Operation::real, argument));
    const std::uint32_t imaginary = reduced(operation, reduction.nan, applied(Operation::imaginary, argument));
    return std::pair(real, imaginary);
  };
  switch (reduction.operation) {
    case Reduction::sum:
    case Reduction::mean: {
      const auto [real, imaginary] = of_parts(reduction.operation);
      return to.add(Operation::make_complex, column, {real, imaginary});
    }
    case Reduction::var:
    case Reduction::stddev: {  // the mean of |x - mean|^2
      const auto [real, imaginary] = of_parts(Reduction::var);
      const std::uint32_t variance = to.add(Operation::add, column, {real, imaginary});
      return reduction.operation == Reduction::var ? variance : to.add(Operation::sqrt, column, {variance});
    }
    case Reduction::count:
      return reduced(Reduction::count, NanPolicy::propagate,
                     marked(reduction.argument, Literal::of_real(nan), Literal::of_real(0)));
    case Reduction::any:
    case Reduction::all:
      return reduced(reduction.operation, NanPolicy::propagate,
                     applied(Operation::logical_not, applied(Operation::logical_not, argument)));
    default:
      break;
  }
  const std::string name(reduction_name(reduction.operation));
  throw ExpressionError(to.tree().text, column,
                        quoted(name) + " is not defined for complex numbers; write " + name +
                            "(abs(...)), or of real(...) and imag(...)");
}

std::vector<DType> types_of(const ExpressionTree& inner, const ExpressionTree& outer, std::span<const DType> types) {
  std::vector<DType> own;
  for (const std::string& name : inner.variables) {
    const auto at = std::find(outer.variables.begin(), outer.variables.end(), name) - outer.variables.begin();
    own.push_back(types[static_cast<std::size_t>(at)]);
  }
  return own;
}

}  // namespace
}  // namespace detail

std::pair<Expression, DType> Expression::with_real_reductions_and_type(std::span<const DType> types) const {
  using detail::Operation;
  std::vector<DType> all(types.begin(), types.end());
  if (tree_->reductions.empty()) return {*this, bind(all).result()};
  std::vector<detail::ReductionNode> inner = tree_->reductions;
  std::vector<DType> inner_types;
  for (detail::ReductionNode& each : inner) {
    Expression argument;
    argument.tree_ = each.argument;
    auto [lowered, type] = argument.with_real_reductions_and_type(detail::types_of(*each.argument, *tree_, types));
    each.argument = lowered.tree_;
    inner_types.push_back(type);
  }
  detail::ExpressionTree empty = *tree_;
  empty.nodes.clear();
  empty.reductions.clear();
  detail::Grown grown(std::move(empty));
  std::vector<std::uint32_t> moved;
  for (const detail::Node& node : tree_->nodes) {
    if (node.operation == Operation::reduction) {
      const detail::ReductionNode& reduction = inner[node.arguments[0]];
      moved.push_back(is_complex(inner_types[node.arguments[0]])
                          ? detail::add_real_reductions(grown, reduction, node.column)
                          : grown.add(reduction, node.column));
      continue;
    }
    std::array<std::uint32_t, 3> arguments = node.arguments;
    if (node.operation != Operation::literal && node.operation != Operation::variable) {
      // The second argument of a cast is a type, and those that an operation does not have are 0.
      const std::size_t count = node.operation == Operation::cast ? 1 : arguments.size();
      for (std::size_t i = 0; i < count; ++i) arguments[i] = moved[arguments[i]];
    }
    moved.push_back(grown.add(node.operation, node.column, arguments));
  }
  Expression result;
  result.tree_ = std::move(grown).share();
  for (const detail::ReductionNode& each : result.tree_->reductions) {
    Expression argument;
    argument.tree_ = each.argument;
    const std::vector<DType> own = detail::types_of(*each.argument, *tree_, types);
    all.push_back(reduction_dtype(each.operation, argument.with_real_reductions_and_type(own).second));
  }
  return {result, result.bind(all).result()};
}

Expression Expression::with_real_reductions(std::span<const DType> types) const {
  if (tree_->reductions.empty()) return *this;
  return with_real_reductions_and_type(types).first;
}

}  // namespace runrig
