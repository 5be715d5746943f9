#include "runrig/channel/nd_buffer.hpp"

#include <algorithm>
#include <array>
#include <cstring>
#include <stdexcept>
#include <utility>

#include "runrig/shm/view.hpp"

namespace runrig::pickle {

std::optional<std::size_t> numpy_item_bytes(std::string_view dtype) noexcept {
  struct Known {
    std::string_view code;
    std::size_t bytes;
  };
  static constexpr std::array<Known, 16> known{{
      {"b1", 1},
      {"i1", 1},
      {"i2", 2},
      {"i4", 4},
      {"i8", 8},
      {"u1", 1},
      {"u2", 2},
      {"u4", 4},
      {"u8", 8},
      {"f2", 2},
      {"f4", 4},
      {"f8", 8},
      {"f16", 16},
      {"c8", 8},
      {"c16", 16},
      {"c32", 32},
  }};
  if (dtype.size() < 3) return std::nullopt;
  const auto* const found = std::ranges::find(known, dtype.substr(1), &Known::code);
  if (found == known.end()) return std::nullopt;
  // One byte has no order, and NumPy says so; all else must have one.
  const bool has_order = dtype.front() == '<' || dtype.front() == '>';
  if (found->bytes == 1 ? dtype.front() != '|' : !has_order) return std::nullopt;
  return found->bytes;
}

NdBuffer::NdBuffer(std::string_view dtype, const Shape& shape, Order order, std::span<const std::byte> bytes,
                   std::shared_ptr<const void> owner)
    : dtype_(dtype), shape_(shape), order_(order), bytes_(bytes), owner_(std::move(owner)) {
  const auto item = numpy_item_bytes(dtype);
  if (!item) throw std::logic_error("NdBuffer: '" + dtype_ + "' is no numeric dtype");
  if (shape.checked_bytes(*item) != bytes.size()) {
    throw std::logic_error("NdBuffer: " + std::to_string(bytes.size()) + " bytes are not an array of " + dtype_ +
                           " and shape " + to_string(shape));
  }
}

namespace {
NdBuffer owning(std::string_view dtype, const Shape& shape, Order order, std::vector<std::byte>&& bytes) {
  const auto owner = std::make_shared<const std::vector<std::byte>>(std::move(bytes));
  return {dtype, shape, order, std::span(*owner), owner};
}

/// Walks through all elements of two arrays of one shape, in C order: `visit(from, to)` with pointers to each.
template <class Visit>
void walk(const Shape& shape, std::size_t item, const std::byte* from, const Strides& from_strides, std::byte* to,
          const Strides& to_strides, const Visit& visit) {
  if (shape.checked_elements() == 0) return;
  const auto step = [item](const Strides& strides, std::size_t axis) {
    return strides[axis] * static_cast<std::int64_t>(item);
  };
  const std::size_t rank = shape.rank();
  const std::size_t last = rank == 0 ? 0 : rank - 1;
  const std::uint64_t row = rank == 0 ? 1 : shape[last];
  std::array<std::uint64_t, max_rank> index{};
  for (;;) {
    for (std::uint64_t i = 0; i < row; ++i) {
      const auto along = static_cast<std::int64_t>(i);
      visit(from + along * step(from_strides, last), to + along * step(to_strides, last));
    }
    std::size_t axis = last;
    for (;; --axis) {  // as an odometer, from the last axis but one
      if (axis == 0) return;
      from += step(from_strides, axis - 1);
      to += step(to_strides, axis - 1);
      if (++index[axis - 1] < shape[axis - 1]) break;
      from -= step(from_strides, axis - 1) * static_cast<std::int64_t>(shape[axis - 1]);
      to -= step(to_strides, axis - 1) * static_cast<std::int64_t>(shape[axis - 1]);
      index[axis - 1] = 0;
    }
  }
}

/// One element of `item` bytes, which are `parts` numbers, to the other byte order.
template <std::size_t item, std::size_t parts>
void swap_element(const std::byte* from, std::byte* to) noexcept {
  constexpr std::size_t part = item / parts;
  for (std::size_t p = 0; p < parts; ++p) std::reverse_copy(from + p * part, from + (p + 1) * part, to + p * part);
}
}  // namespace

std::size_t detail::total_bytes(std::span<const Buffer> buffers) noexcept {
  std::size_t total = 0;
  for (const Buffer& each : buffers) total += each.bytes.size();
  return total;
}

NdBuffer NdBuffer::copy_of(const AnyArrayRef& array) {
  const std::size_t item = item_bytes(array.dtype);
  std::vector<std::byte> bytes(array.shape.elements() * item);
  if (array.contiguous()) {
    std::copy_n(array.data, bytes.size(), bytes.begin());
  } else {
    walk(array.shape, item, array.data, array.strides, bytes.data(), row_major_strides(array.shape),
         [item](const std::byte* from, std::byte* to) { std::memcpy(to, from, item); });
  }
  return {array.dtype, array.shape, std::move(bytes)};
}

bool NdBuffer::holds(DType dtype) const noexcept {
  return std::string_view(dtype_).substr(1) == dtype_string(dtype).substr(1);
}

void NdBuffer::copy_to(const AnyArrayRef& to) const {
  if (!holds(to.dtype) || !(shape_ == to.shape) || to.access == Access::read_only) {
    throw std::logic_error("copy an array of " + dtype_ + " and shape " + to_string(shape_) + " to " +
                           (to.access == Access::read_only ? "a read-only one" : "one") + " of " +
                           std::string(dtype_name(to.dtype)) + " and shape " + to_string(to.shape));
  }
  const Strides strides = order_ == Order::c ? row_major_strides(shape_) : column_major_strides(shape_);
  const std::size_t item = item_bytes(to.dtype);
  const auto each = [&](const auto& visit) { walk(shape_, item, bytes_.data(), strides, to.data, to.strides, visit); };
  if (to.dtype == DType::boolean) {
    return each([](const std::byte* from, std::byte* out) { *out = std::byte{*from != std::byte{0}}; });
  }
  if (native_dtype()) {
    if (to.strides == strides) {
      std::copy(bytes_.begin(), bytes_.end(), to.data);
      return;
    }
    return each([item](const std::byte* from, std::byte* out) { std::memcpy(out, from, item); });
  }
  const bool pairs = is_complex(to.dtype);
  switch (item) {
    case 2:
      return each(swap_element<2, 1>);
    case 4:
      return each(swap_element<4, 1>);
    case 8:
      return pairs ? each(swap_element<8, 2>) : each(swap_element<8, 1>);
    default:
      return each(swap_element<16, 2>);
  }
}

NdBuffer NdBuffer::owned() const {
  if (owner_ != nullptr) return *this;
  return {dtype_, shape_, order_, std::vector<std::byte>(bytes_.begin(), bytes_.end())};
}

NdBuffer::NdBuffer(std::string_view dtype, const Shape& shape, Order order, std::vector<std::byte> bytes)
    : NdBuffer(owning(dtype, shape, order, std::move(bytes))) {}

bool operator==(const NdBuffer& a, const NdBuffer& b) noexcept {
  return a.dtype_ == b.dtype_ && a.shape_ == b.shape_ && a.order_ == b.order_ && std::ranges::equal(a.bytes_, b.bytes_);
}

}  // namespace runrig::pickle
