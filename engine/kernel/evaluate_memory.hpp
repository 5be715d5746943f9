#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <memory>

#include "runrig/engine/arena.hpp"
#include "runrig/engine/parallel.hpp"
#include "runrig/shm/view.hpp"

/// What calls on whole arrays have in common, whether a Pool or Threads run them.
namespace runrig::detail {

/// What run_kernel() checks of a user's captures: here are none.
struct NoCaptures {};

[[nodiscard]] constexpr std::size_t padded(std::size_t bytes) noexcept { return (bytes + 63) / 64 * 64; }

/// Memory for what a call tells its workers, and they tell it: the pool's, which has one address everywhere, or our
/// own. A later one of the same pool may be the same memory: one at a time.
class SharedBytes {
 public:
  SharedBytes(Pool& pool, std::size_t bytes) : data_(partial_memory(pool, bytes)) {}
  SharedBytes(Threads& /*threads*/, std::size_t bytes)
      : owned_(std::make_unique<std::uint64_t[]>((bytes + 7) / 8)), data_(reinterpret_cast<std::byte*>(owned_.get())) {}
  [[nodiscard]] std::byte* data() const noexcept { return data_; }

 private:
  std::unique_ptr<std::uint64_t[]> owned_;
  std::byte* data_;
};

/// An array of our own, where the executor's bodies can write it.
class TemporaryArray {
 public:
  /// Throws Error value_too_large, not_enough_memory.
  TemporaryArray(Pool& pool, DType dtype, const Shape& shape);
  TemporaryArray(Threads& threads, DType dtype, const Shape& shape);
  [[nodiscard]] const AnyArrayRef& ref() const noexcept { return ref_; }

 private:
  void refer(std::byte* data, DType dtype, const Shape& shape);
  ArenaBlock block_;
  std::unique_ptr<std::uint64_t[]> owned_;
  AnyArrayRef ref_;
};

/// The scratch memory of a slice on threads, aligned to 64; a worker process has its own.
[[nodiscard]] std::byte* thread_scratch(std::size_t bytes);
/// `bytes` aligned to 64 bytes in a worker process.
[[nodiscard]] inline std::byte* worker_scratch(SliceContext& context, std::size_t bytes) {
  std::byte* const memory = context.scratch(bytes + 63);
  return memory + (64 - reinterpret_cast<std::uintptr_t>(memory) % 64) % 64;
}

/// Makes a kernel of a Body that has slice_scratch() and run(slice, scratch, located), where located(FlatArray) is the
/// array's first byte in this process. What it writes has its own place, so that a slice may be run again.
template <class Body>
struct ArrayKernel {
  Body body;

  void operator()(SliceContext& context) const {
    body.run(context.slice(), worker_scratch(context, body.slice_scratch()),
             [&](const FlatArray& array) { return locate(context, array); });
  }
  static void on_thread(const void* kernel, std::uint32_t slice) {
    const Body& self = static_cast<const ArrayKernel*>(kernel)->body;
    self.run(slice, thread_scratch(self.slice_scratch()), [](const FlatArray& array) { return array.direct; });
  }
};

template <class Executor, class Body>
void run_body(Executor& executor, const Body& body, const SlicePlan& plan, const ParallelOptions& options,
              Rerun rerun = Rerun::allowed) {
  run_kernel(executor, ArrayKernel<Body>{body}, NoCaptures{}, plan, options, rerun);
}

}  // namespace runrig::detail
