#pragma once

#include <cstddef>
#include <span>

#include "shuffle.hpp"

namespace runrig::hdf5::detail {

/// Reverses the bytes of each item of 1, 2, 4 or 8 bytes. Any alignment.
void swap_bytes(std::span<std::byte> items, std::size_t item_bytes, VectorLevel level = vector_level()) noexcept;
/// The same from `in` to `out`, which have one length and do not overlap.
void swap_bytes(std::span<const std::byte> in, std::span<std::byte> out, std::size_t item_bytes,
                VectorLevel level = vector_level()) noexcept;
/// C++ has undefined behaviour for booleans that are neither 0 nor 1: everything but 0 becomes 1.
void normalise_booleans(std::span<std::byte> items) noexcept;

}  // namespace runrig::hdf5::detail
