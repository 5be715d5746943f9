#include "byte_order.hpp"

#include <immintrin.h>

#include <algorithm>
#include <cstdint>
#include <type_traits>

// As in shuffle_avx2.cpp.
#define RUNRIG_AVX2 [[gnu::target("avx2")]]

namespace runrig::hdf5::detail {
namespace {

template <std::size_t N>
using ItemBytes = std::integral_constant<std::size_t, N>;

__m128i swap_in_16(__m128i v) { return _mm_or_si128(_mm_slli_epi16(v, 8), _mm_srli_epi16(v, 8)); }
// SSE2 has no byte shuffle: bytes of 16-bit words are swapped by shifts, the words within an item by its word shuffles.
__m128i swap_vector(__m128i v, ItemBytes<2>) { return swap_in_16(v); }
__m128i swap_vector(__m128i v, ItemBytes<4>) {
  constexpr int order = _MM_SHUFFLE(2, 3, 0, 1);
  return swap_in_16(_mm_shufflehi_epi16(_mm_shufflelo_epi16(v, order), order));
}
__m128i swap_vector(__m128i v, ItemBytes<8>) {
  constexpr int order = _MM_SHUFFLE(0, 1, 2, 3);
  return swap_in_16(_mm_shufflehi_epi16(_mm_shufflelo_epi16(v, order), order));
}

// Each of these may have `in` and `out` the same, and returns how many bytes it did.

template <std::size_t N>
std::size_t swap_sse2(const std::byte* in, std::byte* out, std::size_t bytes) {
  std::size_t at = 0;
  for (; at + 16 <= bytes; at += 16) {
    const __m128i vector = _mm_loadu_si128(reinterpret_cast<const __m128i*>(in + at));
    _mm_storeu_si128(reinterpret_cast<__m128i*>(out + at), swap_vector(vector, ItemBytes<N>{}));
  }
  return at;
}

template <std::size_t N>
RUNRIG_AVX2 std::size_t swap_avx2(const std::byte* in, std::byte* out, std::size_t bytes) {
  alignas(32) std::uint8_t order[32];
  for (std::size_t i = 0; i < 32; ++i) order[i] = static_cast<std::uint8_t>((i / N * N + N - 1 - i % N) % 16);
  const __m256i shuffle = _mm256_load_si256(reinterpret_cast<const __m256i*>(order));
  std::size_t at = 0;
  for (; at + 32 <= bytes; at += 32) {
    const __m256i vector = _mm256_loadu_si256(reinterpret_cast<const __m256i*>(in + at));
    _mm256_storeu_si256(reinterpret_cast<__m256i*>(out + at), _mm256_shuffle_epi8(vector, shuffle));
  }
  return at;
}

template <std::size_t N>
void swap_items(const std::byte* in, std::byte* out, std::size_t bytes, VectorLevel level) {
  std::size_t at = 0;
  if (level == VectorLevel::avx2) at = swap_avx2<N>(in, out, bytes);
  if (level == VectorLevel::sse2) at = swap_sse2<N>(in, out, bytes);
  for (; at + N <= bytes; at += N) {
    std::byte item[N];
    std::copy_n(in + at, N, item);
    std::reverse_copy(item, item + N, out + at);
  }
}

void swap_any(const std::byte* in, std::byte* out, std::size_t bytes, std::size_t item_bytes, VectorLevel level) {
  switch (item_bytes) {
    case 2:
      return swap_items<2>(in, out, bytes, level);
    case 4:
      return swap_items<4>(in, out, bytes, level);
    case 8:
      return swap_items<8>(in, out, bytes, level);
    default:
      if (in != out) std::copy_n(in, bytes, out);
  }
}

}  // namespace

void swap_bytes(std::span<std::byte> items, std::size_t item_bytes, VectorLevel level) noexcept {
  swap_any(items.data(), items.data(), items.size(), item_bytes, level);
}

void swap_bytes(std::span<const std::byte> in, std::span<std::byte> out, std::size_t item_bytes,
                VectorLevel level) noexcept {
  swap_any(in.data(), out.data(), in.size(), item_bytes, level);
}

void normalise_booleans(std::span<std::byte> items) noexcept {
  for (std::byte& item : items) item = item == std::byte{0} ? std::byte{0} : std::byte{1};
}

}  // namespace runrig::hdf5::detail
