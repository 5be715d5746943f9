// The inner loops of statistics for one level of instructions; included by one source for each, like loops_body.hpp.
#pragma once

#include "loops_half.hpp"
#include "statistics_loops.hpp"
#include "vectors.hpp"

namespace runrig::detail {
namespace {

constexpr std::size_t width = width_of<double>;
constexpr std::size_t vectors = statistics_lanes / width;

DoubleVector load(const double* from) { return load_vector(from); }
// Of half a vector. (The AVX-512 form without a mask passes an undefined vector, of which GCC warns.)
#if defined(__AVX512F__)
DoubleVector load(const float* from) { return _mm512_maskz_cvtps_pd(0xFF, _mm256_loadu_ps(from)); }
#elif defined(__AVX__)
DoubleVector load(const float* from) { return _mm256_cvtps_pd(_mm_loadu_ps(from)); }
#elif defined(__SSE2__)
DoubleVector load(const float* from) {
  return _mm_cvtps_pd(_mm_castsi128_ps(_mm_loadl_epi64(reinterpret_cast<const __m128i*>(from))));
}
#else
DoubleVector load(const float* from) {
  using HalfVector = float __attribute__((vector_size(vector_bytes / 2)));
  HalfVector vector;
  __builtin_memcpy(&vector, from, sizeof vector);
  return __builtin_convertvector(vector, DoubleVector);
}
#endif

/// Zero where `x` is NaN.
DoubleVector if_number(DoubleVector x, DoubleVector value) {
  return (DoubleVector)((Int64Vector)value & (Int64Vector)(x == x));
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

template <class T>
std::uint64_t count_nan(const T* numbers, std::size_t elements) {
  std::uint64_t count = 0;
  for (std::size_t i = 0; i < elements; ++i) count += numbers[i] != numbers[i] ? 1U : 0U;
  return count;
}

/// Asks for a row of the next chunk; that there may be none does no harm.
template <class T>
void look_ahead(const T* row) {
  constexpr std::size_t line_items = 64 / sizeof(T);
  for (std::size_t i = 0; i < statistics_lanes; i += line_items) {
    // By its address: beyond the array there is no element to point to.
    const auto ahead = reinterpret_cast<std::uintptr_t>(row) + (statistics_chunk_elements + i) * sizeof(T);
    __builtin_prefetch(reinterpret_cast<const void*>(ahead));
  }
}

struct Sums {
  Lanes of{0.0};
  Lanes squares{0.0};
};

/// Extremes by vectors of the elements' own type, of which no conversion is needed.
template <class T>
struct Bounds {
  using Vector = VectorOf<T>;
  Vector low[2] = {Vector{} + static_cast<T>(__builtin_inf()), Vector{} + static_cast<T>(__builtin_inf())};
  Vector high[2] = {-low[0], -low[0]};

  void add_row(const T* row) {
#pragma GCC unroll 8
    for (std::size_t i = 0; i < statistics_lanes / width_of<T>; ++i) {
      const Vector x = load_vector(row + i * width_of<T>);
      low[i % 2] = lesser(x, low[i % 2]);
      high[i % 2] = greater(x, high[i % 2]);
    }
  }
  /// Which of two equal zeros is found depends on the order; the positive one is shown.
  void store(FloatSummary& to) const {
    const Vector min = lesser(low[0], low[1]);
    const Vector max = greater(high[0], high[1]);
    T least = min[0];
    T most = max[0];
    for (std::size_t i = 1; i < width_of<T>; ++i) {
      least = min[i] < least ? min[i] : least;
      most = max[i] > most ? max[i] : most;
    }
    to.min = static_cast<double>(least) + 0.0;
    to.max = static_cast<double>(most) + 0.0;
  }
};

/// Adds x - centre and its squares for whole rows of statistics_lanes. Two versions: NaNs are rare, and looking for
/// them costs half the speed. Where there are none both give the same bits.
template <bool with_nan, class T>
void add_rows(const T* numbers, std::size_t elements, double centre, Sums& sums, Bounds<T>& bounds) {
  Sums chunk;
  Bounds<T> seen = bounds;
  for (std::size_t row = 0; row < elements; row += statistics_lanes) {
    look_ahead(numbers + row);
#pragma GCC unroll 8
    for (std::size_t i = 0; i < vectors; ++i) {
      const DoubleVector x = load(numbers + row + i * width);
      const DoubleVector difference = with_nan ? if_number(x, x - centre) : x - centre;
      chunk.of.of[i] += difference;
      chunk.squares.of[i] += difference * difference;
    }
    seen.add_row(numbers + row);
  }
  bounds = seen;
  for (std::size_t i = 0; i < vectors; ++i) sums.of.of[i] += chunk.of.of[i];
  for (std::size_t i = 0; i < vectors; ++i) sums.squares.of[i] += chunk.squares.of[i];
}
/// Returns the number of NaNs.
template <class T>
std::uint64_t add_chunk(const T* numbers, std::size_t elements, double centre, Sums& sums, Bounds<T>& bounds) {
  Sums trial = sums;
  add_rows<false>(numbers, elements, centre, trial, bounds);
  if (!is_disturbed(trial.of)) {
    sums = trial;
    return 0;
  }
  add_rows<true>(numbers, elements, centre, sums, bounds);
  return count_nan(numbers, elements);
}

/// float16 comes as float32.
template <class T>
using BoundsOf = Bounds<std::conditional_t<std::is_same_v<T, double>, double, float>>;

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

/// The mean of the first chunk: near enough to that of all for sums of squares around it to lose no more than a few
/// bits, since the chunk is a part of all. Zero if it is not finite.
template <class T>
double choose_centre(const T* numbers, std::size_t elements) {
  Sums sums;
  BoundsOf<T> unused;
  std::uint64_t count = 0;
  for_each_chunk(numbers, lower(elements, statistics_chunk_elements), [&](const auto* chunk, std::size_t in_chunk) {
    count += in_chunk - add_chunk(chunk, in_chunk, 0, sums, unused);
  });
  // The NaNs that fill up a row were counted on both sides.
  const double mean = total(sums.of) / static_cast<double>(count);
  return mean - mean == 0 ? mean : 0;
}

template <class T>
FloatSummary summary(const T* numbers, std::size_t elements, const double* given_centre) {
  FloatSummary result;
  result.centre = given_centre != nullptr ? *given_centre : choose_centre(numbers, elements);
  Sums sums;
  BoundsOf<T> bounds;
  for_each_chunk(numbers, elements, [&](const auto* chunk, std::size_t count) {
    result.nan += add_chunk(chunk, count, result.centre, sums, bounds);
  });
  result.nan -= (statistics_lanes - elements % statistics_lanes) % statistics_lanes;  // those that filled the last row
  result.sum = total(sums.of);
  result.squares = total(sums.squares);
  bounds.store(result);
  return result;
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
    constexpr double none = 0;
    squares += summary<double>(differences, count, &none).squares;
  }
  return squares;
}

/// A number's distance from the middle of the first bin, in bins, plus this: a whole number of bins, which its last
/// bits then show.
constexpr double histogram_shifter = 0x1.8p52;

void histogram_index(const double* numbers, std::size_t elements, const HistogramPlan& plan, std::uint64_t* index,
                     const std::byte* next, std::size_t next_item) {
  // In variables of its own: the compiler does not know that `index` is written beside the plan.
  const DoubleVector low = DoubleVector{} + plan.low;
  const DoubleVector scale = DoubleVector{} + plan.scale;
  const std::uint32_t shift = plan.counts_shift;
  const DoubleVector limit = DoubleVector{} + static_cast<double>(plan.bins);
  const DoubleVector near = DoubleVector{} + (0.5 - plan.tolerance);  // to the middle of a bin
  const DoubleVector beside = limit + histogram_shifter;
  const auto index_of = [=](DoubleVector number) {
    DoubleVector place = (number - low) * scale;
    // What is beside all bins, and NaN, is put to an end, which is no middle.
    place = greater(lesser(place, limit), DoubleVector{}) - 0.5;
    const DoubleVector shifted = place + histogram_shifter;
    const DoubleVector from_middle = place - (shifted - histogram_shifter);
    const auto magnitude = (DoubleVector)((Int64Vector)from_middle & INT64_MAX);
    const DoubleVector bin = magnitude < near ? shifted : beside;
    return (Uint64Vector)bin << shift;
  };
  std::size_t i = 0;
  constexpr std::size_t at_once = 64 / sizeof(double);
  for (; i + at_once <= elements; i += at_once) {
    // While the indices are counted nothing else would be asked of the memory. By its address, as in look_ahead().
    __builtin_prefetch(reinterpret_cast<const void*>(reinterpret_cast<std::uintptr_t>(next) + i * next_item));
#pragma GCC unroll 8
    for (std::size_t k = 0; k < at_once; k += width) {
      const Uint64Vector vector = index_of(load_vector(numbers + i + k));
      __builtin_memcpy(index + i + k, &vector, sizeof vector);
    }
  }
  for (; i + width <= elements; i += width) {
    const Uint64Vector vector = index_of(load_vector(numbers + i));
    __builtin_memcpy(index + i, &vector, sizeof vector);
  }
  if (i == elements) return;
  double last[width] = {};
  for (std::size_t k = 0; i + k < elements; ++k) last[k] = numbers[i + k];
  const Uint64Vector vector = index_of(load_vector(static_cast<const double*>(last)));
  for (std::size_t k = 0; i + k < elements; ++k) index[i + k] = vector[k];
}

template <class T>
constexpr IntegerLoops integer_loops{integer_summary<T>, integer_squares<T>};

constexpr StatisticsLoops statistics_table{
    summary<std::uint16_t>,
    summary<float>,
    summary<double>,
    {integer_loops<std::int8_t>, integer_loops<std::uint8_t>, integer_loops<std::int16_t>, integer_loops<std::uint16_t>,
     integer_loops<std::int32_t>, integer_loops<std::uint32_t>, integer_loops<std::int64_t>,
     integer_loops<std::uint64_t>},
    histogram_index};

}  // namespace
}  // namespace runrig::detail
