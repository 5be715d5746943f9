// What each operation does to one element. Part of loops_body.hpp.
#pragma once

#include <cmath>
#include <cstdint>
#include <type_traits>

#include "loops_half.hpp"

namespace runrig::detail {
namespace {

/// The unsigned type in which integers wrap: at least `unsigned`, since smaller ones are promoted to int, whose
/// products overflow.
template <class T>
using Wrapping = std::conditional_t<sizeof(T) == 8, std::uint64_t, std::uint32_t>;

struct Copy {
  template <class T>
  T operator()(T a) const {
    return a;
  }
};
struct Truth {
  template <class T>
  bool operator()(T a) const {
    return a != 0;
  }
};

struct RoundHalf {
  float operator()(float a) const { return LoadHalf{}(StoreHalf{}(a)); }
};

struct Add {
  template <class T>
  T operator()(T a, T b) const {
    if constexpr (std::is_floating_point_v<T>)
      return a + b;
    else
      return static_cast<T>(static_cast<Wrapping<T>>(a) + static_cast<Wrapping<T>>(b));
  }
};
struct Subtract {
  template <class T>
  T operator()(T a, T b) const {
    if constexpr (std::is_floating_point_v<T>)
      return a - b;
    else
      return static_cast<T>(static_cast<Wrapping<T>>(a) - static_cast<Wrapping<T>>(b));
  }
};
struct Multiply {
  template <class T>
  T operator()(T a, T b) const {
    if constexpr (std::is_floating_point_v<T>)
      return a * b;
    else
      return static_cast<T>(static_cast<Wrapping<T>>(a) * static_cast<Wrapping<T>>(b));
  }
};
struct Divide {
  template <class T>
  T operator()(T a, T b) const {
    return a / b;
  }
};
struct Negative {
  template <class T>
  T operator()(T a) const {
    if constexpr (std::is_floating_point_v<T>)
      return -a;
    else
      return static_cast<T>(Wrapping<T>{0} - static_cast<Wrapping<T>>(a));
  }
};
struct Absolute {
  template <class T>
  T operator()(T a) const {
    if constexpr (std::is_floating_point_v<T>)
      return std::fabs(a);
    else if constexpr (std::is_signed_v<T>)
      return a < 0 ? Negative{}(a) : a;
    else
      return a;
  }
};
struct Sign {
  template <class T>
  T operator()(T a) const {
    if constexpr (std::is_floating_point_v<T>)
      return a > 0 ? T{1} : a < 0 ? T{-1} : a == 0 ? T{0} : a;
    else if constexpr (std::is_signed_v<T>)
      return static_cast<T>((a > 0) - (a < 0));
    else
      return static_cast<T>(a > 0);
  }
};

/// -0 stays, as do NaN and what is too large to have a fraction. Not std::rint, which is a call before SSE4.1.
struct Rint {
  template <class T>
  T operator()(T a) const {
    constexpr T whole = sizeof(T) == 8 ? static_cast<T>(0x1p52) : static_cast<T>(0x1p23);
    const T magnitude = std::fabs(a);
    const T rounded = (magnitude + whole) - whole;
    return magnitude < whole ? std::copysign(rounded, a) : a;
  }
};
struct Floor {
  template <class T>
  T operator()(T a) const {
    const T rounded = Rint{}(a);
    return std::copysign(rounded > a ? rounded - 1 : rounded, a);
  }
};
struct Ceil {
  template <class T>
  T operator()(T a) const {
    const T rounded = Rint{}(a);
    return std::copysign(rounded < a ? rounded + 1 : rounded, a);
  }
};
struct Trunc {
  template <class T>
  T operator()(T a) const {
    return std::copysign(Floor{}(std::fabs(a)), a);
  }
};
struct Sqrt {
  template <class T>
  T operator()(T a) const {
    return std::sqrt(a);
  }
};

/// NumPy's npy_floor_divide and npy_remainder, step by step: their rounding is part of the result.
struct Remainder {
  template <class T>
  T operator()(T a, T b) const {
    if constexpr (std::is_floating_point_v<T>) {
      const T rest = std::fmod(a, b);
      if (b == 0) return rest;
      if (rest == 0) return std::copysign(T{0}, b);
      return (b < 0) != (rest < 0) ? rest + b : rest;
    } else {
      if (b == 0) return 0;
      if constexpr (std::is_signed_v<T>) {
        if (b == -1) return 0;  // the machine traps on the least integer
        const T rest = static_cast<T>(a % b);
        return rest != 0 && (rest < 0) != (b < 0) ? static_cast<T>(rest + b) : rest;
      } else {
        return static_cast<T>(a % b);
      }
    }
  }
};
struct FloorDivide {
  template <class T>
  T operator()(T a, T b) const {
    if constexpr (std::is_floating_point_v<T>) {
      if (b == 0) return a / b;
      const T rest = std::fmod(a, b);
      T quotient = (a - rest) / b;
      if (rest != 0 && (b < 0) != (rest < 0)) quotient -= 1;
      if (quotient == 0) return std::copysign(T{0}, a / b);
      const T whole = Floor{}(quotient);
      return quotient - whole > T{0.5} ? whole + 1 : whole;
    } else {
      if (b == 0) return 0;
      if constexpr (std::is_signed_v<T>) {
        if (b == -1) return Negative{}(a);
        const T quotient = static_cast<T>(a / b);
        return a % b != 0 && (a < 0) != (b < 0) ? static_cast<T>(quotient - 1) : quotient;
      } else {
        return static_cast<T>(a / b);
      }
    }
  }
};
/// Exponents below zero are refused before (Op::require_natural).
struct IntegerPower {
  template <class T>
  T operator()(T base, T exponent) const {
    auto factor = static_cast<Wrapping<T>>(base);
    auto rest = static_cast<std::make_unsigned_t<T>>(exponent);
    Wrapping<T> result = 1;
    for (; rest != 0; rest = static_cast<std::make_unsigned_t<T>>(rest >> 1U)) {
      if ((rest & 1U) != 0) result *= factor;
      factor *= factor;
    }
    return static_cast<T>(result);
  }
};

struct BitAnd {
  template <class T>
  T operator()(T a, T b) const {
    return static_cast<T>(a & b);
  }
};
struct BitOr {
  template <class T>
  T operator()(T a, T b) const {
    return static_cast<T>(a | b);
  }
};
struct BitXor {
  template <class T>
  T operator()(T a, T b) const {
    return static_cast<T>(a ^ b);
  }
};
struct BitNot {
  template <class T>
  T operator()(T a) const {
    return static_cast<T>(~a);
  }
};

/// By the width of the type or more: nothing is left, or the sign alone. A negative number is as much.
struct ShiftLeft {
  template <class T>
  T operator()(T a, T b) const {
    constexpr auto width = static_cast<std::make_unsigned_t<T>>(8 * sizeof(T));
    const auto by = static_cast<std::make_unsigned_t<T>>(b);
    const auto some = static_cast<Wrapping<T>>(by < width ? by : 0);
    return by < width ? static_cast<T>(static_cast<Wrapping<T>>(a) << some) : T{0};
  }
};
struct ShiftRight {
  template <class T>
  T operator()(T a, T b) const {
    constexpr auto width = static_cast<std::make_unsigned_t<T>>(8 * sizeof(T));
    const auto by = static_cast<std::make_unsigned_t<T>>(b);
    if constexpr (std::is_signed_v<T>) {
      return static_cast<T>(a >> (by < width ? static_cast<int>(by) : static_cast<int>(width) - 1));
    } else {
      return by < width ? static_cast<T>(a >> (by < width ? by : 0)) : T{0};
    }
  }
};
/// C's fmod: the remainder has the sign of what is divided. Integers divided by zero leave nothing.
struct Fmod {
  template <class T>
  T operator()(T a, T b) const {
    if constexpr (std::is_floating_point_v<T>) {
      return std::fmod(a, b);
    } else {
      if (b == 0) return 0;
      if constexpr (std::is_signed_v<T>) {
        if (b == -1) return 0;  // the machine traps on the least integer
      }
      return static_cast<T>(a % b);
    }
  }
};
struct CopySign {
  template <class T>
  T operator()(T a, T b) const {
    return std::copysign(a, b);
  }
};

/// Cut towards zero. What no 64-bit integer is, and NaN, gives the least one, as the machine has it; of that the lower
/// bits are taken for smaller integers.
template <class To>
struct ToInteger {
  template <class T>
  To operator()(T a) const {
    constexpr T limit = static_cast<T>(0x1p63);
    if constexpr (std::is_same_v<To, std::uint64_t>) {
      const bool upper = a >= limit && a < 2 * limit;
      const T lower = upper ? a - limit : a;
      const bool fits = lower >= -limit && lower < limit;
      const auto cut = static_cast<std::uint64_t>(fits ? static_cast<std::int64_t>(lower) : INT64_MIN);
      return upper ? cut ^ (std::uint64_t{1} << 63U) : cut;
    } else {
      return static_cast<To>(a >= -limit && a < limit ? static_cast<std::int64_t>(a) : INT64_MIN);
    }
  }
};
/// Rounded towards the odd one of two neighbours, whose bits tell a second rounding on which side the number was.
struct RoundOdd {
  float operator()(double a) const {
    const auto nearest = static_cast<float>(a);
    const double error = a - static_cast<double>(nearest);
    const auto bits = std::bit_cast<std::uint32_t>(nearest);
    const bool inexact = (error > 0) | (error < 0);
    const bool move = inexact & (std::fabs(nearest) < __builtin_inff()) & ((bits & 1U) == 0);
    const std::uint32_t step = (error > 0) == (a > 0) ? 1U : ~0U;
    return std::bit_cast<float>(bits + (move ? step : 0U));
  }
};

struct Less {
  template <class T>
  bool operator()(T a, T b) const {
    return a < b;
  }
};
struct LessEqual {
  template <class T>
  bool operator()(T a, T b) const {
    return a <= b;
  }
};
struct Equal {
  template <class T>
  bool operator()(T a, T b) const {
    return a == b;
  }
};
struct NotEqual {
  template <class T>
  bool operator()(T a, T b) const {
    return a != b;
  }
};
struct LessIU {
  bool operator()(std::int64_t a, std::uint64_t b) const { return a < 0 || static_cast<std::uint64_t>(a) < b; }
};
struct LessEqualIU {
  bool operator()(std::int64_t a, std::uint64_t b) const { return a < 0 || static_cast<std::uint64_t>(a) <= b; }
};
struct LessUI {
  bool operator()(std::uint64_t a, std::int64_t b) const { return !LessEqualIU{}(b, a); }
};
struct LessEqualUI {
  bool operator()(std::uint64_t a, std::int64_t b) const { return !LessIU{}(b, a); }
};
struct EqualIU {
  bool operator()(std::int64_t a, std::uint64_t b) const { return a >= 0 && static_cast<std::uint64_t>(a) == b; }
};
struct NotEqualIU {
  bool operator()(std::int64_t a, std::uint64_t b) const { return !EqualIU{}(a, b); }
};

/// NaN if either is one.
struct Minimum {
  template <class T>
  T operator()(T a, T b) const {
    return a < b || a != a ? a : b;
  }
};
struct Maximum {
  template <class T>
  T operator()(T a, T b) const {
    return a > b || a != a ? a : b;
  }
};
struct Select {
  template <class T>
  T operator()(std::uint8_t condition, T a, T b) const {
    return condition != 0 ? a : b;
  }
};

struct IsNan {
  template <class T>
  bool operator()(T a) const {
    return a != a;
  }
};
struct IsInf {
  template <class T>
  bool operator()(T a) const {
    return std::fabs(a) == static_cast<T>(__builtin_inf());
  }
};
struct IsFinite {
  template <class T>
  bool operator()(T a) const {
    return std::fabs(a) < static_cast<T>(__builtin_inf());
  }
};

}  // namespace
}  // namespace runrig::detail
