#include "runrig/channel/big_int.hpp"

#include <algorithm>
#include <bit>
#include <cassert>
#include <cmath>
#include <cstring>

namespace runrig::pickle {
namespace {

constexpr std::uint32_t decimal_group = 1'000'000'000;  // the largest power of ten below 2^32
constexpr std::size_t group_digits = 9;
constexpr int word_bits = 32;

/// Unsigned, least significant word first.
using Words = std::vector<std::uint32_t>;

void multiply_add(Words& words, std::uint32_t factor, std::uint32_t summand) {
  std::uint64_t carry = summand;
  for (auto& word : words) {
    carry += std::uint64_t{word} * factor;
    word = static_cast<std::uint32_t>(carry);
    carry >>= word_bits;
  }
  if (carry != 0) words.push_back(static_cast<std::uint32_t>(carry));
}

std::uint32_t divide(Words& words, std::uint32_t divisor) {
  std::uint64_t rest = 0;
  for (auto word = words.rbegin(); word != words.rend(); ++word) {
    rest = (rest << word_bits) | *word;
    *word = static_cast<std::uint32_t>(rest / divisor);
    rest %= divisor;
  }
  while (!words.empty() && words.back() == 0) words.pop_back();
  return static_cast<std::uint32_t>(rest);
}

/// Two's complement of `magnitude`, with a byte to spare for the sign.
std::vector<std::byte> signed_bytes(const Words& magnitude, bool negative) {
  std::vector<std::byte> bytes(magnitude.size() * sizeof(std::uint32_t) + 1);
  if (!magnitude.empty()) std::memcpy(bytes.data(), magnitude.data(), bytes.size() - 1);
  if (!negative) return bytes;
  unsigned carry = 1;
  for (auto& byte : bytes) {
    carry += 0xFFU & ~std::to_integer<unsigned>(byte);
    byte = static_cast<std::byte>(carry & 0xFFU);
    carry >>= 8;
  }
  return bytes;
}

}  // namespace

static_assert(std::endian::native == std::endian::little, "numbers are copied into byte strings as they lie");

BigInt::BigInt(std::int64_t value) : BigInt(from_bytes(std::as_bytes(std::span(&value, 1)))) {}

BigInt BigInt::from_unsigned(std::uint64_t value) {
  const std::uint64_t words[]{value, 0};
  return from_bytes(std::as_bytes(std::span(words)));
}

BigInt BigInt::from_bytes(std::span<const std::byte> bytes) {
  // A leading byte says nothing if the sign bit below it says the same.
  while (!bytes.empty()) {
    const bool sign_below = bytes.size() > 1 && (bytes[bytes.size() - 2] & std::byte{0x80}) != std::byte{0};
    if (bytes.back() != (sign_below ? std::byte{0xFF} : std::byte{0})) break;
    bytes = bytes.first(bytes.size() - 1);
  }
  BigInt result;
  result.bytes_.assign(bytes.begin(), bytes.end());
  return result;
}

BigInt BigInt::from_double(double value) {
  assert(std::isfinite(value));
  int exponent = 0;
  const double fraction = std::frexp(std::abs(std::trunc(value)), &exponent);
  constexpr int fraction_bits = 53;
  auto mantissa = static_cast<std::uint64_t>(std::ldexp(fraction, fraction_bits));
  int shift = exponent - fraction_bits;
  if (shift < 0) {
    mantissa >>= std::min(-shift, fraction_bits);  // exact: the truncated value is an integer
    shift = 0;
  }
  Words words(static_cast<std::size_t>(shift / word_bits), 0);
  const int rest = shift % word_bits;
  words.push_back(static_cast<std::uint32_t>(mantissa << rest));
  words.push_back(static_cast<std::uint32_t>((mantissa >> 1) >> (word_bits - 1 - rest)));
  words.push_back(static_cast<std::uint32_t>(rest == 0 ? 0 : mantissa >> (2 * word_bits - rest)));
  return from_bytes(signed_bytes(words, value < 0));
}

std::optional<BigInt> BigInt::from_decimal(std::string_view text) {
  const bool negative = text.starts_with('-');
  if (negative || text.starts_with('+')) text.remove_prefix(1);
  const auto is_digit = [](char each) { return each >= '0' && each <= '9'; };
  if (text.empty() || text.size() > max_decimal_digits || !std::all_of(text.begin(), text.end(), is_digit)) {
    return std::nullopt;
  }
  Words words;
  while (!text.empty()) {
    const std::size_t count = (text.size() - 1) % group_digits + 1;  // a short group first, then full ones
    std::uint32_t group = 0;
    for (const char each : text.substr(0, count)) group = group * 10 + static_cast<std::uint32_t>(each - '0');
    multiply_add(words, decimal_group, group);
    text.remove_prefix(count);
  }
  return from_bytes(signed_bytes(words, negative));
}

bool BigInt::negative() const noexcept { return !bytes_.empty() && (bytes_.back() & std::byte{0x80}) != std::byte{0}; }

std::optional<std::int64_t> BigInt::to_int64() const noexcept {
  if (bytes_.size() > sizeof(std::int64_t)) return std::nullopt;
  std::int64_t value = negative() ? -1 : 0;
  if (!bytes_.empty()) std::memcpy(&value, bytes_.data(), bytes_.size());
  return value;
}

std::optional<std::uint64_t> BigInt::to_uint64() const noexcept {
  // Nine bytes when the top bit of the eighth is used: the ninth is then the sign, zero.
  if (negative() || bytes_.size() > sizeof(std::uint64_t) + 1) return std::nullopt;
  if (bytes_.size() == sizeof(std::uint64_t) + 1 && bytes_.back() != std::byte{0}) return std::nullopt;
  std::uint64_t value = 0;
  if (!bytes_.empty()) std::memcpy(&value, bytes_.data(), std::min(bytes_.size(), sizeof value));
  return value;
}

std::string BigInt::to_decimal() const {
  std::vector<std::byte> magnitude(bytes_);
  if (negative()) {
    unsigned carry = 1;
    for (auto& byte : magnitude) {
      carry += 0xFFU & ~std::to_integer<unsigned>(byte);
      byte = static_cast<std::byte>(carry & 0xFFU);
      carry >>= 8;
    }
  }
  Words words(magnitude.size() / sizeof(std::uint32_t) + 1, 0);
  if (!magnitude.empty()) std::memcpy(words.data(), magnitude.data(), magnitude.size());
  while (!words.empty() && words.back() == 0) words.pop_back();
  std::string reversed;
  do {
    std::uint32_t group = divide(words, decimal_group);
    for (std::size_t i = 0; i < group_digits && (i == 0 || !words.empty() || group != 0); ++i, group /= 10) {
      reversed.push_back(static_cast<char>('0' + group % 10));
    }
  } while (!words.empty());
  if (negative()) reversed.push_back('-');
  return {reversed.rbegin(), reversed.rend()};
}

}  // namespace runrig::pickle
