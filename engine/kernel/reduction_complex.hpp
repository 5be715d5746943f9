#pragma once

#include <array>

#include "reduction_loops.hpp"

/// Reductions of complex numbers: the same on each level of instructions.
namespace runrig::detail {

/// As reduction_planes; 0 where a step is not for complex numbers. The real part comes before the imaginary one.
inline constexpr std::size_t complex_reduction_planes[reduction_step_count] = {
    0,           // whole_sum
    4, 4, 5,     // sums: of either part, and what it lacks; how many
    8, 9,        // spread: origins; sums of differences to them; of their squared sizes, what it lacks; how many
    0, 2, 2,     // products
    2, 2, 2, 2,  // min, max
    3, 3, 3, 3,  // argmin, argmax
    1,           // count
    1, 1, 1,     // any, all
};

using ReductionLoops = std::array<ReductionLoop, reduction_step_count>;
/// Null where a step is not for complex numbers.
[[nodiscard]] const ReductionLoops& complex_reduction_loops(DType dtype) noexcept;

}  // namespace runrig::detail
