#include "fletcher32.hpp"

#include <emmintrin.h>

#include <algorithm>
#include <array>

namespace runrig::hdf5::detail {
namespace {

// With more vectors per block the 32-bit lanes of the second sum could overflow: 360 * 361 / 2 * 65535 < 2^32.
constexpr std::size_t block_vectors = 360;

/// The sums modulo 65535, as representatives that the reference's end-around carries give: 0 only for all-zero data.
std::uint64_t reduce(std::uint64_t sum) { return sum == 0 ? 0 : (sum - 1) % 65535 + 1; }

struct Sums {
  std::uint64_t first = 0;   // of the words
  std::uint64_t second = 0;  // of the first sum after each word

  void add_word(std::uint64_t word) {
    first += word;
    second += first;
  }
  void fold() {
    first = reduce(first);
    second = reduce(second);
  }
};

/// Eight words at a time: lane l of `a` sums words l, l + 8, ...; lane l of `b` sums a's values, so that each word
/// counts once per vector from its own on. The words' true weights follow from both.
void add_block(Sums& sums, const std::byte* data, std::size_t vectors) {
  const __m128i zero = _mm_setzero_si128();
  __m128i a_low = zero;
  __m128i a_high = zero;
  __m128i b_low = zero;
  __m128i b_high = zero;
  for (std::size_t i = 0; i < vectors; ++i) {
    const __m128i bytes = _mm_loadu_si128(reinterpret_cast<const __m128i*>(data + 16 * i));
    const __m128i words = _mm_or_si128(_mm_slli_epi16(bytes, 8), _mm_srli_epi16(bytes, 8));
    a_low = _mm_add_epi32(a_low, _mm_unpacklo_epi16(words, zero));
    a_high = _mm_add_epi32(a_high, _mm_unpackhi_epi16(words, zero));
    b_low = _mm_add_epi32(b_low, a_low);
    b_high = _mm_add_epi32(b_high, a_high);
  }
  alignas(16) std::array<std::uint32_t, 8> a;
  alignas(16) std::array<std::uint32_t, 8> b;
  _mm_store_si128(reinterpret_cast<__m128i*>(a.data()), a_low);
  _mm_store_si128(reinterpret_cast<__m128i*>(a.data() + 4), a_high);
  _mm_store_si128(reinterpret_cast<__m128i*>(b.data()), b_low);
  _mm_store_si128(reinterpret_cast<__m128i*>(b.data() + 4), b_high);
  std::uint64_t plain = 0;
  std::uint64_t weighted = 0;
  std::uint64_t surplus = 0;
  for (std::size_t lane = 0; lane < 8; ++lane) {
    plain += a[lane];
    weighted += 8 * std::uint64_t{b[lane]};
    surplus += lane * a[lane];
  }
  sums.second += 8 * vectors * sums.first + weighted - surplus;
  sums.first += plain;
  sums.fold();
}

std::uint64_t byte_at(std::span<const std::byte> data, std::size_t i) {
  return std::to_integer<std::uint64_t>(data[i]);
}

}  // namespace

std::uint32_t fletcher32(std::span<const std::byte> data) noexcept {
  Sums sums;
  std::size_t at = 0;
  while (data.size() - at >= 16) {
    const std::size_t vectors = std::min(block_vectors, (data.size() - at) / 16);
    add_block(sums, data.data() + at, vectors);
    at += 16 * vectors;
  }
  for (; data.size() - at >= 2; at += 2) sums.add_word((byte_at(data, at) << 8) | byte_at(data, at + 1));
  if (at < data.size()) sums.add_word(byte_at(data, at) << 8);
  sums.fold();
  return static_cast<std::uint32_t>((sums.second << 16) | sums.first);
}

}  // namespace runrig::hdf5::detail
