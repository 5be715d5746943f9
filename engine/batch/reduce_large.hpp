#pragma once

#include <cstddef>
#include <string>

#include "runrig/engine/reduction.hpp"
#include "summary.hpp"

namespace runrig::batch {

/// Reduces a dataset that is too large for one worker alone, by all of them, within the session's memory: tile by tile
/// of the results, and for each of them slab by slab of what is reduced. `out` is memory for axes.results results of
/// reducer.result(). `axes` has elements and results, and is of the dataset's selection. Throws TaskError if it cannot
/// be read, or a result is none; Cancelled.
void reduce_large(Session::State& state, const LargeDataset& dataset, const ReductionAxes& axes, const Reducer& reducer,
                  std::byte* out);

/// The same for a quantile, 0 to 1, of each sequence; results are of the dtype of a mean.
void quantiles_large(Session::State& state, const LargeDataset& dataset, const ReductionAxes& axes, double quantile,
                     NanPolicy nan, std::byte* out);
/// Any quantile of copies of the fill value.
[[nodiscard]] double quantile_of_constant(const hdf5::DatasetInfo& info, DType dtype);

/// Why a result is missing, in words.
[[nodiscard]] std::string missing_result(Reduction operation);

}  // namespace runrig::batch
