// The loops of one level of instructions. Included by one source for each level, which is compiled for it; all that
// is defined here is in an unnamed namespace, and nothing of the standard library that is not folded away is called,
// so that no function compiled for one level can be linked into another.
#pragma once

#include <bit>
#include <cmath>
#include <cstdint>
#include <type_traits>

#include "loops.hpp"
#include "loops_half.hpp"
#include "loops_sleef.hpp"

namespace runrig::detail {
namespace {

template <class T>
struct LaneOf;
template <>
struct LaneOf<std::uint8_t> {
  static constexpr Lane value = Lane::u8;
};
template <>
struct LaneOf<std::int8_t> {
  static constexpr Lane value = Lane::i8;
};
template <>
struct LaneOf<std::uint16_t> {
  static constexpr Lane value = Lane::u16;
};
template <>
struct LaneOf<std::int16_t> {
  static constexpr Lane value = Lane::i16;
};
template <>
struct LaneOf<std::uint32_t> {
  static constexpr Lane value = Lane::u32;
};
template <>
struct LaneOf<std::int32_t> {
  static constexpr Lane value = Lane::i32;
};
template <>
struct LaneOf<std::uint64_t> {
  static constexpr Lane value = Lane::u64;
};
template <>
struct LaneOf<std::int64_t> {
  static constexpr Lane value = Lane::i64;
};
template <>
struct LaneOf<float> {
  static constexpr Lane value = Lane::f32;
};
template <>
struct LaneOf<double> {
  static constexpr Lane value = Lane::f64;
};

/// The unsigned type in which integers wrap: at least `unsigned`, since smaller ones are promoted to int, whose
/// products overflow.
template <class T>
using Wrapping = std::conditional_t<sizeof(T) == 8, std::uint64_t, std::uint32_t>;

/// One loop over all packets, whose number of elements leaves nothing for the steps behind a vector loop, and not one
/// for each packet, which would be unrolled: of a sum of two NaNs the machine gives the first, and the compiler orders
/// the operands of each copy as it likes.
template <class F, class Result, class... Arguments, std::size_t... index>
void run_elementwise(std::byte* result, const std::byte* const* arguments, std::size_t packets,
                     std::index_sequence<index...>) {
  auto* const out = reinterpret_cast<Result*>(result);
  const auto loop = [&](const Arguments*... in) {
  // A result that is an argument's memory is so element by element: nothing is carried from one to the next.
#pragma GCC ivdep
    for (std::size_t i = 0; i < packets * packet_elements; ++i) out[i] = static_cast<Result>(F{}(in[i]...));
  };
  loop(reinterpret_cast<const Arguments*>(arguments[index])...);
}
template <class F, class Result, class... Arguments>
void elementwise(std::byte* result, const std::byte* const* arguments, std::size_t packets) {
  run_elementwise<F, Result, Arguments...>(result, arguments, packets, std::index_sequence_for<Arguments...>{});
}

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

/// Fills a table. Each member adds one operation for the lanes it is defined on.
class TableBuilder {
 public:
  constexpr void set(Op op, Lane lane, Loop loop) {
    table_.loops[static_cast<std::size_t>(op)][static_cast<std::size_t>(lane)] = loop;
  }
  template <class F, class... T>
  constexpr void unary(Op op) {
    (set(op, LaneOf<T>::value, elementwise<F, T, T>), ...);
  }
  template <class F, class... T>
  constexpr void binary(Op op) {
    (set(op, LaneOf<T>::value, elementwise<F, T, T, T>), ...);
  }
  template <class F, class... T>
  constexpr void predicate(Op op) {
    (set(op, LaneOf<T>::value, elementwise<F, std::uint8_t, T>), ...);
  }
  template <class F, class... T>
  constexpr void comparison(Op op) {
    (set(op, LaneOf<T>::value, elementwise<F, std::uint8_t, T, T>), ...);
  }
  /// Two's complement does not care for signs: the loops of unsigned lanes do for both.
  template <class F>
  constexpr void unary_wrapping(Op op) {
    unary<F, std::uint8_t, std::uint16_t, std::uint32_t, std::uint64_t>(op);
    share_with_signed(op);
  }
  template <class F>
  constexpr void binary_wrapping(Op op) {
    binary<F, std::uint8_t, std::uint16_t, std::uint32_t, std::uint64_t>(op);
    share_with_signed(op);
  }
  template <class From, class... To>
  constexpr void cast(Op op) {
    (set(op, LaneOf<To>::value, elementwise<Copy, To, From>), ...);
  }
  template <class F>
  constexpr void sleef(Op op) {
    set(op, Lane::f32, sleef_unary<F, float>);
    set(op, Lane::f64, sleef_unary<F, double>);
  }
  template <class F>
  constexpr void sleef2(Op op) {
    set(op, Lane::f32, sleef_binary<F, float>);
    set(op, Lane::f64, sleef_binary<F, double>);
  }
  [[nodiscard]] constexpr const LoopTable& table() const { return table_; }

  constexpr void share_with_signed(Op op) {
    auto& row = table_.loops[static_cast<std::size_t>(op)];
    for (std::size_t lane = 0; lane < 8; lane += 2) row[lane + 1] = row[lane];
  }

 private:
  LoopTable table_;
};

constexpr void add_moves(TableBuilder& to) {
  using u8 = std::uint8_t;
  using i8 = std::int8_t;
  using u16 = std::uint16_t;
  using i16 = std::int16_t;
  using u32 = std::uint32_t;
  using i32 = std::int32_t;
  using u64 = std::uint64_t;
  using i64 = std::int64_t;
  to.unary_wrapping<Copy>(Op::copy);
  to.unary<Copy, float, double>(Op::copy);
  to.predicate<Truth, u8>(Op::load_boolean);
  to.set(Op::load_half, Lane::f32, elementwise<LoadHalf, float, u16>);
  to.set(Op::store_half, Lane::f32, elementwise<StoreHalf, u16, float>);
  to.unary<RoundHalf, float>(Op::round_half);
  to.cast<u8, i8, u16, i16, u32, i32, u64, i64, float, double>(Op::cast_u8);
  to.cast<i8, i16, i32, i64, float, double>(Op::cast_i8);
  to.cast<u16, u32, i32, u64, i64, float, double>(Op::cast_u16);
  to.cast<i16, i32, i64, float, double>(Op::cast_i16);
  to.cast<u32, u64, i64, double>(Op::cast_u32);
  to.cast<i32, i64, double>(Op::cast_i32);
  to.cast<u64, double>(Op::cast_u64);
  to.cast<i64, double>(Op::cast_i64);
  to.cast<float, double>(Op::cast_f32);
  to.predicate<Truth, u8, u16, u32, u64, float, double>(Op::truth);
  to.share_with_signed(Op::truth);
  to.set(Op::select, Lane::u8, elementwise<Select, u8, u8, u8, u8>);
  to.set(Op::select, Lane::u16, elementwise<Select, u16, u8, u16, u16>);
  to.set(Op::select, Lane::u32, elementwise<Select, u32, u8, u32, u32>);
  to.set(Op::select, Lane::u64, elementwise<Select, u64, u8, u64, u64>);
  to.share_with_signed(Op::select);
  to.set(Op::select, Lane::f32, elementwise<Select, float, u8, float, float>);
  to.set(Op::select, Lane::f64, elementwise<Select, double, u8, double, double>);
}

constexpr void add_arithmetic(TableBuilder& to) {
  using u8 = std::uint8_t;
  using i8 = std::int8_t;
  using u16 = std::uint16_t;
  using i16 = std::int16_t;
  using u32 = std::uint32_t;
  using i32 = std::int32_t;
  using u64 = std::uint64_t;
  using i64 = std::int64_t;
  to.binary_wrapping<Add>(Op::add);
  to.binary<Add, float, double>(Op::add);
  to.binary_wrapping<Subtract>(Op::subtract);
  to.binary<Subtract, float, double>(Op::subtract);
  to.binary_wrapping<Multiply>(Op::multiply);
  to.binary<Multiply, float, double>(Op::multiply);
  to.binary<Divide, float, double>(Op::divide);
  to.binary<FloorDivide, u8, i8, u16, i16, u32, i32, u64, i64, float, double>(Op::floor_divide);
  to.binary<Remainder, u8, i8, u16, i16, u32, i32, u64, i64, float, double>(Op::remainder);
  to.binary<IntegerPower, u8, i8, u16, i16, u32, i32, u64, i64>(Op::power);
  to.unary_wrapping<Negative>(Op::negative);
  to.unary<Negative, float, double>(Op::negative);
  to.unary<Absolute, u8, i8, u16, i16, u32, i32, u64, i64, float, double>(Op::absolute);
  to.unary<Sign, u8, i8, u16, i16, u32, i32, u64, i64, float, double>(Op::sign);
  to.binary<Minimum, u8, i8, u16, i16, u32, i32, u64, i64, float, double>(Op::minimum);
  to.binary<Maximum, u8, i8, u16, i16, u32, i32, u64, i64, float, double>(Op::maximum);
  to.binary_wrapping<BitAnd>(Op::bit_and);
  to.binary_wrapping<BitOr>(Op::bit_or);
  to.binary_wrapping<BitXor>(Op::bit_xor);
  to.unary_wrapping<BitNot>(Op::bit_not);
}

constexpr void add_comparisons(TableBuilder& to) {
  using u8 = std::uint8_t;
  using i8 = std::int8_t;
  using u16 = std::uint16_t;
  using i16 = std::int16_t;
  using u32 = std::uint32_t;
  using i32 = std::int32_t;
  using u64 = std::uint64_t;
  using i64 = std::int64_t;
  to.comparison<Less, u8, i8, u16, i16, u32, i32, u64, i64, float, double>(Op::less);
  to.comparison<LessEqual, u8, i8, u16, i16, u32, i32, u64, i64, float, double>(Op::less_equal);
  to.comparison<Equal, u8, u16, u32, u64, float, double>(Op::equal);
  to.share_with_signed(Op::equal);
  to.comparison<NotEqual, u8, u16, u32, u64, float, double>(Op::not_equal);
  to.share_with_signed(Op::not_equal);
  to.set(Op::less_iu, Lane::i64, elementwise<LessIU, u8, i64, u64>);
  to.set(Op::less_equal_iu, Lane::i64, elementwise<LessEqualIU, u8, i64, u64>);
  to.set(Op::less_ui, Lane::u64, elementwise<LessUI, u8, u64, i64>);
  to.set(Op::less_equal_ui, Lane::u64, elementwise<LessEqualUI, u8, u64, i64>);
  to.set(Op::equal_iu, Lane::i64, elementwise<EqualIU, u8, i64, u64>);
  to.set(Op::not_equal_iu, Lane::i64, elementwise<NotEqualIU, u8, i64, u64>);
  to.predicate<IsNan, float, double>(Op::isnan);
  to.predicate<IsInf, float, double>(Op::isinf);
  to.predicate<IsFinite, float, double>(Op::isfinite);
}

constexpr void add_functions(TableBuilder& to) {
  to.unary<Floor, float, double>(Op::floor);
  to.unary<Ceil, float, double>(Op::ceil);
  to.unary<Trunc, float, double>(Op::trunc);
  to.unary<Rint, float, double>(Op::rint);
  to.unary<Sqrt, float, double>(Op::sqrt);
  to.sleef<SleefCbrt>(Op::cbrt);
  to.sleef<SleefExp>(Op::exp);
  to.sleef<SleefExp2>(Op::exp2);
  to.sleef<SleefExpm1>(Op::expm1);
  to.sleef<SleefLog>(Op::log);
  to.sleef<SleefLog2>(Op::log2);
  to.sleef<SleefLog10>(Op::log10);
  to.sleef<Log1p>(Op::log1p);
  to.sleef<SleefSin>(Op::sin);
  to.sleef<SleefCos>(Op::cos);
  to.sleef<SleefTan>(Op::tan);
  to.sleef<SleefArcsin>(Op::arcsin);
  to.sleef<SleefArccos>(Op::arccos);
  to.sleef<SleefArctan>(Op::arctan);
  to.sleef<Sinh>(Op::sinh);
  to.sleef<Cosh>(Op::cosh);
  to.sleef<SleefTanh>(Op::tanh);
  to.sleef<Arcsinh>(Op::arcsinh);
  to.sleef<Arccosh>(Op::arccosh);
  to.sleef<SleefArctanh>(Op::arctanh);
  to.sleef2<SleefArctan2>(Op::arctan2);
  to.sleef2<SleefHypot>(Op::hypot);
  to.sleef2<SleefPower>(Op::power);
}

constexpr LoopTable make_table() {
  TableBuilder builder;
  add_moves(builder);
  add_arithmetic(builder);
  add_comparisons(builder);
  add_functions(builder);
  return builder.table();
}
constexpr LoopTable table = make_table();

}  // namespace
}  // namespace runrig::detail
