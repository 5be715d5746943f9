// SLEEF's functions over packets, at the vector width of the including source. Part of loops_body.hpp.
//
// Only its "cinz" functions are used: their results are the same for every width of vectors and do not depend on
// neighbours in the vector. (Its plain functions choose a method by the largest number in a vector.)
#pragma once

#include <sleef.h>

#include <cmath>
#include <cstddef>
#include <utility>

#include "loops.hpp"

#if defined(__AVX512F__)
#define RUNRIG_SLEEF_DOUBLE(name, ulp) Sleef_cinz_##name##d8_##ulp##avx512fnofma
#define RUNRIG_SLEEF_FLOAT(name, ulp) Sleef_cinz_##name##f16_##ulp##avx512fnofma
#elif defined(__AVX__)
#define RUNRIG_SLEEF_DOUBLE(name, ulp) Sleef_cinz_##name##d4_##ulp##avx
#define RUNRIG_SLEEF_FLOAT(name, ulp) Sleef_cinz_##name##f8_##ulp##avx
#elif defined(__SSE2__)
#define RUNRIG_SLEEF_DOUBLE(name, ulp) Sleef_cinz_##name##d2_##ulp##sse2
#define RUNRIG_SLEEF_FLOAT(name, ulp) Sleef_cinz_##name##f4_##ulp##sse2
#else
#define RUNRIG_SLEEF_DOUBLE(name, ulp) Sleef_cinz_##name##d1_##ulp##purec
#define RUNRIG_SLEEF_FLOAT(name, ulp) Sleef_cinz_##name##f1_##ulp##purec
#endif

namespace runrig::detail {
namespace {

#if defined(__AVX512F__)
using DoubleVector = __m512d;
using FloatVector = __m512;
#elif defined(__AVX__)
using DoubleVector = __m256d;
using FloatVector = __m256;
#elif defined(__SSE2__)
using DoubleVector = __m128d;
using FloatVector = __m128;
#else
using DoubleVector = double;
using FloatVector = float;
#endif

/// A vector at any address; memcpy is a plain unaligned load or store.
inline DoubleVector load(const double* from) {
  DoubleVector vector;
  __builtin_memcpy(&vector, from, sizeof vector);
  return vector;
}
inline FloatVector load(const float* from) {
  FloatVector vector;
  __builtin_memcpy(&vector, from, sizeof vector);
  return vector;
}
inline void store(double* to, DoubleVector vector) { __builtin_memcpy(to, &vector, sizeof vector); }
inline void store(float* to, FloatVector vector) { __builtin_memcpy(to, &vector, sizeof vector); }

/// Each function class has run(result, arguments...) over one packet; `result` may be an argument.
#define RUNRIG_UNARY(Name, name, ulp)                                     \
  struct Name {                                                           \
    static void run(double* result, const double* a) {                    \
      constexpr std::size_t step = sizeof(DoubleVector) / sizeof(double); \
      for (std::size_t i = 0; i < packet_elements; i += step) {           \
        store(result + i, RUNRIG_SLEEF_DOUBLE(name, ulp)(load(a + i)));   \
      }                                                                   \
    }                                                                     \
    static void run(float* result, const float* a) {                      \
      constexpr std::size_t step = sizeof(FloatVector) / sizeof(float);   \
      for (std::size_t i = 0; i < packet_elements; i += step) {           \
        store(result + i, RUNRIG_SLEEF_FLOAT(name, ulp)(load(a + i)));    \
      }                                                                   \
    }                                                                     \
  };
#define RUNRIG_BINARY(Name, name, ulp)                                               \
  struct Name {                                                                      \
    static void run(double* result, const double* a, const double* b) {              \
      constexpr std::size_t step = sizeof(DoubleVector) / sizeof(double);            \
      for (std::size_t i = 0; i < packet_elements; i += step) {                      \
        store(result + i, RUNRIG_SLEEF_DOUBLE(name, ulp)(load(a + i), load(b + i))); \
      }                                                                              \
    }                                                                                \
    static void run(float* result, const float* a, const float* b) {                 \
      constexpr std::size_t step = sizeof(FloatVector) / sizeof(float);              \
      for (std::size_t i = 0; i < packet_elements; i += step) {                      \
        store(result + i, RUNRIG_SLEEF_FLOAT(name, ulp)(load(a + i), load(b + i)));  \
      }                                                                              \
    }                                                                                \
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

/// Some of SLEEF's functions are right up to a limit only, beyond which they give infinity. Runs `Plain`, and where
/// an argument of the packet is beyond Repair::limit, Repair::run for the packet, whose results are taken for those
/// arguments alone: what one element gets does not depend on its neighbours.
template <class Plain, class Repair>
struct Repaired {
  template <class T>
  static void run(T* result, const T* a) {
    T plain[packet_elements];
    Plain::run(plain, a);
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
    SleefLog::run(result, a);
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
    SleefLog::run(magnitude, magnitude);
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
    SleefLog::run(result, a);
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
  SleefExp::run(shifted, shifted);
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
void sleef_unary(std::byte* result, const std::byte* const* arguments, std::size_t packets) {
  for (std::size_t packet = 0; packet < packets; ++packet) {
    const std::size_t first = packet * packet_elements;
    F::run(reinterpret_cast<T*>(result) + first, reinterpret_cast<const T*>(arguments[0]) + first);
  }
}
template <class F, class T>
void sleef_binary(std::byte* result, const std::byte* const* arguments, std::size_t packets) {
  for (std::size_t packet = 0; packet < packets; ++packet) {
    const std::size_t first = packet * packet_elements;
    F::run(reinterpret_cast<T*>(result) + first, reinterpret_cast<const T*>(arguments[0]) + first,
           reinterpret_cast<const T*>(arguments[1]) + first);
  }
}

}  // namespace
}  // namespace runrig::detail
