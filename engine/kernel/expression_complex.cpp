#include <algorithm>
#include <cmath>
#include <limits>
#include <string>
#include <utility>

#include "expression_text.hpp"
#include "expression_tree.hpp"
#include "runrig/engine/expression.hpp"

namespace runrig {
namespace detail {
namespace {

using Tree = std::shared_ptr<const ExpressionTree>;

/// A tree that grows at its end, with the types of its reductions' results.
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
  /// Of elements of that type.
  std::uint32_t add(ReductionNode reduction, DType elements, std::uint32_t column) {
    types_.push_back(reduction_dtype(reduction.operation, elements));
    tree_.reductions.push_back(std::move(reduction));
    return add(Operation::reduction, column, {static_cast<std::uint32_t>(tree_.reductions.size() - 1)});
  }
  [[nodiscard]] const std::string& text() const noexcept { return tree_.text; }
  [[nodiscard]] std::span<const DType> reduction_types() const noexcept { return types_; }
  [[nodiscard]] Tree share() && { return std::make_shared<const ExpressionTree>(std::move(tree_)); }

 private:
  ExpressionTree tree_;
  std::vector<DType> types_;
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

/// Puts reductions of real numbers for one of complex numbers, of type `elements`, and what makes its result of theirs.
/// Returns the node of the result.
std::uint32_t add_real_reductions(Grown& to, const ReductionNode& reduction, DType elements, std::uint32_t column) {
  constexpr double nan = std::numeric_limits<double>::quiet_NaN();
  const auto reduced = [&](Reduction operation, NanPolicy policy, Tree argument, DType of) {
    ReductionNode node = reduction;
    node.operation = operation;
    node.nan = policy;
    node.argument = std::move(argument);
    return to.add(std::move(node), of, column);
  };
  // A complex number is NaN if one of its parts is; then neither is counted.
  const bool skip = reduction.nan == NanPolicy::skip;
  const Tree argument = skip ? marked(reduction.argument, Literal::of_complex(nan, nan), {}) : reduction.argument;
  const auto of_parts = [&](Reduction operation) {
    const DType part = part_dtype(elements);
    const std::uint32_t real = reduced(operation, reduction.nan, applied(Operation::real, argument), part);
    const std::uint32_t imaginary = reduced(operation, reduction.nan, applied(Operation::imaginary, argument), part);
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
                     marked(reduction.argument, Literal::of_real(nan), Literal::of_real(0)), DType::float64);
    case Reduction::any:
    case Reduction::all:
      return reduced(reduction.operation, NanPolicy::propagate,
                     applied(Operation::logical_not, applied(Operation::logical_not, argument)), DType::boolean);
    case Reduction::prod:  // whose parts depend on one another
      return to.add(reduction, elements, column);
    default:
      break;
  }
  const std::string name(reduction_name(reduction.operation));
  throw ExpressionError(to.text(), column,
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

struct Expression::Lowered {
  Expression expression;
  DType type = DType::float64;      // of its value
  std::size_t complex_nesting = 0;  // how many reductions of complex numbers lie within each other
};

Expression::Lowered Expression::lowered(std::span<const DType> types) const {
  using detail::Operation;
  std::vector<DType> all(types.begin(), types.end());
  if (tree_->reductions.empty()) return {*this, bind(all).result(), 0};
  std::vector<detail::ReductionNode> inner = tree_->reductions;
  std::vector<DType> inner_types;
  std::vector<std::size_t> nesting;
  for (detail::ReductionNode& each : inner) {
    Expression argument;
    argument.tree_ = each.argument;
    const Lowered made = argument.lowered(detail::types_of(*each.argument, *tree_, types));
    each.argument = made.expression.tree_;
    inner_types.push_back(made.type);
    nesting.push_back(made.complex_nesting + (is_complex(made.type) ? 1 : 0));
  }
  detail::ExpressionTree empty = *tree_;
  empty.nodes.clear();
  empty.reductions.clear();
  detail::Grown grown(std::move(empty));
  std::vector<std::uint32_t> moved;
  for (const detail::Node& node : tree_->nodes) {
    if (node.operation == Operation::reduction) {
      const detail::ReductionNode& reduction = inner[node.arguments[0]];
      const DType elements = inner_types[node.arguments[0]];
      if (nesting[node.arguments[0]] > max_complex_nesting) {
        throw ExpressionError(
            tree_->text, node.column,
            "reductions of complex numbers are nested more than " + std::to_string(max_complex_nesting) + " deep");
      }
      moved.push_back(is_complex(elements) ? detail::add_real_reductions(grown, reduction, elements, node.column)
                                           : grown.add(reduction, elements, node.column));
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
  all.insert(all.end(), grown.reduction_types().begin(), grown.reduction_types().end());
  Expression result;
  result.tree_ = std::move(grown).share();
  const DType type = result.bind(all).result();
  return {std::move(result), type, *std::max_element(nesting.begin(), nesting.end())};
}

Expression Expression::with_real_reductions(std::span<const DType> types) const {
  if (tree_->reductions.empty()) return *this;
  return lowered(types).expression;
}

}  // namespace runrig
