#include <algorithm>
#include <array>

#include "expression_tree.hpp"

namespace runrig::detail {
namespace {

using enum Operation;

constexpr std::array sorted_functions{
    Function{"abs", absolute, 1},
    Function{"absolute", absolute, 1},
    Function{"acos", arccos, 1},
    Function{"acosh", arccosh, 1},
    Function{"add", add, 2},
    Function{"angle", angle, 1},
    Function{"arccos", arccos, 1},
    Function{"arccosh", arccosh, 1},
    Function{"arcsin", arcsin, 1},
    Function{"arcsinh", arcsinh, 1},
    Function{"arctan", arctan, 1},
    Function{"arctan2", arctan2, 2},
    Function{"arctanh", arctanh, 1},
    Function{"asin", arcsin, 1},
    Function{"asinh", arcsinh, 1},
    Function{"atan", arctan, 1},
    Function{"atan2", arctan2, 2},
    Function{"atanh", arctanh, 1},
    Function{"bitwise_and", bit_and, 2},
    Function{"bitwise_not", invert, 1},
    Function{"bitwise_or", bit_or, 2},
    Function{"bitwise_xor", bit_xor, 2},
    Function{"bool", cast, 1, DType::boolean},
    Function{"cbrt", cbrt, 1},
    Function{"ceil", ceil, 1},
    Function{"clip", clip, 3},
    Function{"complex", make_complex, 2},
    Function{"complex128", cast, 1, DType::complex128},
    Function{"complex64", cast, 1, DType::complex64},
    Function{"conj", conjugate, 1},
    Function{"conjugate", conjugate, 1},
    Function{"copysign", copysign, 2},
    Function{"cos", cos, 1},
    Function{"cosh", cosh, 1},
    Function{"deg2rad", deg2rad, 1},
    Function{"degrees", rad2deg, 1},
    Function{"divide", divide, 2},
    Function{"equal", equal, 2},
    Function{"exp", exp, 1},
    Function{"exp2", exp2, 1},
    Function{"expm1", expm1, 1},
    Function{"fabs", fabs, 1},
    Function{"float16", cast, 1, DType::float16},
    Function{"float32", cast, 1, DType::float32},
    Function{"float64", cast, 1, DType::float64},
    Function{"floor", floor, 1},
    Function{"floor_divide", floor_divide, 2},
    Function{"fmax", fmax, 2},
    Function{"fmin", fmin, 2},
    Function{"fmod", fmod, 2},
    Function{"greater", greater, 2},
    Function{"greater_equal", greater_equal, 2},
    Function{"hypot", hypot, 2},
    Function{"imag", imaginary, 1},
    Function{"int16", cast, 1, DType::int16},
    Function{"int32", cast, 1, DType::int32},
    Function{"int64", cast, 1, DType::int64},
    Function{"int8", cast, 1, DType::int8},
    Function{"invert", invert, 1},
    Function{"isfinite", isfinite, 1},
    Function{"isinf", isinf, 1},
    Function{"isnan", isnan, 1},
    Function{"left_shift", left_shift, 2},
    Function{"less", less, 2},
    Function{"less_equal", less_equal, 2},
    Function{"log", log, 1},
    Function{"log10", log10, 1},
    Function{"log1p", log1p, 1},
    Function{"log2", log2, 1},
    Function{"logical_and", logical_and, 2},
    Function{"logical_not", logical_not, 1},
    Function{"logical_or", logical_or, 2},
    Function{"maximum", maximum, 2},
    Function{"minimum", minimum, 2},
    Function{"mod", remainder, 2},
    Function{"multiply", multiply, 2},
    Function{"negative", negative, 1},
    Function{"not_equal", not_equal, 2},
    Function{"ones_like", ones_like, 1},
    Function{"positive", positive, 1},
    Function{"pow", power, 2},
    Function{"power", power, 2},
    Function{"rad2deg", rad2deg, 1},
    Function{"radians", deg2rad, 1},
    Function{"real", real, 1},
    Function{"remainder", remainder, 2},
    Function{"right_shift", right_shift, 2},
    Function{"rint", rint, 1},
    Function{"round", round, 1},
    Function{"sign", sign, 1},
    Function{"signbit", signbit, 1},
    Function{"sin", sin, 1},
    Function{"sinh", sinh, 1},
    Function{"sqrt", sqrt, 1},
    Function{"square", square, 1},
    Function{"subtract", subtract, 2},
    Function{"tan", tan, 1},
    Function{"tanh", tanh, 1},
    Function{"true_divide", divide, 2},
    Function{"trunc", trunc, 1},
    Function{"uint16", cast, 1, DType::uint16},
    Function{"uint32", cast, 1, DType::uint32},
    Function{"uint64", cast, 1, DType::uint64},
    Function{"uint8", cast, 1, DType::uint8},
    Function{"where", where, 3},
};
static_assert(std::is_sorted(sorted_functions.begin(), sorted_functions.end(),
                             [](const Function& a, const Function& b) { return a.name < b.name; }));

constexpr std::array<std::string_view, 26> operator_names{
    "literal", "variable", "reduction", "+", "-",  "*",  "/",  "//", "%", "**", "-",  "+",  "~",
    "!",       "<",        "<=",        ">", ">=", "==", "!=", "&",  "^", "|",  "<<", ">>", "&&"};
static_assert(static_cast<std::size_t>(logical_and) + 1 == operator_names.size());

constexpr std::array reductions{
    ReductionFunction{"all", Reduction::all},
    ReductionFunction{"any", Reduction::any},
    ReductionFunction{"argmax", Reduction::argmax},
    ReductionFunction{"argmin", Reduction::argmin},
    ReductionFunction{"count", Reduction::count},
    ReductionFunction{"max", Reduction::max},
    ReductionFunction{"mean", Reduction::mean},
    ReductionFunction{"min", Reduction::min},
    ReductionFunction{"nanargmax", Reduction::argmax, NanPolicy::skip},
    ReductionFunction{"nanargmin", Reduction::argmin, NanPolicy::skip},
    ReductionFunction{"nanmax", Reduction::max, NanPolicy::skip},
    ReductionFunction{"nanmean", Reduction::mean, NanPolicy::skip},
    ReductionFunction{"nanmin", Reduction::min, NanPolicy::skip},
    ReductionFunction{"nanprod", Reduction::prod, NanPolicy::skip},
    ReductionFunction{"nanstd", Reduction::stddev, NanPolicy::skip},
    ReductionFunction{"nansum", Reduction::sum, NanPolicy::skip},
    ReductionFunction{"nanvar", Reduction::var, NanPolicy::skip},
    ReductionFunction{"prod", Reduction::prod},
    ReductionFunction{"std", Reduction::stddev},
    ReductionFunction{"sum", Reduction::sum},
    ReductionFunction{"var", Reduction::var},
};

}  // namespace

std::span<const ReductionFunction> reduction_functions() noexcept { return reductions; }

const ReductionFunction* find_reduction(std::string_view name) noexcept {
  const auto* const found =
      std::find_if(reductions.begin(), reductions.end(), [name](const auto& each) { return each.name == name; });
  return found == reductions.end() ? nullptr : found;
}

std::span<const Function> functions() noexcept { return sorted_functions; }

std::string_view operation_name(Operation operation) noexcept {
  if (operation <= logical_and) return operator_names[static_cast<std::size_t>(operation)];
  if (operation == logical_or) return "||";
  const auto* found = std::find_if(sorted_functions.begin(), sorted_functions.end(),
                                   [&](const Function& each) { return each.operation == operation; });
  return found->name;
}

}  // namespace runrig::detail
