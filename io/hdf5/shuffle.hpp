#pragma once

#include <cstddef>
#include <cstdint>
#include <span>

namespace runrig::hdf5::detail {

/// What the loops below may use of the processor; all give the same bytes.
enum class VectorLevel : std::uint8_t { scalar, sse2, avx2 };
/// The best that this processor has.
[[nodiscard]] VectorLevel vector_level() noexcept;

/// HDF5's shuffle: byte k of item i goes to position k * items + i; a remainder shorter than an item stays at the end.
/// `in` and `out` have one length and do not overlap.
void shuffle(std::span<const std::byte> in, std::span<std::byte> out, std::size_t item_bytes,
             VectorLevel level = vector_level()) noexcept;
/// The reverse.
void unshuffle(std::span<const std::byte> in, std::span<std::byte> out, std::size_t item_bytes,
               VectorLevel level = vector_level()) noexcept;

}  // namespace runrig::hdf5::detail
