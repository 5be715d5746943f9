#include <algorithm>
#include <array>

#include "expression_tree.hpp"

namespace runrig::detail {
namespace {

using enum Operation;

constexpr std::array sorted_functions{
    Function{"abs", absolute, 1},    Function{"absolute", absolute, 1},
    Function{"acos", arccos, 1},     Function{"acosh", arccosh, 1},
    Function{"arccos", arccos, 1},   Function{"arccosh", arccosh, 1},
    Function{"arcsin", arcsin, 1},   Function{"arcsinh", arcsinh, 1},
    Function{"arctan", arctan, 1},   Function{"arctan2", arctan2, 2},
    Function{"arctanh", arctanh, 1}, Function{"asin", arcsin, 1},
    Function{"asinh", arcsinh, 1},   Function{"atan", arctan, 1},
    Function{"atan2", arctan2, 2},   Function{"atanh", arctanh, 1},
    Function{"cbrt", cbrt, 1},       Function{"ceil", ceil, 1},
    Function{"clip", clip, 3},       Function{"cos", cos, 1},
    Function{"cosh", cosh, 1},       Function{"exp", exp, 1},
    Function{"exp2", exp2, 1},       Function{"expm1", expm1, 1},
    Function{"fabs", fabs, 1},       Function{"floor", floor, 1},
    Function{"hypot", hypot, 2},     Function{"isfinite", isfinite, 1},
    Function{"isinf", isinf, 1},     Function{"isnan", isnan, 1},
    Function{"log", log, 1},         Function{"log10", log10, 1},
    Function{"log1p", log1p, 1},     Function{"log2", log2, 1},
    Function{"maximum", maximum, 2}, Function{"minimum", minimum, 2},
    Function{"mod", remainder, 2},   Function{"pow", power, 2},
    Function{"power", power, 2},     Function{"remainder", remainder, 2},
    Function{"rint", rint, 1},       Function{"round", round, 1},
    Function{"sign", sign, 1},       Function{"sin", sin, 1},
    Function{"sinh", sinh, 1},       Function{"sqrt", sqrt, 1},
    Function{"square", square, 1},   Function{"tan", tan, 1},
    Function{"tanh", tanh, 1},       Function{"trunc", trunc, 1},
    Function{"where", where, 3},
};
static_assert(std::is_sorted(sorted_functions.begin(), sorted_functions.end(),
                             [](const Function& a, const Function& b) { return a.name < b.name; }));

constexpr std::array<std::string_view, 23> operator_names{"literal", "variable", "+",  "-", "*", "/", "//", "%",
                                                          "**",      "-",        "+",  "~", "!", "<", "<=", ">",
                                                          ">=",      "==",       "!=", "&", "^", "|", "&&"};
static_assert(static_cast<std::size_t>(logical_and) + 1 == operator_names.size());

}  // namespace

std::span<const Function> functions() noexcept { return sorted_functions; }

std::string_view operation_name(Operation operation) noexcept {
  if (operation <= logical_and) return operator_names[static_cast<std::size_t>(operation)];
  if (operation == logical_or) return "||";
  const auto* found = std::find_if(sorted_functions.begin(), sorted_functions.end(),
                                   [&](const Function& each) { return each.operation == operation; });
  return found->name;
}

}  // namespace runrig::detail
