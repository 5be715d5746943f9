#include "expression_types.hpp"

#include <algorithm>
#include <bit>
#include <cmath>
#include <limits>

namespace runrig::detail {
namespace {

using enum Operation;

/// A double to float16, rounded once. Through a float rounded to odd, which has bits enough beyond float16's for
/// the second rounding to see on which side of the middle the number was.
half half_of(double value) noexcept {
  const auto nearest = static_cast<float>(value);
  const double error = value - static_cast<double>(nearest);
  auto bits = std::bit_cast<std::uint32_t>(nearest);
  if (error != 0 && std::isfinite(nearest) && (bits & 1U) == 0) {
    const bool away_from_zero = (error > 0) == (value > 0);
    bits += away_from_zero ? 1U : ~0U;
  }
  return half(std::bit_cast<float>(bits));
}

static_assert(std::endian::native == std::endian::little);

}  // namespace

bool can_cast(DType from, DType to) noexcept {
  if (from == to || from == DType::boolean) return true;
  if (to == DType::boolean) return false;
  if (is_complex(from)) return is_complex(to) && item_bytes(to) > item_bytes(from);
  if (is_complex(to)) return from == part_dtype(to) || can_cast(from, part_dtype(to));
  if (is_floating(from)) return is_floating(to) && item_bytes(to) > item_bytes(from);
  if (to == DType::float64) return true;  // also from 64 bits, as NumPy has it
  if (is_floating(to)) return item_bytes(from) < item_bytes(to);
  if (is_signed(from) == is_signed(to)) return item_bytes(from) <= item_bytes(to);
  return is_signed(to) && item_bytes(from) < item_bytes(to);
}

std::optional<DType> loop_type(TypeSet loops, std::span<const DType> types) noexcept {
  for (std::size_t i = 0; i < dtype_count; ++i) {
    const auto candidate = static_cast<DType>(i);
    if ((loops & set_of(candidate)) == 0) continue;
    if (std::all_of(types.begin(), types.end(), [&](DType each) { return can_cast(each, candidate); }))
      return candidate;
  }
  return std::nullopt;
}

DType common_type(std::span<const DType> types) noexcept { return *loop_type(all_types, types); }

TypeSet loops_of(Operation operation) noexcept {
  switch (operation) {
    case add:
    case multiply:
    case minimum:
    case maximum:
    case absolute:
    case less:
    case less_equal:
    case greater:
    case greater_equal:
    case equal:
    case not_equal:
      return all_types;
    case subtract:
    case power:
    case negative:
    case positive:
    case conjugate:
    case sign:
    case square:
      return numbers;
    case floor_divide:
    case remainder:
    case fmod:
      return real_numbers;
    case fmin:
    case fmax:
      return all_types;
    case left_shift:
    case right_shift:
      return integers;
    case invert:
    case bit_and:
    case bit_or:
    case bit_xor:
      return booleans | integers;
    case literal:
    case variable:
    case reduction:
    case logical_not:
    case logical_and:
    case logical_or:
    case clip:
    case where:
    case cast:
    case ones_like:
    case signbit:
    case isnan:
    case isinf:
    case isfinite:
    case real:
    case imaginary:
    case angle:
    case make_complex:
      return 0;
    case fabs:
    case floor:
    case ceil:
    case trunc:
    case copysign:
    case deg2rad:
    case rad2deg:
    case cbrt:
    case arctan2:
    case hypot:
      return floats;
    default:
      return floats | complexes;
  }
}

DType type_beside(const Literal& literal, DType type) noexcept {
  switch (literal.kind) {
    case LiteralKind::boolean:
      return DType::boolean;
    case LiteralKind::integer:
      return type == DType::boolean ? DType::int64 : type;
    case LiteralKind::real:
      return is_floating(type) || is_complex(type) ? type : DType::float64;
    case LiteralKind::complex:
      break;
  }
  if (is_complex(type)) return type;
  return type == DType::float16 || type == DType::float32 ? DType::complex64 : DType::complex128;
}

std::optional<DType> type_alone(const Literal& literal) noexcept {
  switch (literal.kind) {
    case LiteralKind::boolean:
      return DType::boolean;
    case LiteralKind::real:
      return DType::float64;
    case LiteralKind::complex:
      return DType::complex128;
    case LiteralKind::integer:
      break;
  }
  if (fits(literal, DType::int64)) return DType::int64;
  if (fits(literal, DType::uint64)) return DType::uint64;
  return std::nullopt;
}

Literal least(DType integer) noexcept {
  if (!is_signed(integer)) return Literal::of_integer(0);
  return Literal::of_integer(-(wide_integer{1} << (8 * item_bytes(integer) - 1)));
}
Literal largest(DType integer) noexcept {
  return Literal::of_integer((wide_integer{1} << (8 * item_bytes(integer) - (is_signed(integer) ? 1U : 0U))) - 1);
}

bool fits(const Literal& literal, DType type) noexcept {
  if (is_complex(type)) return true;
  if (literal.is_complex()) return false;
  if (is_floating(type)) return true;
  if (literal.is_real()) return false;
  if (type == DType::boolean) return literal.kind == LiteralKind::boolean;
  return literal.integer >= least(type).integer && literal.integer <= largest(type).integer;
}

ElementBits bits_of(const Literal& literal, DType type) noexcept {
  const auto of_float = [](double value) { return std::bit_cast<std::uint32_t>(static_cast<float>(value)); };
  switch (type) {
    case DType::complex128:
      return {{std::bit_cast<std::uint64_t>(literal.as_real()), std::bit_cast<std::uint64_t>(literal.imaginary)}};
    case DType::complex64:  // in memory the real part comes first
      return {{std::uint64_t{of_float(literal.imaginary)} << 32 | of_float(literal.as_real()), 0}};
    case DType::float64:
      return {{std::bit_cast<std::uint64_t>(literal.as_real()), 0}};
    case DType::float32:
      return {{of_float(literal.as_real()), 0}};
    case DType::float16:
      return {{std::bit_cast<std::uint32_t>(static_cast<float>(half_of(literal.as_real()))), 0}};
    default:
      break;
  }
  const std::size_t unused = 64 - 8 * item_bytes(type);
  return {{static_cast<std::uint64_t>(literal.integer) << unused >> unused, 0}};
}

}  // namespace runrig::detail
