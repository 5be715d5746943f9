#include "expression_literal.hpp"

#include <algorithm>
#include <charconv>
#include <cmath>
#include <complex>
#include <limits>
#include <utility>

#include "expression_text.hpp"
#include "expression_tree.hpp"

namespace runrig::detail {
namespace {

constexpr std::string_view too_large = "an integer beyond 128 bits; write it as a float, such as 1e40";

/// Python lets single underscores stand between digits. None if they stand elsewhere.
std::optional<std::string> without_underscores(std::string_view text) {
  const auto is_digit = [](char c) {
    return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'f') || (c >= 'A' && c <= 'F');
  };
  std::string plain;
  for (std::size_t i = 0; i < text.size(); ++i) {
    if (text[i] != '_') {
      plain += text[i];
    } else if (i == 0 || i + 1 == text.size() || !is_digit(text[i - 1]) || !is_digit(text[i + 1])) {
      return std::nullopt;
    }
  }
  return plain;
}

LiteralResult read_integer(std::string_view digits, int base) {
  wide_integer value = 0;
  for (const char c : digits) {
    const int digit = c <= '9' ? c - '0' : (c | 0x20) - 'a' + 10;
    if (digit < 0 || digit >= base) return {std::nullopt, {}};
    if (__builtin_mul_overflow(value, wide_integer{base}, &value) ||
        __builtin_add_overflow(value, wide_integer{digit}, &value)) {
      return {std::nullopt, std::string(too_large)};
    }
  }
  return {Literal::of_integer(value), {}};
}

/// from_chars() says of a number out of range only that it is one. The decimal exponent of its first digit that is
/// not zero decides to which side.
double out_of_range_value(std::string_view text) {
  const std::size_t mark = text.find_first_of("eE");
  const std::string_view digits = text.substr(0, mark);
  long exponent = 0;
  if (mark != std::string_view::npos) {
    std::string_view written = text.substr(mark + 1);
    const bool below = written.starts_with('-');
    if (below || written.starts_with('+')) written.remove_prefix(1);
    const auto [end, error] = std::from_chars(written.data(), written.data() + written.size(), exponent);
    if (error != std::errc{}) exponent = 1'000'000'000;
    if (below) exponent = -exponent;
  }
  const std::size_t first = digits.find_first_of("123456789");
  if (first == std::string_view::npos) return 0;
  const std::size_t point = std::min(digits.find('.'), digits.size());
  return exponent + static_cast<long>(point) - static_cast<long>(first) > 0 ? std::numeric_limits<double>::infinity()
                                                                            : 0;
}

LiteralResult read_real(std::string_view text) {
  double value = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (error == std::errc::invalid_argument || end != text.data() + text.size()) return {std::nullopt, {}};
  if (error == std::errc::result_out_of_range) value = out_of_range_value(text);
  return {Literal::of_real(value), {}};
}

/// Python's rounding: towards minus infinity, so that the remainder has the divisor's sign.
bool rounds_down(wide_integer a, wide_integer b) { return a % b != 0 && ((a < 0) != (b < 0)); }

LiteralResult integer_power(wide_integer base, wide_integer exponent) {
  if (exponent < 0) {
    if (base == 0) return {std::nullopt, "zero to a negative power"};
    return {Literal::of_real(std::pow(static_cast<double>(base), static_cast<double>(exponent))), {}};
  }
  wide_integer result = 1;
  for (; exponent != 0; exponent >>= 1) {
    if ((exponent & 1) != 0 && __builtin_mul_overflow(result, base, &result)) {
      return {std::nullopt, std::string(too_large)};
    }
    if (exponent > 1 && __builtin_mul_overflow(base, base, &base)) return {std::nullopt, std::string(too_large)};
  }
  return {Literal::of_integer(result), {}};
}

LiteralResult integer_arithmetic(Operation operation, wide_integer a, wide_integer b) {
  wide_integer result = 0;
  bool overflow = false;
  switch (operation) {
    case Operation::add:
      overflow = __builtin_add_overflow(a, b, &result);
      break;
    case Operation::subtract:
      overflow = __builtin_sub_overflow(a, b, &result);
      break;
    case Operation::multiply:
      overflow = __builtin_mul_overflow(a, b, &result);
      break;
    case Operation::power:
      return integer_power(a, b);
    case Operation::bit_and:
      result = a & b;
      break;
    case Operation::bit_or:
      result = a | b;
      break;
    case Operation::bit_xor:
      result = a ^ b;
      break;
    case Operation::left_shift:
      if (b < 0) return {std::nullopt, "a negative shift"};
      overflow = a != 0 && (b >= 127 || __builtin_mul_overflow(a, wide_integer{1} << b, &result));
      break;
    case Operation::right_shift:
      if (b < 0) return {std::nullopt, "a negative shift"};
      result = a >> (b < 127 ? b : 127);
      break;
    default:
      if (b == 0) return {std::nullopt, "division by zero"};
      if (operation == Operation::divide) {
        // The quotient of two numbers that are doubles is rounded once, as Python does it for all.
        return {Literal::of_real(static_cast<double>(a) / static_cast<double>(b)), {}};
      }
      if (b == -1) {  // the least integer has no negative, and the machine traps when asked for it
        overflow = operation == Operation::floor_divide && __builtin_sub_overflow(wide_integer{0}, a, &result);
      } else if (operation == Operation::floor_divide) {
        result = a / b - (rounds_down(a, b) ? 1 : 0);
      } else {
        result = a % b + (rounds_down(a, b) ? b : 0);
      }
  }
  if (overflow) return {std::nullopt, std::string(too_large)};
  return {Literal::of_integer(result), {}};
}

LiteralResult real_arithmetic(Operation operation, double a, double b) {
  switch (operation) {
    case Operation::add:
      return {Literal::of_real(a + b), {}};
    case Operation::subtract:
      return {Literal::of_real(a - b), {}};
    case Operation::multiply:
      return {Literal::of_real(a * b), {}};
    case Operation::power: {
      if (a == 0 && b < 0) return {std::nullopt, "zero to a negative power"};
      const double result = std::pow(a, b);
      if (std::isnan(result) && !std::isnan(a) && !std::isnan(b)) {
        return {std::nullopt, "a negative number to a broken power"};
      }
      return {Literal::of_real(result), {}};
    }
    case Operation::divide:
    case Operation::floor_divide:
    case Operation::remainder:
      break;
    default:
      return {std::nullopt, "needs booleans or integers, not a float"};
  }
  if (b == 0) return {std::nullopt, "division by zero"};
  if (operation == Operation::divide) return {Literal::of_real(a / b), {}};
  double remainder = std::fmod(a, b);
  double quotient = (a - remainder) / b;
  if (remainder != 0) {
    if ((b < 0) != (remainder < 0)) {
      remainder += b;
      quotient -= 1;
    }
  } else {
    remainder = std::copysign(0.0, b);
  }
  if (operation == Operation::remainder) return {Literal::of_real(remainder), {}};
  if (quotient == 0) return {Literal::of_real(std::copysign(0.0, a / b)), {}};
  const double whole = std::floor(quotient);
  return {Literal::of_real(quotient - whole > 0.5 ? whole + 1 : whole), {}};
}

/// Python's complex arithmetic.
LiteralResult complex_arithmetic(Operation operation, const Literal& a, const Literal& b) {
  const std::complex<double> x(a.as_real(), a.imaginary);
  const std::complex<double> y(b.as_real(), b.imaginary);
  const auto given = [](std::complex<double> value) -> LiteralResult {
    return {Literal::of_complex(value.real(), value.imag()), {}};
  };
  const std::string by_zero =
      operation == Operation::divide ? "division by zero" : "zero to a negative or complex power";
  switch (operation) {
    case Operation::add:
      return given(x + y);
    case Operation::subtract:
      return given(x - y);
    case Operation::multiply:
      return given(x * y);
    case Operation::divide:
      if (y == 0.0) return {std::nullopt, by_zero};
      return given(x / y);
    case Operation::power:
      if (y == 0.0) return given(1.0);
      if (x == 0.0 && (y.imag() != 0 || y.real() < 0)) return {std::nullopt, by_zero};
      if (x == 0.0) return given(0.0);
      return given(std::pow(x, y));
    case Operation::equal:
      return {Literal::of_boolean(x == y), {}};
    case Operation::not_equal:
      return {Literal::of_boolean(x != y), {}};
    default:
      return {std::nullopt, "is not defined for complex numbers"};
  }
}

bool holds(Operation comparison, const Literal& a, const Literal& b) {
  const std::optional<int> order = compare(a, b);
  switch (comparison) {
    case Operation::less:
      return order && *order < 0;
    case Operation::less_equal:
      return order && *order <= 0;
    case Operation::greater:
      return order && *order > 0;
    case Operation::greater_equal:
      return order && *order >= 0;
    case Operation::equal:
      return order && *order == 0;
    default:
      return !order || *order != 0;
  }
}

}  // namespace

LiteralResult read_number(std::string_view text) {
  const auto or_else = [&](LiteralResult result, std::string_view hint = {}) {
    if (!result.literal && result.why.empty()) result.why = quoted(text) + " is not a number" + std::string(hint);
    return result;
  };
  const std::optional<std::string> plain = without_underscores(text);
  if (!plain || plain->empty()) return or_else({std::nullopt, {}});
  if (plain->size() >= 2 && (*plain)[0] == '0') {
    const char kind = static_cast<char>((*plain)[1] | 0x20);
    const int base = kind == 'x' ? 16 : kind == 'o' ? 8 : kind == 'b' ? 2 : 0;
    if (base != 0) {
      return or_else(plain->size() == 2 ? LiteralResult{} : read_integer(std::string_view(*plain).substr(2), base));
    }
  }
  if (plain->find_first_not_of("0123456789") == std::string::npos) {
    // As in Python, where a leading zero once meant octal.
    const bool leading_zero = (*plain)[0] == '0' && plain->find_first_not_of('0') != std::string::npos;
    if (leading_zero) return or_else({std::nullopt, {}}, ": drop the leading zero");
    return or_else(read_integer(*plain, 10));
  }
  if (plain->back() == 'j' || plain->back() == 'J') {
    LiteralResult number = read_real(std::string_view(*plain).substr(0, plain->size() - 1));
    if (number.literal) number.literal = Literal::of_complex(0, number.literal->real);
    return or_else(std::move(number));
  }
  return or_else(read_real(*plain));
}

LiteralResult fold_unary(Operation operation, const Literal& a) {
  switch (operation) {
    case Operation::logical_not:
      return {Literal::of_boolean(!a.truth()), {}};
    case Operation::positive:
      return {a.is_whole() ? Literal::of_integer(a.integer) : a, {}};
    case Operation::negative:
      if (a.is_complex()) return {Literal::of_complex(-a.real, -a.imaginary), {}};
      if (a.is_real()) return {Literal::of_real(-a.real), {}};
      return integer_arithmetic(Operation::subtract, 0, a.integer);
    default:
      break;
  }
  if (a.is_complex()) return {std::nullopt, "is not defined for complex numbers"};
  if (a.is_real()) return {std::nullopt, "needs a boolean or an integer, not a float"};
  if (a.kind == LiteralKind::boolean) return {Literal::of_boolean(a.integer == 0), {}};
  return {Literal::of_integer(~a.integer), {}};
}

LiteralResult fold_binary(Operation operation, const Literal& a, const Literal& b) {
  switch (operation) {
    case Operation::logical_and:
      return {Literal::of_boolean(a.truth() && b.truth()), {}};
    case Operation::logical_or:
      return {Literal::of_boolean(a.truth() || b.truth()), {}};
    default:
      break;
  }
  if (a.is_complex() || b.is_complex()) return complex_arithmetic(operation, a, b);
  switch (operation) {
    case Operation::less:
    case Operation::less_equal:
    case Operation::greater:
    case Operation::greater_equal:
    case Operation::equal:
    case Operation::not_equal:
      return {Literal::of_boolean(holds(operation, a, b)), {}};
    default:
      break;
  }
  if (a.is_real() || b.is_real()) return real_arithmetic(operation, a.as_real(), b.as_real());
  LiteralResult result = integer_arithmetic(operation, a.integer, b.integer);
  const bool bits =
      operation == Operation::bit_and || operation == Operation::bit_or || operation == Operation::bit_xor;
  if (bits && a.kind == LiteralKind::boolean && b.kind == LiteralKind::boolean) {
    return {Literal::of_boolean(result.literal->truth()), {}};
  }
  return result;
}

std::optional<int> compare(const Literal& a, const Literal& b) {
  if (!a.is_real() && !b.is_real()) return a.integer < b.integer ? -1 : a.integer > b.integer ? 1 : 0;
  if (a.is_real() && b.is_real()) {
    if (std::isnan(a.real) || std::isnan(b.real)) return std::nullopt;
    return a.real < b.real ? -1 : a.real > b.real ? 1 : 0;
  }
  if (!a.is_real()) {
    const std::optional<int> reversed = compare(b, a);
    return reversed ? std::optional(-*reversed) : std::nullopt;
  }
  if (std::isnan(a.real)) return std::nullopt;
  if (a.real >= 0x1p127) return 1;
  if (a.real < -0x1p127) return -1;
  const double whole = std::floor(a.real);
  const auto integer = static_cast<wide_integer>(whole);
  if (integer != b.integer) return integer < b.integer ? -1 : 1;
  return a.real > whole ? 1 : 0;
}

std::string integer_text(wide_integer value) {
  // NOLINTNEXTLINE(modernize-use-using): as wide_integer
  __extension__ typedef unsigned __int128 wide_unsigned;
  auto rest = value < 0 ? wide_unsigned{0} - static_cast<wide_unsigned>(value) : static_cast<wide_unsigned>(value);
  std::string digits;
  do {
    digits += static_cast<char>('0' + static_cast<int>(rest % 10U));
    rest /= 10U;
  } while (rest != 0);
  if (value < 0) digits += '-';
  std::reverse(digits.begin(), digits.end());
  return digits;
}

}  // namespace runrig::detail
