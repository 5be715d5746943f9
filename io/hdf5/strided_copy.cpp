#include "runrig/hdf5/strided_copy.hpp"

#include <algorithm>
#include <array>
#include <cstdint>
#include <cstring>

namespace runrig::hdf5::detail {
namespace {

/// One row, each item moved by itself. The size is a template's, so that the copy is a move of a register.
template <std::size_t N>
void copy_items(const std::byte* from, std::ptrdiff_t from_stride, std::byte* to, std::ptrdiff_t to_stride,
                std::uint64_t count) {
  for (; count > 0; --count, from += from_stride, to += to_stride) std::memcpy(to, from, N);
}

void copy_row(const std::byte* from, std::ptrdiff_t from_stride, std::byte* to, std::ptrdiff_t to_stride,
              std::uint64_t count, std::size_t item_bytes) {
  const auto dense = static_cast<std::ptrdiff_t>(item_bytes);
  if (from_stride == dense && to_stride == dense) {
    std::memcpy(to, from, count * item_bytes);
    return;
  }
  switch (item_bytes) {
    case 1:
      return copy_items<1>(from, from_stride, to, to_stride, count);
    case 2:
      return copy_items<2>(from, from_stride, to, to_stride, count);
    case 4:
      return copy_items<4>(from, from_stride, to, to_stride, count);
    case 8:
      return copy_items<8>(from, from_stride, to, to_stride, count);
    default:
      break;
  }
  for (; count > 0; --count, from += from_stride, to += to_stride) std::memcpy(to, from, item_bytes);
}

/// Calls `row(offset_a, offset_b)` for every row (all axes but the last) of a box, with the offsets by two sets of
/// strides.
template <class Row>
void for_each_row(const Shape& count, std::span<const std::ptrdiff_t> a, std::span<const std::ptrdiff_t> b, Row&& row) {
  const std::size_t outer = count.rank() - 1;
  std::array<std::uint64_t, max_rank> at{};
  std::ptrdiff_t offset_a = 0;
  std::ptrdiff_t offset_b = 0;
  while (true) {
    row(offset_a, offset_b);
    std::size_t axis = outer;
    while (true) {
      if (axis == 0) return;
      --axis;
      offset_a += a[axis];
      offset_b += b[axis];
      if (++at[axis] < count[axis]) break;
      offset_a -= a[axis] * static_cast<std::ptrdiff_t>(count[axis]);
      offset_b -= b[axis] * static_cast<std::ptrdiff_t>(count[axis]);
      at[axis] = 0;
    }
  }
}

bool is_empty(const Shape& count) {
  return std::ranges::any_of(count, [](std::uint64_t extent) { return extent == 0; });
}

}  // namespace

void StridedCopy::run(const std::byte* from, std::byte* to) const {
  if (is_empty(count)) return;
  // Neighbouring axes that are dense in both arrays are one: fewer and longer rows.
  Shape merged;
  std::vector<std::ptrdiff_t> source;
  std::vector<std::ptrdiff_t> target;
  for (std::size_t axis = 0; axis < count.rank(); ++axis) {
    if (count[axis] == 1) continue;
    const auto extent = static_cast<std::ptrdiff_t>(count[axis]);
    if (merged.rank() > 0 && source.back() == from_strides[axis] * extent &&
        target.back() == to_strides[axis] * extent) {
      merged[merged.rank() - 1] *= count[axis];
      source.back() = from_strides[axis];
      target.back() = to_strides[axis];
    } else {
      merged.push_back(count[axis]);
      source.push_back(from_strides[axis]);
      target.push_back(to_strides[axis]);
    }
  }
  if (merged.rank() == 0) {
    std::memcpy(to, from, item_bytes);
    return;
  }
  const std::uint64_t row_items = merged[merged.rank() - 1];
  for_each_row(merged, source, target, [&](std::ptrdiff_t from_offset, std::ptrdiff_t to_offset) {
    copy_row(from + from_offset, source.back(), to + to_offset, target.back(), row_items, item_bytes);
  });
}

void fill_items(std::span<std::byte> out, std::span<const std::byte> item) noexcept {
  if (out.empty()) return;
  if (std::ranges::all_of(item, [&](std::byte b) { return b == item[0]; })) {
    std::memset(out.data(), std::to_integer<int>(item[0]), out.size());
    return;
  }
  // Doubling: what is filled is copied behind itself.
  std::ranges::copy(item, out.begin());
  for (std::size_t done = item.size(); done < out.size(); done += std::min(done, out.size() - done)) {
    std::memcpy(out.data() + done, out.data(), std::min(done, out.size() - done));
  }
}

void fill_box(std::byte* to, const Shape& count, std::span<const std::ptrdiff_t> strides,
              std::span<const std::byte> item) {
  if (is_empty(count)) return;
  if (is_contiguous(count, strides, item.size())) {
    fill_items({to, static_cast<std::size_t>(count.elements()) * item.size()}, item);
    return;
  }
  const std::size_t last = count.rank() - 1;  // a scalar is contiguous
  const bool dense = strides[last] == static_cast<std::ptrdiff_t>(item.size());
  for_each_row(count, strides, strides, [&](std::ptrdiff_t offset, std::ptrdiff_t) {
    if (dense) {
      fill_items({to + offset, static_cast<std::size_t>(count[last]) * item.size()}, item);
    } else {
      for (std::uint64_t i = 0; i < count[last]; ++i) {
        std::memcpy(to + offset + static_cast<std::ptrdiff_t>(i) * strides[last], item.data(), item.size());
      }
    }
  });
}

std::vector<std::ptrdiff_t> contiguous_strides(const Shape& shape, std::size_t item_bytes) {
  std::vector<std::ptrdiff_t> strides(shape.rank());
  auto stride = static_cast<std::ptrdiff_t>(item_bytes);
  for (std::size_t axis = shape.rank(); axis-- > 0;) {
    strides[axis] = stride;
    stride *= static_cast<std::ptrdiff_t>(shape[axis]);
  }
  return strides;
}

bool is_contiguous(const Shape& count, std::span<const std::ptrdiff_t> strides, std::size_t item_bytes) {
  auto expected = static_cast<std::ptrdiff_t>(item_bytes);
  for (std::size_t axis = count.rank(); axis-- > 0;) {
    if (count[axis] != 1 && strides[axis] != expected) return false;
    expected *= static_cast<std::ptrdiff_t>(count[axis]);
  }
  return true;
}

}  // namespace runrig::hdf5::detail
