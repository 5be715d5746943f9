#pragma once

#include <cstddef>
#include <span>

namespace runrig::hdf5::detail {

/// Reverses the bytes of each item of 1, 2, 4 or 8 bytes. Any alignment.
void swap_bytes(std::span<std::byte> items, std::size_t item_bytes) noexcept;
/// C++ has undefined behaviour for booleans that are neither 0 nor 1: everything but 0 becomes 1.
void normalise_booleans(std::span<std::byte> items) noexcept;

}  // namespace runrig::hdf5::detail
