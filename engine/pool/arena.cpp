#include "runrig/engine/arena.hpp"

#include <sys/mman.h>
#include <unistd.h>

#include <algorithm>
#include <bit>
#include <iterator>
#include <map>
#include <mutex>
#include <stdexcept>
#include <string>
#include <utility>

#include "arena_access.hpp"
#include "runrig/engine/machine.hpp"
#include "runrig/shm/anonymous_memory.hpp"
#include "runrig/sync/error.hpp"

namespace runrig {
namespace {

constexpr std::size_t page_bytes = 4096;
constexpr std::size_t largest_alignment = std::size_t{1} << 30;

std::size_t round_up(std::size_t value, std::size_t step) { return (value + step - 1) / step * step; }

}  // namespace

struct ArenaBlock::Core {
  // Lazily: far more is laid out than will ever be used.
  explicit Core(std::size_t capacity)
      : capacity_bytes(capacity),
        memory(AnonymousMemory::create("runrig-arena", capacity, Reserve::lazily, Placement::apart)),
        base(memory.writable_bytes().data()),
        creator(::getpid()) {}
  Core(const Core&) = delete;
  ~Core() {
    // Workers may have it mapped for a while yet, or for as long as their pool lives: give the pages back now.
    if (owned_here()) forget_pages(0, top);
  }

  /// Without an error: the pages then go with the last process that maps them.
  void forget_pages(std::size_t offset, std::size_t bytes) const noexcept {
    if (bytes > 0) ::madvise(base + offset, bytes, MADV_REMOVE);
  }
  struct Free {
    std::size_t bytes;
    bool warm;  // its pages are kept
  };
  using FreeList = std::map<std::size_t, Free>;  // by offset; neighbours of one warmth are merged

  [[nodiscard]] bool owned_here() const noexcept { return ::getpid() == creator; }
  /// The first offset from `offset` on whose address is aligned: the mapping itself starts at any page.
  [[nodiscard]] std::size_t aligned(std::size_t offset, std::size_t alignment) const noexcept {
    const auto address = reinterpret_cast<std::uintptr_t>(base) + offset;
    return offset + (round_up(address, alignment) - address);
  }
  std::byte* take(std::size_t bytes, std::size_t alignment);
  void give_back(std::size_t offset, std::size_t bytes, bool warm);
  void merge_all();
  FreeList::iterator best_fit(std::size_t bytes, std::size_t alignment, bool warm);
  std::byte* carve(FreeList::iterator region, std::size_t bytes, std::size_t alignment);

  const std::size_t capacity_bytes;
  AnonymousMemory memory;
  std::byte* const base;
  const pid_t creator;
  std::mutex mutex;     // guards all below
  std::size_t top = 0;  // from here on nothing was ever handed out
  FreeList free_regions;
  Arena::Statistics statistics;
};

std::byte* ArenaBlock::Core::take(std::size_t bytes, std::size_t alignment) {
  for (const bool warm : {true, false}) {
    if (const auto region = best_fit(bytes, alignment, warm); region != free_regions.end()) {
      if (warm) ++statistics.reused;
      return carve(region, bytes, alignment);
    }
  }
  const std::size_t start = aligned(top, alignment);
  if (start > capacity_bytes || bytes > capacity_bytes - start) return nullptr;
  if (start > top) give_back(top, start - top, false);
  top = start + bytes;
  return base + start;
}

// The smallest region of that warmth which holds an aligned block.
ArenaBlock::Core::FreeList::iterator ArenaBlock::Core::best_fit(std::size_t bytes, std::size_t alignment, bool warm) {
  auto best = free_regions.end();
  for (auto each = free_regions.begin(); each != free_regions.end(); ++each) {
    const auto& [offset, region] = *each;
    const std::size_t lead = aligned(offset, alignment) - offset;
    if (region.warm != warm || region.bytes < lead || region.bytes - lead < bytes) continue;
    if (best == free_regions.end() || region.bytes < best->second.bytes) best = each;
  }
  return best;
}

std::byte* ArenaBlock::Core::carve(FreeList::iterator region, std::size_t bytes, std::size_t alignment) {
  const std::size_t offset = region->first;
  const Free whole = region->second;
  const std::size_t start = aligned(offset, alignment);
  const std::size_t end = start + bytes;
  free_regions.erase(region);
  if (start > offset) free_regions.emplace(offset, Free{start - offset, whole.warm});
  if (end < offset + whole.bytes) free_regions.emplace(end, Free{offset + whole.bytes - end, whole.warm});
  if (whole.warm) statistics.kept_bytes -= bytes;
  return base + start;
}

void ArenaBlock::Core::give_back(std::size_t offset, std::size_t bytes, bool warm) {
  if (warm) statistics.kept_bytes += bytes;
  auto here = free_regions.emplace(offset, Free{bytes, warm}).first;
  if (const auto next = std::next(here);
      next != free_regions.end() && next->second.warm == warm && next->first == offset + bytes) {
    here->second.bytes += next->second.bytes;
    free_regions.erase(next);
  }
  if (here == free_regions.begin()) return;
  if (const auto before = std::prev(here);
      before->second.warm == warm && before->first + before->second.bytes == offset) {
    before->second.bytes += here->second.bytes;
    free_regions.erase(here);
  }
}

// Joins neighbours of different warmth: last resort of an arena that is broken up. What is warm in part counts as warm.
void ArenaBlock::Core::merge_all() {
  if (free_regions.empty()) return;
  for (auto here = free_regions.begin(), next = std::next(here); next != free_regions.end(); next = std::next(here)) {
    if (here->first + here->second.bytes != next->first) {
      here = next;
      continue;
    }
    if (here->second.warm != next->second.warm) {
      statistics.kept_bytes += here->second.warm ? next->second.bytes : here->second.bytes;
      here->second.warm = true;
    }
    here->second.bytes += next->second.bytes;
    free_regions.erase(next);
  }
}

ArenaBlock::ArenaBlock(ArenaBlock&& other) noexcept
    : core_(std::move(other.core_)),
      data_(std::exchange(other.data_, nullptr)),
      size_bytes_(std::exchange(other.size_bytes_, 0)) {}

ArenaBlock& ArenaBlock::operator=(ArenaBlock&& other) noexcept {
  if (this != &other) {
    reset();
    core_ = std::move(other.core_);
    data_ = std::exchange(other.data_, nullptr);
    size_bytes_ = std::exchange(other.size_bytes_, 0);
  }
  return *this;
}

std::size_t ArenaBlock::use_huge_pages() {
  if (!core_) return 0;
  return core_->memory.use_huge_pages(static_cast<std::size_t>(data_ - core_->base), size_bytes_);
}

void ArenaBlock::reset() noexcept {
  if (core_ && core_->owned_here()) {
    const std::size_t bytes = round_up(size_bytes_, page_bytes);
    const std::lock_guard guard(core_->mutex);
    core_->statistics.used_bytes -= bytes;
    try {
      core_->give_back(static_cast<std::size_t>(data_ - core_->base), bytes, true);
    } catch (const std::bad_alloc&) {
      // No memory for the note that the block is free: it stays unused, its pages go back to the system.
      core_->forget_pages(static_cast<std::size_t>(data_ - core_->base), bytes);
    }
  }
  core_.reset();
  data_ = nullptr;
  size_bytes_ = 0;
}

const AnonymousMemory& detail::ArenaAccess::memory(const Arena& arena) noexcept { return arena.core_->memory; }

Arena::Arena(std::size_t capacity_bytes) {
  if (capacity_bytes == 0) capacity_bytes = usable_memory_bytes();
  core_ = std::make_shared<ArenaBlock::Core>(round_up(capacity_bytes, page_bytes));
  core_->statistics.capacity_bytes = core_->capacity_bytes;
}

Arena::~Arena() = default;

ArenaBlock Arena::allocate(std::size_t size_bytes, std::size_t alignment) {
  if (size_bytes == 0) throw std::logic_error("allocate from an arena: 0 bytes");
  if (!std::has_single_bit(alignment) || alignment > largest_alignment) {
    throw std::logic_error("allocate from an arena: the alignment is not a power of two up to 1 GiB");
  }
  ArenaBlock::Core& core = *core_;
  if (!core.owned_here()) throw std::logic_error("allocate from an arena: only the process that made it may");
  const std::lock_guard guard(core.mutex);
  std::byte* data = nullptr;
  const std::size_t bytes = size_bytes <= core.capacity_bytes ? round_up(size_bytes, page_bytes) : 0;
  if (bytes > 0) {
    const std::size_t pages_alignment = std::max(alignment, page_bytes);
    // Where huge pages can be, if there is room for it: an arena may be no larger than what is laid into it.
    if (bytes >= huge_page_bytes) data = core.take(bytes, std::max(alignment, huge_page_bytes));
    if (data == nullptr) data = core.take(bytes, pages_alignment);
    if (data == nullptr) {
      core.merge_all();
      data = core.take(bytes, pages_alignment);
    }
  }
  if (data == nullptr) {
    throw Error(std::errc::not_enough_memory,
                "allocate " + std::to_string(size_bytes) + " bytes, " + std::to_string(core.statistics.used_bytes) +
                    " of " + std::to_string(core.capacity_bytes) + " are in use, from",
                "arena");
  }
  ++core.statistics.allocations;
  core.statistics.used_bytes += bytes;
  core.statistics.peak_bytes = std::max(core.statistics.peak_bytes, core.statistics.used_bytes);
  ArenaBlock block;
  block.core_ = core_;
  block.data_ = data;
  block.size_bytes_ = size_bytes;
  return block;
}

bool Arena::contains(const void* data, std::size_t size_bytes) const noexcept {
  const auto begin = reinterpret_cast<std::uintptr_t>(core_->base);
  const auto first = reinterpret_cast<std::uintptr_t>(data);
  return first >= begin && first - begin <= core_->capacity_bytes &&
         size_bytes <= core_->capacity_bytes - (first - begin);
}

std::size_t Arena::trim(std::size_t keep_bytes) {
  ArenaBlock::Core& core = *core_;
  if (!core.owned_here()) throw std::logic_error("trim an arena: only the process that made it may");
  const std::lock_guard guard(core.mutex);
  std::size_t trimmed = 0;
  for (auto& [offset, region] : core.free_regions) {
    if (core.statistics.kept_bytes <= keep_bytes) break;
    if (!region.warm) continue;
    core.memory.punch(offset, region.bytes);
    region.warm = false;
    core.statistics.kept_bytes -= region.bytes;
    trimmed += region.bytes;
  }
  return trimmed;
}

Arena::Statistics Arena::statistics() const {
  const std::lock_guard guard(core_->mutex);
  return core_->statistics;
}

}  // namespace runrig
