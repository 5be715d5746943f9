#pragma once

#include <array>
#include <bit>
#include <cstddef>
#include <cstring>
#include <span>
#include <type_traits>

namespace runrig::detail {

/// The bytes of a value, in which its padding is zero. In a copy of a value there may be anything, such as half of an
/// address: beside a small number it looks like a whole one, and nobody else is to see it.
template <class T>
class PlainBytes {
 public:
  static_assert(std::is_trivially_copyable_v<T>);
  explicit PlainBytes(const T& value) noexcept {
    std::memcpy(bytes_.data(), static_cast<const void*>(&value), sizeof value);
#if defined(__GNUC__) && !defined(__clang__)  // clang learnt it later than we need it
    T plain = std::bit_cast<T>(bytes_);
    __builtin_clear_padding(&plain);
    std::memcpy(bytes_.data(), static_cast<const void*>(&plain), sizeof plain);
#endif
  }
  [[nodiscard]] const std::byte* data() const noexcept { return bytes_.data(); }
  [[nodiscard]] std::span<const std::byte> get() const noexcept { return bytes_; }

 private:
  alignas(T) std::array<std::byte, sizeof(T)> bytes_;
};

}  // namespace runrig::detail
