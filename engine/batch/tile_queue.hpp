#pragma once

#include <atomic>
#include <cstdint>

#include "map_plan.hpp"
#include "runrig/engine/launch.hpp"
#include "runrig/sync/futex.hpp"

namespace runrig::batch {

/// The tiles of one launch on their way from the workers, which make them in any order, to the writer, which places
/// them in theirs while more are made. They take turns with little memory: tile i has that of tile i - slots. In the
/// arena.
///
/// A worker or the writer may die at any point. A tile is made again then, unless it was told to be made; what the
/// writer placed is gone with its file, and the launch is called off. So no wait here is longer than a moment without a
/// look whether it still has a meaning.
class TileQueue {
 public:
  /// `slots` 0: nothing is placed, and nobody waits.
  TileQueue(MapTile* tiles, std::uint32_t count, std::uint32_t slots) noexcept
      : tiles_(tiles), count_(count), slots_(slots) {}

  [[nodiscard]] std::uint32_t count() const noexcept { return count_; }
  [[nodiscard]] MapTile& operator[](std::uint32_t i) const noexcept { return tiles_[i]; }

  /// Workers: calls `make(tile)` for the slice's tile once its memory is free, unless it was made already. Returns
  /// without it where the launch was cancelled.
  template <class Make>
  void make(SliceContext& context, Make&& make) {
    const std::uint32_t i = context.slice();
    if (is_made(i) || !await_room(context, i)) return;
    make(tiles_[i]);
    tell_made(i);
  }
  /// The writer: calls `place(tile)` for all tiles in their order, each when it was made. Returns early where its
  /// launch was cancelled.
  template <class Place>
  void place(SliceContext& context, Place&& place) {
    for (std::uint32_t i = 0; i < count_ && await_made(context, i); ++i) {
      place(tiles_[i]);
      tell_placed(i);
    }
  }

 private:
  [[nodiscard]] bool is_made(std::uint32_t i) const noexcept;
  [[nodiscard]] bool await_room(SliceContext& context, std::uint32_t i) noexcept;
  void tell_made(std::uint32_t i) noexcept;
  [[nodiscard]] bool await_made(SliceContext& context, std::uint32_t i) noexcept;
  void tell_placed(std::uint32_t i) noexcept;

  MapTile* tiles_;
  std::uint32_t count_;
  std::uint32_t slots_;
  alignas(cache_line) std::atomic<std::uint32_t> made_{
      0};  // one more for each tile that is made: the writer sleeps on it
  alignas(cache_line) std::atomic<std::uint32_t> placed_{0};  // so many tiles are placed: workers sleep on it
};

}  // namespace runrig::batch
