#include "runrig/shm/dtype.hpp"

#include <bit>
#include <stdexcept>

namespace runrig {
namespace {

struct Spelling {
  std::string_view name;
  std::string_view code;  // without the byte order mark
};
constexpr std::array<Spelling, dtype_count> spellings{{
    {"bool", "b1"},
    {"int8", "i1"},
    {"uint8", "u1"},
    {"int16", "i2"},
    {"uint16", "u2"},
    {"int32", "i4"},
    {"uint32", "u4"},
    {"int64", "i8"},
    {"uint64", "u8"},
    {"float16", "f2"},
    {"float32", "f4"},
    {"float64", "f8"},
    {"complex64", "c8"},
    {"complex128", "c16"},
}};
constexpr std::array<std::string_view, dtype_count> little{"|b1", "|i1", "|u1", "<i2", "<u2", "<i4", "<u4",
                                                           "<i8", "<u8", "<f2", "<f4", "<f8", "<c8", "<c16"};
constexpr std::array<std::string_view, dtype_count> big{"|b1", "|i1", "|u1", ">i2", ">u2", ">i4", ">u4",
                                                        ">i8", ">u8", ">f2", ">f4", ">f8", ">c8", ">c16"};

}  // namespace

// Conversions after IEEE 754-2008, 5.4.2: the float's 23 fraction bits are rounded to 10, halfway cases to even.
half::half(float value) noexcept {
  const auto source = std::bit_cast<std::uint32_t>(value);
  const auto sign = static_cast<std::uint16_t>((source >> 16) & 0x8000U);
  const std::uint32_t magnitude = source & 0x7FFF'FFFFU;
  std::uint32_t result = 0;
  if (magnitude > 0x7F80'0000U) {  // NaN: the upper payload is kept, and a quiet bit if that left nothing
    result = 0x7C00U | ((magnitude >> 13) & 0x3FFU);
    if ((result & 0x3FFU) == 0) result |= 0x200U;
  } else if (magnitude >= 0x4780'0000U) {  // 2^16 and beyond
    result = 0x7C00U;
  } else if (magnitude >= 0x3880'0000U) {  // normal in half: rebias the exponent, round the fraction
    const std::uint32_t rebiased = magnitude - 0x3800'0000U;
    result = (rebiased + 0xFFFU + ((rebiased >> 13) & 1U)) >> 13;  // may carry into infinity, as it must
  } else if (magnitude > 0x3300'0000U) {  // above half of the least subnormal, which ties to zero
    const std::uint32_t exponent = magnitude >> 23;
    const std::uint32_t fraction = (magnitude & 0x7F'FFFFU) | 0x80'0000U;
    const std::uint32_t shift = 126U - exponent;  // 14 to 24
    const std::uint32_t kept = fraction >> shift;
    const std::uint32_t rest = fraction & ((1U << shift) - 1U);
    const std::uint32_t halfway = 1U << (shift - 1U);
    result = kept + ((rest > halfway || (rest == halfway && (kept & 1U) != 0)) ? 1U : 0U);
  }
  bits = static_cast<std::uint16_t>(sign | result);
}

half::operator float() const noexcept {
  const std::uint32_t sign = static_cast<std::uint32_t>(bits & 0x8000U) << 16;
  const std::uint32_t exponent = (bits >> 10) & 0x1FU;
  const std::uint32_t fraction = bits & 0x3FFU;
  if (exponent == 0) {  // zero and subnormals: fraction * 2^-24, exact in float
    const float magnitude = static_cast<float>(fraction) * 0x1p-24F;
    return std::bit_cast<float>(std::bit_cast<std::uint32_t>(magnitude) | sign);
  }
  const std::uint32_t wide = exponent == 31 ? 0x7F80'0000U : (exponent + 112U) << 23;
  return std::bit_cast<float>(sign | wide | (fraction << 13));
}

void detail::refuse_complex() {
  throw std::logic_error("visit_dtype: a complex type; take its real or imaginary part");
}

std::string_view dtype_name(DType dtype) noexcept { return spellings[static_cast<std::size_t>(dtype)].name; }

std::string_view dtype_string(DType dtype) noexcept {
  return (std::endian::native == std::endian::little ? little : big)[static_cast<std::size_t>(dtype)];
}

std::optional<DType> parse_dtype(std::string_view text) noexcept {
  std::string_view code = text;
  char order = '=';
  if (!code.empty() && (code[0] == '<' || code[0] == '>' || code[0] == '=' || code[0] == '|')) {
    order = code[0];
    code.remove_prefix(1);
  }
  for (std::size_t i = 0; i < dtype_count; ++i) {
    if (text == spellings[i].name) return static_cast<DType>(i);
    if (code != spellings[i].code) continue;
    const auto dtype = static_cast<DType>(i);
    const char native = std::endian::native == std::endian::little ? '<' : '>';
    const bool ours = order == '=' || order == native || item_bytes(dtype) == 1;
    return ours ? std::optional(dtype) : std::nullopt;
  }
  return std::nullopt;
}

}  // namespace runrig
