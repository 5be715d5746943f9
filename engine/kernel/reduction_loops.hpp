#pragma once

#include <cstddef>
#include <cstdint>

#include "level.hpp"
#include "runrig/engine/reduction.hpp"

namespace runrig::detail {

/// Elements for a number of accumulators: rows of `columns` elements, `pitch` elements apart. Element (row, column) has
/// the number index + row * index_per_row + column * index_per_column in its sequence.
struct ReductionRun {
  const std::byte* data = nullptr;
  std::size_t rows = 0;
  std::size_t columns = 0;
  std::size_t pitch = 0;
  std::uint64_t index = 0;
  std::uint64_t index_per_row = 1;
  std::uint64_t index_per_column = 0;
};

/// The planes of accumulators, and the loops that fill them. What is named _skip leaves NaNs out, and is there for
/// floats only.
enum class ReductionStep : std::uint8_t {
  whole_sum,         // uint64, modulo 2^64
  real_sum,          // double: sum, and what it lacks
  real_sum_skip,     // the same
  counted_sum_skip,  // the same, and double: how many
  spread,            // double: origin; sum of differences to it, what it lacks; of their squares, what it lacks
  spread_skip,       // the same, and double: how many
  whole_prod,        // uint64, modulo 2^64
  real_prod,         // double
  real_prod_skip,
  min,  // int64, uint64 or double
  min_skip,
  max,
  max_skip,
  argmin,  // the same, and int64: its index, -1 if there is none
  argmin_skip,
  argmax,
  argmax_skip,
  count,  // uint64
  any,    // uint64, 0 or 1
  any_skip,
  all,
};
inline constexpr std::size_t reduction_step_count = 21;
inline constexpr std::size_t reduction_planes[reduction_step_count] = {1, 2, 2, 3, 5, 6, 1, 1, 1, 1, 1,
                                                                       1, 1, 2, 2, 2, 2, 1, 1, 1, 1};

/// Null where a step is not for that dtype.
struct ReductionTable {
  ReductionLoop loops[real_dtype_count][reduction_step_count];
};

[[nodiscard]] const ReductionTable& baseline_reduction_loops() noexcept;
#if defined(__x86_64__)
[[nodiscard]] const ReductionTable& v2_reduction_loops() noexcept;
[[nodiscard]] const ReductionTable& v3_reduction_loops() noexcept;
[[nodiscard]] const ReductionTable& v4_reduction_loops() noexcept;
#endif
/// To be run on machines of that level and above only. All have the same bits, but for NaNs.
[[nodiscard]] const ReductionTable& reduction_loops_of_level(Level level) noexcept;
/// Those of used_level().
[[nodiscard]] const ReductionTable& best_reduction_loops();

}  // namespace runrig::detail
