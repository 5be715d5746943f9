#pragma once

#include <span>
#include <string>
#include <vector>

#include "state.hpp"

namespace runrig::batch {

/// A dataset that is too large for one worker alone: what is known of it.
struct Computed;
struct LargeDataset {
  std::string file;
  std::string dataset;
  hdf5::DatasetInfo info;
  hdf5::Selection selection;
  /// First coordinates of all chunks that are stored, where they are few beside all there could be; what lies outside
  /// them is the fill value and is not visited.
  std::optional<std::vector<Shape>> stored_chunks;
  /// If not null, its elements are computed: `info` and `selection` then say how it is best cut, with the dtype of what
  /// is computed.
  const Computed* computed = nullptr;
};

/// Summarises it with all workers, slab by slab, within the session's memory: the next slab is decoded while the
/// last is reduced. Throws TaskError if it cannot be read; Cancelled.
[[nodiscard]] Statistics summarize(Session::State& state, const LargeDataset& dataset);

/// The summary of elements in memory.
[[nodiscard]] Statistics summarize_values(DType dtype, const std::byte* values, std::uint64_t elements);
/// Summarises a selection that fits a worker's memory, in that worker.
[[nodiscard]] Statistics summarize_small(SliceContext& context, hdf5::Dataset& dataset,
                                         const hdf5::Selection& selection);

/// The summary of `elements` copies of one element, with the bits that reading them all would give.
[[nodiscard]] Statistics summarize_constant(DType dtype, std::span<const std::byte> element, std::uint64_t elements);

}  // namespace runrig::batch
