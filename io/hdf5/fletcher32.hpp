#pragma once

#include <cstddef>
#include <cstdint>
#include <span>

namespace runrig::hdf5::detail {

/// HDF5's Fletcher-32: over big-endian 16-bit words, a last odd byte as the upper half of one.
[[nodiscard]] std::uint32_t fletcher32(std::span<const std::byte> data) noexcept;
/// What HDF5 1.6.2 and older computed on little-endian machines; readers still accept it.
[[nodiscard]] constexpr std::uint32_t fletcher32_of_old_writers(std::uint32_t sum) noexcept {
  return ((sum & 0x00ff00ffU) << 8) | ((sum >> 8) & 0x00ff00ffU);
}

}  // namespace runrig::hdf5::detail
