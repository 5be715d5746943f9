#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace runrig::pickle {

/// An integer of any size, as Python has them. A value to carry, not to compute with.
///
/// Kept as two's complement, least significant byte first, in as few bytes as hold it (none for zero), which is also
/// how it lies in a pickle.
class BigInt {
 public:
  /// What from_decimal() takes at most: as in Python, since the conversion is quadratic.
  static constexpr std::size_t max_decimal_digits = 4300;

  BigInt() noexcept = default;
  explicit BigInt(std::int64_t value);
  [[nodiscard]] static BigInt from_unsigned(std::uint64_t value);
  /// From two's complement of any length, least significant byte first: a sum in several 64-bit words is
  /// `from_bytes(std::as_bytes(std::span(words)))`.
  [[nodiscard]] static BigInt from_bytes(std::span<const std::byte> bytes);
  /// The value of a finite double without its fraction.
  [[nodiscard]] static BigInt from_double(double value);
  /// An optional sign and digits; none if `text` is anything else or has more than max_decimal_digits digits.
  [[nodiscard]] static std::optional<BigInt> from_decimal(std::string_view text);

  [[nodiscard]] std::span<const std::byte> bytes() const noexcept { return bytes_; }
  [[nodiscard]] bool negative() const noexcept;
  /// None if it does not fit.
  [[nodiscard]] std::optional<std::int64_t> to_int64() const noexcept;
  [[nodiscard]] std::optional<std::uint64_t> to_uint64() const noexcept;
  /// Takes time quadratic in the number of digits.
  [[nodiscard]] std::string to_decimal() const;

  friend bool operator==(const BigInt&, const BigInt&) noexcept = default;

 private:
  std::vector<std::byte> bytes_;
};

}  // namespace runrig::pickle
