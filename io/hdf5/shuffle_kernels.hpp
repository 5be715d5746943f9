#pragma once

#include <cstddef>

/// The vector loops of the shuffle, one pair for each instruction set. Each does as many of the `items` items as fill
/// its vectors, from the first on, and returns how many; 0 for item sizes that it has no loop for.
namespace runrig::hdf5::detail {

[[nodiscard]] std::size_t shuffle_sse2(const std::byte* in, std::byte* out, std::size_t items,
                                       std::size_t item_bytes) noexcept;
[[nodiscard]] std::size_t unshuffle_sse2(const std::byte* in, std::byte* out, std::size_t items,
                                         std::size_t item_bytes) noexcept;
/// Only where the processor has AVX2.
[[nodiscard]] std::size_t shuffle_avx2(const std::byte* in, std::byte* out, std::size_t items,
                                       std::size_t item_bytes) noexcept;
[[nodiscard]] std::size_t unshuffle_avx2(const std::byte* in, std::byte* out, std::size_t items,
                                         std::size_t item_bytes) noexcept;

}  // namespace runrig::hdf5::detail
