#pragma once

#include <cstddef>
#include <span>
#include <vector>

#include "runrig/shm/shape.hpp"

namespace runrig::hdf5::detail {

/// Copies a box of items between two arrays with strides in bytes (negative ones too).
struct StridedCopy {
  Shape count;
  std::vector<std::ptrdiff_t> from_strides;
  std::vector<std::ptrdiff_t> to_strides;
  std::size_t item_bytes = 1;

  /// `from` and `to` point at the first item of the box.
  void run(const std::byte* from, std::byte* to) const;
};

/// Repeats `item` over all of `out`, whose size is a multiple of it.
void fill_items(std::span<std::byte> out, std::span<const std::byte> item) noexcept;
/// Repeats `item` over a box of an array with strides.
void fill_box(std::byte* to, const Shape& count, std::span<const std::ptrdiff_t> strides,
              std::span<const std::byte> item);

/// Strides in bytes of a C-contiguous array.
[[nodiscard]] std::vector<std::ptrdiff_t> contiguous_strides(const Shape& shape, std::size_t item_bytes);
/// Whether a box of `count` items with these strides is one block of bytes in C order.
[[nodiscard]] bool is_contiguous(const Shape& count, std::span<const std::ptrdiff_t> strides, std::size_t item_bytes);

}  // namespace runrig::hdf5::detail
