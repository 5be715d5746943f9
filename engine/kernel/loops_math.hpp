// exp, log, log1p, sin and cos for levels that multiply and add in one instruction: two to three times as fast as
// SLEEF's, and within 1.5 units in the last place (sin within 1.9), where SLEEF's are within 1. Part of loops_body.hpp.
//
// What one element gives depends on it alone: the rare paths are taken for whole vectors, but their results are taken
// for the elements alone that need them, or are the same as those of the common path. All widths give the same bits.
// The polynomials are minimax; the reductions are those of Cody and Waite, and of FreeBSD's msun for logarithms.
#pragma once

#include "loops_sleef.hpp"
#include "vectors.hpp"

namespace runrig::detail {
namespace {

#if defined(__AVX512F__)
inline DoubleVector fused(DoubleVector a, DoubleVector b, DoubleVector c) { return _mm512_fmadd_pd(a, b, c); }
inline FloatVector fused(FloatVector a, FloatVector b, FloatVector c) { return _mm512_fmadd_ps(a, b, c); }
#elif defined(__AVX__)
inline DoubleVector fused(DoubleVector a, DoubleVector b, DoubleVector c) { return _mm256_fmadd_pd(a, b, c); }
inline FloatVector fused(FloatVector a, FloatVector b, FloatVector c) { return _mm256_fmadd_ps(a, b, c); }
#endif

/// All that differs between float and double.
template <class T>
struct Form;
template <>
struct Form<double> {
  using T = double;
  using I = Int64Vector;
  using U = Uint64Vector;
  static constexpr int fraction_bits = 52;
  static constexpr std::int64_t bias = 1023;
  static constexpr std::int64_t fraction_mask = 0xF'FFFF'FFFF'FFFF;
  static constexpr std::int64_t sign = INT64_MIN;
  static constexpr std::int64_t one = 0x3FF0'0000'0000'0000;
  static constexpr std::int64_t root_half = 0x3FE6'A09E'0000'0000;  // just below sqrt(1/2)
  static constexpr std::uint64_t whole = 0x4330'0000'0000'0000;     // 2^52, whose last bits are a whole number
  static constexpr double shifter = 0x1.8p52;  // adding it rounds to a whole number, which its last bits then show
  static constexpr double half = 0.5;
  static constexpr double infinity = __builtin_inf();
  static constexpr double least_normal = 0x1p-1022;
  static constexpr double largest_scaled = 0x1p1000;  // log1p is log beyond it
  static constexpr double subnormal_factor = 0x1p54;
  static constexpr double subnormal_exponent = -54;
  static constexpr double largest_ordinary_exponential = 708;
  static constexpr double least_exponential = -750;  // exp() of less is 0, of more infinite
  static constexpr double largest_exponential = 710;
  static constexpr double log2_e = 0x1.71547652b82fep+0;
  static constexpr double log_2 = 0x1.62e42fefa39efp-1;
  static constexpr double log_2_rest = 0x1.abc9e3b39803fp-56;
  static constexpr double two_over_pi = 0x1.45f306dc9c883p-1;
  static constexpr double half_pi[3] = {0x1.921fb54442d18p+0, 0x1.1a62633145c06p-54, 0x1.c1cd129024e09p-107};
  static constexpr double largest_angle = 1e6;  // up to which half_pi reduces without loss
};
template <>
struct Form<float> {
  using T = float;
  using I = Int32Vector;
  using U = Uint32Vector;
  static constexpr int fraction_bits = 23;
  static constexpr std::int32_t bias = 127;
  static constexpr std::int32_t fraction_mask = 0x7F'FFFF;
  static constexpr std::int32_t sign = INT32_MIN;
  static constexpr std::int32_t one = 0x3F80'0000;
  static constexpr std::int32_t root_half = 0x3F35'04F3;
  static constexpr std::uint32_t whole = 0x4B00'0000;
  static constexpr float shifter = 0x1.8p23F;
  static constexpr float half = 0.5F;
  static constexpr float infinity = __builtin_inff();
  static constexpr float least_normal = 0x1p-126F;
  static constexpr float largest_scaled = 0x1p120F;
  static constexpr float subnormal_factor = 0x1p25F;
  static constexpr float subnormal_exponent = -25;
  static constexpr float largest_ordinary_exponential = 87;
  static constexpr float least_exponential = -110;
  static constexpr float largest_exponential = 89;
  static constexpr float log2_e = 0x1.715476p+0F;
  static constexpr float log_2 = 0x1.62e430p-1F;
  static constexpr float log_2_rest = -0x1.05c610p-29F;
  static constexpr float two_over_pi = 0x1.45f306p-1F;
  static constexpr float half_pi[3] = {0x1.921fb4p+0F, 0x1.4442d0p-24F, 0x1.84698ap-48F};
  static constexpr float largest_angle = 3e4F;
};

template <class V>
constexpr bool is_double = std::is_same_v<V, DoubleVector>;
template <class V>
using FormOf = Form<std::conditional_t<is_double<V>, double, float>>;

/// Not by adding to zero, which would lose the sign of -0.
template <class V, class T>
V all(T value) {
  return value - V{};
}

/// c[0] + c[1] z + ... in pairs, whose latencies overlap.
template <class V, std::size_t n, class T>
V polynomial(V z, const T (&c)[n]) {
  static_assert(n >= 2);
  const V w = z * z;
  V sum = n % 2 == 0 ? fused(all<V>(c[n - 1]), z, all<V>(c[n - 2])) : all<V>(c[n - 1]);
#pragma GCC unroll 8
  for (std::size_t i = (n - (n % 2 == 0 ? 2 : 1)); i >= 2; i -= 2) {
    sum = fused(sum, w, fused(all<V>(c[i - 1]), z, all<V>(c[i - 2])));
  }
  return sum;
}

/// (exp(r) - 1 - r) / r^2 for |r| <= log(2) / 2.
inline DoubleVector exponential_polynomial(DoubleVector r) {
  static constexpr double c[] = {0x1.0000000000001p-1,  0x1.5555555555558p-3,  0x1.5555555553d4fp-5,
                                 0x1.111111110f7ebp-7,  0x1.6c16c1789391ep-10, 0x1.a01a01b0171c1p-13,
                                 0x1.a019b8ef498d2p-16, 0x1.71ddf69816b5ap-19, 0x1.2891a8dada07ep-22,
                                 0x1.af635a0ab37abp-26};
  return polynomial(r, c);
}
inline FloatVector exponential_polynomial(FloatVector r) {
  static constexpr float c[] = {0x1.000000p-1F, 0x1.5554dcp-3F, 0x1.5554b8p-5F, 0x1.120ba6p-7F, 0x1.6d757cp-10F};
  return polynomial(r, c);
}
/// (log((1 + s) / (1 - s)) - 2 s) / s^3 with z = s^2, for (1 + s) / (1 - s) between sqrt(1/2) and sqrt(2).
inline DoubleVector logarithm_polynomial(DoubleVector z) {
  static constexpr double c[] = {0x1.5555555555558p-1, 0x1.99999999951bfp-2, 0x1.2492492e0f077p-2, 0x1.c71c62c21366fp-3,
                                 0x1.7462be2d59ee4p-3, 0x1.39fd33f5165c0p-3, 0x1.2b662b2f9929fp-3};
  return polynomial(z, c);
}
inline FloatVector logarithm_polynomial(FloatVector z) {
  static constexpr float c[] = {0x1.555556p-1F, 0x1.9999ecp-2F, 0x1.245bf2p-2F, 0x1.ddde50p-3F};
  return polynomial(z, c);
}
/// (sin(r) - r) / r^3 and (cos(r) - 1 + r^2 / 2) / r^4 with z = r^2, for |r| <= pi / 4.
inline DoubleVector sine_polynomial(DoubleVector z) {
  static constexpr double c[] = {-0x1.5555555555555p-3, 0x1.1111111110bacp-7,   -0x1.a01a019e8242ap-13,
                                 0x1.71de3794ae3fep-19, -0x1.ae60090bed400p-26, 0x1.5e0a62dba985ep-33};
  return polynomial(z, c);
}
inline FloatVector sine_polynomial(FloatVector z) {
  static constexpr float c[] = {-0x1.555552p-3F, 0x1.110c28p-7F, -0x1.9ac8f8p-13F};
  return polynomial(z, c);
}
/// The same for |r| <= pi / 2, with one rounding at the first coefficient, which is much of the result there.
inline DoubleVector wide_sine_polynomial(DoubleVector z) {
  static constexpr double c[] = {0x1.11111111110c8p-7,   -0x1.a01a01a014d6fp-13, 0x1.71de3a52a0b65p-19,
                                 -0x1.ae6454d47b975p-26, 0x1.6123cd08a1dcep-33,  -0x1.ae4383e58ee46p-41,
                                 0x1.883269d2e11fbp-49};
  return fused(polynomial(z, c), z, all<DoubleVector>(-0x1.5555555555555p-3));
}
inline FloatVector wide_sine_polynomial(FloatVector z) {
  static constexpr float c[] = {0x1.111136p-7F, -0x1.a023c8p-13F, 0x1.72ccb6p-19F, -0x1.b5fbaep-26F};
  return fused(polynomial(z, c), z, all<FloatVector>(-0x1.555556p-3F));
}
inline DoubleVector cosine_polynomial(DoubleVector z) {
  static constexpr double c[] = {0x1.5555555555555p-5,   -0x1.6c16c16c16964p-10, 0x1.a01a019f4df8ap-16,
                                 -0x1.27e4fa16e85c4p-22, 0x1.1eeb67ea51647p-29,  -0x1.907ce9fd623cbp-37};
  return polynomial(z, c);
}
inline FloatVector cosine_polynomial(FloatVector z) {
  static constexpr float c[] = {0x1.555554p-5F, -0x1.6c12d2p-10F, 0x1.9bd7f2p-16F};
  return polynomial(z, c);
}

/// A function of one number in two stages, of which each runs over a packet before the next begins. Each is a chain of
/// operations that wait for one another, and a processor looks ahead over some two hundred operations only: so many of
/// one long chain are but a few numbers, of two short ones twice as many. `Reduced` is what the first stage leaves to
/// the second, ordinary() where both are right; elsewhere it is rare(), looked at by vectors.
template <class F, class Store, class T>
void staged_packet(T* result, const T* a) {
  using V = VectorOf<T>;
  constexpr std::size_t count = packet_elements / width_of<T>;
  typename F::template Reduced<V> reduced[count];
  typename FormOf<V>::I rare{};
#pragma GCC unroll 1
  for (std::size_t i = 0; i < count; ++i) {
    const V x = load_vector(a + i * width_of<T>);
    rare |= ~F::ordinary(x);
    reduced[i] = F::reduce(x);
  }
  if (__builtin_expect(!any(rare), 1)) {
#pragma GCC unroll 1
    for (std::size_t i = 0; i < count; ++i) {
      const V x = load_vector(a + i * width_of<T>);
      Store::put(result + i * width_of<T>, F::finish(reduced[i], x));
    }
    return;
  }
#pragma GCC unroll 1
  for (std::size_t i = 0; i < count; ++i) {
    const V x = load_vector(a + i * width_of<T>);
    const typename FormOf<V>::I ordinary = F::ordinary(x);
    V value = F::finish(reduced[i], x);
    if (any(~ordinary)) value = ordinary ? value : F::rare(x);
    Store::put(result + i * width_of<T>, value);
  }
}
template <class F, class Store, class T>
void staged_unary(std::byte* result, const std::byte* const* arguments, std::size_t packets) {
  for (std::size_t first = 0; first < packets * packet_elements; first += packet_elements) {
    staged_packet<F, Store>(reinterpret_cast<T*>(result) + first, reinterpret_cast<const T*>(arguments[0]) + first);
  }
}

template <class V>
V magnitude_of(V x) {
  using F = FormOf<V>;
  return (V)((typename F::I)x & ~F::sign);
}

/// x - quarters pi / 2, for |x| <= largest_angle. The first difference is exact: its last place is that of half_pi[0]
/// or of x, and its size below 2. All parts are positive, so that -0 stays what it is.
template <class V>
V without_quarters(V x, V quarters) {
  using F = FormOf<V>;
  V r = fused(-quarters, all<V>(F::half_pi[0]), x);
  r = fused(-quarters, all<V>(F::half_pi[1]), r);
  return fused(-quarters, all<V>(F::half_pi[2]), r);
}

struct FastExp {
  /// exp(x) = 2^n exp(r); the last bits of `shifted` are n.
  template <class V>
  struct Reduced {
    V r;
    V shifted;
  };
  /// Results are normal numbers.
  template <class V>
  static auto ordinary(V x) {
    return magnitude_of(x) <= FormOf<V>::largest_ordinary_exponential;
  }
  template <class V>
  static Reduced<V> reduce(V x) {
    using F = FormOf<V>;
    const V shifted = fused(x, all<V>(F::log2_e), all<V>(F::shifter));
    const V n = shifted - F::shifter;
    return {fused(-n, all<V>(F::log_2_rest), fused(-n, all<V>(F::log_2), x)), shifted};
  }
  template <class V>
  static V finish(const Reduced<V>& from, V /*x*/) {
    using F = FormOf<V>;
    return (V)((typename F::U)value(from.r) + ((typename F::U)from.shifted << F::fraction_bits));
  }
  template <class V>
  static V rare(V x) {
    using F = FormOf<V>;
    using I = typename F::I;
    x = greater(all<V>(F::least_exponential), lesser(all<V>(F::largest_exponential), x));  // a NaN passes
    const Reduced<V> from = reduce(x);
    const V n = from.shifted - F::shifter;
    // 2^n in two factors, the first of which is exact, so that a result below the normal numbers is rounded once.
    constexpr typename F::T biased = F::shifter + F::bias;
    const V half = fused(n, all<V>(F::half), all<V>(biased));
    const V rest = (n - (half - biased)) + biased;
    return value(from.r) * (V)((I)half << F::fraction_bits) * (V)((I)rest << F::fraction_bits);
  }

 private:
  template <class V>
  static V value(V r) {
    return 1 + fused(r * r, exponential_polynomial(r), r);
  }
};

/// Of 2^exponent (1 + f) with 1 + f between sqrt(1/2) and sqrt(2), or a little beside it; s = f / (2 + f).
template <class V>
struct ReducedLogarithm {
  ReducedLogarithm() = default;
  ReducedLogarithm(V fraction, V power) : f(fraction), s(fraction / (fraction + 2)), exponent(power) {}
  [[nodiscard]] V value() const {
    using F = FormOf<V>;
    const V z = s * s;
    const V half_square = f * f / 2;
    const V rest = fused(s, fused(z, logarithm_polynomial(z), half_square), exponent * F::log_2_rest);
    return fused(exponent, all<V>(F::log_2), f - (half_square - rest));
  }
  V f;
  V s;
  V exponent;
};

/// u = 2^exponent m with m between sqrt(1/2) and sqrt(2).
template <class V>
struct Split {
  using F = FormOf<V>;
  using I = typename F::I;
  using U = typename F::U;
  explicit Split(V u) {
    // As unsigned numbers, which wrap: of a NaN the sum may be past the largest signed one.
    const I moved = (I)((U)u + static_cast<std::make_unsigned_t<decltype(F::one)>>(F::one - F::root_half));
    biased = (I)((U)moved >> F::fraction_bits);
    exponent = (V)((U)biased | F::whole) - ((V)(U{} + F::whole) + static_cast<typename F::T>(F::bias));
    m = (V)((moved & F::fraction_mask) + F::root_half);
  }
  I biased;
  V exponent;
  V m;
};

struct FastLog {
  template <class V>
  using Reduced = ReducedLogarithm<V>;
  template <class V>
  static auto ordinary(V x) {
    return (x >= FormOf<V>::least_normal) & (x < FormOf<V>::infinity);
  }
  template <class V>
  static Reduced<V> reduce(V x) {
    const Split<V> split(x);
    return {split.m - 1, split.exponent};
  }
  template <class V>
  static V finish(const Reduced<V>& from, V /*x*/) {
    return from.value();
  }
  template <class V>
  static V rare(V x) {
    using F = FormOf<V>;
    const V infinity = all<V>(F::infinity);
    const auto low = x < F::least_normal;
    const Split<V> split(low ? x * F::subnormal_factor : x);
    const Reduced<V> from(split.m - 1, split.exponent + (low ? all<V>(F::subnormal_exponent) : V{}));
    V result = from.value();
    result = x == 0 ? -infinity : result;
    result = x < 0 ? infinity - infinity : result;
    return x < infinity ? result : x;
  }
};

struct FastLog1p {
  template <class V>
  using Reduced = ReducedLogarithm<V>;
  template <class V>
  static auto ordinary(V x) {
    return (x > -1) & (x < FormOf<V>::largest_scaled);
  }
  template <class V>
  static Reduced<V> reduce(V x) {
    using F = FormOf<V>;
    const V u = x + 1;
    const V part = u - 1;
    const V lost = (1 - (u - part)) + (x - part);  // exactly what u lacks
    const Split<V> split(u);
    const V scale = (V)((2 * F::bias - split.biased) << F::fraction_bits);
    return {fused(lost, scale, split.m - 1), split.exponent};
  }
  template <class V>
  static V finish(const Reduced<V>& from, V x) {
    using I = typename FormOf<V>::I;
    return (V)((I)from.value() | ((I)x & FormOf<V>::sign));  // that of -0 was lost
  }
  template <class V>
  static V rare(V x) {
    using F = FormOf<V>;
    const V infinity = all<V>(F::infinity);
    V result = FastLog::finish(FastLog::reduce(x), x);
    result = x == -1 ? -infinity : result;
    result = x < -1 ? infinity - infinity : result;
    return x < infinity ? result : x;
  }
};

/// By one polynomial up to a right angle, which takes little more than half the operations of two up to half of one, of
/// which each element needs one. Near the right angle 0.57 is taken off 1.57, each with its rounding: that is the 1.9.
struct FastSin {
  /// sin(x) = sin(r), negative if the last bit of `shifted` is set.
  template <class V>
  struct Reduced {
    V r;
    V shifted;
  };
  template <class V>
  static auto ordinary(V x) {
    return magnitude_of(x) <= FormOf<V>::largest_angle;
  }
  template <class V>
  static Reduced<V> reduce(V x) {
    using F = FormOf<V>;
    const V shifted = fused(x, all<V>(F::two_over_pi / 2), all<V>(F::shifter));
    return {without_quarters(x, (shifted - F::shifter) * 2), shifted};
  }
  template <class V>
  static V finish(const Reduced<V>& from, V /*x*/) {
    using F = FormOf<V>;
    using I = typename F::I;
    const V z = from.r * from.r;
    const V magnitude = magnitude_of(from.r);
    const V value = lesser(fused(magnitude, z * wide_sine_polynomial(z), magnitude), all<V>(typename F::T{1}));
    const I turned = (I)from.shifted << (8 * sizeof(F::sign) - 1);
    return (V)((I)value | (((I)from.r ^ turned) & F::sign));  // of -0 as well
  }
  template <class V>
  static V rare(V x) {
    return SleefSin::of(x);
  }
};

/// The angle to the next right one would be rounded where it is small itself, which costs cosines as much as a unit:
/// they have two polynomials.
struct FastCos {
  template <class V>
  struct Reduced {
    V r;
    V shifted;
  };
  template <class V>
  static auto ordinary(V x) {
    return magnitude_of(x) <= FormOf<V>::largest_angle;
  }
  template <class V>
  static Reduced<V> reduce(V x) {
    using F = FormOf<V>;
    const V shifted = fused(x, all<V>(F::two_over_pi), all<V>(F::shifter));
    return {without_quarters(x, shifted - F::shifter), shifted};
  }
  template <class V>
  static V finish(const Reduced<V>& from, V /*x*/) {
    using F = FormOf<V>;
    using I = typename F::I;
    const V r = from.r;
    const V z = r * r;
    const V odd = fused(r * z, sine_polynomial(z), r);
    const V half = z / 2;
    const V first = 1 - half;
    const V even = first + fused(z * z, cosine_polynomial(z), (1 - first) - half);
    constexpr int top = 8 * sizeof(F::sign) - 1;
    const I quadrant = (I)((typename F::U)from.shifted + 1);  // wraps: it may be a NaN
    const V value = (quadrant << top) < 0 ? even : odd;
    return (V)((I)value ^ ((quadrant << (top - 1)) & F::sign));
  }
  template <class V>
  static V rare(V x) {
    return SleefCos::of(x);
  }
};

}  // namespace
}  // namespace runrig::detail
