#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <vector>

#include "runrig/channel/object.hpp"

namespace runrig::pickle::detail {

/// Appends the operations that make `object`, without beginning and end, to be part of a pickle in which `memo_count`
/// places of the memo are taken. Returns how many places it takes itself. Throws as dumps() does.
[[nodiscard]] std::uint32_t dump_nested(std::vector<std::byte>& out, const Object& object, std::uint32_t memo_count,
                                        int protocol, Buffers* buffers);

inline constexpr int oldest_protocol = 2;
/// Throws std::logic_error for a protocol that is not written, or that knows no buffers.
void check_protocol(int protocol, const Buffers* buffers);

/// The operations that name Python's class complex: short_binunicode "builtins", short_binunicode "complex",
/// stack_global.
inline constexpr std::array<std::byte, 20> complex_global = [] {
  std::array<std::byte, 20> bytes{};
  std::size_t at = 0;
  for (const char each : {'\x8c', '\x08', 'b', 'u', 'i', 'l', 't', 'i', 'n', 's',
                          '\x8c', '\x07', 'c', 'o', 'm', 'p', 'l', 'e', 'x', '\x93'}) {
    bytes[at++] = static_cast<std::byte>(static_cast<unsigned char>(each));
  }
  return bytes;
}();

}  // namespace runrig::pickle::detail
