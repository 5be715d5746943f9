#include "tile_queue.hpp"

#include <gtest/gtest.h>
#include <signal.h>

#include <algorithm>
#include <memory>
#include <span>
#include <utility>

#include "runrig/engine/pool.hpp"
#include "support.hpp"

namespace runrig::batch {
namespace {

using namespace std::chrono_literals;

constexpr std::size_t slot_words = 1024;

/// What lies in the arena for a queue, and what the writer saw.
class TileQueueTest : public ::testing::Test {
 protected:
  TileQueue* make_queue(std::uint32_t count, std::uint32_t slots) {
    memory_ = arena_->allocate(slots * slot_words * sizeof(std::uint32_t));
    tables_ = arena_->allocate(sizeof(TileQueue) + count * (sizeof(MapTile) + sizeof(std::uint32_t)) + 256);
    auto* tiles = reinterpret_cast<MapTile*>(tables_.data() + sizeof(TileQueue));
    for (std::uint32_t i = 0; i < count; ++i) {
      new (tiles + i) MapTile();
      tiles[i].memory = memory_.data() + (i % slots) * slot_words * sizeof(std::uint32_t);
      tiles[i].memory_bytes = slot_words * sizeof(std::uint32_t);
      tiles[i].chunks = i;  // its number
    }
    placed_ = reinterpret_cast<std::uint32_t*>(tiles + count);
    std::fill_n(placed_, count, UINT32_MAX);
    return new (tables_.data()) TileQueue(tiles, count, slots);
  }

  static std::span<std::uint32_t> words_of(const MapTile& tile) {
    return {reinterpret_cast<std::uint32_t*>(tile.memory), slot_words};
  }

  Launch place(TileQueue* queue) {
    LaunchOptions options;
    options.slices = 1;
    return placer_.launch(options, [queue, placed = placed_](SliceContext& context) {
      std::uint32_t order = 0;
      queue->place(context, [&](const MapTile& tile) {
        const auto words = words_of(tile);
        const bool right = std::ranges::all_of(words, [&](std::uint32_t word) { return word == tile.chunks; });
        placed[tile.chunks] = right ? order : UINT32_MAX;
        ++order;
      });
    });
  }

  std::shared_ptr<Arena> arena_ = std::make_shared<Arena>(std::size_t{64} << 20);
  static PoolOptions with(std::shared_ptr<Arena> arena, int workers) {
    PoolOptions options;
    options.workers = workers;
    options.arena = std::move(arena);
    return options;
  }
  Pool makers_{with(arena_, 3)};
  Pool placer_{with(arena_, 1)};
  ArenaBlock memory_;
  ArenaBlock tables_;
  std::uint32_t* placed_ = nullptr;
};

TEST_F(TileQueueTest, TilesPassInTheirOrderThroughLittleMemoryAlsoWhenWorkersDie) {
  constexpr std::uint32_t count = 600;
  TileQueue* queue = make_queue(count, 3);
  Launch placing = place(queue);
  LaunchOptions options;
  options.slices = count;
  Launch making = makers_.launch(options, [queue](SliceContext& context) {
    queue->make(context, [&](MapTile& tile) {
      const auto words = words_of(tile);
      std::ranges::fill(words.first(slot_words / 2), tile.chunks);
      if (tile.chunks % 50 == 7 && context.attempt() == 1) ::raise(SIGKILL);
      std::ranges::fill(words, tile.chunks);
    });
    // Told, but not booked as done: it must not be made again, as its memory may be another tile's by now.
    if (context.slice() % 50 == 31 && context.attempt() == 1) ::raise(SIGKILL);
  });
  ASSERT_TRUE(making.wait(Deadline::after(60s)));
  making.get();
  ASSERT_TRUE(placing.wait(Deadline::after(60s)));
  placing.get();
  for (std::uint32_t i = 0; i < count; ++i) ASSERT_EQ(placed_[i], i);
  EXPECT_GT(makers_.workers_lost(), 0U);
}

TEST_F(TileQueueTest, NobodyWaitsForWhatWasCancelled) {
  TileQueue* queue = make_queue(10, 2);
  LaunchOptions options;
  options.slices = 10;
  const auto fill = [queue](SliceContext& context) {
    queue->make(context, [](MapTile& tile) { std::ranges::fill(words_of(tile), tile.chunks); });
  };
  {
    Launch making = makers_.launch(options, fill);  // nobody places
    EXPECT_TRUE(test::eventually([&] { return making.finished_slices() == 2; }));
    making.cancel();
    EXPECT_TRUE(making.wait(Deadline::after(60s)));
  }
  Launch placing = place(make_queue(10, 2));  // nobody makes
  placing.cancel();
  EXPECT_TRUE(placing.wait(Deadline::after(60s)));
  EXPECT_EQ(placed_[0], UINT32_MAX);
}

TEST_F(TileQueueTest, WithoutSlotsNobodyWaits) {
  TileQueue* queue = make_queue(10, 1);
  queue = new (queue) TileQueue(&(*queue)[0], 10, 0);
  LaunchOptions options;
  options.slices = 10;
  Launch making = makers_.launch(options, [queue, placed = placed_](SliceContext& context) {
    queue->make(context, [&](MapTile& tile) { placed[tile.chunks] = tile.chunks; });
  });
  making.get();
  for (std::uint32_t i = 0; i < 10; ++i) EXPECT_EQ(placed_[i], i);
}

}  // namespace
}  // namespace runrig::batch
