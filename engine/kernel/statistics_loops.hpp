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
};

[[nodiscard]] const StatisticsLoops& baseline_statistics_loops() noexcept;
#if defined(__x86_64__)
[[nodiscard]] const StatisticsLoops& avx2_statistics_loops() noexcept;
[[nodiscard]] const StatisticsLoops& avx512_statistics_loops() noexcept;
#endif
/// The widest that this machine can run.
[[nodiscard]] const StatisticsLoops& best_statistics_loops() noexcept;

}  // namespace runrig::detail
