#pragma once

#include <cstddef>
#include <optional>
#include <span>
#include <vector>

#include "runrig/hdf5/file.hpp"

/// The compressors of HDF5's registry beyond its own, in their plugins' formats: zstd, lz4, blosc and bitshuffle (with
/// lz4, zstd or nothing behind it).
namespace runrig::hdf5::detail {

inline constexpr int blosc_id = 32001;
inline constexpr int lz4_id = 32004;
inline constexpr int bitshuffle_id = 32008;
inline constexpr int zstd_id = 32015;

[[nodiscard]] bool is_block_codec(int filter_id) noexcept;
/// Whether it changes the size: bitshuffle alone does not.
[[nodiscard]] bool is_block_compressor(const FilterInfo& filter) noexcept;

/// The bytes that a chunk decodes to, as it says itself; none if it is malformed.
[[nodiscard]] std::optional<std::size_t> block_decoded_bytes(const FilterInfo& filter,
                                                             std::span<const std::byte> in) noexcept;
/// Decodes exactly `out`. False if `in` is anything but what encodes to that. `item_bytes` where the parameters have
/// none.
[[nodiscard]] bool block_decode(const FilterInfo& filter, std::size_t item_bytes, std::span<const std::byte> in,
                                std::span<std::byte> out);
/// Bytes written to `out`, or 0 if the result does not fit.
[[nodiscard]] std::size_t block_encode(const FilterInfo& filter, std::size_t item_bytes, std::span<const std::byte> in,
                                       std::span<std::byte> out);

/// Bit k of byte b of item i becomes bit i % 8 of byte i / 8 in row 8 * b + k; a number of items that is a multiple of
/// eight. And back.
void transpose_bits(std::span<const std::byte> in, std::span<std::byte> out, std::size_t item_bytes);
void restore_bits(std::span<const std::byte> in, std::span<std::byte> out, std::size_t item_bytes);

/// The parameters that are stored with the filter of a dataset of such items and chunks.
[[nodiscard]] std::vector<unsigned> block_parameters(const FilterInfo& filter, std::size_t item_bytes,
                                                     std::size_t chunk_bytes);

}  // namespace runrig::hdf5::detail
