#include "runrig/channel/nd_buffer.hpp"

#include <algorithm>
#include <array>
#include <stdexcept>
#include <utility>

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
}  // namespace

NdBuffer::NdBuffer(std::string_view dtype, const Shape& shape, Order order, std::vector<std::byte> bytes)
    : NdBuffer(owning(dtype, shape, order, std::move(bytes))) {}

bool operator==(const NdBuffer& a, const NdBuffer& b) noexcept {
  return a.dtype_ == b.dtype_ && a.shape_ == b.shape_ && a.order_ == b.order_ && std::ranges::equal(a.bytes_, b.bytes_);
}

}  // namespace runrig::pickle
