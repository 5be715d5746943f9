#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

#include "runrig/engine/expression.hpp"
#include "runrig/engine/parallel.hpp"
#include "runrig/engine/quantile.hpp"
#include "runrig/engine/statistics.hpp"
#include "runrig/shm/view.hpp"

/// Expressions and statistics of whole arrays, in the workers of a Pool or on Threads, with the same bits.
///
///     const auto speed = runrig::Expression::parse("sqrt(u*u + v*v)");
///     runrig::evaluate(pool, speed, out.ref(), std::array{u.ref(), v.ref()});
///     const runrig::Statistics found = runrig::summarize(pool, out.ref());
///
/// Arrays are contiguous; on a Pool they lie in a segment or in the pool's arena. What is thrown for workers that die
/// and for calls that are stopped is as for parallel_transform.
namespace runrig {

/// The shape that arrays of these shapes have together, by NumPy's rules of broadcasting. Throws std::logic_error if
/// they do not fit.
[[nodiscard]] Shape broadcast_shape(std::span<const Shape> shapes);

/// Evaluates `expression` for each element of `out`, which is made: `inputs` are the arrays of
/// Expression::variables(), in that order, each of out's shape or one that NumPy would broadcast to it (axes are
/// matched from the last one; those that are missing or of extent 1 are repeated). `out` has the dtype that
/// Expression::bind() gives for the inputs, and may be one of them. Large results are written past the caches.
/// Reductions inside the expression are computed before, each in one pass over its argument, which is never in memory
/// as a whole. Throws ExpressionError as bind() does; FormatError for an axis that is not there; Error
/// argument_out_of_domain where NumPy has no result (nanargmin of NaNs alone); std::logic_error if the shapes do not
/// fit or the dtype is another.
void evaluate(Pool& pool, const Expression& expression, const AnyArrayRef& out, std::span<const AnyArrayRef> inputs,
              const ParallelOptions& options = {});
void evaluate(Threads& threads, const Expression& expression, const AnyArrayRef& out,
              std::span<const AnyArrayRef> inputs, const ParallelOptions& options = {});

/// Count, NaNs, minimum, maximum, sum, mean and standard deviation of all elements, in one pass: that of
/// StatisticsTree over the array in C order. ParallelOptions::slice_elements is not looked at.
[[nodiscard]] Statistics summarize(Pool& pool, const AnyArrayRef& array, const ParallelOptions& options = {});
[[nodiscard]] Statistics summarize(Threads& threads, const AnyArrayRef& array, const ParallelOptions& options = {});

/// How many elements lie between each two of `edges`, as count_in_bins() has it; histogram_edges() makes NumPy's.
/// Throws std::logic_error if the edges do not rise or are fewer than two.
[[nodiscard]] std::vector<std::uint64_t> histogram(Pool& pool, const AnyArrayRef& array, std::span<const double> edges,
                                                   const ParallelOptions& options = {});
[[nodiscard]] std::vector<std::uint64_t> histogram(Threads& threads, const AnyArrayRef& array,
                                                   std::span<const double> edges, const ParallelOptions& options = {});

}  // namespace runrig
