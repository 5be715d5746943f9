#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

#include "runrig/engine/evaluate.hpp"
#include "statistics_loops.hpp"

namespace runrig::detail {

/// Counts contiguous elements. `edges` has bins + 1 numbers, `counts` as many as bins.
void count_elements(DType dtype, const std::byte* data, std::size_t elements, const HistogramPlan& plan,
                    std::span<const double> edges, std::uint64_t* counts);
[[nodiscard]] HistogramPlan plan_histogram(const HistogramBins& bins);

}  // namespace runrig::detail
