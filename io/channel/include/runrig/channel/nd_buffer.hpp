#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "runrig/shm/dtype.hpp"
#include "runrig/shm/shape.hpp"

namespace runrig {
struct AnyArrayRef;
}

namespace runrig::pickle {

/// Which axis of an array is contiguous in memory: the last one as in C, or the first one as in Fortran.
enum class Order : std::uint8_t { c, fortran };

/// The byte size of a numeric NumPy type given as array-protocol string, "<f8" or "|b1": booleans, integers, floats
/// and complex numbers of every size, in either byte order. None for any other text.
[[nodiscard]] std::optional<std::size_t> numpy_item_bytes(std::string_view dtype) noexcept;

/// Bytes that travel beside a pickle instead of in it: Python's PickleBuffer. `owner` keeps them alive; without one,
/// the caller does, for as long as the pickle or what was read from it is in use.
struct Buffer {
  std::span<const std::byte> bytes;
  std::shared_ptr<const void> owner{};
};
using Buffers = std::vector<Buffer>;
namespace detail {
[[nodiscard]] std::size_t total_bytes(std::span<const Buffer> buffers) noexcept;
}

/// A numeric array as it travels in a pickle: type, shape, order and the bytes, contiguous, of its elements.
/// Immutable; copies share the bytes, and are safe to use from several threads.
class NdBuffer {
 public:
  /// Takes `bytes` over. `dtype` is NumPy's array-protocol string; its byte order says how the bytes lie and need not
  /// be the machine's. Throws std::logic_error if `dtype` is not numeric or the bytes are not as many as it and
  /// `shape` say.
  NdBuffer(std::string_view dtype, const Shape& shape, Order order, std::vector<std::byte> bytes);
  NdBuffer(DType dtype, const Shape& shape, std::vector<std::byte> bytes)
      : NdBuffer(dtype_string(dtype), shape, Order::c, std::move(bytes)) {}
  /// Bytes that lie elsewhere: `owner` keeps them alive (a null owner: the caller does, longer than every copy).
  NdBuffer(std::string_view dtype, const Shape& shape, Order order, std::span<const std::byte> bytes,
           std::shared_ptr<const void> owner);

  /// A copy of an array of ours, in C order.
  [[nodiscard]] static NdBuffer copy_of(const AnyArrayRef& array);

  [[nodiscard]] const std::string& dtype() const noexcept { return dtype_; }
  /// Our DType; none for extended types and for those in the other byte order.
  [[nodiscard]] std::optional<DType> native_dtype() const noexcept { return parse_dtype(dtype_); }
  [[nodiscard]] const Shape& shape() const noexcept { return shape_; }
  [[nodiscard]] Order order() const noexcept { return order_; }
  [[nodiscard]] std::span<const std::byte> bytes() const noexcept { return bytes_; }
  /// The bytes with what keeps them alive.
  [[nodiscard]] Buffer buffer() const { return {bytes_, owner_}; }

  /// Whether the elements are of that type, in whichever byte order.
  [[nodiscard]] bool holds(DType dtype) const noexcept;
  /// Copies all elements to `to`, in the machine's byte order and wherever its strides put them. Bytes that are no bool
  /// become one. Throws std::logic_error if `to` is of another type or shape, or read-only.
  void copy_to(const AnyArrayRef& to) const;
  /// This, if something keeps its bytes alive; else a copy.
  [[nodiscard]] NdBuffer owned() const;

  /// Same type, shape, order and bytes.
  friend bool operator==(const NdBuffer& a, const NdBuffer& b) noexcept;

 private:
  std::string dtype_;
  Shape shape_;
  Order order_;
  std::span<const std::byte> bytes_;
  std::shared_ptr<const void> owner_;
};

}  // namespace runrig::pickle
