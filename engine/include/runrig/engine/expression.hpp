#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <stdexcept>
#include <string>
#include <string_view>
#include <vector>

#include "runrig/engine/reduction.hpp"
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

/// One axis of a strided Operand.
struct OperandAxis {
  std::uint64_t extent = 0;
  std::int64_t stride_bytes = 0;  ///< 0 where one element stands for all of the axis; negative if it runs backwards
};

/// An input of run_program().
struct Operand {
  const std::byte* data = nullptr;  ///< contiguous, in native order, aligned to the item size
  bool scalar = false;              ///< one element that stands for all
  /// For elements that are neither: the axes of the box that the run is a part of, slowest first, as this input lies
  /// in memory (NumPy's broadcasting gives an axis that it does not have, or of extent 1, the stride 0). `data` is then
  /// the box's first element. They are gathered block by block: about as fast as a copy in cache.
  std::span<const OperandAxis> axes{};
  std::uint64_t first = 0;  ///< with `axes`: which element of the box, in C order, the run begins with
};

/// How run_program() writes. The bits are the same.
enum class Storing : std::uint8_t {
  cached,    ///< as usual, for results that are soon read again
  streamed,  ///< past the caches, for results that are larger than these: saves reading the memory that is overwritten
};

/// The level of instructions that expressions and statistics use in this process: "v2", "v3" or "v4" (of x86-64), or
/// "baseline". The machine's highest, unless the environment's RUNRIG_LEVEL names a lower one when it is first asked
/// for. Throws Error invalid_argument if it names none.
[[nodiscard]] std::string_view kernel_level();

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
/// native order with the dtype result(), aligned to the item size. `out` may be the very memory of a contiguous input
/// whose items are as large; otherwise they do not overlap. `scratch` has scratch_bytes() bytes and any alignment.
///
/// An element's result depends on the input elements alone, not on how many there are, where they lie, or which call
/// they were part of. Allocates nothing and may run in any number of threads and processes at once.
/// Throws Error argument_out_of_domain where NumPy raises on values: an integer to a negative integer power.
/// Throws std::logic_error if the number of inputs is not that of the program.
void run_program(std::span<const std::byte> code, std::span<const Operand> inputs, std::byte* out, std::size_t elements,
                 std::byte* scratch, Storing storing = Storing::cached);

struct InnerReduction;

/// A parsed elementwise expression, in the notation and with the meaning of NumPy 2.
///
/// Operators, tightest first:
///     **                        to the right; -x**2 is -(x**2)
///     + - ~ !  (unary)          ~ is "not" for booleans and flips all bits of integers; ! is "not" for any type
///     * / // %
///     + -
///     << >>                     integers; by the width of the type or more, nothing is left
///     &    then ^    then |     booleans and integers
///     < <= > >= == !=           not chained: a < b < c is refused, as NumPy cannot do it either
///     &&   then ||              "and", "or" of what is not zero, for any type
/// Names: variables, the constants pi, e, nan, inf, True, False, and the functions
///     abs sqrt cbrt square exp exp2 expm1 log log2 log10 log1p sin cos tan arcsin arccos arctan arctan2 sinh cosh tanh
///     arcsinh arccosh arctanh hypot floor ceil trunc rint round sign minimum maximum fmin fmax clip where isnan isinf
///     isfinite signbit floor_divide fmod copysign deg2rad rad2deg ones_like real imag conj angle complex
/// the casts bool int8 ... uint64 float16 float32 float64 complex64 complex128 (floats are cut to integers; what does
/// not fit wraps; no complex number becomes a real one), with NumPy's further names absolute, fabs, power, and so on as
/// function_names() lists them; "np." before a name is allowed.
///
/// Reductions: sum prod mean var std min max argmin argmax any all, and count (of what is not NaN), of any expression;
/// nansum nanmean and so on leave NaNs out. Over the whole array or, after a comma, axis=1, axis=-1 or axis=(0, 1),
/// with keepdims=True as in NumPy: (x - mean(x)) / std(x), x - mean(x, axis=0). They are computed before the rest; see
/// reductions(). Of complex numbers there are sum, mean, var, std, count, any and all.
///
/// Types follow NEP 50: a literal adapts to the type of the array it meets (x + 1 keeps int8, x + 1.5 makes int8
/// float64), and one that does not fit it is an error; arithmetic of literals alone is Python's; a function of
/// literals alone gives int64, float64 or bool, which do not adapt. Integers wrap; dividing integers by zero with //
/// or % gives 0; / of integers gives float64. Comparisons of int64 with uint64 are exact. float16 is computed in
/// float32 and rounded after each operation. Transcendental functions are within 2 units in the last place,
/// everything else is exactly NumPy's. 2j is an imaginary number, complex(x, y) is x + y*1j; complex numbers are
/// computed as NumPy does it, each part rounded after each step, with the C library's functions.
class Expression {
 public:
  /// Limits for what comes from outside; more is an ExpressionError.
  static constexpr std::size_t max_text_bytes = 32768;
  static constexpr std::size_t max_nesting = 200;  ///< parentheses, calls, unary signs and powers within each other
  static constexpr std::size_t max_terms = 4096;   ///< literals, variables, operators and calls
  static constexpr std::size_t max_complex_nesting = 8;  ///< reductions of complex numbers within each other

  /// Throws ExpressionError.
  [[nodiscard]] static Expression parse(std::string_view text);
  Expression() = default;  ///< of nothing: only to be assigned to

  /// The variables in the order of their first appearance.
  [[nodiscard]] const std::vector<std::string>& variables() const noexcept;
  [[nodiscard]] std::string_view text() const noexcept;
  /// Throws ExpressionError at the first variable that is not in `known`; it names the nearest, or all that are known.
  void check_variables(std::span<const std::string> known) const;
  /// The reductions that have to be computed first, each of an expression of its own (which may have reductions
  /// itself); their values are inputs of the program behind those of variables(). Empty for an elementwise expression.
  [[nodiscard]] std::vector<InnerReduction> reductions() const;
  /// The same expression, for variables of these types, in which every reduction is one of real numbers: those of
  /// complex numbers are made of reductions of their parts (their sum is the sum of the real parts and that of the
  /// imaginary ones). To be asked for reductions() and bound in place of this one. Throws ExpressionError where there
  /// is none, such as the largest of complex numbers, and past max_complex_nesting: each level computes the one within
  /// it twice.
  [[nodiscard]] Expression with_real_reductions(std::span<const DType> types) const;
  /// Whether the program reads this one of variables(); if not, only reductions do, and its operand may be anything.
  [[nodiscard]] bool reads_variable(std::size_t index) const;
  /// Whether it is a variable and nothing else.
  [[nodiscard]] bool is_variable() const noexcept;
  /// Compiles for inputs of these types, one for each of variables(), in that order, then one for each of reductions()
  /// (see reduction_dtype). Without those of the reductions, an expression that has any is an
  /// ExpressionError: for callers that see no whole arrays. Throws ExpressionError where NumPy has no such operation
  /// for the types, and std::logic_error if the number of types is wrong.
  [[nodiscard]] Program bind(std::span<const DType> types) const;

  /// All functions that an expression can call, sorted, for help texts.
  [[nodiscard]] static std::vector<std::string_view> function_names();

 private:
  struct Lowered;
  [[nodiscard]] Lowered lowered(std::span<const DType> types) const;

  std::shared_ptr<const detail::ExpressionTree> tree_;
};

/// A reduction inside an expression.
struct InnerReduction {
  Reduction operation = Reduction::sum;
  NanPolicy nan = NanPolicy::propagate;
  std::optional<std::vector<std::int64_t>> axes;  ///< as of ReductionAxes::resolve()
  bool keep_axes = false;  ///< the reduced axes stay, with extent 1, so that the result can be broadcast again
  Expression argument;     ///< of some of the variables of the expression around it

  /// The result's shape: axes.kept, or with keep_axes that of the array with extents of 1.
  [[nodiscard]] Shape result_shape(const ReductionAxes& axes) const;
};

}  // namespace runrig
