#pragma once

#include <array>
#include <cstddef>
#include <span>

/// The LZF compression that h5py brings (Marc Lehmann's format): literal runs of up to 32 bytes, and references of 3 to
/// 264 bytes up to 8 KiB back.
namespace runrig::hdf5::detail {

/// Bytes written to `out`, or 0 if `source` is malformed or does not fit.
[[nodiscard]] std::size_t lzf_decode(std::span<const std::byte> source, std::span<std::byte> out) noexcept;
/// Bytes written to `out`, or 0 if the result does not fit.
[[nodiscard]] std::size_t lzf_encode(std::span<const std::byte> source, std::span<std::byte> out);

/// What h5py stores with the filter: its revision, the format's version, the bytes of a chunk.
[[nodiscard]] constexpr std::array<unsigned, 3> lzf_parameters(unsigned chunk_bytes) noexcept {
  return {4, 0x0105, chunk_bytes};
}

}  // namespace runrig::hdf5::detail
