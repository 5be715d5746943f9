#pragma once

#include <cstddef>
#include <cstdint>

namespace runrig::detail {

/// Sums of doubles go to this many lanes, element i to lane i modulo it, and lanes are added in a fixed order: the
/// compiler may use vectors of any width, and the bits stay.
inline constexpr std::size_t statistics_lanes = 16;
/// Lanes are emptied into totals after this many elements, which keeps rounding errors as small as pairwise addition
/// does, and lets several loops read the same elements from a first-level cache.
inline constexpr std::size_t statistics_chunk_elements = 2048;

/// Of numbers that are not NaN. Without any, min is +inf and max is -inf.
struct FloatSummary {
  double sum = 0;
  double min = 0;
  double max = 0;
  std::uint64_t nan = 0;
};
struct Deviations {
  double sum = 0;
  double squares = 0;
};

/// The sum is upper_sum * 2^32 + sum. squares: of types of at most 16 bits, where it is exact. min and max: as
/// Statistics has them.
struct IntegerSummary {
  std::uint64_t min_bits = 0;
  std::uint64_t max_bits = 0;
  std::int64_t sum = 0;
  std::int64_t upper_sum = 0;
  std::uint64_t squares = 0;
};
struct IntegerLoops {
  /// Of at least one element.
  IntegerSummary (*summary)(const std::byte* data, std::size_t elements);
  /// Sum of squared differences to `centre`, a number of the type as in min_bits. `near`: all of them fit 64 bits.
  double (*squares)(const std::byte* data, std::size_t elements, std::uint64_t centre, bool near);
};

/// The inner loops of summarize_block(), compiled for several levels of instructions, all with the same bits (but for
/// NaNs). At most statistics_block_elements.
struct StatisticsLoops {
  FloatSummary (*half_summary)(const std::uint16_t* bits, std::size_t elements);
  FloatSummary (*float_summary)(const float* numbers, std::size_t elements);
  FloatSummary (*double_summary)(const double* numbers, std::size_t elements);
  /// Sum and sum of squares of x - mean for all x that are not NaN.
  Deviations (*half_deviations)(const std::uint16_t* bits, std::size_t elements, double mean);
  Deviations (*float_deviations)(const float* numbers, std::size_t elements, double mean);
  Deviations (*double_deviations)(const double* numbers, std::size_t elements, double mean);
  IntegerLoops integers[8];  // from DType::int8 on
};

[[nodiscard]] const StatisticsLoops& baseline_statistics_loops() noexcept;
#if defined(__x86_64__)
[[nodiscard]] const StatisticsLoops& avx2_statistics_loops() noexcept;
[[nodiscard]] const StatisticsLoops& avx512_statistics_loops() noexcept;
#endif
/// The widest that this machine can run.
[[nodiscard]] const StatisticsLoops& best_statistics_loops() noexcept;

}  // namespace runrig::detail
