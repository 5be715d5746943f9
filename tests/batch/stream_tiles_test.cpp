#include "stream_tiles.hpp"

#include <gtest/gtest.h>

#include <algorithm>
#include <map>
#include <random>
#include <vector>

#include "dataset_support.hpp"
#include "slabs.hpp"

namespace runrig::batch {
namespace {

using test_samples::dataset;

/// What the tiles of a stream do.
struct Account {
  std::vector<int> visits;                           // by element
  std::map<std::vector<std::uint64_t>, int> chunks;  // how many tiles touch each
  std::uint64_t most_open = 0;                       // blocks begun and not ended, between two tiles
  std::uint64_t largest = 0;                         // elements of a tile
};

Account account_of(const hdf5::DatasetInfo& info, const hdf5::Selection& selection, const TileLimits& limits) {
  const Shape& shape = selection.shape;
  Account account;
  account.visits.resize(shape.elements());
  std::map<std::uint64_t, std::uint64_t> filled;  // by block
  for_each_tile(info, selection, hdf5::Box::all(shape), limits, [&](const hdf5::Box& tile) {
    account.largest = std::max(account.largest, tile.count.elements());
    std::map<std::vector<std::uint64_t>, int> touched;
    for_each_run_of(tile, shape, [&](const StreamRun& run) {
      for (std::uint64_t i = run.first; i < run.first + run.count; ++i) {
        ++account.visits[i];
        ++filled[i / limits.block_elements];
        std::vector<std::uint64_t> chunk;
        std::uint64_t rest = i;
        for (std::size_t axis = shape.rank(); axis-- > 0; rest /= shape[axis]) {
          const std::uint64_t at = selection.axes[axis].at(rest % shape[axis]);
          chunk.push_back(info.chunk.rank() > 0 ? at / info.chunk[axis] : at);
        }
        touched[chunk] = 1;
      }
    });
    for (const auto& [chunk, one] : touched) account.chunks[chunk] += one;
    std::uint64_t open = 0;
    for (const auto& [block, elements] : filled) {
      open += elements < std::min(limits.block_elements, shape.elements() - block * limits.block_elements) ? 1 : 0;
    }
    account.most_open = std::max(account.most_open, open);
  });
  return account;
}

TEST(StreamTilesTest, CoverEveryElementOnceAndEveryChunkOnceWhereTheOpenBlocksMayBeMany) {
  std::mt19937_64 random(3);
  for (int round = 0; round < 300; ++round) {
    const std::size_t rank = random() % 4 + 1;
    Shape shape;
    Shape chunk;
    for (std::size_t i = 0; i < rank; ++i) {
      shape.push_back(random() % 9 + 1);
      chunk.push_back(random() % 6 + 1);
    }
    const auto info = dataset(shape, chunk);
    TileLimits limits;
    limits.target_bytes = random() % 50 + 4;
    limits.most_bytes = limits.target_bytes * (random() % 3 + 1);
    limits.block_elements = random() % 7 + 1;
    limits.open_blocks = 100000;
    const auto account = account_of(info, hdf5::Selection::all(shape), limits);
    EXPECT_TRUE(std::ranges::all_of(account.visits, [](int visits) { return visits == 1; }));
    for (const auto& [at, tiles] : account.chunks) EXPECT_EQ(tiles, 1) << to_string(shape) << to_string(chunk);
    EXPECT_LE(account.largest * 4, std::max<std::uint64_t>(limits.most_bytes, chunk.elements() * 4));
  }
}

TEST(StreamTilesTest, ABandHasAsManyRowsAsBlocksMayBeOpen) {
  // Chunks of 8 rows, whose row is far larger than a tile.
  const auto info = dataset({16, 1000}, {8, 10});
  TileLimits limits;
  limits.target_bytes = 400;
  limits.most_bytes = 800;
  limits.block_elements = 64;
  for (const std::uint64_t open_blocks : {4, 8, 16, 1000}) {
    limits.open_blocks = open_blocks;
    const auto account = account_of(info, hdf5::Selection::all(info.shape), limits);
    EXPECT_TRUE(std::ranges::all_of(account.visits, [](int visits) { return visits == 1; }));
    EXPECT_LE(account.most_open, open_blocks);
    const int bands = open_blocks >= 16 ? 1 : 16 / static_cast<int>(open_blocks);
    for (const auto& [at, tiles] : account.chunks) EXPECT_EQ(tiles, bands);
  }
}

TEST(StreamTilesTest, ASelectionWithStepsAndWhatIsNotChunkedAreCovered) {
  for (const Shape& chunk : {Shape{}, Shape{7, 5, 3}}) {
    const auto info = dataset({30, 20, 40}, chunk);
    const auto selection = hdf5::resolve(hdf5::parse_selection("[25:2:-3, 1::2, 5:]"), info.shape, "t");
    TileLimits limits;
    limits.target_bytes = 100;
    limits.most_bytes = 300;
    limits.block_elements = 16;
    limits.open_blocks = 8;
    const auto account = account_of(info, selection, limits);
    EXPECT_TRUE(std::ranges::all_of(account.visits, [](int visits) { return visits == 1; }));
  }
}

TEST(StreamTilesTest, WhereARowOfChunksFitsTilesFollowOneAnother) {
  const auto info = dataset({100, 10}, {7, 5});
  TileLimits limits;
  limits.target_bytes = 4;
  limits.most_bytes = 7 * 10 * 4;
  std::uint64_t next = 0;
  for_each_tile(info, hdf5::Selection::all(info.shape), hdf5::Box::all(info.shape), limits, [&](const hdf5::Box& tile) {
    EXPECT_EQ(tile.start[0] * 10 + tile.start[1], next);
    next += tile.count.elements();
  });
  EXPECT_EQ(next, 1000U);
}

}  // namespace
}  // namespace runrig::batch
