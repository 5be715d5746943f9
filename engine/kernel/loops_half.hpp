// float16 in memory and float32 in registers, without branches so that loops over them become vector code. Part of
// loops_body.hpp and statistics_body.hpp.
#pragma once

#include <bit>
#include <cstdint>

namespace runrig::detail {
namespace {

/// As half's own conversions, without branches.
struct LoadHalf {
  float operator()(std::uint16_t bits) const {
    const std::uint32_t sign = static_cast<std::uint32_t>(bits & 0x8000U) << 16U;
    const std::uint32_t shifted = static_cast<std::uint32_t>(bits & 0x7FFFU) << 13U;
    // Moves the exponent's bias from 15 to 127; makes subnormals normal, exactly.
    const auto moved = std::bit_cast<std::uint32_t>(std::bit_cast<float>(shifted) * 0x1p112F);
    const std::uint32_t magnitude = (bits & 0x7C00U) == 0x7C00U ? shifted | 0x7F80'0000U : moved;
    return std::bit_cast<float>(sign | magnitude);
  }
};
struct StoreHalf {
  std::uint16_t operator()(float value) const {
    const auto source = std::bit_cast<std::uint32_t>(value);
    const std::uint32_t magnitude = source & 0x7FFF'FFFFU;
    const std::uint32_t normal = (magnitude - 0x3800'0000U + 0xFFFU + ((magnitude >> 13U) & 1U)) >> 13U;
    // The unit in the last place of 0.5 is that of half's subnormals, so the addition rounds as it should.
    const std::uint32_t subnormal = std::bit_cast<std::uint32_t>(std::bit_cast<float>(magnitude) + 0.5F) - 0x3F00'0000U;
    const std::uint32_t payload = (magnitude >> 13U) & 0x3FFU;
    const std::uint32_t nan = 0x7C00U | payload | (payload == 0 ? 0x200U : 0U);
    std::uint32_t result = magnitude >= 0x3880'0000U ? normal : subnormal;
    result = magnitude >= 0x4780'0000U ? 0x7C00U : result;
    result = magnitude > 0x7F80'0000U ? nan : result;
    return static_cast<std::uint16_t>(((source >> 16U) & 0x8000U) | result);
  }
};

}  // namespace
}  // namespace runrig::detail
