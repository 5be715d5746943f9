#pragma once

#include <cstddef>
#include <memory>
#include <span>
#include <stdexcept>
#include <string>
#include <string_view>
#include <vector>

#include "runrig/shm/dtype.hpp"
#include "runrig/sync/error.hpp"

namespace runrig {

namespace detail {
struct ExpressionTree;
}

/// An expression, or its use on arrays of certain types, is wrong. what() is one line: the expression, the column and
/// what is wrong there, e.g. "expression 'x +* 2': column 4: expected a value, found '*'". code() is
/// ErrorKind::format.
class ExpressionError : public Error {
 public:
  /// `column` counts bytes of `text` from 1. Long texts are cut around it; control bytes are shown escaped.
  ExpressionError(std::string_view text, std::size_t column, std::string_view why);
  [[nodiscard]] const char* what() const noexcept override { return line_.what(); }
  /// Where in the text, in bytes from 1; one past the end if something is missing there.
  [[nodiscard]] std::size_t column() const noexcept { return column_; }
  /// The last part of what(): what is wrong.
  [[nodiscard]] std::string_view why() const noexcept { return why_.what(); }

 private:
  std::size_t column_;
  std::runtime_error line_;  // whose copy cannot throw, as an exception's must not
  std::runtime_error why_;
};

/// An input of run_program().
struct Operand {
  const std::byte* data = nullptr;  ///< contiguous, in native order, aligned to the item size
  bool scalar = false;              ///< one element that stands for all
};

/// An expression compiled for inputs of given types: typed instructions over blocks of elements. A plain value; its
/// code() may be copied into shared memory, at any address, and be run there by other processes of the same build.
class Program {
 public:
  /// The dtype of the result.
  [[nodiscard]] DType result() const noexcept { return result_; }
  /// The dtypes of the inputs, in the order of Expression::variables().
  [[nodiscard]] std::span<const DType> inputs() const noexcept { return inputs_; }
  /// What run_program() runs; valid while this Program is. Aligned to 8; a copy must be, too.
  [[nodiscard]] std::span<const std::byte> code() const noexcept { return std::as_bytes(std::span(code_)); }
  /// The bytes that each concurrent run_program() needs for itself.
  [[nodiscard]] std::size_t scratch_bytes() const noexcept { return scratch_bytes_; }

 private:
  friend class Expression;
  Program() = default;
  std::vector<std::uint64_t> code_;
  std::vector<DType> inputs_;
  std::size_t scratch_bytes_ = 0;
  DType result_ = DType::float64;
};

/// Evaluates `code` for `elements` elements: `inputs` in the order of Expression::variables(), `out` contiguous in
/// native order with the dtype result(), aligned to the item size. `out` may be the very memory of an input whose
/// items are as large; otherwise they do not overlap. `scratch` has scratch_bytes() bytes and any alignment.
///
/// An element's result depends on the input elements alone, not on how many there are, where they lie, or which call
/// they were part of. Allocates nothing and may run in any number of threads and processes at once.
/// Throws Error argument_out_of_domain where NumPy raises on values: an integer to a negative integer power.
/// Throws std::logic_error if the number of inputs is not that of the program.
void run_program(std::span<const std::byte> code, std::span<const Operand> inputs, std::byte* out, std::size_t elements,
                 std::byte* scratch);

/// A parsed elementwise expression, in the notation and with the meaning of NumPy 2.
///
/// Operators, tightest first:
///     **                        to the right; -x**2 is -(x**2)
///     + - ~ !  (unary)          ~ is "not" for booleans and flips all bits of integers; ! is "not" for any type
///     * / // %
///     + -
///     &    then ^    then |     booleans and integers
///     < <= > >= == !=           not chained: a < b < c is refused, as NumPy cannot do it either
///     &&   then ||              "and", "or" of what is not zero, for any type
/// Names: variables, the constants pi, e, nan, inf, True, False, and the functions
///     abs sqrt cbrt square exp exp2 expm1 log log2 log10 log1p sin cos tan arcsin arccos arctan arctan2 sinh cosh tanh
///     arcsinh arccosh arctanh hypot floor ceil trunc rint round sign minimum maximum clip where isnan isinf isfinite
/// with NumPy's further names absolute, fabs, power, and so on as function_names() lists them; "np." before a name is
/// allowed.
///
/// Types follow NEP 50: a literal adapts to the type of the array it meets (x + 1 keeps int8, x + 1.5 makes int8
/// float64), and one that does not fit it is an error; arithmetic of literals alone is Python's; a function of
/// literals alone gives int64, float64 or bool, which do not adapt. Integers wrap; dividing integers by zero with //
/// or % gives 0; / of integers gives float64. Comparisons of int64 with uint64 are exact. float16 is computed in
/// float32 and rounded after each operation. Transcendental functions are within 2 units in the last place,
/// everything else is exactly NumPy's.
class Expression {
 public:
  /// Limits for what comes from outside; more is an ExpressionError.
  static constexpr std::size_t max_text_bytes = 32768;
  static constexpr std::size_t max_nesting = 200;  ///< parentheses, calls, unary signs and powers within each other
  static constexpr std::size_t max_terms = 4096;   ///< literals, variables, operators and calls

  /// Throws ExpressionError.
  [[nodiscard]] static Expression parse(std::string_view text);

  /// The variables in the order of their first appearance.
  [[nodiscard]] const std::vector<std::string>& variables() const noexcept;
  [[nodiscard]] std::string_view text() const noexcept;
  /// Throws ExpressionError at the first variable that is not in `known`; it names the nearest, or all that are known.
  void check_variables(std::span<const std::string> known) const;
  /// Compiles for inputs of these types, one for each of variables(), in that order. Throws ExpressionError where
  /// NumPy has no such operation for the types, and std::logic_error if the number of types is wrong.
  [[nodiscard]] Program bind(std::span<const DType> types) const;

  /// All functions that an expression can call, sorted, for help texts.
  [[nodiscard]] static std::vector<std::string_view> function_names();

 private:
  std::shared_ptr<const detail::ExpressionTree> tree_;
};

}  // namespace runrig
