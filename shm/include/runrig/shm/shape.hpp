#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <initializer_list>
#include <optional>
#include <span>
#include <string>

namespace runrig {

/// NumPy's and HDF5's limit on the number of axes.
inline constexpr std::size_t max_rank = 32;

/// Elements per axis, slowest first; no axes at all for a scalar, whose element count is one. A plain value of
/// fixed size, so that it can lie in shared memory and in a kernel's captures.
class Shape {
 public:
  constexpr Shape() noexcept = default;
  /// Throws Error value_too_large for more than max_rank axes.
  Shape(std::initializer_list<std::uint64_t> extents) : Shape(std::span(extents.begin(), extents.size())) {}
  explicit Shape(std::span<const std::uint64_t> extents);

  [[nodiscard]] constexpr std::size_t rank() const noexcept { return rank_; }
  [[nodiscard]] constexpr std::uint64_t operator[](std::size_t axis) const noexcept { return extents_[axis]; }
  [[nodiscard]] constexpr std::uint64_t& operator[](std::size_t axis) noexcept { return extents_[axis]; }
  [[nodiscard]] std::span<const std::uint64_t> extents() const noexcept { return {extents_.data(), rank_}; }
  [[nodiscard]] const std::uint64_t* begin() const noexcept { return extents_.data(); }
  [[nodiscard]] const std::uint64_t* end() const noexcept { return extents_.data() + rank_; }
  /// Adds a fastest axis. Throws Error value_too_large past max_rank.
  void push_back(std::uint64_t extent);

  /// The product of the extents; none if it does not fit. A shape with a zero extent has no elements, however large
  /// the others are.
  [[nodiscard]] std::optional<std::uint64_t> checked_elements() const noexcept;
  /// The same, throws Error value_too_large if it does not fit.
  [[nodiscard]] std::uint64_t elements() const;
  /// elements() * item_bytes, none if that exceeds PTRDIFF_MAX.
  [[nodiscard]] std::optional<std::size_t> checked_bytes(std::size_t item_bytes) const noexcept;

  friend bool operator==(const Shape& a, const Shape& b) noexcept;

 private:
  std::uint64_t rank_ = 0;
  std::array<std::uint64_t, max_rank> extents_{};
};

/// As Python writes a tuple: "()", "(3,)", "(2, 3)".
[[nodiscard]] std::string to_string(const Shape& shape);

}  // namespace runrig
