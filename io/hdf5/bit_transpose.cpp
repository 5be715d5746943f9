#include <emmintrin.h>

#include <cstdint>
#include <cstring>
#include <vector>

#include "block_codec.hpp"
#include "shuffle.hpp"

namespace runrig::hdf5::detail {
namespace {

/// Eight bytes as the rows of a matrix of bits, the lowest byte and bit first; rows become columns.
std::uint64_t transpose_8x8(std::uint64_t x) {
  std::uint64_t t = (x ^ (x >> 7)) & 0x00AA00AA00AA00AAU;
  x = x ^ t ^ (t << 7);
  t = (x ^ (x >> 14)) & 0x0000CCCC0000CCCCU;
  x = x ^ t ^ (t << 14);
  t = (x ^ (x >> 28)) & 0x00000000F0F0F0F0U;
  return x ^ t ^ (t << 28);
}

}  // namespace

void transpose_bits(std::span<const std::byte> in, std::span<std::byte> out, std::size_t item_bytes) {
  const std::size_t items = in.size() / item_bytes;
  const std::size_t row = items / 8;
  std::vector<std::byte> planes(in.size());
  shuffle(in, planes, item_bytes);
  for (std::size_t b = 0; b < item_bytes; ++b) {
    const std::byte* plane = planes.data() + b * items;
    std::byte* rows = out.data() + b * 8 * row;
    std::size_t i = 0;
    for (; i + 16 <= items; i += 16) {
      __m128i bytes = _mm_loadu_si128(reinterpret_cast<const __m128i*>(plane + i));
      for (std::size_t k = 8; k-- > 0;) {  // the sign bits, of bit 7 first
        const auto bits = static_cast<std::uint16_t>(_mm_movemask_epi8(bytes));
        std::memcpy(rows + k * row + i / 8, &bits, sizeof bits);
        bytes = _mm_slli_epi16(bytes, 1);
      }
    }
    for (; i < items; i += 8) {
      std::uint64_t bits = 0;
      std::memcpy(&bits, plane + i, sizeof bits);
      bits = transpose_8x8(bits);
      for (std::size_t k = 0; k < 8; ++k) rows[k * row + i / 8] = static_cast<std::byte>(bits >> (8 * k));
    }
  }
}

void restore_bits(std::span<const std::byte> in, std::span<std::byte> out, std::size_t item_bytes) {
  const std::size_t items = in.size() / item_bytes;
  const std::size_t row = items / 8;
  std::vector<std::byte> planes(in.size());
  for (std::size_t b = 0; b < item_bytes; ++b) {
    std::byte* plane = planes.data() + b * items;
    const std::byte* rows = in.data() + b * 8 * row;
    for (std::size_t i = 0; i < row; ++i) {
      std::uint64_t bits = 0;
      for (std::size_t k = 0; k < 8; ++k) bits |= std::to_integer<std::uint64_t>(rows[k * row + i]) << (8 * k);
      bits = transpose_8x8(bits);
      std::memcpy(plane + 8 * i, &bits, sizeof bits);
    }
  }
  unshuffle(planes, out, item_bytes);
}

}  // namespace runrig::hdf5::detail
