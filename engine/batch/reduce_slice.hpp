#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>

#include "computed.hpp"
#include "runrig/engine/launch.hpp"
#include "runrig/engine/reduction.hpp"

/// What the workers do of a large reduction: plain values in the arena, which live as long as the launches that use
/// them.
namespace runrig::batch {

/// Reading the boxes of a slab into memory, as Reducer wants it.
struct ReadPlan {
  const SlabSource* source = nullptr;
  const hdf5::Box* boxes = nullptr;
  std::uint32_t box_count = 0;
  const std::ptrdiff_t* strides = nullptr;
  std::byte* target = nullptr;
  std::size_t item = 0;
  std::size_t data_bytes = 0;
  std::atomic<std::uint64_t>* bytes_done = nullptr;
};

/// Elements begin .. end - 1 of a sequence, of one segment.
struct Piece {
  std::uint64_t begin = 0;
  std::uint64_t end = 0;
  bool opens = false;   // begins the segment
  bool closes = false;  // ends it
};

/// Reducing a slab that is in memory. Slices are pieces of blocks of sequences. States are never changed in place: a
/// slice may be run again.
struct ReducePlan {
  const ReductionAxes* axes = nullptr;
  Reduction operation{};
  DType dtype{};
  NanPolicy nan{};
  const std::byte* values = nullptr;
  std::size_t sequences = 0;  // in the slab
  std::uint64_t k = 0;        // its first element of each
  std::uint64_t elements = 0;
  std::size_t block = 0;  // sequences in one slice
  std::uint32_t blocks = 0;
  std::uint32_t pieces = 0;
  std::byte* origins = nullptr;   // states that know the first elements
  std::byte* open_in = nullptr;   // of the segment that the slab begins in
  std::byte* open_out = nullptr;  // of the segment that it ends in
  std::byte* closed = nullptr;    // for each piece, of the segments that end
  std::byte* results = nullptr;   // in place of all states, where the slab has all of its sequences
  double quantile = -1;           // not negative: what results are, then; for rows only
  std::uint8_t* found = nullptr;  // for each block: no result is missing

  [[nodiscard]] Piece piece(std::uint64_t number) const {
    const std::uint64_t segment = k / axes->segment + number;
    const std::uint64_t begin = std::max(k, segment * axes->segment);
    const std::uint64_t end = std::min(k + elements, (segment + 1) * axes->segment);
    return {begin, end, begin == segment * axes->segment, end == (segment + 1) * axes->segment || end == axes->length};
  }
};

/// One launch: reads the boxes of one slab, and reduces the slab before it.
struct StepJob {
  const ReadPlan* reading;
  const ReducePlan* reducing;

  void operator()(SliceContext& context) const;

 private:
  void read(SliceContext& context) const;
};

}  // namespace runrig::batch
