#pragma once

#include <cstdint>
#include <functional>
#include <span>
#include <vector>

#include "runrig/engine/quantile.hpp"
#include "summary.hpp"

namespace runrig::batch {

/// What a pass over a dataset counts. Plain values; what they point to is in the arena.
struct ScanBody {
  DType dtype = DType::float64;
  std::span<const double> edges;  // a histogram's; else the digits of keys:
  unsigned shift = 0;
  std::uint64_t prefixes[2] = {};  // for each a row of counts; as many as `rows`
  std::uint32_t rows = 1;

  [[nodiscard]] std::size_t count_size() const { return edges.empty() ? rows * key_digits : edges.size() - 1; }
  /// Adds elements to the counts. `values` may be changed.
  void count(std::byte* values, std::size_t elements, std::uint64_t* counts) const;
};

/// Counts all elements of a dataset, by all workers, each what it has just decoded: the order of elements does not
/// matter. Fill values that are not stored are counted without a look. Throws TaskError if it cannot be read;
/// Cancelled.
[[nodiscard]] std::vector<std::uint64_t> scan(Session::State& state, const LargeDataset& dataset, const ScanBody& body);

/// The quantile of all elements of a dataset of any size, in as many passes as its elements have digits. NaN as
/// quantile_of() says.
[[nodiscard]] double scan_quantile(Session::State& state, const LargeDataset& dataset, double quantile, NanPolicy nan);

}  // namespace runrig::batch
