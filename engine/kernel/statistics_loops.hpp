#pragma once

#include <cstddef>
#include <cstdint>

#include "level.hpp"

namespace runrig::detail {

/// Sums of doubles go to this many lanes, element i to lane i modulo it, and lanes are added in a fixed order: the
/// compiler may use vectors of any width, and the bits stay.
inline constexpr std::size_t statistics_lanes = 16;
/// Lanes are emptied into totals after this many elements, which keeps rounding errors as small as pairwise addition
/// does, and lets several loops read the same elements from a first-level cache.
inline constexpr std::size_t statistics_chunk_elements = 2048;

/// Of numbers that are not NaN. Without any, min is +inf and max is -inf.
struct FloatSummary {
  double centre = 0;
  double sum = 0;      // of x - centre
  double squares = 0;  // of (x - centre)^2
  double min = 0;
  double max = 0;
  std::uint64_t nan = 0;
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

/// What counting in bins of about equal width needs.
struct HistogramPlan {
  double low = 0;
  double high = 0;
  double scale = 0;      // bins per unit
  double tolerance = 0;  // in bins: an element that near to an edge, or beside all bins, is compared with the edges
  std::uint32_t bins = 0;
  std::uint32_t counts_shift = 0;  // each bin has 2^counts_shift counts
};

/// A bin has several counts, of which consecutive elements take one after the other: they are often in the same bin,
/// and an addition to a count waits for the one before. Binary logarithm of their number.
inline constexpr std::uint32_t histogram_counts_shift = 3;
/// With more bins they leave the first-level cache, and consecutive elements meet less often.
inline constexpr std::size_t many_histogram_bins = 1024;
inline constexpr std::uint32_t histogram_counts_shift_of_many_bins = 1;
/// The counts behind the last bin's take what is beside all bins or near an edge; none overflows, for fewer elements
/// than 2^32.
inline constexpr std::size_t histogram_chunk_elements = 1024;

/// Where the counts of each number of a chunk begin, in the lower 32 bits: those of its bin, or of `bins` for what has
/// to be looked at. All in vectors. Asks for the memory of as many elements of `next_item` bytes from `next` on, of
/// which none need be there.
using HistogramLoop = void (*)(const double* numbers, std::size_t elements, const HistogramPlan& plan,
                               std::uint64_t* index, const std::byte* next, std::size_t next_item);

/// The inner loops of summarize_block(), compiled for several levels of instructions, all with the same bits (but for
/// NaNs). At most statistics_block_elements.
struct StatisticsLoops {
  /// Around the centre given, or one of their own choice: a number near the mean if that can be had.
  FloatSummary (*half_summary)(const std::uint16_t* bits, std::size_t elements, const double* centre);
  FloatSummary (*float_summary)(const float* numbers, std::size_t elements, const double* centre);
  FloatSummary (*double_summary)(const double* numbers, std::size_t elements, const double* centre);
  IntegerLoops integers[8];  // from DType::int8 on
  HistogramLoop histogram;
};

[[nodiscard]] const StatisticsLoops& baseline_statistics_loops() noexcept;
#if defined(__x86_64__)
[[nodiscard]] const StatisticsLoops& v2_statistics_loops() noexcept;
[[nodiscard]] const StatisticsLoops& v3_statistics_loops() noexcept;
[[nodiscard]] const StatisticsLoops& v4_statistics_loops() noexcept;
#endif
/// To be run on machines of that level and above only.
[[nodiscard]] const StatisticsLoops& statistics_loops_of_level(Level level) noexcept;
/// Those of used_level().
[[nodiscard]] const StatisticsLoops& best_statistics_loops();

}  // namespace runrig::detail
