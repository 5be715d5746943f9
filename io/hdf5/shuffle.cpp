#include "shuffle.hpp"

#include <algorithm>
#include <cstring>

#include "shuffle_kernels.hpp"

namespace runrig::hdf5::detail {
namespace {

// Items that the plain loops take at a time: each byte plane is then walked in pieces that stay in the nearest cache.
constexpr std::size_t block_items = 256;

/// Calls `move(item, byte)` for each byte of the items from `first` on.
template <class Move>
void for_each_byte(std::size_t first, std::size_t items, std::size_t item_bytes, Move&& move) {
  for (std::size_t block = first; block < items; block += block_items) {
    const std::size_t end = std::min(block + block_items, items);
    for (std::size_t k = 0; k < item_bytes; ++k) {
      for (std::size_t i = block; i < end; ++i) move(i, k);
    }
  }
}

/// Copies what is shorter than an item, or all if there is no second item to shuffle with: the size of an item, which
/// a file may claim to be billions, is no count of steps. True if that was all.
bool copy_rest(std::span<const std::byte> in, std::span<std::byte> out, std::size_t item_bytes) {
  const std::size_t items = in.size() / item_bytes;
  const std::size_t shuffled = items < 2 ? 0 : items * item_bytes;
  std::ranges::copy(in.subspan(shuffled), out.begin() + static_cast<std::ptrdiff_t>(shuffled));
  return items < 2;
}

}  // namespace

VectorLevel vector_level() noexcept {
  static const bool avx2 = __builtin_cpu_supports("avx2") > 0;
  return avx2 ? VectorLevel::avx2 : VectorLevel::sse2;  // every x86-64 has SSE2
}

void unshuffle(std::span<const std::byte> in, std::span<std::byte> out, std::size_t item_bytes,
               VectorLevel level) noexcept {
  if (copy_rest(in, out, item_bytes)) return;
  const std::size_t items = in.size() / item_bytes;
  const std::byte* from = in.data();
  std::byte* to = out.data();
  std::size_t done = 0;
  if (level == VectorLevel::avx2) done = unshuffle_avx2(from, to, items, item_bytes);
  if (level == VectorLevel::sse2) done = unshuffle_sse2(from, to, items, item_bytes);
  for_each_byte(done, items, item_bytes,
                [=](std::size_t i, std::size_t k) { to[i * item_bytes + k] = from[k * items + i]; });
}

void shuffle(std::span<const std::byte> in, std::span<std::byte> out, std::size_t item_bytes,
             VectorLevel level) noexcept {
  if (copy_rest(in, out, item_bytes)) return;
  const std::size_t items = in.size() / item_bytes;
  const std::byte* from = in.data();
  std::byte* to = out.data();
  std::size_t done = 0;
  if (level == VectorLevel::avx2) done = shuffle_avx2(from, to, items, item_bytes);
  if (level == VectorLevel::sse2) done = shuffle_sse2(from, to, items, item_bytes);
  for_each_byte(done, items, item_bytes,
                [=](std::size_t i, std::size_t k) { to[k * items + i] = from[i * item_bytes + k]; });
}

}  // namespace runrig::hdf5::detail
