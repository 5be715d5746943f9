#pragma once

#include <cstdint>
#include <functional>
#include <span>

#include "runrig/hdf5/file.hpp"
#include "runrig/hdf5/selection.hpp"

namespace runrig::batch {

/// Receives the result of a selection in C order: slabs that may hold stored elements, and how many fill values lie
/// between them.
struct RunVisitor {
  std::function<void(const hdf5::Box&)> slab;
  std::function<void(std::uint64_t)> fill;
};

/// Cuts the result of a selection from a chunked dataset, of whose chunks only `stored_chunks` (first coordinates)
/// exist. Slabs are as those of Slabs. Takes time by what is stored, not by the shape: an axis of 2^40 costs nothing.
/// Fill values between two chunks are part of a slab where skipping them would not pay.
/// Throws Error value_too_large if the result has more elements than a number can count.
void for_each_run(const hdf5::DatasetInfo& info, const hdf5::Selection& selection, std::span<const Shape> stored_chunks,
                  std::uint64_t max_bytes, const RunVisitor& visitor);

}  // namespace runrig::batch
