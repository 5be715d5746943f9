#pragma once

#include <cstdint>
#include <optional>

#include "runrig/hdf5/file.hpp"
#include "runrig/hdf5/selection.hpp"

namespace runrig::batch {

/// The part of a selection that `box` of its result is, as a selection of its own.
[[nodiscard]] hdf5::Selection part_of(const hdf5::Selection& selection, const hdf5::Box& box);

/// Cuts the result of a selection into slabs of at most `max_bytes` (in memory), each contiguous in C order, one behind
/// the other, so that a result of any size passes through a memory of fixed size. Cuts fall on the borders of chunks
/// where a slab holds whole rows of chunks; where it cannot, neighbouring slabs decode the same chunks again.
class Slabs {
 public:
  Slabs(const hdf5::DatasetInfo& info, const hdf5::Selection& selection, std::uint64_t max_bytes);
  /// Whether a chunk may lie in more than one slab.
  [[nodiscard]] bool cut_chunks() const noexcept { return cut_chunks_; }
  /// The next slab, in order; none at the end.
  [[nodiscard]] std::optional<hdf5::Box> next();

 private:
  [[nodiscard]] std::uint64_t rows_from(std::uint64_t row) const noexcept;

  Shape shape_;
  std::size_t axis_ = 0;          // the axis that is cut; those before it have one element in each slab
  std::uint64_t max_rows_ = 1;    // along it
  std::uint64_t chunk_rows_ = 1;  // cut at multiples of this, counted from -phase_
  std::uint64_t phase_ = 0;
  Shape position_;
  bool cut_chunks_ = false;
  bool done_ = false;
};

}  // namespace runrig::batch
