#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <type_traits>
#include <utility>

#include "runrig/shm/handle.hpp"

namespace runrig {

/// Names a block of a Heap to any process that may open its segment. A plain value of fixed size; it keeps nothing
/// alive. Blocks are numbered through, so a handle to a freed block is noticed, also after its place was used again.
struct BlockHandle {
  SegmentHandle segment;
  std::uint64_t offset = 0;  ///< bytes from the segment's start to the block's first byte
  std::uint64_t bytes = 0;   ///< as it was asked for
  std::uint64_t serial = 0;
};
static_assert(std::is_trivially_copyable_v<BlockHandle>);

/// What a walk through a heap found.
struct HeapReport {
  std::size_t used_blocks = 0;
  std::size_t free_blocks = 0;
  std::size_t used_bytes = 0;  ///< of the blocks, headers and rounding included
  std::size_t free_bytes = 0;
  std::size_t repairs = 0;  ///< how often the heap was rebuilt after a death
};

namespace detail {
class HeapSegment;
}

/// A heap of fixed capacity in a sealed memfd, used by any number of processes.
///
/// Any process that has it mapped may allocate and free, at any time. A process killed at any instruction
/// of either leaves a heap that works: the truth is in one word of each block's header, changed by one atomic
/// store; whoever takes the lock after the dead rebuilds all else from these words, and undoes what was half done. A
/// block whose user died is not reclaimed (nobody knows who else uses it) until the whole heap vanishes with its last
/// user, as memfds do.
///
/// Blocks begin on a cache line (64 bytes) and do not share lines. A child made by fork has the mapping at once; other
/// processes attach by handle(). A Heap object is a reference: copies are cheap, name the same mapping, and may be used
/// by several threads.
///
/// Trust: whoever can map the heap can destroy its contents. Bad values lead to errors, not to accesses outside the
/// mapping.
class Heap {
 public:
  /// A heap that can hold at least one block of `capacity_bytes`. Throws Error: no memory, no descriptors.
  [[nodiscard]] static Heap create(std::size_t capacity_bytes);
  /// Maps a heap of another process; a heap that this process has mapped already is found, not mapped again. Throws
  /// FormatError if the segment is no heap of this layout, Error if it cannot be opened.
  [[nodiscard]] static Heap attach(const SegmentHandle& segment);

  /// A block of `bytes` zero bytes at a multiple of `alignment` (a power of two up to 4096); bytes may be 0. None
  /// if there is no room. Throws std::invalid_argument for an impossible alignment, Poisoned or FormatError if the heap
  /// was overwritten.
  [[nodiscard]] std::optional<BlockHandle> try_allocate(std::size_t bytes, std::size_t alignment = 64);
  /// The same; throws Error not_enough_memory, with the numbers in it, where try_allocate() returns none.
  [[nodiscard]] BlockHandle allocate(std::size_t bytes, std::size_t alignment = 64);
  /// Gives a block back. Throws std::logic_error if it is not in use (freed twice) or not one of this heap's.
  void free(const BlockHandle& block);

  /// The block's bytes in this process, valid while a copy of this Heap is. Throws std::logic_error if the block
  /// is not in use any more or not one of this heap's.
  [[nodiscard]] std::span<std::byte> bytes(const BlockHandle& block) const;

  [[nodiscard]] SegmentHandle handle() const;
  [[nodiscard]] std::size_t capacity_bytes() const noexcept;
  /// Walks through all blocks and lists, and compares them. Throws FormatError naming the first contradiction.
  [[nodiscard]] HeapReport check() const;

 private:
  explicit Heap(std::shared_ptr<detail::HeapSegment> segment) : segment_(std::move(segment)) {}

  std::shared_ptr<detail::HeapSegment> segment_;
};

/// A block from the heaps of this process, and the right to use it: the untyped ground under Value, Array and Shared.
///
/// The process that allocated the block owns it: when the last copy there goes, it is freed. Copies in forked
/// children and those attached elsewhere only refer to it, so the owner must outlive its users, as a vector must
/// outlive its spans. (Counting references across processes would leak or free too early whenever one is killed.)
/// release() gives the ownership up.
///
/// Each process allocates from heaps of its own, made when needed: what a killed or finished process allocated vanishes
/// with it and its users. Small requests share a heap, one of 64 KiB and more gets a memfd of its own.
///
/// Copies of one object may be used by several threads; one and the same object is like a shared_ptr.
class SharedBlock {
 public:
  /// None; bytes() is empty.
  SharedBlock() noexcept = default;
  /// Zero bytes at a multiple of `alignment`. Throws Error: no memory, no descriptors.
  [[nodiscard]] static SharedBlock allocate(std::size_t bytes, std::size_t alignment = 64);
  /// Refers to a block of another process (or of this one). Throws Error if its segment cannot be opened,
  /// std::logic_error if the block was freed.
  [[nodiscard]] static SharedBlock attach(const BlockHandle& handle);

  [[nodiscard]] std::span<std::byte> bytes() const noexcept { return bytes_; }
  [[nodiscard]] BlockHandle handle() const;
  /// True in the process that frees it.
  [[nodiscard]] bool owned() const noexcept;
  /// No copy frees the block from now on; it lives as long as any process has its heap mapped.
  void release() noexcept;

 private:
  struct State;
  SharedBlock(std::shared_ptr<State> state, std::span<std::byte> bytes) : state_(std::move(state)), bytes_(bytes) {}

  std::shared_ptr<State> state_;
  std::span<std::byte> bytes_;
};

}  // namespace runrig
