#include <algorithm>
#include <array>
#include <bit>
#include <cmath>
#include <initializer_list>
#include <numbers>
#include <optional>
#include <stdexcept>

#include "expression_operations.hpp"
#include "expression_text.hpp"
#include "expression_tree.hpp"
#include "expression_types.hpp"
#include "program_builder.hpp"

namespace runrig {
namespace detail {
namespace {

/// What a node gives: a Python number that no array has met yet, or elements of a type.
struct Bound {
  std::optional<Literal> literal;
  DType type = DType::float64;
  ValueId value = 0;
};

class Binder {
 public:
  Binder(const ExpressionTree& tree, std::span<const DType> types) : tree_(tree), types_(types), builder_(types) {}

  Bound bind() {
    std::vector<Bound> bound;
    bound.reserve(tree_.nodes.size());
    for (const Node& node : tree_.nodes) {
      node_ = &node;
      bound.push_back(bind_node(node, bound));
    }
    // The text ends without an array that the last literal could adapt to.
    return strong(bound.back());
  }

  ProgramBuilder& builder() noexcept { return builder_; }

 private:
  [[noreturn]] void fail(const std::string& why) const { throw ExpressionError(tree_.text, node_->column, why); }
  [[nodiscard]] std::string name() const { return quoted(operation_name(node_->operation)); }
  [[nodiscard]] static std::string type_name(const Bound& of) {
    if (!of.literal) return std::string(dtype_name(of.type));
    if (of.literal->is_complex()) return "a complex literal";
    return of.literal->is_real() ? "a float literal" : "an integer literal";
  }

  Bound bind_node(const Node& node, const std::vector<Bound>& bound) {
    const auto argument = [&](std::size_t index) -> const Bound& { return bound[node.arguments[index]]; };
    switch (node.operation) {
      case Operation::literal:
        return {.literal = tree_.literals[node.arguments[0]]};
      case Operation::variable: {
        const std::uint32_t index = node.arguments[0];
        return {.literal = {}, .type = types_[index], .value = builder_.input(index)};
      }
      case Operation::reduction: {
        const std::size_t index = tree_.variables.size() + node.arguments[0];
        if (index >= types_.size()) {
          fail("functions of whole arrays, such as sum() and mean(), are not possible here");
        }
        return {.literal = {}, .type = types_[index], .value = builder_.input(index)};
      }
      case Operation::negative:
      case Operation::positive:
      case Operation::invert:
      case Operation::logical_not:
        if (argument(0).literal) return folded(fold_unary(node.operation, *argument(0).literal));
        return unary(argument(0));
      case Operation::clip:
        return clip(argument(0), argument(1), argument(2));
      case Operation::where:
        return where(argument(0), argument(1), argument(2));
      case Operation::minimum:
      case Operation::maximum:
      case Operation::fmod:
      case Operation::copysign:
      case Operation::arctan2:
      case Operation::hypot:
        return binary(argument(0), argument(1));
      case Operation::fmin:
      case Operation::fmax:
        return without_nan(argument(0), argument(1));
      case Operation::make_complex:
        return make_complex(argument(0), argument(1));
      case Operation::cast:
        return cast(argument(0), static_cast<DType>(node.arguments[1]));
      default:
        break;
    }
    if (node.operation > Operation::logical_or) return unary(strong(argument(0)));
    if (argument(0).literal && argument(1).literal) {
      return folded(fold_binary(node.operation, *argument(0).literal, *argument(1).literal));
    }
    switch (node.operation) {
      case Operation::logical_and:
        return logical(Op::bit_and, argument(0), argument(1));
      case Operation::logical_or:
        return logical(Op::bit_or, argument(0), argument(1));
      case Operation::power:
        return power(argument(0), argument(1));
      case Operation::less:
      case Operation::less_equal:
      case Operation::greater:
      case Operation::greater_equal:
      case Operation::equal:
      case Operation::not_equal:
        return comparison(argument(0), argument(1));
      default:
        return binary(argument(0), argument(1));
    }
  }

  Bound folded(const LiteralResult& result) {
    if (!result.literal) fail(name() + ": " + result.why);
    return {.literal = result.literal};
  }

  // Values and their types.

  Bound constant(const Literal& literal, DType type) {
    if (!fits(literal, type)) {
      const std::string text = literal.is_real() ? "a float" : integer_text(literal.integer);
      fail(name() + ": the integer " + text + " does not fit " + std::string(dtype_name(type)) + " (" +
           integer_text(least(type).integer) + " to " + integer_text(largest(type).integer) + ")");
    }
    return {.literal = {}, .type = type, .value = builder_.constant(lane_of(type), bits_of(literal, type))};
  }
  /// A literal takes the type that it has alone.
  Bound strong(const Bound& from) {
    if (!from.literal) return from;
    const std::optional<DType> type = type_alone(*from.literal);
    if (!type) fail("the integer " + integer_text(from.literal->integer) + " fits neither int64 nor uint64");
    return constant(*from.literal, *type);
  }
  /// As elements of `type`, to which it can be cast safely or which a literal adapts to.
  ValueId as(const Bound& from, DType type) {
    if (from.literal) return constant(*from.literal, type).value;
    const Lane source = lane_of(from.type);
    const Lane target = lane_of(type);
    if (type == DType::boolean) return truth(from);
    if (source == target) return from.value;
    const auto cast = static_cast<Op>(static_cast<int>(Op::cast_u8) + static_cast<int>(source));
    return builder_.emit(cast, target, target, {from.value});
  }
  ValueId truth(const Bound& from) {
    if (from.literal) return builder_.constant(Lane::u8, from.literal->truth() ? 1 : 0);
    if (from.type == DType::boolean) return from.value;
    return builder_.emit(Op::truth, lane_of(from.type), Lane::u8, {from.value});
  }
  Bound boolean(ValueId value) { return {.literal = {}, .type = DType::boolean, .value = value}; }
  /// An operation whose arguments and result have one type.
  Bound compute(Op op, DType type, std::initializer_list<ValueId> arguments) {
    const Lane lane = lane_of(type);
    ValueId value = builder_.emit(op, lane, lane, arguments);
    if (type == DType::float16 && rounds(op)) value = builder_.emit(Op::round_half, Lane::f32, Lane::f32, {value});
    return {.literal = {}, .type = type, .value = value};
  }

  /// The types of the arguments once literals have adapted to the arrays beside them.
  std::vector<DType> settled(std::initializer_list<const Bound*> arguments) {
    std::vector<DType> types;
    for (const Bound* each : arguments) {
      if (!each->literal) types.push_back(each->type);
    }
    const DType arrays = common_type(types);
    types.clear();
    for (const Bound* each : arguments) {
      types.push_back(each->literal ? type_beside(*each->literal, arrays) : each->type);
    }
    return types;
  }

  // Operations.

  Bound unary(const Bound& a) {
    const Operation operation = node_->operation;
    const bool of_floats = is_floating(a.type) || is_complex(a.type);
    switch (operation) {
      case Operation::logical_not:
        return boolean(builder_.emit(Op::bit_xor, Lane::u8, Lane::u8, {truth(a), one()}));
      case Operation::isnan:
      case Operation::isinf:
      case Operation::isfinite: {
        if (!of_floats) return boolean(builder_.constant(Lane::u8, operation == Operation::isfinite ? 1 : 0));
        return boolean(builder_.emit(op_of(operation), lane_of(a.type), Lane::u8, {a.value}));
      }
      case Operation::real:
      case Operation::imaginary:
      case Operation::angle:
        return part(a);
      case Operation::signbit:
        if (is_complex(a.type)) no_complex();
        return boolean(sign_of(a));
      case Operation::ones_like:
        return constant(a.type == DType::boolean ? Literal::of_boolean(true) : Literal::of_integer(1), a.type);
      case Operation::deg2rad:
      case Operation::rad2deg:
        return turned(a);
      case Operation::floor:
      case Operation::ceil:
      case Operation::trunc:
        if (!of_floats) return a;  // since NumPy 2.1; before, integers became floats
        break;
      case Operation::round:
        if (is_integer(a.type)) return a;
        break;
      case Operation::absolute:
        if (a.type == DType::boolean) return a;
        if (is_complex(a.type)) return magnitude(a);
        break;
      case Operation::negative:
        if (a.type == DType::boolean) fail("'-' is not defined for bool; write ~ for \"not\"");
        break;
      case Operation::positive:
      case Operation::sign:
        if (a.type == DType::boolean) fail(name() + " is not defined for bool");
        break;
      default:
        break;
    }
    const std::optional<DType> type = loop_type(loops_of(operation), std::array{a.type});
    if (!type && is_complex(a.type)) no_complex();
    if (!type) fail(name() + " needs a boolean or an integer, not " + type_name(a));
    const ValueId value = as(a, *type);
    if (operation == Operation::positive || (operation == Operation::conjugate && !is_complex(*type)))
      return {.literal = {}, .type = *type, .value = value};
    if (operation == Operation::square) return compute(Op::multiply, *type, {value, value});
    if (operation == Operation::invert) {
      if (*type == DType::boolean) return boolean(builder_.emit(Op::bit_xor, Lane::u8, Lane::u8, {value, one()}));
      return compute(Op::bit_not, *type, {value});
    }
    return compute(op_of(operation), *type, {value});
  }
  [[noreturn]] void no_complex() const {
    fail(name() + " is not defined for complex numbers; take abs(), real() or imag() of them");
  }
  /// The real or imaginary part of a complex number.
  Bound part(Op op, const Bound& a) {
    const DType type = part_dtype(a.type);
    return {.literal = {}, .type = type, .value = builder_.emit(op, lane_of(a.type), lane_of(type), {a.value})};
  }
  /// real(), imag() and angle(), which a real number has as well.
  Bound part(const Bound& a) {
    const Operation operation = node_->operation;
    if (is_complex(a.type)) {
      if (operation == Operation::real) return part(Op::real, a);
      const Bound imaginary = part(Op::imaginary, a);
      if (operation == Operation::imaginary) return imaginary;
      return compute(Op::arctan2, imaginary.type, {imaginary.value, part(Op::real, a).value});
    }
    if (operation == Operation::real) return a;
    if (operation == Operation::imaginary) {
      return constant(a.type == DType::boolean ? Literal::of_boolean(false) : Literal::of_integer(0), a.type);
    }
    const Literal zero = Literal::of_integer(0);  // the imaginary part, which makes integers of booleans
    const DType type = *loop_type(floats, std::array{type_beside(zero, a.type)});
    return compute(Op::arctan2, type, {constant(zero, type).value, as(a, type)});
  }
  Bound magnitude(const Bound& a) {
    const Bound real = part(Op::real, a);
    return compute(Op::hypot, real.type, {real.value, part(Op::imaginary, a).value});
  }
  Bound make_complex(const Bound& given_real, const Bound& given_imaginary) {
    const bool both_literal = given_real.literal && given_imaginary.literal;
    const Bound real = both_literal ? strong(given_real) : given_real;
    const Bound imaginary = both_literal ? strong(given_imaginary) : given_imaginary;
    const std::vector<DType> types = settled({&real, &imaginary});
    if (is_complex(types[0]) || is_complex(types[1])) no_complex();
    const bool wide = *loop_type(floats, types) == DType::float64;
    const DType of = wide ? DType::float64 : DType::float32;
    const DType type = wide ? DType::complex128 : DType::complex64;
    return {.literal = {},
            .type = type,
            .value = builder_.emit(Op::make_complex, lane_of(of), lane_of(type), {as(real, of), as(imaginary, of)})};
  }

  /// Whether a number is less than zero; of floats also -0 and NaNs with a sign.
  ValueId sign_of(const Bound& a) {
    const Lane lane = lane_of(a.type);
    if (a.type == DType::boolean) return builder_.constant(Lane::u8, 0);
    ValueId value = a.value;
    if (is_floating(a.type)) {
      const ValueId unit = constant(Literal::of_integer(1), a.type).value;
      value = builder_.emit(Op::copysign, lane, lane, {unit, value});
    }
    return builder_.emit(Op::less, lane, Lane::u8, {value, constant(Literal::of_integer(0), a.type).value});
  }
  ValueId one() { return builder_.constant(Lane::u8, 1); }

  /// Degrees and radians: the factor is rounded to the type, as in NumPy, and float16 is computed in float32.
  Bound turned(const Bound& a) {
    if (is_complex(a.type)) no_complex();
    const DType type = *loop_type(floats, std::array{a.type});
    const bool to_radians = node_->operation == Operation::deg2rad;
    const Lane lane = lane_of(type);
    std::uint64_t factor = 0;
    if (lane == Lane::f64) {
      factor = std::bit_cast<std::uint64_t>(to_radians ? std::numbers::pi / 180 : 180 / std::numbers::pi);
    } else {
      constexpr float pi = std::numbers::pi_v<float>;
      factor = std::bit_cast<std::uint32_t>(to_radians ? pi / 180 : 180 / pi);
    }
    return compute(Op::multiply, type, {as(a, type), builder_.constant(lane, factor)});
  }

  /// fmin and fmax: the other one where one is NaN.
  Bound without_nan(const Bound& given_a, const Bound& given_b) {
    const bool both_literal = given_a.literal && given_b.literal;
    const Bound a = both_literal ? strong(given_a) : given_a;
    const Bound b = both_literal ? strong(given_b) : given_b;
    const DType type = common_type(settled({&a, &b}));
    const bool lesser = node_->operation == Operation::fmin;
    const Lane lane = lane_of(type);
    const ValueId left = as(a, type);
    const ValueId right = as(b, type);
    if (type == DType::boolean)
      return boolean(builder_.emit(lesser ? Op::bit_and : Op::bit_or, lane, lane, {left, right}));
    ValueId value = builder_.emit(lesser ? Op::minimum : Op::maximum, lane, lane, {left, right});
    if (is_floating(type) || is_complex(type)) {
      const ValueId left_nan = builder_.emit(Op::isnan, lane, Lane::u8, {left});
      const ValueId right_nan = builder_.emit(Op::isnan, lane, Lane::u8, {right});
      value = builder_.emit(Op::select, lane, lane, {right_nan, left, value});
      value = builder_.emit(Op::select, lane, lane, {left_nan, right, value});
    }
    return {.literal = {}, .type = type, .value = value};
  }

  /// As array.astype(type): anything to anything, but no complex number to a real one, which would lose a part of it. A
  /// Python number must fit.
  Bound cast(const Bound& a, DType type) {
    const bool complex = a.literal ? a.literal->is_complex() : is_complex(a.type);
    if (complex && !is_complex(type) && type != DType::boolean) {
      const std::string text(dtype_name(type));
      fail(text + "() of a complex number would lose its imaginary part; write " + text + "(real(...)) or abs(...)");
    }
    if (a.literal) {
      if (type == DType::boolean) return constant(Literal::of_boolean(a.literal->truth()), type);
      if (!is_floating(type) && !is_complex(type) && a.literal->is_real()) {
        const double cut = std::trunc(a.literal->real);
        if (!(std::fabs(cut) < 0x1p64))
          fail("a float that is not finite, or too large, has no " + std::string(dtype_name(type)));
        return constant(Literal::of_integer(static_cast<wide_integer>(cut)), type);
      }
      return constant(*a.literal, type);
    }
    ValueId value = a.value;
    if (type == DType::boolean) {
      value = truth(a);
    } else if (type == DType::float16 && a.type != DType::float16) {
      value = a.type == DType::float64 ? builder_.emit(Op::round_odd, Lane::f32, Lane::f32, {a.value})
                                       : as(a, DType::float32);
      value = builder_.emit(Op::round_half, Lane::f32, Lane::f32, {value});
    } else {
      value = as(a, type);
    }
    return {.literal = {}, .type = type, .value = value};
  }

  Bound logical(Op op, const Bound& a, const Bound& b) {
    return boolean(builder_.emit(op, Lane::u8, Lane::u8, {truth(a), truth(b)}));
  }

  /// Arithmetic and functions of two arguments: the first loop that both can be cast to.
  Bound binary(const Bound& given_a, const Bound& given_b) {
    const bool both_literal = given_a.literal && given_b.literal;
    const Bound a = both_literal ? strong(given_a) : given_a;
    const Bound b = both_literal ? strong(given_b) : given_b;
    const Operation operation = node_->operation;
    const std::vector<DType> types = settled({&a, &b});
    if (operation == Operation::subtract && types[0] == DType::boolean && types[1] == DType::boolean) {
      fail("'-' is not defined between bools; write ^ for \"either but not both\"");
    }
    std::optional<DType> type = loop_type(loops_of(operation), types);
    if (!type) no_loop(a, b);
    const auto is_whole = [](DType each) { return each == DType::boolean || is_integer(each); };
    if (operation == Operation::divide && is_whole(types[0]) && is_whole(types[1])) type = DType::float64;
    const ValueId left = as(a, *type);
    const ValueId right = as(b, *type);
    Op op = op_of(operation);
    if (*type == DType::boolean) {  // + and maximum are "or" there, * and minimum are "and"
      if (op == Op::add || op == Op::maximum) op = Op::bit_or;
      if (op == Op::multiply || op == Op::minimum) op = Op::bit_and;
    }
    if (op == Op::power && is_integer(*type)) builder_.require_natural(lane_of(*type), right);
    return compute(op, *type, {left, right});
  }

  [[noreturn]] void no_loop(const Bound& a, const Bound& b) {
    const auto complex = [](const Bound& of) { return of.literal ? of.literal->is_complex() : is_complex(of.type); };
    if (complex(a) || complex(b)) no_complex();
    const bool with_float = a.type == DType::float64 || is_floating(a.type) || is_floating(b.type) ||
                            (a.literal && a.literal->is_real()) || (b.literal && b.literal->is_real());
    std::string why = name() + " needs booleans or integers, not " + type_name(a) + " and " + type_name(b);
    if (with_float) {
      why += "; it binds tighter than comparisons: write (a < b) & (c < d)";
    } else {
      why += ", which have no common integer type";
    }
    fail(why);
  }

  Bound comparison(Bound a, Bound b) {
    Operation operation = node_->operation;
    if (operation == Operation::greater || operation == Operation::greater_equal) {
      std::swap(a, b);
      operation = operation == Operation::greater ? Operation::less : Operation::less_equal;
    }
    if (a.literal || b.literal) {
      if (const std::optional<bool> known = known_by_range(operation, a, b)) {
        return boolean(builder_.constant(Lane::u8, *known ? 1 : 0));
      }
    }
    const std::vector<DType> types = settled({&a, &b});
    if (const auto mixed = mixed_comparison(operation, a, b, types)) return boolean(*mixed);
    const DType type = common_type(types);
    const Op op = operation == Operation::less         ? Op::less
                  : operation == Operation::less_equal ? Op::less_equal
                  : operation == Operation::equal      ? Op::equal
                                                       : Op::not_equal;
    return boolean(builder_.emit(op, lane_of(type), Lane::u8, {as(a, type), as(b, type)}));
  }

  /// An integer literal outside of the array's type is still compared as the number it is.
  static std::optional<bool> known_by_range(Operation operation, const Bound& a, const Bound& b) {
    const Bound& array = a.literal ? b : a;
    const Literal& literal = a.literal ? *a.literal : *b.literal;
    if (literal.kind != LiteralKind::integer || !is_integer(array.type) || fits(literal, array.type))
      return std::nullopt;
    const bool literal_is_less = literal.integer < least(array.type).integer;
    switch (operation) {
      case Operation::equal:
        return false;
      case Operation::not_equal:
        return true;
      default:
        return literal_is_less == a.literal.has_value();
    }
  }

  /// int64 and uint64 have no common integer type, but NumPy 2 compares them exactly.
  std::optional<ValueId> mixed_comparison(Operation operation, const Bound& a, const Bound& b,
                                          const std::vector<DType>& types) {
    if (!is_integer(types[0]) || !is_integer(types[1]) || is_integer(common_type(types))) return std::nullopt;
    const bool signed_first = is_signed(types[0]);
    const ValueId left = as(a, signed_first ? DType::int64 : DType::uint64);
    const ValueId right = as(b, signed_first ? DType::uint64 : DType::int64);
    if (operation == Operation::less || operation == Operation::less_equal) {
      const bool strict = operation == Operation::less;
      if (signed_first) {
        return builder_.emit(strict ? Op::less_iu : Op::less_equal_iu, Lane::i64, Lane::u8, {left, right});
      }
      return builder_.emit(strict ? Op::less_ui : Op::less_equal_ui, Lane::u64, Lane::u8, {left, right});
    }
    const Op op = operation == Operation::equal ? Op::equal_iu : Op::not_equal_iu;
    return builder_.emit(op, Lane::i64, Lane::u8, {signed_first ? left : right, signed_first ? right : left});
  }

  /// A literal exponent is NumPy's "fast scalar power": exact where a product, a root or a quotient does it.
  Bound power(const Bound& base, const Bound& exponent) {
    if (base.literal || !exponent.literal || exponent.literal->kind == LiteralKind::boolean)
      return binary(base, exponent);
    const Literal& literal = *exponent.literal;
    if (literal.is_complex()) return binary(base, exponent);
    if (!literal.is_real() && !is_floating(base.type) && !is_complex(base.type)) return integer_power(base, exponent);
    const std::optional<DType> type = loop_type(floats | complexes, std::array{type_beside(literal, base.type)});
    const ValueId value = as(base, *type);
    const double number = literal.as_real();
    if (number == 0) return constant(Literal::of_real(1), *type);
    if (number == 1) return {.literal = {}, .type = *type, .value = value};
    if (number == 2) return compute(Op::multiply, *type, {value, value});
    if (number == 0.5) return compute(Op::sqrt, *type, {value});
    if (number == -1) return compute(Op::divide, *type, {constant(Literal::of_real(1), *type).value, value});
    if (number == 3) {  // two roundings in place of pow's one, still well within its bound
      const Lane lane = lane_of(*type);
      return compute(Op::multiply, *type, {builder_.emit(Op::multiply, lane, lane, {value, value}), value});
    }
    return binary(base, exponent);
  }

  Bound integer_power(const Bound& base, const Bound& exponent) {
    const Literal& literal = *exponent.literal;
    if (literal.integer < 0) {
      fail("integers to a negative integer power are not defined; write a ** " + integer_text(literal.integer) + ".0");
    }
    if (literal.integer == 2) {
      // Squares keep their type, also int8 for bool, where NumPy's other powers of bool are int64.
      const DType type = base.type == DType::boolean ? DType::int8 : base.type;
      const ValueId value = as(base, type);
      return compute(Op::multiply, type, {value, value});
    }
    return binary(base, exponent);
  }

  /// Choosing and clipping: all types that there are, and the common one.
  Bound where(const Bound& condition, const Bound& given_a, const Bound& given_b) {
    const bool both_literal = given_a.literal && given_b.literal;
    const Bound a = both_literal ? strong(given_a) : given_a;
    const Bound b = both_literal ? strong(given_b) : given_b;
    const DType type = common_type(settled({&a, &b}));
    const Lane lane = lane_of(type);
    const ValueId value = builder_.emit(Op::select, lane, lane, {truth(condition), as(a, type), as(b, type)});
    return {.literal = {}, .type = type, .value = value};
  }

  Bound clip(const Bound& given, const Bound& low, const Bound& high) {
    const Bound a = strong(given);
    // NumPy ignores integer limits that the array's type cannot reach.
    const auto is_limit = [&](const Bound& bound) {
      return !(is_integer(a.type) && bound.literal && bound.literal->kind == LiteralKind::integer);
    };
    const bool with_low = is_limit(low) || low.literal->integer > least(a.type).integer;
    const bool with_high = is_limit(high) || high.literal->integer < largest(a.type).integer;
    if (!with_low && !with_high) return a;
    const std::vector<DType> types =
        with_low && with_high ? settled({&a, &low, &high}) : settled({&a, with_low ? &low : &high});
    const DType type = common_type(types);
    const bool boolean_type = type == DType::boolean;
    ValueId value = as(a, type);
    if (with_low) value = compute(boolean_type ? Op::bit_or : Op::maximum, type, {value, as(low, type)}).value;
    if (with_high) value = compute(boolean_type ? Op::bit_and : Op::minimum, type, {value, as(high, type)}).value;
    return {.literal = {}, .type = type, .value = value};
  }

  const ExpressionTree& tree_;
  std::span<const DType> types_;
  ProgramBuilder builder_;
  const Node* node_ = nullptr;
};

}  // namespace
}  // namespace detail

Program Expression::bind(std::span<const DType> types) const {
  const std::size_t all = tree_->variables.size() + tree_->reductions.size();
  if (types.size() != tree_->variables.size() && types.size() != all) {
    throw std::logic_error("Expression::bind: as many types as variables are needed");
  }
  detail::Binder binder(*tree_, types);
  const detail::Bound result = binder.bind();
  detail::ProgramBuilder::Finished finished = binder.builder().finish(result.value, result.type);
  Program program;
  program.code_ = std::move(finished.code);
  program.inputs_.assign(types.begin(), types.end());
  program.scratch_bytes_ = finished.scratch_bytes;
  program.result_ = result.type;
  return program;
}

}  // namespace runrig
