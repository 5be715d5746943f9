#pragma once

#include <array>
#include <atomic>
#include <cstddef>
#include <cstdint>
#include <mutex>
#include <optional>
#include <span>

#include "runrig/shm/heap.hpp"
#include "runrig/sync/lock.hpp"

/// The bytes of a heap, and what is done to them under its lock.
///
///     HeapHeader | block | block | ... | block | 32 bytes unused
///
/// Blocks follow each other without gaps. A block is a 32-byte BlockHeader and its payload; headers lie at 32 modulo
/// 64, so payloads begin on a cache line. **The truth** is each block's `word`: its length and whether it is used.
/// Every change of the truth is one store of one word: a split writes the new header inside a free block first, where
/// the walk does not see it, and then shortens the block; a merge lengthens the first block over the second. **All else
/// is derived**: the lists of free blocks, and each block's `previous_bytes`. After a death it is thrown away and made
/// anew by a walk.
///
/// `in_flight` names the block that a process is just taking or giving back. If it dies then, the block ends up
/// free: an allocation nobody learnt of is undone, a free is completed.
namespace runrig::detail {

inline constexpr std::size_t heap_unit = 64;
inline constexpr std::size_t heap_bins = 48;

struct BlockHeader {
  // Length of the whole block in bytes, a multiple of heap_unit, plus a BlockState. Atomic, for holders of stale
  // handles look at it without the lock.
  std::atomic<std::uint64_t> word;
  std::uint64_t previous_bytes;        // length of the block before this; derived
  std::atomic<std::uint64_t> serial;   // used: counts all allocations. Free: the next in its list; derived
  std::atomic<std::uint64_t> payload;  // used: bytes as asked for. Free: the previous in its list; derived
};
static_assert(std::is_standard_layout_v<BlockHeader> && sizeof(BlockHeader) == 32,
              "separately built processes share it");

struct HeapHeader {
  std::array<char, 8> magic;
  std::uint64_t layout_version;
  std::uint64_t segment_bytes;
  Lock lock;
  std::atomic<std::uint64_t> in_flight;  // offset of a BlockHeader; 0: none
  std::uint64_t next_serial;             // from here on all is guarded by the lock
  std::uint64_t repairs;
  std::uint64_t touched;                      // from this offset on nothing was ever written: still zero
  std::array<std::uint64_t, heap_bins> bins;  // first free block of 2^i to 2^(i+1) - 1 units; 0: none; derived
};
static_assert(std::is_standard_layout_v<HeapHeader> && sizeof(HeapHeader) == 80 + heap_bins * 8,
              "separately built processes share it");

/// A heap in a mapping. Keeps no state but where it is; any number of these may work on one heap, in any number of
/// processes and threads. Bounds are those of the mapping, never read again from the shared header.
class HeapCore {
 public:
  /// The length of a segment that has room for one block of `capacity_bytes` at any alignment; none if that does not
  /// fit.
  [[nodiscard]] static std::optional<std::size_t> segment_bytes(std::size_t capacity_bytes) noexcept;
  /// Makes fresh zero bytes a heap.
  static void format(std::span<std::byte> segment) noexcept;
  /// Throws FormatError unless it is a heap of this layout and length.
  explicit HeapCore(std::span<std::byte> segment);

  struct Allocation {
    std::uint64_t offset;
    std::uint64_t serial;
  };
  [[nodiscard]] std::optional<Allocation> allocate(std::size_t bytes, std::size_t alignment);
  void free(const BlockHandle& block);
  /// Without the lock: true for a block that was allocated and not freed since.
  [[nodiscard]] bool in_use(const BlockHandle& block) const noexcept;
  [[nodiscard]] HeapReport check();
  [[nodiscard]] std::size_t capacity_bytes() const noexcept { return end_ - first_ - sizeof(BlockHeader); }

 private:
  enum class BlockState : std::uint64_t { free = 1, used = 2 };
  struct Block {
    std::uint64_t bytes;
    BlockState state;
  };

  [[nodiscard]] HeapHeader& header() const noexcept { return *reinterpret_cast<HeapHeader*>(segment_.data()); }
  [[nodiscard]] bool is_place(std::uint64_t at) const noexcept;
  [[nodiscard]] BlockHeader& header_at(std::uint64_t at) const;
  [[nodiscard]] Block block_at(std::uint64_t at) const;
  void set(std::uint64_t at, std::uint64_t bytes, BlockState state) noexcept;
  [[nodiscard]] std::unique_lock<Lock> locked();

  void link(std::uint64_t at, std::uint64_t bytes);
  void unlink(std::uint64_t at, std::uint64_t bytes);
  void tell_next(std::uint64_t at, std::uint64_t bytes);
  [[nodiscard]] std::uint64_t find(std::uint64_t bytes) const;
  [[nodiscard]] std::uint64_t first_fit(std::size_t bin, std::uint64_t bytes, std::size_t patience) const;
  [[nodiscard]] std::uint64_t split_front(std::uint64_t at, std::uint64_t bytes, std::size_t alignment);
  void merge_and_link(std::uint64_t at);
  void rebuild();
  [[nodiscard]] std::size_t check_lists() const;

  std::span<std::byte> segment_;
  std::uint64_t first_;  // the first BlockHeader
  std::uint64_t end_;    // where the last block ends
};

}  // namespace runrig::detail
