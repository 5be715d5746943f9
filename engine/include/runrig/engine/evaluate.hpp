#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

#include "runrig/engine/expression.hpp"
#include "runrig/engine/parallel.hpp"
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

/// Evaluates `expression` for each element of `out`, which is made: `inputs` are the arrays of
/// Expression::variables(), in that order, each of out's shape or one that NumPy would broadcast to it (axes are
/// matched from the last one; those that are missing or of extent 1 are repeated). `out` has the dtype that
/// Expression::bind() gives for the inputs, and may be one of them. Large results are written past the caches.
/// Reductions inside the expression are computed before: over whole arrays in one pass each over their argument, which
/// is never in memory as a whole; along axes (of those, only such that lie beside each other) from a temporary array.
/// Throws ExpressionError as bind() does; std::logic_error if the shapes do not fit or the dtype is another.
void evaluate(Pool& pool, const Expression& expression, const AnyArrayRef& out, std::span<const AnyArrayRef> inputs,
              const ParallelOptions& options = {});
void evaluate(Threads& threads, const Expression& expression, const AnyArrayRef& out,
              std::span<const AnyArrayRef> inputs, const ParallelOptions& options = {});

/// Count, NaNs, minimum, maximum, sum, mean and standard deviation of all elements, in one pass: that of
/// StatisticsTree over the array in C order. ParallelOptions::slice_elements is not looked at.
[[nodiscard]] Statistics summarize(Pool& pool, const AnyArrayRef& array, const ParallelOptions& options = {});
[[nodiscard]] Statistics summarize(Threads& threads, const AnyArrayRef& array, const ParallelOptions& options = {});

/// Bins of equal width from `low` to `high`, as numpy.histogram has them: each holds its lower edge and not its upper
/// one, but for the last, which holds both. Elements outside and NaNs are in none.
struct HistogramBins {
  std::uint32_t count = 0;
  double low = 0;
  double high = 0;

  /// The count + 1 edges: low + i (high - low) / count, and high.
  [[nodiscard]] std::vector<double> edges() const;
};
inline constexpr std::uint32_t max_histogram_bins = 1U << 20;

/// How many elements each bin holds. Integers are compared as doubles. Throws std::logic_error if there are no bins,
/// more than max_histogram_bins, or `low` is not below `high` or one of them not finite.
[[nodiscard]] std::vector<std::uint64_t> histogram(Pool& pool, const AnyArrayRef& array, const HistogramBins& bins,
                                                   const ParallelOptions& options = {});
[[nodiscard]] std::vector<std::uint64_t> histogram(Threads& threads, const AnyArrayRef& array,
                                                   const HistogramBins& bins, const ParallelOptions& options = {});
/// The bins that numpy.histogram would take: from the least to the largest element; half a unit to either side if they
/// are equal, from 0 to 1 if there are none. Throws std::logic_error where they are infinite.
[[nodiscard]] HistogramBins histogram_bins(const Statistics& of, std::uint32_t count);

}  // namespace runrig
