#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

namespace runrig::detail {

// NOLINTNEXTLINE(modernize-use-using): which takes no __extension__
__extension__ typedef __int128 wide_integer;  // beyond int64 and uint64, as literals may be

enum class LiteralKind : std::uint8_t { boolean, integer, real, complex };

/// A Python number: a literal, or what arithmetic of literals gives.
struct Literal {
  LiteralKind kind = LiteralKind::integer;
  wide_integer integer = 0;  // also of booleans
  double real = 0;           // also of complex numbers
  double imaginary = 0;

  [[nodiscard]] static Literal of_boolean(bool value) { return {LiteralKind::boolean, value ? 1 : 0, 0, 0}; }
  [[nodiscard]] static Literal of_integer(wide_integer value) { return {LiteralKind::integer, value, 0, 0}; }
  [[nodiscard]] static Literal of_real(double value) { return {LiteralKind::real, 0, value, 0}; }
  [[nodiscard]] static Literal of_complex(double real, double imaginary) {
    return {LiteralKind::complex, 0, real, imaginary};
  }
  [[nodiscard]] bool is_real() const noexcept { return kind == LiteralKind::real; }
  [[nodiscard]] bool is_complex() const noexcept { return kind == LiteralKind::complex; }
  [[nodiscard]] bool is_whole() const noexcept { return !is_real() && !is_complex(); }
  /// Of a complex number its real part.
  [[nodiscard]] double as_real() const noexcept { return is_whole() ? static_cast<double>(integer) : real; }
  [[nodiscard]] bool truth() const noexcept { return is_whole() ? integer != 0 : real != 0 || imaginary != 0; }
};

/// A literal, or why there is none.
struct LiteralResult {
  std::optional<Literal> literal;
  std::string why;
};

/// Reads a number as Python writes it: 12, 1_000, 0xff, 0o17, 0b11, 1.5e-3, .5, 2j.
[[nodiscard]] LiteralResult read_number(std::string_view text);

enum class Operation : std::uint8_t;
/// Python's arithmetic on literals (NumPy's for "~", where that of booleans is "not"). For the operators only.
[[nodiscard]] LiteralResult fold_unary(Operation operation, const Literal& a);
[[nodiscard]] LiteralResult fold_binary(Operation operation, const Literal& a, const Literal& b);

/// Less than 0, 0, more than 0: exact between integers and reals. None if one of them is NaN. Not of complex ones.
[[nodiscard]] std::optional<int> compare(const Literal& a, const Literal& b);
/// All its digits.
[[nodiscard]] std::string integer_text(wide_integer value);

}  // namespace runrig::detail
