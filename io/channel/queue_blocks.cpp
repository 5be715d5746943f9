#include "queue_blocks.hpp"

#include <algorithm>
#include <string>

#include "runrig/sync/error.hpp"
#include "runrig/sync/killpoint.hpp"

// What a kill leaves, step by step:
//
//   allocate  (queue.block.renumbered) a free block with a number that no name has yet. (queue.block.named) a name of a
//             use that never came: frees nothing. (queue.block.taken) the block is used, its name is where whoever
//             finds the taker dead looks for it; the list, which still has it, is made anew.
//   free      (queue.block.freed) free, and in no list: they are made anew.
//   make      the count of blocks is changed last (queue.block.made): before it there is nothing but memory, which the
//             next to make blocks gets.

namespace runrig::detail {
namespace {

constexpr std::uint64_t page_bytes = 4096;
constexpr std::uint64_t used_bit = 1;
constexpr int size_shift = 1;
constexpr std::uint64_t size_bits = 0x3f;
constexpr int use_shift = 8;
constexpr std::uint64_t use_bits = (std::uint64_t{1} << (64 - block_index_bits)) - 1;
// Free memory that is kept for the next message: fresh pages cost more than most messages.
constexpr std::uint64_t most_free_pages = (std::uint64_t{256} << 20) / page_bytes;
constexpr std::uint32_t table_step = 1 << 13;  // entries, 192 KiB
constexpr std::uint64_t most_bytes_at_once = std::uint64_t{2} << 20;

constexpr int size_of(std::uint64_t word) { return static_cast<int>(word >> size_shift & size_bits); }
constexpr std::uint64_t use_of(std::uint64_t word) { return word >> use_shift & use_bits; }
constexpr std::uint64_t make_word(std::uint64_t use, int shift, bool used) {
  return (use & use_bits) << use_shift | static_cast<std::uint64_t>(shift) << size_shift | (used ? used_bit : 0);
}
constexpr BlockName make_name(std::uint32_t index, std::uint64_t use) {
  return (use & use_bits) << block_index_bits | (index + 1);
}
constexpr std::uint64_t use_named(BlockName name) { return name >> block_index_bits; }
constexpr std::size_t place_of(int shift) { return static_cast<std::size_t>(shift - smallest_block_shift); }

int shift_for(std::size_t bytes) {
  return std::max(smallest_block_shift, static_cast<int>(std::bit_width(std::max<std::size_t>(bytes, 1) - 1)));
}

[[noreturn]] void refuse(std::string_view why) { throw FormatError("use", "queue", why); }

[[noreturn]] void no_room(std::size_t bytes) {
  throw Error(std::errc::not_enough_memory, "take bytes of a queue's memory:", std::to_string(bytes));
}

}  // namespace

std::unique_lock<Lock> QueueBlocks::locked() {
  return lock_repairing(header_.lock, [this] { rebuild(); });
}

// Makes all that is derived anew.
void QueueBlocks::rebuild() noexcept {
  header_.free_blocks.fill(0);
  header_.free_pages.store(0, std::memory_order_relaxed);  // relaxed, as all of it: see release()
  for (std::uint32_t i = 0; i < std::min(header_.made, place_.most_blocks); ++i) {
    // Relaxed: the lock's recovery has ordered what the dead wrote.
    const std::uint64_t word = entry(i).word.load(std::memory_order_relaxed);
    if ((word & used_bit) == 0) link_free(i, size_of(word));
    RUNRIG_KILLPOINT("queue.block.rebuilding");
  }
}

void QueueBlocks::link_free(std::uint32_t index, int shift) noexcept {
  if (shift < smallest_block_shift || place_of(shift) >= block_sizes) return;  // overwritten: of no use to anybody
  BlockEntry& block = entry(index);
  block.next = header_.free_blocks[place_of(shift)];
  header_.free_blocks[place_of(shift)] = index + 1;
  header_.free_pages.store(header_.free_pages.load(std::memory_order_relaxed) + block.memory_pages,
                           std::memory_order_relaxed);
}

// Makes `count` new free blocks, with memory if they are several: false if there is no room.
bool QueueBlocks::try_make(int shift, std::uint32_t count) {
  const std::uint32_t first = header_.made;
  if (first > place_.most_blocks || count > place_.most_blocks - first) return false;
  const std::uint64_t block_bytes = std::uint64_t{1} << shift;
  std::uint64_t offset = place_.data_offset;
  if (first > 0) {
    const BlockEntry& last = entry(first - 1);
    const int last_size = size_of(last.word.load(std::memory_order_relaxed));  // relaxed: guarded by the lock
    offset = last.offset + (std::uint64_t{1} << last_size);
  }
  if (offset > bytes_.size() || count > (bytes_.size() - offset) >> shift) return false;
  try {
    if (first + count > header_.entries_with_memory) {
      const std::uint32_t entries = std::min(place_.most_blocks, std::max(first + count, first + table_step));
      memory_.reserve(place_.table_offset, entries * sizeof(BlockEntry));
      header_.entries_with_memory = entries;
    }
    if (count > 1) memory_.reserve(offset, count * block_bytes);
  } catch (const Error&) {
    if (count == 1) throw;
    return false;
  }
  for (std::uint32_t i = first; i < first + count; ++i, offset += block_bytes) {
    BlockEntry& block = entry(i);
    block.offset = offset;
    block.memory_pages = count > 1 ? static_cast<std::uint32_t>(block_bytes / page_bytes) : 0;
    block.word.store(make_word(0, shift, false), std::memory_order_relaxed);  // relaxed: guarded by the lock
  }
  // Not to be moved before the stores above by the compiler: a kill must not come between.
  std::atomic_signal_fence(std::memory_order_release);
  header_.made = first + count;
  RUNRIG_KILLPOINT("queue.block.made");
  for (std::uint32_t i = first; i < first + count; ++i) link_free(i, shift);
  return true;
}

// Small blocks come many at once: the more there are the more.
void QueueBlocks::make_blocks(int shift) {
  const std::uint64_t many =
      std::min<std::uint64_t>(std::max<std::uint32_t>(header_.made / 8, 4), most_bytes_at_once >> shift);
  if (many > 1 && try_make(shift, static_cast<std::uint32_t>(many))) return;
  if (!try_make(shift, 1)) no_room(std::size_t{1} << shift);
}

void QueueBlocks::give_memory(BlockEntry& block, std::size_t bytes) {
  const std::uint64_t pages = (bytes + page_bytes - 1) / page_bytes;
  if (pages <= block.memory_pages) return;
  const std::uint64_t has = std::uint64_t{block.memory_pages} * page_bytes;
  memory_.reserve(block.offset + has, pages * page_bytes - has);
  block.memory_pages = static_cast<std::uint32_t>(pages);
}

QueueBlocks::Block QueueBlocks::allocate(std::size_t bytes, std::atomic<std::uint64_t>& holder) {
  const int shift = shift_for(bytes);
  if (place_of(shift) >= block_sizes) no_room(bytes);
  BlockName name = 0;
  std::uint32_t index = 0;
  {
    const auto lock = locked();
    std::uint32_t& first = header_.free_blocks[place_of(shift)];
    if (first == 0) make_blocks(shift);
    index = first - 1;
    if (index >= header_.made || header_.made > place_.most_blocks) refuse("a list of its free blocks is overwritten");
    BlockEntry& block = entry(index);
    // Relaxed, all loads of words under the lock: it orders them.
    const std::uint64_t use = use_of(block.word.load(std::memory_order_relaxed)) + 1;
    // Release, here and below: against reordering by the compiler around what a kill may cut. The number changes first:
    // else a name that stands with somebody dead, of a use that never came, would be that of the next.
    block.word.store(make_word(use, shift, false), std::memory_order_release);
    RUNRIG_KILLPOINT("queue.block.renumbered");
    name = make_name(index, use);
    holder.store(name, std::memory_order_release);
    RUNRIG_KILLPOINT("queue.block.named");
    block.word.store(make_word(use, shift, true), std::memory_order_release);
    RUNRIG_KILLPOINT("queue.block.taken");
    first = block.next;
    const std::uint64_t free_pages = header_.free_pages.load(std::memory_order_relaxed);
    header_.free_pages.store(free_pages - std::min<std::uint64_t>(free_pages, block.memory_pages),
                             std::memory_order_relaxed);
  }
  BlockEntry& block = entry(index);
  try {
    give_memory(block, bytes);
  } catch (...) {
    free(name);
    holder.store(0, std::memory_order_release);  // after it: whoever dies between has a name that frees nothing
    throw;
  }
  return {name, bytes_.subspan(block.offset, std::size_t{1} << shift)};
}

void QueueBlocks::release(BlockName name) noexcept {
  try {
    BlockEntry& block = entry(index_of(name));
    // Relaxed and without the lock: a wrong answer costs a little time or memory.
    const std::uint64_t free_pages = header_.free_pages.load(std::memory_order_relaxed);
    if (block.memory_pages > 0 && free_pages + block.memory_pages > most_free_pages) {
      const std::uint64_t pages = block.memory_pages;
      block.memory_pages = 0;  // first: killed after it, the next user reserves what may be there
      std::atomic_signal_fence(std::memory_order_release);
      memory_.punch(block.offset, pages * page_bytes);
      RUNRIG_KILLPOINT("queue.block.punched");
    }
    free(name);
  } catch (const std::exception&) {
    // Only if somebody overwrote the queue (Poisoned, FormatError), or the kernel refuses to take memory back. The
    // block stays used until the queue goes.
  }
}

void QueueBlocks::free(BlockName name) {
  if (name == 0) return;
  const auto lock = locked();
  const std::uint32_t index = index_of(name);
  if (index >= header_.made || header_.made > place_.most_blocks) refuse("it names a block that it does not have");
  BlockEntry& block = entry(index);
  const std::uint64_t word = block.word.load(std::memory_order_relaxed);  // relaxed: guarded by the lock
  if ((word & used_bit) == 0 || use_of(word) != use_named(name)) return;
  block.word.store(word & ~used_bit, std::memory_order_release);  // as in allocate()
  RUNRIG_KILLPOINT("queue.block.freed");
  link_free(index, size_of(word));
}

BlockName QueueBlocks::name_of(std::uint32_t index) const {
  // Relaxed, here and below: the caller learnt of the block by something that was published after it was taken.
  if (index >= place_.most_blocks) refuse("it names a block that it does not have");
  return make_name(index, use_of(entry(index).word.load(std::memory_order_relaxed)));
}

std::span<std::byte> QueueBlocks::bytes(BlockName name, std::size_t count) const {
  const std::uint32_t index = index_of(name);
  if (index >= place_.most_blocks) refuse("it names a block that it does not have");
  const BlockEntry& block = entry(index);
  const std::uint64_t word = block.word.load(std::memory_order_relaxed);
  if ((word & used_bit) == 0 || use_of(word) != use_named(name)) refuse("it names a block that is not in use");
  const int shift = size_of(word);
  if (shift >= 63 || count > std::size_t{1} << shift || block.offset > bytes_.size() ||
      count > bytes_.size() - block.offset) {
    refuse("a message is longer than its block");
  }
  return bytes_.subspan(block.offset, count);
}

}  // namespace runrig::detail
