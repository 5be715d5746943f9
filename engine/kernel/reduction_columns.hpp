// How reductions walk elements, and the sums they share. Part of reduction_body.hpp, and of reduction_complex.cpp.
#pragma once

#include "reduction_loops.hpp"

namespace runrig::detail {
namespace {

template <class T>
T* plane(std::byte* states, std::size_t pitch, std::size_t number) {
  return reinterpret_cast<T*>(states + number * pitch * 8);
}

/// The number of columns where it is the number of lanes, which the compiler then knows.
struct Lanes {
  constexpr operator std::size_t() const { return reduction_lanes; }
};

/// Calls `step(i)` for each column; iterations do not touch each other's accumulators.
template <class Columns, class Step>
void for_columns(Columns columns, Step step) {
  const std::size_t n = columns;
#pragma GCC ivdep
  for (std::size_t i = 0; i < n; ++i) step(i);
}

/// Knuth's addition: `low` gets what `high` lacks. Not what it says once `high` is infinite or NaN; nor is it read
/// then.
struct PairSum {
  static void add(double& high, double& low, double x) {
    const double sum = high + x;
    const double part = sum - high;
    low += (high - (sum - part)) + (x - part);
    high = sum;
  }
};

/// a * a - product, exactly.
double square_rest(double a, double product) {
#if defined(__FMA__)
  return __builtin_fma(a, a, -product);
#else
  const double scaled = 134217729.0 * a;  // Dekker's: the upper and the lower half of the digits
  const double upper = scaled - (scaled - a);
  const double lower = a - upper;
  return ((upper * upper - product) + (2.0 * upper) * lower) + lower * lower;
#endif
}

template <class E, class Step>
void accumulate(std::byte* states, std::size_t pitch, const ReductionRun& run) {
  using Stored = typename E::Stored;
  const auto* const data = reinterpret_cast<const Stored*>(run.data);
  if (run.columns == reduction_lanes) {
    for (std::size_t row = 0; row < run.rows; ++row) {
      Step::template row<E>(states, pitch, data + row * run.pitch, Lanes{}, run.index + row * run.index_per_row,
                            run.index_per_column);
    }
    return;
  }
  constexpr std::size_t most = 512;  // so that accumulators stay in the first-level cache from row to row
  for (std::size_t first = 0; first < run.columns; first += most) {
    const std::size_t columns = run.columns - first < most ? run.columns - first : most;
    for (std::size_t row = 0; row < run.rows; ++row) {
      Step::template row<E>(states + first * 8, pitch, data + row * run.pitch + first, columns,
                            run.index + row * run.index_per_row + first * run.index_per_column, run.index_per_column);
    }
  }
}

}  // namespace
}  // namespace runrig::detail
