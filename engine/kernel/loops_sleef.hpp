// SLEEF's functions over packets, at the vector width of the including source. Part of loops_body.hpp.
//
// Only its "cinz" functions, or "finz" where the machine multiplies and adds in one instruction, are used: their
// results are the same for every width of vectors and do not depend on neighbours in the vector. (Its plain functions
// choose a method by the largest number in a vector.)
#pragma once

#include <sleef.h>

#include <cmath>
#include <cstddef>
#include <utility>

#include "loops.hpp"
#include "vectors.hpp"

#if defined(__AVX512F__)
#define RUNRIG_SLEEF_DOUBLE(name, ulp) Sleef_finz_##name##d8_##ulp##avx512f
#define RUNRIG_SLEEF_FLOAT(name, ulp) Sleef_finz_##name##f16_##ulp##avx512f
#elif defined(__AVX2__)
#define RUNRIG_SLEEF_DOUBLE(name, ulp) Sleef_finz_##name##d4_##ulp##avx2
#define RUNRIG_SLEEF_FLOAT(name, ulp) Sleef_finz_##name##f8_##ulp##avx2
#elif defined(__SSE4_1__)
#define RUNRIG_SLEEF_DOUBLE(name, ulp) Sleef_cinz_##name##d2_##ulp##sse4
#define RUNRIG_SLEEF_FLOAT(name, ulp) Sleef_cinz_##name##f4_##ulp##sse4
#elif defined(__SSE2__)
#define RUNRIG_SLEEF_DOUBLE(name, ulp) Sleef_cinz_##name##d2_##ulp##sse2
#define RUNRIG_SLEEF_FLOAT(name, ulp) Sleef_cinz_##name##f4_##ulp##sse2
#else
#define RUNRIG_SLEEF_DOUBLE(name, ulp) Sleef_cinz_##name##d1_##ulp##purec
#define RUNRIG_SLEEF_FLOAT(name, ulp) Sleef_cinz_##name##f1_##ulp##purec
#endif

namespace runrig::detail {
namespace {

/// A function of SLEEF's over a vector; element by element where it has none for our vectors.
template <class V, class Function, class... Arguments>
V call_sleef(Function function, Arguments... arguments) {
#if defined(__SSE2__)
  return function(arguments...);
#else
  V result;
  for (std::size_t i = 0; i < sizeof(V) / sizeof result[0]; ++i) result[i] = function(arguments[i]...);
  return result;
#endif
}

/// Each function class has of(arguments...) for vectors of either type.
#define RUNRIG_UNARY(Name, name, ulp)                                                                              \
  struct Name {                                                                                                    \
    static DoubleVector of(DoubleVector a) { return call_sleef<DoubleVector>(RUNRIG_SLEEF_DOUBLE(name, ulp), a); } \
    static FloatVector of(FloatVector a) { return call_sleef<FloatVector>(RUNRIG_SLEEF_FLOAT(name, ulp), a); }     \
  };
#define RUNRIG_BINARY(Name, name, ulp)                                       \
  struct Name {                                                              \
    static DoubleVector of(DoubleVector a, DoubleVector b) {                 \
      return call_sleef<DoubleVector>(RUNRIG_SLEEF_DOUBLE(name, ulp), a, b); \
    }                                                                        \
    static FloatVector of(FloatVector a, FloatVector b) {                    \
      return call_sleef<FloatVector>(RUNRIG_SLEEF_FLOAT(name, ulp), a, b);   \
    }                                                                        \
  };

RUNRIG_UNARY(SleefCbrt, cbrt, u10)
RUNRIG_UNARY(SleefExp, exp, u10)
RUNRIG_UNARY(SleefExp2, exp2, u10)
RUNRIG_UNARY(SleefExpm1, expm1, u10)
RUNRIG_UNARY(SleefLog, log, u10)
RUNRIG_UNARY(SleefLog2, log2, u10)
RUNRIG_UNARY(SleefLog10, log10, u10)
RUNRIG_UNARY(SleefLog1p, log1p, u10)
RUNRIG_UNARY(SleefSin, sin, u10)
RUNRIG_UNARY(SleefCos, cos, u10)
RUNRIG_UNARY(SleefTan, tan, u10)
RUNRIG_UNARY(SleefArcsin, asin, u10)
RUNRIG_UNARY(SleefArccos, acos, u10)
RUNRIG_UNARY(SleefArctan, atan, u10)
RUNRIG_UNARY(SleefSinh, sinh, u10)
RUNRIG_UNARY(SleefCosh, cosh, u10)
RUNRIG_UNARY(SleefTanh, tanh, u10)
RUNRIG_UNARY(SleefArcsinh, asinh, u10)
RUNRIG_UNARY(SleefArccosh, acosh, u10)
RUNRIG_UNARY(SleefArctanh, atanh, u10)
RUNRIG_BINARY(SleefArctan2, atan2, u10)
RUNRIG_BINARY(SleefHypot, hypot, u05)
RUNRIG_BINARY(SleefPower, pow, u10)
#undef RUNRIG_UNARY
#undef RUNRIG_BINARY

/// Where a loop's results go: to the cache, or past it.
struct Kept {
  template <class T>
  static void put(T* to, VectorOf<T> vector) {
    store_vector(to, vector);
  }
};
struct Streamed {
  template <class T>
  static void put(T* to, VectorOf<T> vector) {
    stream_vector(to, vector);
  }
};

/// A function over one packet; `result` may be an argument.
template <class F, class Store = Kept, class T, class... Arguments>
void over_packet(T* result, const Arguments*... arguments) {
  for (std::size_t i = 0; i < packet_elements; i += width_of<T>) {
    Store::put(result + i, F::of(load_vector(arguments + i)...));
  }
}

/// Some of SLEEF's functions are right up to a limit only, beyond which they give infinity. Runs `Plain`, and where
/// an argument of the packet is beyond Repair::limit, Repair::run for the packet, whose results are taken for those
/// arguments alone: what one element gets does not depend on its neighbours.
template <class Plain, class Repair>
struct Repaired {
  template <class T>
  static void run(T* result, const T* a) {
    T plain[packet_elements];
    over_packet<Plain>(plain, a);
    int beyond = 0;
    for (std::size_t i = 0; i < packet_elements; ++i) beyond |= std::fabs(a[i]) > Repair::template limit<T> ? 1 : 0;
    if (beyond != 0) {
      T repaired[packet_elements];
      Repair::run(repaired, a);
      for (std::size_t i = 0; i < packet_elements; ++i) {
        plain[i] = std::fabs(a[i]) > Repair::template limit<T> ? repaired[i] : plain[i];
      }
    }
    __builtin_memcpy(result, plain, sizeof plain);
  }
};

/// log1p(x) = log(x) for x this large; NaN, as it should be, for what is as far below zero.
struct Log1pFar {
  template <class T>
  static constexpr T limit = sizeof(T) == 8 ? static_cast<T>(1e300) : static_cast<T>(1e37);
  template <class T>
  static void run(T* result, const T* a) {
    over_packet<SleefLog>(result, a);
  }
};

/// arcsinh(x) = sign(x) log(2 |x|), computed without overflow.
struct ArcsinhFar {
  template <class T>
  static constexpr T limit = sizeof(T) == 8 ? static_cast<T>(1e150) : static_cast<T>(1e18);
  template <class T>
  static void run(T* result, const T* a) {
    T magnitude[packet_elements];
    for (std::size_t i = 0; i < packet_elements; ++i) magnitude[i] = std::fabs(a[i]);
    over_packet<SleefLog>(magnitude, static_cast<const T*>(magnitude));
    for (std::size_t i = 0; i < packet_elements; ++i) {
      result[i] = std::copysign(magnitude[i] + static_cast<T>(0x1.62e42fefa39efp-1), a[i]);
    }
  }
};
/// arccosh(x) = log(2 x); NaN below zero.
struct ArccoshFar {
  template <class T>
  static constexpr T limit = ArcsinhFar::limit<T>;
  template <class T>
  static void run(T* result, const T* a) {
    over_packet<SleefLog>(result, a);
    for (std::size_t i = 0; i < packet_elements; ++i) result[i] += static_cast<T>(0x1.62e42fefa39efp-1);
  }
};

/// exp(|x|) / 2 = exp(|x| - c) 2^n with c = (n + 1) log(2): finite up to where the result is, and the factor is exact.
/// c is given in two parts; the difference with the first is exact near the limit.
template <class T>
void half_exponential(T* result, const T* a) {
  constexpr bool wide = sizeof(T) == 8;
  constexpr T high = wide ? static_cast<T>(0x1.628b76e3a7b61p+9) : static_cast<T>(0x1.601e68p+6);
  constexpr T low = wide ? static_cast<T>(-0x1.19508762aa710p-45) : static_cast<T>(-0x1.c0eea2p-20);
  constexpr T factor = wide ? static_cast<T>(0x1p1022) : static_cast<T>(0x1p126);
  T shifted[packet_elements];
  for (std::size_t i = 0; i < packet_elements; ++i) shifted[i] = (std::fabs(a[i]) - high) - low;
  over_packet<SleefExp>(shifted, static_cast<const T*>(shifted));
  for (std::size_t i = 0; i < packet_elements; ++i) result[i] = shifted[i] * factor;
}
struct CoshFar {
  template <class T>
  static constexpr T limit = sizeof(T) == 8 ? static_cast<T>(708) : static_cast<T>(87);
  template <class T>
  static void run(T* result, const T* a) {
    half_exponential(result, a);
  }
};
struct SinhFar {
  template <class T>
  static constexpr T limit = CoshFar::limit<T>;
  template <class T>
  static void run(T* result, const T* a) {
    half_exponential(result, a);
    for (std::size_t i = 0; i < packet_elements; ++i) result[i] = std::copysign(result[i], a[i]);
  }
};

using Log1p = Repaired<SleefLog1p, Log1pFar>;
using Arcsinh = Repaired<SleefArcsinh, ArcsinhFar>;
using Arccosh = Repaired<SleefArccosh, ArccoshFar>;
using Sinh = Repaired<SleefSinh, SinhFar>;
using Cosh = Repaired<SleefCosh, CoshFar>;

template <class F, class T>
void repaired_unary(std::byte* result, const std::byte* const* arguments, std::size_t packets) {
  for (std::size_t first = 0; first < packets * packet_elements; first += packet_elements) {
    F::run(reinterpret_cast<T*>(result) + first, reinterpret_cast<const T*>(arguments[0]) + first);
  }
}
template <class F, class Store, class T, std::size_t... index>
void run_vectors(std::byte* result, const std::byte* const* arguments, std::size_t packets,
                 std::index_sequence<index...>) {
  auto* const out = reinterpret_cast<T*>(result);
  const auto loop = [&](const auto*... in) {
    for (std::size_t i = 0; i < packets * packet_elements; i += width_of<T>) {
      Store::put(out + i, F::of(load_vector(in + i)...));
    }
  };
  loop(reinterpret_cast<const T*>(arguments[index])...);
}
template <class F, class Store, class T, std::size_t arguments>
void vector_loop(std::byte* result, const std::byte* const* from, std::size_t packets) {
  run_vectors<F, Store, T>(result, from, packets, std::make_index_sequence<arguments>{});
}

}  // namespace
}  // namespace runrig::detail
