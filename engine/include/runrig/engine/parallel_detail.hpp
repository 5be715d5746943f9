#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <span>
#include <stop_token>

#include "runrig/engine/launch.hpp"
#include "runrig/shm/view.hpp"

/// What parallel.hpp and the rooms above need, and no caller does: the parts that are no templates.
namespace runrig {

class Pool;
class Threads;

/// How elements are cut into slices.
struct SlicePlan {
  std::uint64_t elements = 0;
  std::uint64_t slice_elements = 1;
  std::uint32_t slices = 0;

  [[nodiscard]] std::uint64_t begin(std::uint32_t slice) const noexcept { return slice * slice_elements; }
  [[nodiscard]] std::uint64_t end(std::uint32_t slice) const noexcept {
    return std::min(elements, (slice + std::uint64_t{1}) * slice_elements);
  }
};

namespace detail {

/// Whether a slice whose worker died may be run again.
enum class Rerun { allowed, forbidden };

/// Where all elements of an array without gaps lie, as it travels to workers.
struct FlatArray {
  std::byte* direct = nullptr;  ///< valid in all processes concerned; none: in the segment
  std::uint64_t byte_offset = 0;
  std::uint64_t size_bytes = 0;
  SegmentHandle segment;
  Access access = Access::read_only;
};

/// The slices for arrays of one shape, by the shape and the largest item. Throws logic_error if the shapes differ, or
/// if an array has gaps.
[[nodiscard]] SlicePlan plan_slices(std::span<const AnyArrayRef> arrays, std::uint64_t slice_elements);
/// What a kernel does with arrays that it may write: changes them, or only writes the first one.
enum class Writing { in_place, output };
/// Whether a slice that was begun has lost part of its own input: then it cannot be run again.
[[nodiscard]] bool reads_what_it_writes(std::span<const AnyArrayRef> arrays, Writing writing);

/// Throws logic_error if the array is in memory that the pool's workers do not share.
[[nodiscard]] FlatArray flatten(Pool& pool, const AnyArrayRef& array);
[[nodiscard]] FlatArray flatten(Threads& threads, const AnyArrayRef& array);
/// In a worker: where a segment lies; mapped now if it is not yet, and kept for later slices.
[[nodiscard]] std::span<std::byte> map_in_worker(const SliceContext& context, const SegmentHandle& handle,
                                                 Access access);
/// In a worker: the first byte of the array. Maps its segment the first time.
[[nodiscard]] std::byte* locate(const SliceContext& context, const FlatArray& array);

void check_captures(Pool& pool, const void* captures, std::size_t size_bytes);
/// Memory in the pool's arena, kept by the pool from call to call.
[[nodiscard]] std::byte* partial_memory(Pool& pool, std::size_t size_bytes);
/// Waits, and throws for what went wrong.
void finish_launch(Launch& launch, const SlicePlan& plan, Rerun rerun, const std::stop_token& stop);

}  // namespace detail
}  // namespace runrig
