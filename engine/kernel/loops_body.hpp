// The loops of one level of instructions. Included by one source for each level, which is compiled for it; all that
// is defined here is in an unnamed namespace, and nothing of the standard library that is not folded away is called,
// so that no function compiled for one level can be linked into another.
#pragma once

#include <cstdint>
#include <type_traits>

#include "loops.hpp"
#include "loops_complex.hpp"
#include "loops_fused.hpp"
#include "loops_operations.hpp"
#include "loops_sleef.hpp"
#if defined(__FMA__)
#include "loops_math.hpp"
#endif

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
template <>
struct LaneOf<Complex<float>> {
  static constexpr Lane value = Lane::c64;
};
template <>
struct LaneOf<Complex<double>> {
  static constexpr Lane value = Lane::c128;
};

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

/// The same past the caches: by vectors, which the compiler makes of the inner loop.
template <class F, class T, class... Arguments, std::size_t... index>
void run_streamed(std::byte* result, const std::byte* const* arguments, std::size_t packets,
                  std::index_sequence<index...>) {
  auto* const out = reinterpret_cast<T*>(result);
  const auto loop = [&](const Arguments*... in) {
    constexpr std::size_t width = width_of<T>;
    for (std::size_t vector = 0; vector != packets * (packet_elements / width); ++vector) {
      alignas(vector_bytes) T lanes[width];
      for (std::size_t k = 0; k < width; ++k) lanes[k] = F{}(in[vector * width + k]...);
      stream_vector(out + vector * width, load_vector(static_cast<const T*>(lanes)));
    }
  };
  loop(reinterpret_cast<const Arguments*>(arguments[index])...);
}
template <class F, class T, class... Arguments>
void streamed_elementwise(std::byte* result, const std::byte* const* arguments, std::size_t packets) {
  run_streamed<F, T, Arguments...>(result, arguments, packets, std::index_sequence_for<Arguments...>{});
}

/// A function of two complex numbers that multiplies. Real and imaginary parts are taken apart first: side by side, GCC
/// 12 makes one instruction of a product and a sum (vfmaddsub) whatever -ffp-contract says, which rounds once less than
/// the levels without it.
template <class F, class T>
void complex_binary(std::byte* result, const std::byte* const* arguments, std::size_t packets) {
  struct Parts {
    T re[packet_elements];
    T im[packet_elements];
  };
  const auto take_apart = [](const std::byte* from, std::size_t packet, Parts& to) {
    const auto* const numbers = reinterpret_cast<const Complex<T>*>(from) + packet * packet_elements;
    for (std::size_t i = 0; i < packet_elements; ++i) to.re[i] = numbers[i].re;
    for (std::size_t i = 0; i < packet_elements; ++i) to.im[i] = numbers[i].im;
  };
  for (std::size_t packet = 0; packet < packets; ++packet) {
    Parts a;
    Parts b;
    take_apart(arguments[0], packet, a);
    take_apart(arguments[1], packet, b);
    for (std::size_t i = 0; i < packet_elements; ++i) {
      const Complex<T> made = F{}(Complex<T>{a.re[i], a.im[i]}, Complex<T>{b.re[i], b.im[i]});
      a.re[i] = made.re;
      a.im[i] = made.im;
    }
    auto* const out = reinterpret_cast<Complex<T>*>(result) + packet * packet_elements;
    for (std::size_t i = 0; i < packet_elements; ++i) out[i] = {a.re[i], a.im[i]};
  }
}

/// Fills a table. Each member adds one operation for the lanes it is defined on.
class TableBuilder {
 public:
  constexpr void set(Op op, Lane lane, Loop loop) {
    table_.loops[static_cast<std::size_t>(op)][static_cast<std::size_t>(lane)] = loop;
  }
  constexpr void set_streamed(Op op, Lane lane, Loop loop) {
    table_.streamed[static_cast<std::size_t>(op)][lane == Lane::f64] = loop;
  }
  template <class F, class... T>
  constexpr void unary(Op op) {
    (add<F, T, T>(op), ...);
  }
  template <class F, class... T>
  constexpr void binary(Op op) {
    (add<F, T, T, T>(op), ...);
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
  template <class From, class... To>
  constexpr void cut(Op op) {
    (set(op, LaneOf<To>::value, elementwise<ToInteger<To>, To, From>), ...);
  }
  template <class F>
  constexpr void function(Op op) {
    function_of<F, 1>(op);
  }
#if defined(__FMA__)
  template <class F>
  constexpr void staged(Op op) {
    set(op, Lane::f32, staged_unary<F, Kept, float>);
    set(op, Lane::f64, staged_unary<F, Kept, double>);
    set_streamed(op, Lane::f32, staged_unary<F, Streamed, float>);
    set_streamed(op, Lane::f64, staged_unary<F, Streamed, double>);
  }
#endif
  template <class F>
  constexpr void function2(Op op) {
    function_of<F, 2>(op);
  }
  template <class F, std::size_t arguments>
  constexpr void function_of(Op op) {
    set(op, Lane::f32, vector_loop<F, Kept, float, arguments>);
    set(op, Lane::f64, vector_loop<F, Kept, double, arguments>);
    set_streamed(op, Lane::f32, vector_loop<F, Streamed, float, arguments>);
    set_streamed(op, Lane::f64, vector_loop<F, Streamed, double, arguments>);
  }
  template <class F>
  constexpr void repaired(Op op) {
    set(op, Lane::f32, repaired_unary<F, float>);
    set(op, Lane::f64, repaired_unary<F, double>);
  }
  [[nodiscard]] constexpr const LoopTable& table() const { return table_; }

  constexpr void share_with_signed(Op op) {
    auto& row = table_.loops[static_cast<std::size_t>(op)];
    for (std::size_t lane = 0; lane < 8; lane += 2) row[lane + 1] = row[lane];
  }

 private:
  template <class F, class T, class... Arguments>
  constexpr void add(Op op) {
    if constexpr (std::is_floating_point_v<T>) {
      set_streamed(op, LaneOf<T>::value, streamed_elementwise<F, T, Arguments...>);
    }
    set(op, LaneOf<T>::value, elementwise<F, T, Arguments...>);
  }

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
  to.cast<u8, u8, i8, u16, i16, u32, i32, u64, i64, float, double>(Op::cast_u8);
  to.cast<i8, u8, i8, u16, i16, u32, i32, u64, i64, float, double>(Op::cast_i8);
  to.cast<u16, u8, i8, u16, i16, u32, i32, u64, i64, float, double>(Op::cast_u16);
  to.cast<i16, u8, i8, u16, i16, u32, i32, u64, i64, float, double>(Op::cast_i16);
  to.cast<u32, u8, i8, u16, i16, u32, i32, u64, i64, float, double>(Op::cast_u32);
  to.cast<i32, u8, i8, u16, i16, u32, i32, u64, i64, float, double>(Op::cast_i32);
  to.cast<u64, u8, i8, u16, i16, u32, i32, u64, i64, float, double>(Op::cast_u64);
  to.cast<i64, u8, i8, u16, i16, u32, i32, u64, i64, float, double>(Op::cast_i64);
  to.cut<float, u8, i8, u16, i16, u32, i32, u64, i64>(Op::cast_f32);
  to.cast<float, float, double>(Op::cast_f32);
  to.cut<double, u8, i8, u16, i16, u32, i32, u64, i64>(Op::cast_f64);
  to.cast<double, float, double>(Op::cast_f64);
  to.set(Op::round_odd, Lane::f32, elementwise<RoundOdd, float, double>);
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
  to.function2<Sum>(Op::add);
  to.binary_wrapping<Subtract>(Op::subtract);
  to.binary<Subtract, float, double>(Op::subtract);
  to.binary_wrapping<Multiply>(Op::multiply);
  to.function2<Product>(Op::multiply);
  to.binary<Divide, float, double>(Op::divide);
  to.binary<FloorDivide, u8, i8, u16, i16, u32, i32, u64, i64, float, double>(Op::floor_divide);
  to.binary<Remainder, u8, i8, u16, i16, u32, i32, u64, i64, float, double>(Op::remainder);
  to.binary<Fmod, u8, i8, u16, i16, u32, i32, u64, i64, float, double>(Op::fmod);
  to.binary<ShiftLeft, u8, i8, u16, i16, u32, i32, u64, i64>(Op::shift_left);
  to.binary<ShiftRight, u8, i8, u16, i16, u32, i32, u64, i64>(Op::shift_right);
  to.binary<CopySign, float, double>(Op::copysign);
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
  to.function<SleefCbrt>(Op::cbrt);
  to.function<SleefExp>(Op::exp);
  to.function<SleefExp2>(Op::exp2);
  to.function<SleefExpm1>(Op::expm1);
  to.function<SleefLog>(Op::log);
  to.function<SleefLog2>(Op::log2);
  to.function<SleefLog10>(Op::log10);
  to.repaired<Log1p>(Op::log1p);
  to.function<SleefSin>(Op::sin);
  to.function<SleefCos>(Op::cos);
  to.function<SleefTan>(Op::tan);
  to.function<SleefArcsin>(Op::arcsin);
  to.function<SleefArccos>(Op::arccos);
  to.function<SleefArctan>(Op::arctan);
  to.repaired<Sinh>(Op::sinh);
  to.repaired<Cosh>(Op::cosh);
  to.function<SleefTanh>(Op::tanh);
  to.repaired<Arcsinh>(Op::arcsinh);
  to.repaired<Arccosh>(Op::arccosh);
  to.function<SleefArctanh>(Op::arctanh);
  to.function2<SleefArctan2>(Op::arctan2);
  to.function2<SleefHypot>(Op::hypot);
  to.function2<SleefPower>(Op::power);
#if defined(__FMA__)
  to.staged<FastExp>(Op::exp);
  to.staged<FastLog>(Op::log);
  to.staged<FastLog1p>(Op::log1p);
  to.staged<FastSin>(Op::sin);
  to.staged<FastCos>(Op::cos);
#endif
}

template <std::size_t... index>
constexpr void add_fusions(TableBuilder& to, std::index_sequence<index...>) {
  (to.function_of < Fused<fusions[index]>, fusions[index].form == Fusion::Form::both ? 4 : 3 > (fused_op(index)), ...);
}

template <class T>
constexpr void add_complex_of(TableBuilder& to) {
  using C = Complex<T>;
  constexpr Lane lane = LaneOf<C>::value;
  constexpr Lane part = LaneOf<T>::value;
  to.unary<Copy, C>(Op::copy);
  to.set(Op::cast_u8, lane, elementwise<ComplexOf<T>, C, std::uint8_t>);
  to.set(Op::cast_i8, lane, elementwise<ComplexOf<T>, C, std::int8_t>);
  to.set(Op::cast_u16, lane, elementwise<ComplexOf<T>, C, std::uint16_t>);
  to.set(Op::cast_i16, lane, elementwise<ComplexOf<T>, C, std::int16_t>);
  to.set(Op::cast_u32, lane, elementwise<ComplexOf<T>, C, std::uint32_t>);
  to.set(Op::cast_i32, lane, elementwise<ComplexOf<T>, C, std::int32_t>);
  to.set(Op::cast_u64, lane, elementwise<ComplexOf<T>, C, std::uint64_t>);
  to.set(Op::cast_i64, lane, elementwise<ComplexOf<T>, C, std::int64_t>);
  to.set(Op::cast_f32, lane, elementwise<ComplexOf<T>, C, float>);
  to.set(Op::cast_f64, lane, elementwise<ComplexOf<T>, C, double>);
  to.set(Op::cast_c64, lane, elementwise<ComplexOf<T>, C, Complex<float>>);
  to.set(Op::cast_c128, lane, elementwise<ComplexOf<T>, C, Complex<double>>);
  to.set(Op::make_complex, part, elementwise<MakeComplex, C, T, T>);
  to.set(Op::real, lane, elementwise<RealPart, T, C>);
  to.set(Op::imaginary, lane, elementwise<ImaginaryPart, T, C>);
  to.unary<Conjugate, C>(Op::conjugate);
  to.unary<OfParts<Negative>, C>(Op::negative);
  to.unary<OfParts<Rint>, C>(Op::rint);
  to.binary<OfParts<Add>, C>(Op::add);
  to.binary<OfParts<Subtract>, C>(Op::subtract);
  to.set(Op::multiply, lane, complex_binary<ComplexMultiply, T>);
  to.set(Op::divide, lane, complex_binary<ComplexDivide, T>);
  to.binary<ComplexMinimum, C>(Op::minimum);
  to.binary<ComplexMaximum, C>(Op::maximum);
  to.set(Op::select, lane, elementwise<ComplexSelect, C, std::uint8_t, C, C>);
  to.predicate<ComplexTruth, C>(Op::truth);
  to.predicate<ComplexIsNan, C>(Op::isnan);
  to.predicate<ComplexIsInf, C>(Op::isinf);
  to.predicate<ComplexIsFinite, C>(Op::isfinite);
  to.comparison<ComplexLess, C>(Op::less);
  to.comparison<ComplexLessEqual, C>(Op::less_equal);
  to.comparison<ComplexEqual, C>(Op::equal);
  to.comparison<ComplexNotEqual, C>(Op::not_equal);
}

constexpr LoopTable make_table() {
  TableBuilder builder;
  add_moves(builder);
  add_arithmetic(builder);
  add_comparisons(builder);
  add_functions(builder);
  add_fusions(builder, std::make_index_sequence<fusions.size()>{});
  add_complex_of<float>(builder);
  add_complex_of<double>(builder);
  return builder.table();
}
constexpr LoopTable table = make_table();

}  // namespace
}  // namespace runrig::detail
