#include <emmintrin.h>

#include "shuffle_kernels.hpp"

namespace runrig::hdf5::detail {
namespace {

constexpr std::size_t lanes = 16;  // items per step

/// A plain array in a struct: as a template's argument the vector type would lose its attributes.
template <std::size_t N>
struct Vectors {
  __m128i at[N];
  __m128i& operator[](std::size_t i) { return at[i]; }
};

/// N planes of 16 bytes to 16 items of N bytes: planes k and k + N/2 are interleaved, which pairs up bytes that belong
/// log2(N) steps apart; after log2(N) rounds all bytes of an item are neighbours.
template <std::size_t N>
Vectors<N> interleave(Vectors<N> planes) {
  for (std::size_t round = N; round > 1; round /= 2) {
    Vectors<N> next;
    for (std::size_t i = 0; i < N / 2; ++i) {
      next[2 * i] = _mm_unpacklo_epi8(planes[i], planes[i + N / 2]);
      next[2 * i + 1] = _mm_unpackhi_epi8(planes[i], planes[i + N / 2]);
    }
    planes = next;
  }
  return planes;
}

/// The reverse: even bytes of each pair of neighbours to the first half, odd ones to the second, log2(N) times.
template <std::size_t N>
Vectors<N> deinterleave(Vectors<N> items) {
  const __m128i low_bytes = _mm_set1_epi16(0x00ff);
  for (std::size_t round = N; round > 1; round /= 2) {
    Vectors<N> next;
    for (std::size_t i = 0; i < N / 2; ++i) {
      const __m128i a = items[2 * i];
      const __m128i b = items[2 * i + 1];
      next[i] = _mm_packus_epi16(_mm_and_si128(a, low_bytes), _mm_and_si128(b, low_bytes));
      next[i + N / 2] = _mm_packus_epi16(_mm_srli_epi16(a, 8), _mm_srli_epi16(b, 8));
    }
    items = next;
  }
  return items;
}

template <std::size_t N>
std::size_t unshuffle_items(const std::byte* in, std::byte* out, std::size_t items) {
  std::size_t at = 0;
  for (; at + lanes <= items; at += lanes) {
    Vectors<N> planes;
    for (std::size_t k = 0; k < N; ++k) {
      planes[k] = _mm_loadu_si128(reinterpret_cast<const __m128i*>(in + k * items + at));
    }
    planes = interleave(planes);
    for (std::size_t k = 0; k < N; ++k) {
      _mm_storeu_si128(reinterpret_cast<__m128i*>(out + at * N + k * lanes), planes[k]);
    }
  }
  return at;
}

template <std::size_t N>
std::size_t shuffle_items(const std::byte* in, std::byte* out, std::size_t items) {
  std::size_t at = 0;
  for (; at + lanes <= items; at += lanes) {
    Vectors<N> planes;
    for (std::size_t k = 0; k < N; ++k) {
      planes[k] = _mm_loadu_si128(reinterpret_cast<const __m128i*>(in + at * N + k * lanes));
    }
    planes = deinterleave(planes);
    for (std::size_t k = 0; k < N; ++k) {
      _mm_storeu_si128(reinterpret_cast<__m128i*>(out + k * items + at), planes[k]);
    }
  }
  return at;
}

}  // namespace

std::size_t unshuffle_sse2(const std::byte* in, std::byte* out, std::size_t items, std::size_t item_bytes) noexcept {
  switch (item_bytes) {
    case 2:
      return unshuffle_items<2>(in, out, items);
    case 4:
      return unshuffle_items<4>(in, out, items);
    case 8:
      return unshuffle_items<8>(in, out, items);
    case 16:
      return unshuffle_items<16>(in, out, items);
    default:
      return 0;
  }
}

std::size_t shuffle_sse2(const std::byte* in, std::byte* out, std::size_t items, std::size_t item_bytes) noexcept {
  switch (item_bytes) {
    case 2:
      return shuffle_items<2>(in, out, items);
    case 4:
      return shuffle_items<4>(in, out, items);
    case 8:
      return shuffle_items<8>(in, out, items);
    case 16:
      return shuffle_items<16>(in, out, items);
    default:
      return 0;
  }
}

}  // namespace runrig::hdf5::detail
