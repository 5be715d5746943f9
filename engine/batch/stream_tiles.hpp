#pragma once

#include <cstdint>
#include <functional>

#include "runrig/hdf5/dataset.hpp"

namespace runrig::batch {

/// What a stream's tiles may take.
struct TileLimits {
  std::uint64_t target_bytes = 0;  ///< of a tile, where that cuts no chunk
  std::uint64_t most_bytes = 0;    ///< of a tile; more only where one chunk is larger
  /// The stream is cut into blocks of this many elements, and so many of them may be open at a time: begun by one tile,
  /// and ended by another. At least 4.
  std::uint64_t block_elements = 1;
  std::uint64_t open_blocks = 4;
};

/// Calls `visit` for tiles that cover the part `region` of a selection's result, each for one worker alone.
///
/// Where a row of chunks fits into a tile, tiles are contiguous in C order and follow one another. Where it does not,
/// they are whole chunks of a band of rows, so that no chunk is decoded twice; a band holds fewer rows than a chunk
/// only where the blocks that all its rows keep open would be too many, and then chunks are decoded once for each band.
void for_each_tile(const hdf5::DatasetInfo& info, const hdf5::Selection& selection, const hdf5::Box& region,
                   const TileLimits& limits, const std::function<void(const hdf5::Box&)>& visit);

/// Elements of a box that lie one behind the other in C order of the whole.
struct StreamRun {
  std::uint64_t first = 0;  ///< number of the first in C order of the whole
  std::uint64_t count = 0;
};

/// Calls `visit(run)` for the runs of `box` in an array of `shape`, in C order, so that their elements are those of the
/// box in its own C order.
template <class Visit>
void for_each_run_of(const hdf5::Box& box, const Shape& shape, Visit&& visit) {
  std::size_t outer = shape.rank();  // the axes before this one are walked, those behind are in one run
  std::uint64_t count = 1;
  while (outer > 0) {
    --outer;
    count *= box.count[outer];
    if (box.count[outer] != shape[outer]) break;
  }
  Shape position = box.start;
  for (;;) {
    std::uint64_t first = 0;
    for (std::size_t axis = 0; axis < shape.rank(); ++axis) first = first * shape[axis] + position[axis];
    visit(StreamRun{first, count});
    std::size_t axis = outer;
    for (;;) {
      if (axis == 0) return;
      --axis;
      if (++position[axis] < box.start[axis] + box.count[axis]) break;
      position[axis] = box.start[axis];
    }
  }
}

}  // namespace runrig::batch
