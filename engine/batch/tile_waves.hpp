#pragma once

#include <functional>
#include <optional>

#include "map_plan.hpp"
#include "runrig/hdf5/dataset.hpp"
#include "state.hpp"

namespace runrig::batch {

/// An output dataset made in waves: workers make a wave's tiles, and while the writer places what they made of one
/// wave they are at the next. The memory for two waves is all that it takes, however large the dataset is.
struct TileWork {
  /// The output as a dataset: its shape, and its chunks if it has any. The tiles are whole chunks of it.
  hdf5::DatasetInfo info;
  /// Bytes of a wave in memory; more only where one chunk is larger.
  std::uint64_t wave_bytes = 0;
  /// Bytes of what is made for one element of `info.type.dtype`: 1 but where several outputs are made at once, or
  /// elements are of no dtype.
  double scale = 1;
  /// Called before any tile of a region is made, region by region: boxes of whole chunks of about so many bytes (of
  /// `info.type.dtype`) that cover the dataset. Nothing of the region before it is being made then. May be empty.
  std::function<void(const hdf5::Box& region)> prepare{};
  std::uint64_t region_bytes = 0;
  /// The room that a tile needs for what is to be placed; 0 if nothing is.
  std::function<std::size_t(const hdf5::Box&)> tile_bytes;
  /// Begins to make the tiles, in the readers.
  std::function<Launch(MapTile* tiles, std::uint32_t count)> compute;
  /// Begins to place them, in the writer; empty if the workers write themselves.
  std::function<Launch(const MapTile* tiles, std::uint32_t count)> place;
  /// Waits for either and throws what went wrong.
  std::function<void(Launch&)> check_computed;
  std::function<void(Launch&)> check_placed;
};

/// The bytes of a tile that workers work on at a time.
inline constexpr std::uint64_t tile_target_bytes = std::uint64_t{1} << 20;

void run_in_waves(Session::State& state, const TileWork& work);

}  // namespace runrig::batch
