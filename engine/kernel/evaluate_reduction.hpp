#pragma once

#include "evaluate_program.hpp"
#include "runrig/engine/reduction.hpp"

namespace runrig::detail {

/// Reduces what `program` gives for all elements of `shape`, along `axes`, into `out`: contiguous, of
/// reduction_dtype() and as many elements as axes.results. The values are never in memory all at once. The bits are
/// those of reduce_sequences() on them; of all elements, where is_told_by_statistics(), those of store_reduction().
/// Throws as run_kernel(); std::logic_error where NumPy has no result of no elements; Error argument_out_of_domain
/// where it has none of NaNs alone.
template <class Executor>
void reduce_program(Executor& executor, const Program& program, const Shape& shape, std::span<const AnyArrayRef> inputs,
                    const ReductionAxes& axes, Reduction operation, NanPolicy nan, const AnyArrayRef& out,
                    const ParallelOptions& options);

}  // namespace runrig::detail
