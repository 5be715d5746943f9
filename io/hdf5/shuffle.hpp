#pragma once

#include <cstddef>
#include <span>

namespace runrig::hdf5::detail {

/// HDF5's shuffle: first byte of every item, then every second byte, ...; bytes behind the last whole item stay where
/// they are. `in` and `out` have one size and do not overlap; item_bytes is not 0.
void shuffle(std::span<const std::byte> in, std::span<std::byte> out, std::size_t item_bytes) noexcept;
void unshuffle(std::span<const std::byte> in, std::span<std::byte> out, std::size_t item_bytes) noexcept;

}  // namespace runrig::hdf5::detail
