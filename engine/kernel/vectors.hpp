// Vectors of the width of the including source's level of instructions. Part of loops_body.hpp and
// statistics_body.hpp.
#pragma once

#if defined(__SSE2__)
#include <immintrin.h>
#endif

#include <cstddef>
#include <cstdint>
#include <type_traits>

namespace runrig::detail {
namespace {

#if defined(__AVX512F__)
constexpr std::size_t vector_bytes = 64;
#elif defined(__AVX__)
constexpr std::size_t vector_bytes = 32;
#else
constexpr std::size_t vector_bytes = 16;
#endif
// GCC's own vectors: operators work on each element, comparisons give all bits of an element set or none, a cast
// between types of one width keeps the bits.
using DoubleVector = double __attribute__((vector_size(vector_bytes)));
using FloatVector = float __attribute__((vector_size(vector_bytes)));
using Int64Vector = std::int64_t __attribute__((vector_size(vector_bytes)));
using Uint64Vector = std::uint64_t __attribute__((vector_size(vector_bytes)));
using Int32Vector = std::int32_t __attribute__((vector_size(vector_bytes)));
using Uint32Vector = std::uint32_t __attribute__((vector_size(vector_bytes)));

template <class T>
using VectorOf = std::conditional_t<sizeof(T) == 8, DoubleVector, FloatVector>;
template <class T>
constexpr std::size_t width_of = vector_bytes / sizeof(T);

/// A vector at any address; memcpy is a plain unaligned load or store.
template <class T>
VectorOf<T> load_vector(const T* from) {
  VectorOf<T> vector;
  __builtin_memcpy(&vector, from, sizeof vector);
  return vector;
}
template <class T>
void store_vector(T* to, VectorOf<T> vector) {
  __builtin_memcpy(to, &vector, sizeof vector);
}

/// Past the caches; `to` is aligned to the vector. Whoever fills a line of 64 bytes so leaves none of it out.
template <class T>
void stream_vector(T* to, VectorOf<T> vector) {
#if defined(__AVX512F__)
  _mm512_stream_si512(reinterpret_cast<__m512i*>(to), (__m512i)vector);
#elif defined(__AVX__)
  _mm256_stream_si256(reinterpret_cast<__m256i*>(to), (__m256i)vector);
#elif defined(__SSE2__)
  _mm_stream_si128(reinterpret_cast<__m128i*>(to), (__m128i)vector);
#else
  store_vector(to, vector);
#endif
}

// What GCC's own vectors do not do well. lesser() and greater(): the second where either is NaN. any(): of the results
// of comparisons. (The AVX-512 forms without a mask pass an undefined vector, of which GCC warns.)
#if defined(__AVX512F__)
inline DoubleVector lesser(DoubleVector a, DoubleVector b) { return _mm512_maskz_min_pd(0xFF, a, b); }
inline DoubleVector greater(DoubleVector a, DoubleVector b) { return _mm512_maskz_max_pd(0xFF, a, b); }
inline FloatVector lesser(FloatVector a, FloatVector b) { return _mm512_maskz_min_ps(0xFFFF, a, b); }
inline FloatVector greater(FloatVector a, FloatVector b) { return _mm512_maskz_max_ps(0xFFFF, a, b); }
inline bool any(Int64Vector mask) { return _mm512_movepi64_mask((__m512i)mask) != 0; }
inline bool any(Int32Vector mask) { return _mm512_movepi32_mask((__m512i)mask) != 0; }
#elif defined(__AVX__)
inline DoubleVector lesser(DoubleVector a, DoubleVector b) { return _mm256_min_pd(a, b); }
inline DoubleVector greater(DoubleVector a, DoubleVector b) { return _mm256_max_pd(a, b); }
inline FloatVector lesser(FloatVector a, FloatVector b) { return _mm256_min_ps(a, b); }
inline FloatVector greater(FloatVector a, FloatVector b) { return _mm256_max_ps(a, b); }
inline bool any(Int64Vector mask) { return _mm256_movemask_pd((__m256d)mask) != 0; }
inline bool any(Int32Vector mask) { return _mm256_movemask_ps((__m256)mask) != 0; }
#elif defined(__SSE2__)
inline DoubleVector lesser(DoubleVector a, DoubleVector b) { return _mm_min_pd(a, b); }
inline DoubleVector greater(DoubleVector a, DoubleVector b) { return _mm_max_pd(a, b); }
inline FloatVector lesser(FloatVector a, FloatVector b) { return _mm_min_ps(a, b); }
inline FloatVector greater(FloatVector a, FloatVector b) { return _mm_max_ps(a, b); }
inline bool any(Int64Vector mask) { return _mm_movemask_pd((__m128d)mask) != 0; }
inline bool any(Int32Vector mask) { return _mm_movemask_ps((__m128)mask) != 0; }
#else
inline DoubleVector lesser(DoubleVector a, DoubleVector b) { return a < b ? a : b; }
inline DoubleVector greater(DoubleVector a, DoubleVector b) { return a > b ? a : b; }
inline FloatVector lesser(FloatVector a, FloatVector b) { return a < b ? a : b; }
inline FloatVector greater(FloatVector a, FloatVector b) { return a > b ? a : b; }
template <class Mask>
inline bool any(Mask mask) {
  bool found = false;
  for (std::size_t i = 0; i < vector_bytes / sizeof mask[0]; ++i) found = found || mask[i] != 0;
  return found;
}
#endif

inline DoubleVector square_root(DoubleVector a) {
#if defined(__AVX512F__)
  return _mm512_maskz_sqrt_pd(0xFF, a);
#elif defined(__AVX__)
  return _mm256_sqrt_pd(a);
#elif defined(__SSE2__)
  return _mm_sqrt_pd(a);
#else
  for (std::size_t i = 0; i < width_of<double>; ++i) a[i] = __builtin_sqrt(a[i]);
  return a;
#endif
}
inline FloatVector square_root(FloatVector a) {
#if defined(__AVX512F__)
  return _mm512_maskz_sqrt_ps(0xFFFF, a);
#elif defined(__AVX__)
  return _mm256_sqrt_ps(a);
#elif defined(__SSE2__)
  return _mm_sqrt_ps(a);
#else
  for (std::size_t i = 0; i < width_of<float>; ++i) a[i] = __builtin_sqrtf(a[i]);
  return a;
#endif
}

/// NaNs in a sum or a difference: is there any?
inline bool any_nan(DoubleVector a) { return any((Int64Vector)(a != a)); }
inline bool any_nan(FloatVector a) { return any((Int32Vector)(a != a)); }

}  // namespace
}  // namespace runrig::detail
