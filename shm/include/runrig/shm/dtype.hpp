#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <type_traits>

namespace runrig {

/// An IEEE 754 binary16 number as it lies in memory. Storage only: convert to float to compute.
struct half {
  std::uint16_t bits = 0;
  half() = default;
  /// Rounds to nearest, ties to even, as NumPy's float16 does; overflow gives infinity, NaN stays NaN.
  explicit half(float value) noexcept;
  [[nodiscard]] explicit operator float() const noexcept;
  friend bool operator==(half a, half b) noexcept { return static_cast<float>(a) == static_cast<float>(b); }
};
static_assert(sizeof(half) == 2 && std::is_trivially_copyable_v<half>);

/// The element types of arrays, in memory always in the machine's byte order (NumPy's dtype).
enum class DType : std::uint8_t {
  boolean,
  int8,
  uint8,
  int16,
  uint16,
  int32,
  uint32,
  int64,
  uint64,
  float16,
  float32,
  float64,
  complex64,   ///< two float32: the real part, then the imaginary one, as in C, C++ and NumPy
  complex128,  ///< two float64
};
inline constexpr std::size_t dtype_count = 14;
/// The real ones come first: what is ordered, rounded or summed exactly is of these.
inline constexpr std::size_t real_dtype_count = 12;

[[nodiscard]] constexpr std::size_t item_bytes(DType dtype) noexcept {
  constexpr std::array<std::uint8_t, dtype_count> sizes{1, 1, 1, 2, 2, 4, 4, 8, 8, 2, 4, 8, 8, 16};
  return sizes[static_cast<std::size_t>(dtype)];
}
/// float16, float32 and float64.
[[nodiscard]] constexpr bool is_floating(DType dtype) noexcept {
  return dtype >= DType::float16 && dtype <= DType::float64;
}
[[nodiscard]] constexpr bool is_complex(DType dtype) noexcept { return dtype >= DType::complex64; }
/// The type of the numbers that an element consists of: float32 for complex64, float64 for complex128, else itself.
[[nodiscard]] constexpr DType part_dtype(DType dtype) noexcept {
  return dtype == DType::complex64 ? DType::float32 : dtype == DType::complex128 ? DType::float64 : dtype;
}
[[nodiscard]] constexpr bool is_signed(DType dtype) noexcept {
  return is_floating(dtype) || is_complex(dtype) || dtype == DType::int8 || dtype == DType::int16 ||
         dtype == DType::int32 || dtype == DType::int64;
}
/// NumPy's name: "bool", "int8", ..., "float64".
[[nodiscard]] std::string_view dtype_name(DType dtype) noexcept;
/// NumPy's array-protocol string in the machine's byte order: "|b1", "|i1", "<f4".
[[nodiscard]] std::string_view dtype_string(DType dtype) noexcept;
/// The reverse of dtype_string() and dtype_name(); '=' is taken as native. None if it is not one of ours, or in
/// the other byte order.
[[nodiscard]] std::optional<DType> parse_dtype(std::string_view text) noexcept;

namespace detail {
template <class T>
struct DTypeOf;
template <>
struct DTypeOf<bool> : std::integral_constant<DType, DType::boolean> {};
template <>
struct DTypeOf<std::int8_t> : std::integral_constant<DType, DType::int8> {};
template <>
struct DTypeOf<std::uint8_t> : std::integral_constant<DType, DType::uint8> {};
template <>
struct DTypeOf<std::int16_t> : std::integral_constant<DType, DType::int16> {};
template <>
struct DTypeOf<std::uint16_t> : std::integral_constant<DType, DType::uint16> {};
template <>
struct DTypeOf<std::int32_t> : std::integral_constant<DType, DType::int32> {};
template <>
struct DTypeOf<std::uint32_t> : std::integral_constant<DType, DType::uint32> {};
template <>
struct DTypeOf<std::int64_t> : std::integral_constant<DType, DType::int64> {};
template <>
struct DTypeOf<std::uint64_t> : std::integral_constant<DType, DType::uint64> {};
template <>
struct DTypeOf<half> : std::integral_constant<DType, DType::float16> {};
template <>
struct DTypeOf<float> : std::integral_constant<DType, DType::float32> {};
template <>
struct DTypeOf<double> : std::integral_constant<DType, DType::float64> {};
[[noreturn]] void refuse_complex();
}  // namespace detail

/// The DType of a C++ element type; of std::complex<float> and std::complex<double> with "runrig/shm/complex.hpp".
template <class T>
inline constexpr DType dtype_of = detail::DTypeOf<std::remove_cv_t<T>>::value;

/// A type that arrays can hold.
template <class T>
concept Element = requires {
  detail::DTypeOf<std::remove_cv_t<T>>::value;
};

/// Calls `visitor(std::type_identity<T>{})` with the C++ type of `dtype` and returns what it returns. For real types:
/// throws std::logic_error for complex ones (visit_any_dtype() in "runrig/shm/complex.hpp" takes them, too).
template <class Visitor>
decltype(auto) visit_dtype(DType dtype, Visitor&& visitor) {
  switch (dtype) {
    case DType::boolean:
      return visitor(std::type_identity<bool>{});
    case DType::int8:
      return visitor(std::type_identity<std::int8_t>{});
    case DType::uint8:
      return visitor(std::type_identity<std::uint8_t>{});
    case DType::int16:
      return visitor(std::type_identity<std::int16_t>{});
    case DType::uint16:
      return visitor(std::type_identity<std::uint16_t>{});
    case DType::int32:
      return visitor(std::type_identity<std::int32_t>{});
    case DType::uint32:
      return visitor(std::type_identity<std::uint32_t>{});
    case DType::int64:
      return visitor(std::type_identity<std::int64_t>{});
    case DType::uint64:
      return visitor(std::type_identity<std::uint64_t>{});
    case DType::float16:
      return visitor(std::type_identity<half>{});
    case DType::float32:
      return visitor(std::type_identity<float>{});
    case DType::float64:
      return visitor(std::type_identity<double>{});
    case DType::complex64:
    case DType::complex128:
      break;
  }
  detail::refuse_complex();
}

}  // namespace runrig
