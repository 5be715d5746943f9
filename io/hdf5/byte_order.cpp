#include "byte_order.hpp"

#include <emmintrin.h>

#include <cstdint>
#include <type_traits>
#include <utility>

namespace runrig::hdf5::detail {
namespace {

__m128i swap_in_16(__m128i v) { return _mm_or_si128(_mm_slli_epi16(v, 8), _mm_srli_epi16(v, 8)); }
// SSE2 has no byte shuffle: bytes of 16-bit words are swapped by shifts, the words within an item by its word shuffles.
__m128i swap_vector(__m128i v, std::integral_constant<std::size_t, 2>) { return swap_in_16(v); }
__m128i swap_vector(__m128i v, std::integral_constant<std::size_t, 4>) {
  constexpr int order = _MM_SHUFFLE(2, 3, 0, 1);
  return swap_in_16(_mm_shufflehi_epi16(_mm_shufflelo_epi16(v, order), order));
}
__m128i swap_vector(__m128i v, std::integral_constant<std::size_t, 8>) {
  constexpr int order = _MM_SHUFFLE(0, 1, 2, 3);
  return swap_in_16(_mm_shufflehi_epi16(_mm_shufflelo_epi16(v, order), order));
}

template <std::size_t N>
void swap_items(std::byte* data, std::size_t bytes) {
  std::size_t at = 0;
  for (; at + 16 <= bytes; at += 16) {
    auto* vector = reinterpret_cast<__m128i*>(data + at);
    _mm_storeu_si128(vector, swap_vector(_mm_loadu_si128(vector), std::integral_constant<std::size_t, N>{}));
  }
  for (; at + N <= bytes; at += N) {
    for (std::size_t k = 0; k < N / 2; ++k) std::swap(data[at + k], data[at + N - 1 - k]);
  }
}

}  // namespace

void swap_bytes(std::span<std::byte> items, std::size_t item_bytes) noexcept {
  switch (item_bytes) {
    case 2:
      return swap_items<2>(items.data(), items.size());
    case 4:
      return swap_items<4>(items.data(), items.size());
    case 8:
      return swap_items<8>(items.data(), items.size());
    default:
      return;
  }
}

void normalise_booleans(std::span<std::byte> items) noexcept {
  for (std::byte& item : items) item = item == std::byte{0} ? std::byte{0} : std::byte{1};
}

}  // namespace runrig::hdf5::detail
