#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

#include "runrig/engine/reduction.hpp"
#include "runrig/shm/dtype.hpp"

/// Quantiles and histograms: what sorting and counting tell of elements. Nothing here depends on their order.
namespace runrig {

/// Between which two of n sorted elements a quantile lies, and how far from the first: NumPy's method 'linear'.
struct QuantilePlace {
  std::uint64_t rank = 0;  ///< of the first; the second is behind it
  double fraction = 0;     ///< 0: the first itself, which may be the last element
};
/// `quantile` is from 0 to 1, n at least 1.
[[nodiscard]] QuantilePlace quantile_place(double quantile, std::uint64_t n) noexcept;
[[nodiscard]] double quantile_between(double low, double high, double fraction) noexcept;

/// Elements as unsigned integers of their size that are ordered as they are. Writes those of all that are not NaN, one
/// behind the other, and returns how many. `keys` may be `data`.
[[nodiscard]] std::size_t ordered_keys(DType dtype, const std::byte* data, std::size_t elements,
                                       std::byte* keys) noexcept;
/// The element of a key; the nearest double.
[[nodiscard]] double key_value(DType dtype, std::uint64_t key) noexcept;
[[nodiscard]] std::uint64_t ordered_key(DType dtype, const std::byte* element) noexcept;

/// The quantile of a sequence. `scratch` has room for its elements. NaN: of none; and with NanPolicy::propagate if
/// there is one.
[[nodiscard]] double quantile_of(DType dtype, const std::byte* data, std::size_t elements, double quantile,
                                 NanPolicy nan, std::byte* scratch) noexcept;

/// The digits of a key that one pass of a selection looks at.
inline constexpr unsigned key_digit_bits = 16;
inline constexpr std::size_t key_digits = std::size_t{1} << key_digit_bits;
/// Counts the digit at `shift` (bits) of keys of `item` bytes that are `prefix` above it.
void count_key_digits(std::size_t item, const std::byte* keys, std::size_t count, unsigned shift, std::uint64_t prefix,
                      std::uint64_t* counts) noexcept;

/// More bins are counted as correctly, and not as fast.
inline constexpr std::size_t max_histogram_bins = std::size_t{1} << 20;
/// NumPy's bins of equal width: bins + 1 edges from `low` to `high`, each a number of `edge_dtype`.
[[nodiscard]] std::vector<double> histogram_edges(double low, double high, std::uint64_t bins, DType elements);
/// float32 and float16 have edges of their kind, all else of float64.
[[nodiscard]] DType histogram_edge_dtype(DType elements) noexcept;
/// Adds elements, contiguous and aligned to their size, to the bins between whose edges they lie, the last bin with its
/// upper edge; what lies outside, and NaN, is left out. The edges rise; integers are compared as doubles. Fast where
/// bins are of about equal width. Throws Error as kernel_level() does.
void count_in_bins(DType dtype, const std::byte* data, std::size_t elements, std::span<const double> edges,
                   std::uint64_t* counts);

}  // namespace runrig
