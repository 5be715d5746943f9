#pragma once

#include <array>
#include <atomic>
#include <bit>
#include <cstddef>
#include <cstdint>
#include <mutex>
#include <span>
#include <type_traits>

#include "runrig/shm/anonymous_memory.hpp"
#include "runrig/sync/clock.hpp"
#include "runrig/sync/lock.hpp"

/// The memory of a queue: blocks of powers of two bytes in a sparse memfd that is far larger than there is memory for,
/// so that it never has to be mapped anew, and lives as long as anybody has the queue.
///
/// **The truth** of a block is one word: whether it is used, and how often it was. The lists of free blocks are derived
/// from these words, and made anew when somebody died in the middle of a change. Blocks are never split or joined;
/// memory is given to a block when it is first used, kept when it is free, and given back to the system when
/// much of it is free.
///
/// **Whose a block is** stands outside: whoever takes one says where its name is to be written *before* the block
/// is taken. So the name of a used block always stands somewhere: with a producer, in the queue, or with a consumer,
/// and what a dead process had can be found and freed. Freeing by a name that is out of date does nothing.
namespace runrig::detail {

/// Names a use of a block: its number and which use it is. 0: none.
using BlockName = std::uint64_t;
inline constexpr int block_index_bits = 24;
[[nodiscard]] constexpr std::uint32_t index_of(BlockName name) noexcept {
  return static_cast<std::uint32_t>(name & ((std::uint64_t{1} << block_index_bits) - 1)) - 1;
}

struct BlockEntry {
  // Bit 0: used. Bits 1-6: log2 of its bytes. From bit 8 on: which use it is, or was.
  std::atomic<std::uint64_t> word;
  std::uint64_t offset;        // from the segment's start; set before the block is made known
  std::uint32_t next;          // free: index + 1 of the next in its list; derived
  std::uint32_t memory_pages;  // how many of its pages have memory; changed by who has the block
};
static_assert(std::is_standard_layout_v<BlockEntry> && sizeof(BlockEntry) == 24, "separately built processes share it");

inline constexpr int smallest_block_shift = 12;
inline constexpr int block_sizes = 36;

struct BlocksHeader {
  Lock lock;
  std::atomic<std::uint64_t> free_pages;               // with memory, of free blocks; derived
  std::uint32_t made;                                  // entries that are blocks
  std::uint32_t entries_with_memory;                   // of the table
  std::array<std::uint32_t, block_sizes> free_blocks;  // index + 1 of the first of each size; derived
};
static_assert(std::is_standard_layout_v<BlocksHeader>, "separately built processes share it");

/// Where the parts of the segment lie, which is the same in all processes of a queue.
struct BlocksPlace {
  std::uint64_t table_offset = 0;
  std::uint32_t most_blocks = 0;
  std::uint64_t data_offset = 0;  // a multiple of the page size
};

/// The blocks as one process sees them. Any number of these may work on one segment, in any number of processes and
/// threads. Bounds are those of the mapping; what others have written is checked before it is followed.
class QueueBlocks {
 public:
  QueueBlocks(AnonymousMemory& memory, BlocksHeader& header, const BlocksPlace& place)
      : memory_(memory), header_(header), place_(place), bytes_(memory.writable_bytes()) {}

  struct Block {
    BlockName name = 0;
    std::span<std::byte> bytes;
  };
  /// A block that has memory for `bytes` bytes; they are not zero. Its name is in `holder` from before it is taken;
  /// `holder` must lie in the segment, and is 0 when this throws. Throws Error not_enough_memory, with the numbers in
  /// it.
  [[nodiscard]] Block allocate(std::size_t bytes, std::atomic<std::uint64_t>& holder);
  /// Gives a block of the caller's back. Only the caller has it, so it may be given back to the system as well.
  void release(BlockName name) noexcept;
  /// Frees what may have been freed already, by whoever died while doing so.
  void free(BlockName name);
  /// The bytes of a block that others named. Throws FormatError unless it is in use, and has so many.
  [[nodiscard]] std::span<std::byte> bytes(BlockName name, std::size_t count) const;
  /// By its number alone. Throws FormatError for a number that no block has.
  [[nodiscard]] BlockName name_of(std::uint32_t index) const;
  [[nodiscard]] std::byte* data(std::uint32_t index) const noexcept { return bytes_.data() + entry(index).offset; }

 private:
  [[nodiscard]] BlockEntry& entry(std::uint32_t index) const noexcept {
    return reinterpret_cast<BlockEntry*>(bytes_.data() + place_.table_offset)[index];
  }
  [[nodiscard]] std::unique_lock<Lock> locked();
  void rebuild() noexcept;
  void link_free(std::uint32_t index, int shift) noexcept;
  void make_blocks(int shift);
  [[nodiscard]] bool try_make(int shift, std::uint32_t count);
  void give_memory(BlockEntry& block, std::size_t bytes);

  AnonymousMemory& memory_;
  BlocksHeader& header_;
  BlocksPlace place_;
  std::span<std::byte> bytes_;
};

}  // namespace runrig::detail
