#include <immintrin.h>

#include "shuffle_kernels.hpp"

// AVX2 by attributes, not by a compiler option for the file: only functions of this file, all without external linkage
// but for the two entries, are compiled for it. Nothing that other files instantiate as well can get in.
#define RUNRIG_AVX2 [[gnu::target("avx2")]]

namespace runrig::hdf5::detail {
namespace {

constexpr std::size_t lanes =
    32;  // items per step: 16 in each half of the vectors, which these instructions keep apart

template <std::size_t N>
struct Vectors {
  __m256i at[N];
};

RUNRIG_AVX2 inline __m256i load(const std::byte* from) {
  return _mm256_loadu_si256(reinterpret_cast<const __m256i*>(from));
}
RUNRIG_AVX2 inline void store(std::byte* to, __m256i vector) {
  _mm256_storeu_si256(reinterpret_cast<__m256i*>(to), vector);
}

/// As in shuffle_sse2.cpp, in both halves.
template <std::size_t N>
RUNRIG_AVX2 inline void interleave(Vectors<N>& planes) {
  for (std::size_t round = N; round > 1; round /= 2) {
    Vectors<N> next;
    for (std::size_t i = 0; i < N / 2; ++i) {
      next.at[2 * i] = _mm256_unpacklo_epi8(planes.at[i], planes.at[i + N / 2]);
      next.at[2 * i + 1] = _mm256_unpackhi_epi8(planes.at[i], planes.at[i + N / 2]);
    }
    planes = next;
  }
}

template <std::size_t N>
RUNRIG_AVX2 inline void deinterleave(Vectors<N>& items) {
  const __m256i low_bytes = _mm256_set1_epi16(0x00ff);
  for (std::size_t round = N; round > 1; round /= 2) {
    Vectors<N> next;
    for (std::size_t i = 0; i < N / 2; ++i) {
      const __m256i a = items.at[2 * i];
      const __m256i b = items.at[2 * i + 1];
      next.at[i] = _mm256_packus_epi16(_mm256_and_si256(a, low_bytes), _mm256_and_si256(b, low_bytes));
      next.at[i + N / 2] = _mm256_packus_epi16(_mm256_srli_epi16(a, 8), _mm256_srli_epi16(b, 8));
    }
    items = next;
  }
}

template <std::size_t N>
RUNRIG_AVX2 std::size_t unshuffle_items(const std::byte* in, std::byte* out, std::size_t items) {
  std::size_t at = 0;
  for (; at + lanes <= items; at += lanes) {
    Vectors<N> planes;
    for (std::size_t k = 0; k < N; ++k) planes.at[k] = load(in + k * items + at);
    interleave(planes);
    // The lower halves hold the first 16 items, the upper ones the next 16.
    for (std::size_t k = 0; k < N; k += 2) {
      store(out + at * N + k * 16, _mm256_permute2x128_si256(planes.at[k], planes.at[k + 1], 0x20));
      store(out + (at + 16) * N + k * 16, _mm256_permute2x128_si256(planes.at[k], planes.at[k + 1], 0x31));
    }
  }
  return at;
}

template <std::size_t N>
RUNRIG_AVX2 std::size_t shuffle_items(const std::byte* in, std::byte* out, std::size_t items) {
  std::size_t at = 0;
  for (; at + lanes <= items; at += lanes) {
    Vectors<N> planes;
    for (std::size_t k = 0; k < N; k += 2) {
      const __m256i first = load(in + at * N + k * 16);
      const __m256i second = load(in + (at + 16) * N + k * 16);
      planes.at[k] = _mm256_permute2x128_si256(first, second, 0x20);
      planes.at[k + 1] = _mm256_permute2x128_si256(first, second, 0x31);
    }
    deinterleave(planes);
    for (std::size_t k = 0; k < N; ++k) store(out + k * items + at, planes.at[k]);
  }
  return at;
}

}  // namespace

std::size_t unshuffle_avx2(const std::byte* in, std::byte* out, std::size_t items, std::size_t item_bytes) noexcept {
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

std::size_t shuffle_avx2(const std::byte* in, std::byte* out, std::size_t items, std::size_t item_bytes) noexcept {
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
