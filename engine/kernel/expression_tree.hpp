#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "expression_literal.hpp"
#include "runrig/engine/expression.hpp"
#include "runrig/shm/dtype.hpp"

namespace runrig::detail {

/// What a node of an expression does to its arguments. The meaning is that of NumPy's function of the same name.
enum class Operation : std::uint8_t {
  literal,    // first argument: index into ExpressionTree::literals
  variable,   // first argument: index into ExpressionTree::variables
  reduction,  // first argument: index into ExpressionTree::reductions
  add,
  subtract,
  multiply,
  divide,
  floor_divide,
  remainder,
  power,
  negative,
  positive,
  invert,
  logical_not,
  less,
  less_equal,
  greater,
  greater_equal,
  equal,
  not_equal,
  bit_and,
  bit_xor,
  bit_or,
  left_shift,
  right_shift,
  logical_and,
  logical_or,
  absolute,
  fabs,
  sign,
  square,
  floor,
  ceil,
  trunc,
  rint,
  round,
  minimum,
  maximum,
  fmin,
  fmax,
  fmod,
  copysign,
  deg2rad,
  rad2deg,
  ones_like,
  cast,  // second argument: the DType
  clip,
  where,
  signbit,
  isnan,
  isinf,
  isfinite,
  real,
  imaginary,
  conjugate,
  angle,
  make_complex,  // numexpr's complex(real, imaginary)
  sqrt,
  cbrt,
  exp,
  exp2,
  expm1,
  log,
  log2,
  log10,
  log1p,
  sin,
  cos,
  tan,
  arcsin,
  arccos,
  arctan,
  sinh,
  cosh,
  tanh,
  arcsinh,
  arccosh,
  arctanh,
  arctan2,
  hypot,
};

struct Node {
  Operation operation = Operation::literal;
  std::uint32_t column = 1;                  // of the operator or the function's name
  std::array<std::uint32_t, 3> arguments{};  // indices of nodes, all below this node's own
};

struct Function {
  std::string_view name;
  Operation operation;
  std::size_t arguments;
  DType dtype = DType::float64;  // of a cast
};
/// All functions by all their names, sorted by name.
[[nodiscard]] std::span<const Function> functions() noexcept;
/// The sign or name by which people know the operation, for messages.
[[nodiscard]] std::string_view operation_name(Operation operation) noexcept;

struct ExpressionTree;
/// A function of all elements of an array, or of those along some axes, inside an expression.
struct ReductionNode {
  Reduction operation = Reduction::sum;
  NanPolicy nan = NanPolicy::propagate;
  std::optional<std::vector<std::int64_t>> axes;
  bool keep_axes = false;
  std::shared_ptr<const ExpressionTree> argument;
};

/// Nodes in an order in which arguments come before what uses them, so that nobody needs to recurse; the last one is
/// the whole expression.
struct ExpressionTree {
  std::string text;
  std::vector<std::string> variables;
  std::vector<std::uint32_t> variable_columns;  // of their first appearance
  std::vector<Literal> literals;
  std::vector<ReductionNode> reductions;
  std::vector<Node> nodes;
};

struct ReductionFunction {
  std::string_view name;
  Reduction operation;
  NanPolicy nan = NanPolicy::propagate;
};
/// "mean", "nanmean" and so on.
[[nodiscard]] std::span<const ReductionFunction> reduction_functions() noexcept;
/// Null if it is no such function.
[[nodiscard]] const ReductionFunction* find_reduction(std::string_view name) noexcept;

}  // namespace runrig::detail
