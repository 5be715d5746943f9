// The inner loops of statistics for one level of instructions; included by one source for each, like loops_body.hpp.
#pragma once

#if defined(__SSE2__)
#include <immintrin.h>
#endif

#include "loops_half.hpp"
#include "statistics_loops.hpp"

namespace runrig::detail {
namespace {

#if defined(__AVX512F__)
constexpr std::size_t vector_bytes = 64;
#elif defined(__AVX__)
constexpr std::size_t vector_bytes = 32;
#else
constexpr std::size_t vector_bytes = 16;
#endif
constexpr std::size_t width = vector_bytes / sizeof(double);
constexpr std::size_t vectors = statistics_lanes / width;
using DoubleVector = double __attribute__((vector_size(vector_bytes)));
using MaskVector = std::int64_t __attribute__((vector_size(vector_bytes)));
#if !defined(__SSE2__)
using FloatVector = float __attribute__((vector_size(vector_bytes / 2)));
#endif

DoubleVector load(const double* from) {
  DoubleVector vector;
  __builtin_memcpy(&vector, from, sizeof vector);
  return vector;
}

// What GCC's own vectors do not do well. lesser() and greater(): the second where the first is NaN. (The AVX-512 forms
// without a mask pass an undefined vector, of which GCC warns.)
#if defined(__AVX512F__)
DoubleVector load(const float* from) { return _mm512_maskz_cvtps_pd(0xFF, _mm256_loadu_ps(from)); }
DoubleVector lesser(DoubleVector a, DoubleVector b) { return _mm512_maskz_min_pd(0xFF, a, b); }
DoubleVector greater(DoubleVector a, DoubleVector b) { return _mm512_maskz_max_pd(0xFF, a, b); }
bool any_nan(DoubleVector a) { return _mm512_cmp_pd_mask(a, a, _CMP_UNORD_Q) != 0; }
#elif defined(__AVX__)
DoubleVector load(const float* from) { return _mm256_cvtps_pd(_mm_loadu_ps(from)); }
DoubleVector lesser(DoubleVector a, DoubleVector b) { return _mm256_min_pd(a, b); }
DoubleVector greater(DoubleVector a, DoubleVector b) { return _mm256_max_pd(a, b); }
bool any_nan(DoubleVector a) { return _mm256_movemask_pd(_mm256_cmp_pd(a, a, _CMP_UNORD_Q)) != 0; }
#elif defined(__SSE2__)
DoubleVector load(const float* from) {
  return _mm_cvtps_pd(_mm_castsi128_ps(_mm_loadl_epi64(reinterpret_cast<const __m128i*>(from))));
}
DoubleVector lesser(DoubleVector a, DoubleVector b) { return _mm_min_pd(a, b); }
DoubleVector greater(DoubleVector a, DoubleVector b) { return _mm_max_pd(a, b); }
bool any_nan(DoubleVector a) { return _mm_movemask_pd(_mm_cmpunord_pd(a, a)) != 0; }
#else
DoubleVector load(const float* from) {
  FloatVector vector;
  __builtin_memcpy(&vector, from, sizeof vector);
  return __builtin_convertvector(vector, DoubleVector);
}
DoubleVector lesser(DoubleVector a, DoubleVector b) { return a < b ? a : b; }
DoubleVector greater(DoubleVector a, DoubleVector b) { return a > b ? a : b; }
bool any_nan(DoubleVector a) {
  bool found = false;
  for (std::size_t i = 0; i < width; ++i) found = found || a[i] != a[i];
  return found;
}
#endif

/// Zero where `x` is NaN.
DoubleVector if_number(DoubleVector x, DoubleVector value) {
  return (DoubleVector)((MaskVector)value & (MaskVector)(x == x));
}

struct Lanes {
  DoubleVector of[vectors];
  explicit Lanes(double value) {
    for (std::size_t i = 0; i < vectors; ++i) of[i] = DoubleVector{} + value;
  }
};

/// Is there a NaN, or are there infinities of both signs?
bool is_disturbed(const Lanes& lanes) {
  DoubleVector sum = lanes.of[0];
  for (std::size_t i = 1; i < vectors; ++i) sum += lanes.of[i];
  return any_nan(sum);
}

/// Always the same tree, whatever the vectors' width.
double total(const Lanes& lanes) {
  double parts[statistics_lanes];
  __builtin_memcpy(parts, lanes.of, sizeof parts);
  for (std::size_t half = statistics_lanes / 2; half != 0; half /= 2) {
#pragma GCC unroll 8
    for (std::size_t i = 0; i < half; ++i) parts[i] += parts[i + half];
  }
  return parts[0];
}

/// Adds whole rows of statistics_lanes to `sum`. Two versions: NaNs are rare, and looking for them costs half the
/// speed. Where there are none both give the same bits.
template <bool with_nan, class T>
void add_rows(const T* numbers, std::size_t elements, Lanes& sum) {
  Lanes chunk(0.0);
  for (std::size_t row = 0; row < elements; row += statistics_lanes) {
#pragma GCC unroll 8
    for (std::size_t i = 0; i < vectors; ++i) {
      const DoubleVector x = load(numbers + row + i * width);
      chunk.of[i] += with_nan ? if_number(x, x) : x;
    }
  }
  for (std::size_t i = 0; i < vectors; ++i) sum.of[i] += chunk.of[i];
}

template <class T>
void bound_rows(const T* numbers, std::size_t elements, DoubleVector& min, DoubleVector& max) {
  DoubleVector low[2] = {min, min};
  DoubleVector high[2] = {max, max};
  for (std::size_t row = 0; row < elements; row += statistics_lanes) {
#pragma GCC unroll 8
    for (std::size_t i = 0; i < vectors; ++i) {
      const DoubleVector x = load(numbers + row + i * width);
      low[i % 2] = lesser(x, low[i % 2]);
      high[i % 2] = greater(x, high[i % 2]);
    }
  }
  min = lesser(low[0], low[1]);
  max = greater(high[0], high[1]);
}

template <class T>
std::uint64_t count_nan(const T* numbers, std::size_t elements) {
  std::uint64_t count = 0;
  for (std::size_t i = 0; i < elements; ++i) count += numbers[i] != numbers[i] ? 1U : 0U;
  return count;
}

template <bool with_nan, class T>
void add_deviations(const T* numbers, std::size_t elements, double mean, Lanes& sum, Lanes& squares) {
  Lanes chunk(0.0);
  Lanes chunk_squares(0.0);
  for (std::size_t row = 0; row < elements; row += statistics_lanes) {
#pragma GCC unroll 8
    for (std::size_t i = 0; i < vectors; ++i) {
      const DoubleVector x = load(numbers + row + i * width);
      const DoubleVector difference = with_nan ? if_number(x, x - mean) : x - mean;
      chunk.of[i] += difference;
      chunk_squares.of[i] += difference * difference;
    }
  }
  for (std::size_t i = 0; i < vectors; ++i) sum.of[i] += chunk.of[i];
  for (std::size_t i = 0; i < vectors; ++i) squares.of[i] += chunk_squares.of[i];
}

constexpr std::size_t lower(std::size_t a, std::size_t b) { return a < b ? a : b; }

/// Calls `visit(numbers, elements)` for each chunk, whole rows only: the last row is filled up with NaN, which no
/// sum sees. float16 becomes float32 on the way.
template <class Visit>
void for_each_chunk(const std::uint16_t* bits, std::size_t elements, Visit visit) {
  alignas(64) float buffer[statistics_chunk_elements];
  for (std::size_t first = 0; first < elements; first += statistics_chunk_elements) {
    const std::size_t count = lower(elements - first, statistics_chunk_elements);
    for (std::size_t i = 0; i < count; ++i) buffer[i] = LoadHalf{}(bits[first + i]);
    std::size_t end = count;
    while (end % statistics_lanes != 0) buffer[end++] = __builtin_nanf("");
    visit(static_cast<const float*>(buffer), end);
  }
}
template <class T, class Visit>
void for_each_chunk(const T* numbers, std::size_t elements, Visit visit) {
  const std::size_t in_rows = elements / statistics_lanes * statistics_lanes;
  for (std::size_t first = 0; first < in_rows; first += statistics_chunk_elements) {
    visit(numbers + first, lower(in_rows - first, statistics_chunk_elements));
  }
  if (in_rows == elements) return;
  T row[statistics_lanes];
  for (std::size_t i = 0; i < statistics_lanes; ++i) {
    row[i] = in_rows + i < elements ? numbers[in_rows + i] : static_cast<T>(__builtin_nan(""));
  }
  visit(static_cast<const T*>(row), statistics_lanes);
}

template <class T>
FloatSummary summary(const T* numbers, std::size_t elements) {
  Lanes sum(0.0);
  DoubleVector min = DoubleVector{} + __builtin_inf();
  DoubleVector max = -min;
  FloatSummary result;
  for_each_chunk(numbers, elements, [&](const auto* chunk, std::size_t count) {
    Lanes trial = sum;
    add_rows<false>(chunk, count, trial);
    if (is_disturbed(trial)) {
      result.nan += count_nan(chunk, count);
      add_rows<true>(chunk, count, sum);
    } else {
      sum = trial;
    }
    bound_rows(chunk, count, min, max);
  });
  result.nan -= (statistics_lanes - elements % statistics_lanes) % statistics_lanes;  // those that filled the last row
  result.sum = total(sum);
  // Which of two equal zeros is found depends on the order; the positive one is shown.
  result.min = min[0];
  result.max = max[0];
  for (std::size_t i = 1; i < width; ++i) {
    result.min = min[i] < result.min ? min[i] : result.min;
    result.max = max[i] > result.max ? max[i] : result.max;
  }
  result.min += 0.0;
  result.max += 0.0;
  return result;
}

template <class T>
Deviations deviations(const T* numbers, std::size_t elements, double mean) {
  Lanes sum(0.0);
  Lanes squares(0.0);
  for_each_chunk(numbers, elements, [&](const auto* chunk, std::size_t count) {
    Lanes trial = sum;
    Lanes trial_squares = squares;
    add_deviations<false>(chunk, count, mean, trial, trial_squares);
    if (is_disturbed(trial_squares)) {
      add_deviations<true>(chunk, count, mean, sum, squares);
    } else {
      sum = trial;
      squares = trial_squares;
    }
  });
  return {total(sum), total(squares)};
}

template <class T>
IntegerSummary integer_summary(const std::byte* data, std::size_t elements) {
  // Additions of integers may come in any order, so these loops are left to the compiler's vectors.
  const T* const numbers = reinterpret_cast<const T*>(data);
  T min = numbers[0];
  T max = numbers[0];
  IntegerSummary result;
  for (std::size_t first = 0; first < elements; first += statistics_chunk_elements) {
    const T* const chunk = numbers + first;
    const std::size_t count = lower(elements - first, statistics_chunk_elements);
    for (std::size_t i = 0; i < count; ++i) min = chunk[i] < min ? chunk[i] : min;
    for (std::size_t i = 0; i < count; ++i) max = chunk[i] > max ? chunk[i] : max;
    if constexpr (sizeof(T) <= 2) {
      std::int32_t sum = 0;  // a chunk's fits
      std::uint64_t squares = 0;
      for (std::size_t i = 0; i < count; ++i) sum += chunk[i];
      for (std::size_t i = 0; i < count; ++i) {
        const auto number = static_cast<std::uint32_t>(static_cast<std::int32_t>(chunk[i]));
        squares += number * number;
      }
      result.sum += sum;
      result.squares += squares;
    } else if constexpr (sizeof(T) == 4) {
      for (std::size_t i = 0; i < count; ++i) result.sum += chunk[i];
    } else {
      for (std::size_t i = 0; i < count; ++i) result.sum += static_cast<std::uint32_t>(chunk[i]);
      for (std::size_t i = 0; i < count; ++i) result.upper_sum += static_cast<std::int64_t>(chunk[i] >> 32);
    }
  }
  result.min_bits = static_cast<std::uint64_t>(min);  // sign-extended
  result.max_bits = static_cast<std::uint64_t>(max);
  return result;
}

/// 32 bits are exact as doubles, and so are their differences. Those of 64 bits are exact as integers while they fit.
template <class T>
double integer_squares(const std::byte* data, std::size_t elements, std::uint64_t centre, bool near) {
  const T* const numbers = reinterpret_cast<const T*>(data);
  const auto middle = static_cast<double>(static_cast<T>(centre));
  alignas(64) double differences[statistics_chunk_elements];
  double squares = 0;
  for (std::size_t first = 0; first < elements; first += statistics_chunk_elements) {
    const T* const chunk = numbers + first;
    const std::size_t count = lower(elements - first, statistics_chunk_elements);
    if (sizeof(T) == 8 && near) {
      for (std::size_t i = 0; i < count; ++i) {
        differences[i] = static_cast<double>(static_cast<std::int64_t>(static_cast<std::uint64_t>(chunk[i]) - centre));
      }
    } else {
      for (std::size_t i = 0; i < count; ++i) differences[i] = static_cast<double>(chunk[i]) - middle;
    }
    squares += deviations<double>(differences, count, 0).squares;
  }
  return squares;
}

template <class T>
constexpr IntegerLoops integer_loops{integer_summary<T>, integer_squares<T>};

constexpr StatisticsLoops statistics_table{
    summary<std::uint16_t>,
    summary<float>,
    summary<double>,
    deviations<std::uint16_t>,
    deviations<float>,
    deviations<double>,
    {integer_loops<std::int8_t>, integer_loops<std::uint8_t>, integer_loops<std::int16_t>, integer_loops<std::uint16_t>,
     integer_loops<std::int32_t>, integer_loops<std::uint32_t>, integer_loops<std::int64_t>,
     integer_loops<std::uint64_t>}};

}  // namespace
}  // namespace runrig::detail
