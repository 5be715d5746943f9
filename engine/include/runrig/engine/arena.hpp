#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>

namespace runrig {

class Arena;
namespace detail {
struct ArenaAccess;
}

/// A block of arena memory; goes back to its arena with the last of this object. Move-only. Keeps the arena's
/// memory mapped, so it may outlive the Arena object.
class ArenaBlock {
 public:
  ArenaBlock() noexcept = default;
  ArenaBlock(ArenaBlock&& other) noexcept;
  ArenaBlock& operator=(ArenaBlock&& other) noexcept;
  ArenaBlock(const ArenaBlock&) = delete;
  ArenaBlock& operator=(const ArenaBlock&) = delete;
  ~ArenaBlock() { reset(); }

  /// The same address in the creating process and in all workers of the pools on this arena.
  [[nodiscard]] std::byte* data() const noexcept { return data_; }
  /// As asked for; what lies behind, up to the next page, belongs to the block as well but is not promised.
  [[nodiscard]] std::size_t size_bytes() const noexcept { return size_bytes_; }
  [[nodiscard]] std::span<std::byte> bytes() const noexcept { return {data_, size_bytes_}; }
  [[nodiscard]] explicit operator bool() const noexcept { return data_ != nullptr; }
  /// Puts it into huge pages, as far as the system gives them: for large arrays that kernels go through more than once.
  /// Returns how many bytes are in huge pages now; see AnonymousMemory::use_huge_pages(), also for what it costs and
  /// throws. Blocks of 2 MiB and more begin where a huge page can, if the arena has room. Nothing to do for an empty
  /// block.
  std::size_t use_huge_pages();
  /// Gives the block back now. In a forked child it only forgets it.
  void reset() noexcept;

 private:
  friend class Arena;
  friend struct detail::ArenaAccess;
  struct Core;
  std::shared_ptr<Core> core_;
  std::byte* data_ = nullptr;
  std::size_t size_bytes_ = 0;
};

/// Memory that lies at one address in this process and in every worker of pools that are made with it.
///
/// One large, sparse, sealed memfd, which has no name and vanishes with its last user. Pages are made at first touch
/// and kept when a block is freed, because fresh pages cost more than most kernels: the next block of that size gets
/// them again. trim() gives the pages of free blocks back to the system; so does the destructor, also where workers
/// still map the memory.
///
/// Blocks hold whatever was in them before: nothing is cleared. The address space is reserved in full, the memory is
/// not: a machine or cgroup that runs out kills a process instead of failing an allocation, so callers bound what
/// they use.
///
/// Thread-safe. Only the creating process allocates and frees; others use the bytes.
class Arena {
 public:
  struct Statistics {
    std::size_t capacity_bytes = 0;  ///< address space
    std::size_t used_bytes = 0;      ///< in blocks, rounded up to pages
    std::size_t peak_bytes = 0;      ///< the most that used_bytes ever was
    std::size_t kept_bytes = 0;      ///< of free blocks whose pages are kept
    std::uint64_t allocations = 0;   ///< since creation
    std::uint64_t reused = 0;        ///< of these, those that got kept pages
  };

  /// `capacity_bytes` 0 takes the machine's memory. Throws Error not_enough_memory if the address space is too small.
  explicit Arena(std::size_t capacity_bytes = 0);
  Arena(Arena&&) = delete;
  ~Arena();

  /// `alignment` is a power of two, at most 1 GiB. Throws Error not_enough_memory, with the numbers, if the arena is
  /// full or too broken up; logic_error in another process than the creator, for a bad alignment, or for 0 bytes.
  [[nodiscard]] ArenaBlock allocate(std::size_t size_bytes, std::size_t alignment = 4096);

  /// Whether the bytes lie in this arena. For any process.
  [[nodiscard]] bool contains(const void* data, std::size_t size_bytes = 1) const noexcept;
  /// Gives kept pages back to the system, until at most `keep_bytes` of them are left. Returns how many bytes went.
  std::size_t trim(std::size_t keep_bytes = 0);
  [[nodiscard]] Statistics statistics() const;

 private:
  friend struct detail::ArenaAccess;
  std::shared_ptr<ArenaBlock::Core> core_;
};

}  // namespace runrig
