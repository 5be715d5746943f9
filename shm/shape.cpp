#include "runrig/shm/shape.hpp"

#include <algorithm>

#include "runrig/sync/error.hpp"

namespace runrig {

Shape::Shape(std::span<const std::uint64_t> extents) {
  for (const std::uint64_t extent : extents) push_back(extent);
}

void Shape::push_back(std::uint64_t extent) {
  if (rank_ == max_rank) throw Error(std::errc::value_too_large, "make a shape of more axes than", "32");
  extents_[rank_++] = extent;
}

std::optional<std::uint64_t> Shape::checked_elements() const noexcept {
  // A zero anywhere first: 2^40 * 2^40 * 0 is empty, not an overflow.
  if (std::find(begin(), end(), 0U) != end()) return 0;
  std::uint64_t product = 1;
  for (const std::uint64_t extent : *this) {
    if (__builtin_mul_overflow(product, extent, &product)) return std::nullopt;
  }
  return product;
}

std::uint64_t Shape::elements() const {
  const auto product = checked_elements();
  if (!product) throw Error(std::errc::value_too_large, "count the elements of shape", to_string(*this));
  return *product;
}

std::optional<std::size_t> Shape::checked_bytes(std::size_t item_bytes) const noexcept {
  const auto product = checked_elements();
  std::ptrdiff_t bytes = 0;
  if (!product || __builtin_mul_overflow(*product, item_bytes, &bytes)) return std::nullopt;
  return static_cast<std::size_t>(bytes);
}

bool operator==(const Shape& a, const Shape& b) noexcept { return std::equal(a.begin(), a.end(), b.begin(), b.end()); }

std::string to_string(const Shape& shape) {
  std::string text = "(";
  for (std::size_t axis = 0; axis < shape.rank(); ++axis) {
    if (axis > 0) text += ", ";
    text += std::to_string(shape[axis]);
  }
  return text + (shape.rank() == 1 ? ",)" : ")");
}

}  // namespace runrig
