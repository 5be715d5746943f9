#pragma once

#include <functional>
#include <optional>

#include "runrig/hdf5/dataset.hpp"
#include "state.hpp"
#include "tile_queue.hpp"

namespace runrig::batch {

/// An output dataset made tile by tile: while the writer places what the workers made, they make more. Memory for some
/// tiles is all that it takes, however large the dataset is.
struct TileWork {
  /// The output as a dataset: its shape, and its chunks if it has any. The tiles are whole chunks of it.
  hdf5::DatasetInfo info;
  /// Memory for tiles that are made and not yet placed; more only where two tiles need it.
  std::uint64_t queue_bytes = 0;
  /// Bytes of what is made for one element of `info.type.dtype`: 1 but where several outputs are made at once, or
  /// elements are of no dtype.
  double scale = 1;
  /// Called before any tile of a region is made, region by region: boxes of whole chunks of about so many bytes (of
  /// `info.type.dtype`) that cover the dataset. Nothing of the region before it is being made then. May be empty.
  std::function<void(const hdf5::Box& region)> prepare{};
  std::uint64_t region_bytes = 0;
  /// The room that a tile needs for what is to be placed; 0 if nothing is.
  std::function<std::size_t(const hdf5::Box&)> tile_bytes;
  /// Begins to make the tiles, in the readers: a slice for each, in their order.
  std::function<Launch(TileQueue* queue)> compute;
  /// Begins to place them, in the writer; empty if the workers write themselves.
  std::function<Launch(TileQueue* queue)> place;
  /// Waits for either and throws what went wrong.
  std::function<void(Launch&)> check_computed;
  std::function<void(Launch&)> check_placed;
};

/// The bytes of a tile that workers work on at a time.
inline constexpr std::uint64_t tile_target_bytes = std::uint64_t{1} << 20;

/// The memory that a queue of tiles may take of a session's.
[[nodiscard]] std::uint64_t queue_bytes_of(const Session::State& state) noexcept;

void run_in_waves(Session::State& state, const TileWork& work);

}  // namespace runrig::batch
