#include "shuffle.hpp"

#include <emmintrin.h>

#include <algorithm>
#include <cstdint>
#include <cstring>

namespace runrig::hdf5::detail {
namespace {

constexpr std::size_t lanes = 16;  // items per step of the vector loops

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
std::size_t unshuffle_vectors(const std::byte* in, std::byte* out, std::size_t items) {
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
std::size_t shuffle_vectors(const std::byte* in, std::byte* out, std::size_t items) {
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

void unshuffle(std::span<const std::byte> in, std::span<std::byte> out, std::size_t item_bytes) noexcept {
  const std::size_t items = in.size() / item_bytes;
  if (items < 2) {  // as it is; and the item's size, which a file may claim to be billions, is no count of steps
    std::ranges::copy(in, out.begin());
    return;
  }
  std::size_t done = 0;
  switch (item_bytes) {
    case 2:
      done = unshuffle_vectors<2>(in.data(), out.data(), items);
      break;
    case 4:
      done = unshuffle_vectors<4>(in.data(), out.data(), items);
      break;
    case 8:
      done = unshuffle_vectors<8>(in.data(), out.data(), items);
      break;
    default:
      break;
  }
  for (std::size_t k = 0; k < item_bytes; ++k) {
    for (std::size_t i = done; i < items; ++i) out[i * item_bytes + k] = in[k * items + i];
  }
  const std::size_t whole = items * item_bytes;
  std::copy(in.begin() + static_cast<std::ptrdiff_t>(whole), in.end(),
            out.begin() + static_cast<std::ptrdiff_t>(whole));
}

void shuffle(std::span<const std::byte> in, std::span<std::byte> out, std::size_t item_bytes) noexcept {
  const std::size_t items = in.size() / item_bytes;
  if (items < 2) {  // as it is; and the item's size, which a file may claim to be billions, is no count of steps
    std::ranges::copy(in, out.begin());
    return;
  }
  std::size_t done = 0;
  switch (item_bytes) {
    case 2:
      done = shuffle_vectors<2>(in.data(), out.data(), items);
      break;
    case 4:
      done = shuffle_vectors<4>(in.data(), out.data(), items);
      break;
    case 8:
      done = shuffle_vectors<8>(in.data(), out.data(), items);
      break;
    default:
      break;
  }
  for (std::size_t k = 0; k < item_bytes; ++k) {
    for (std::size_t i = done; i < items; ++i) out[k * items + i] = in[i * item_bytes + k];
  }
  const std::size_t whole = items * item_bytes;
  std::copy(in.begin() + static_cast<std::ptrdiff_t>(whole), in.end(),
            out.begin() + static_cast<std::ptrdiff_t>(whole));
}

}  // namespace runrig::hdf5::detail
