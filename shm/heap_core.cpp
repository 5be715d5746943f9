#include "heap_core.hpp"

#include <algorithm>
#include <bit>
#include <cstring>
#include <stdexcept>
#include <string>

#include "runrig/sync/error.hpp"
#include "runrig/sync/killpoint.hpp"

namespace runrig::detail {
namespace {

constexpr std::array<char, 8> heap_magic{'R', 'R', 'H', 'E', 'A', 'P', '\r', '\n'};
constexpr std::uint64_t heap_layout = 1;
constexpr std::uint64_t header_bytes = sizeof(BlockHeader);
constexpr std::uint64_t first_block =
    (sizeof(HeapHeader) + header_bytes + heap_unit - 1) / heap_unit * heap_unit - header_bytes;
constexpr std::size_t most_alignment = 4096;
constexpr std::uint64_t state_bits = heap_unit - 1;

[[noreturn]] void corrupt(std::string_view why, std::uint64_t at) {
  throw FormatError("use heap", "at byte " + std::to_string(at), why);
}

std::size_t bin_of(std::uint64_t bytes) noexcept {
  return std::min<std::size_t>(static_cast<std::size_t>(std::bit_width(bytes / heap_unit)) - 1, heap_bins - 1);
}

// Of a payload with its header; bytes was compared with the capacity before.
std::uint64_t block_bytes_for(std::size_t bytes) noexcept {
  return (bytes + header_bytes + heap_unit - 1) / heap_unit * heap_unit;
}

}  // namespace

std::optional<std::size_t> HeapCore::segment_bytes(std::size_t capacity_bytes) noexcept {
  constexpr std::size_t page = 4096;
  constexpr std::size_t overhead = first_block + 2 * header_bytes + heap_unit + most_alignment + page;
  if (capacity_bytes > static_cast<std::size_t>(PTRDIFF_MAX) - overhead) return std::nullopt;
  return (capacity_bytes + overhead) / page * page;
}

void HeapCore::format(std::span<std::byte> segment) noexcept {
  auto& header = *reinterpret_cast<HeapHeader*>(segment.data());
  header.layout_version = heap_layout;
  header.segment_bytes = segment.size();
  header.next_serial = 1;
  const std::uint64_t bytes = segment.size() - header_bytes - first_block;
  auto& block = *reinterpret_cast<BlockHeader*>(segment.data() + first_block);
  // Relaxed: nobody else has the segment before its handle is passed on.
  block.word.store(bytes | static_cast<std::uint64_t>(BlockState::free), std::memory_order_relaxed);
  header.bins[bin_of(bytes)] = first_block;
  header.touched = first_block + header_bytes;
  header.magic = heap_magic;
}

HeapCore::HeapCore(std::span<std::byte> segment)
    : segment_(segment), first_(first_block), end_(segment.size() - header_bytes) {
  const auto fail = [](std::string_view why) -> void { throw FormatError("attach", "heap", why); };
  if (segment.size() < first_block + heap_unit + header_bytes || segment.size() % heap_unit != 0) {
    fail("it is too short, or not a whole number of cache lines");
  }
  if (header().magic != heap_magic) fail("it is no heap");
  if (header().layout_version != heap_layout) {
    fail("its layout is number " + std::to_string(header().layout_version) + ", ours " + std::to_string(heap_layout));
  }
  if (header().segment_bytes != segment.size()) fail("it was made with another length");
}

bool HeapCore::is_place(std::uint64_t at) const noexcept {
  return at >= first_ && at < end_ && at % heap_unit == heap_unit - header_bytes;
}

BlockHeader& HeapCore::header_at(std::uint64_t at) const {
  if (!is_place(at)) corrupt("a block's place is impossible", at);
  return *reinterpret_cast<BlockHeader*>(segment_.data() + at);
}

HeapCore::Block HeapCore::block_at(std::uint64_t at) const {
  // Acquire: pairs with set(). Who sees a block without the lock sees its header as it was then; under the lock,
  // the lock has ordered everything already.
  const std::uint64_t word = header_at(at).word.load(std::memory_order_acquire);
  const Block block{word & ~state_bits, static_cast<BlockState>(word & state_bits)};
  if (block.bytes == 0 || block.bytes > end_ - at) corrupt("a block's length is impossible", at);
  if (block.state != BlockState::free && block.state != BlockState::used)
    corrupt("a block is neither free nor used", at);
  return block;
}

// The one step that changes the truth.
void HeapCore::set(std::uint64_t at, std::uint64_t bytes, BlockState state) noexcept {
  auto& block = *reinterpret_cast<BlockHeader*>(segment_.data() + at);
  header().touched = std::max(header().touched, at + header_bytes);
  // Release: pairs with block_at(), and keeps the compiler from moving what was prepared (a header inside the block,
  // the serial, in_flight) behind this store: a kill must not come between.
  block.word.store(bytes | static_cast<std::uint64_t>(state), std::memory_order_release);
}

std::unique_lock<Lock> HeapCore::locked() {
  return lock_repairing(header().lock, [this] { rebuild(); });
}

void HeapCore::link(std::uint64_t at, std::uint64_t bytes) {
  std::uint64_t& first = header().bins[bin_of(bytes)];
  auto& block = header_at(at);
  // Relaxed, here and for the other links: the heap's lock orders them; they are atomic only because used blocks
  // keep in their place what is looked at without it.
  block.serial.store(first, std::memory_order_relaxed);
  block.payload.store(0, std::memory_order_relaxed);
  if (first != 0) header_at(first).payload.store(at, std::memory_order_relaxed);
  first = at;
}

void HeapCore::unlink(std::uint64_t at, std::uint64_t bytes) {
  const std::uint64_t next = header_at(at).serial.load(std::memory_order_relaxed);
  const std::uint64_t previous = header_at(at).payload.load(std::memory_order_relaxed);
  if (previous != 0) {
    header_at(previous).serial.store(next, std::memory_order_relaxed);
  } else {
    if (header().bins[bin_of(bytes)] != at) corrupt("a free block is not in its list", at);
    header().bins[bin_of(bytes)] = next;
  }
  if (next != 0) header_at(next).payload.store(previous, std::memory_order_relaxed);
}

void HeapCore::tell_next(std::uint64_t at, std::uint64_t bytes) {
  if (at + bytes < end_) header_at(at + bytes).previous_bytes = bytes;
}

// The first block that is long enough among the first `patience` of a list; 0 if none is.
std::uint64_t HeapCore::first_fit(std::size_t bin, std::uint64_t bytes, std::size_t patience) const {
  std::uint64_t at = header().bins[bin];
  for (; at != 0 && patience > 0; --patience) {
    const Block block = block_at(at);
    if (block.state != BlockState::free) corrupt("a used block is in a list of free ones", at);
    if (block.bytes >= bytes) return at;
    at = header_at(at).serial.load(std::memory_order_relaxed);
  }
  return 0;
}

std::uint64_t HeapCore::find(std::uint64_t bytes) const {
  const std::size_t own = bin_of(bytes);
  if (const auto at = first_fit(own, bytes, 16)) return at;
  for (std::size_t bin = own + 1; bin < heap_bins; ++bin) {
    if (const auto at = first_fit(bin, bytes, 1)) return at;
  }
  // As many steps as there can be blocks, so that a list overwritten to a ring ends.
  return first_fit(own, bytes, (end_ - first_) / heap_unit);
}

// Makes the payload aligned by leaving the front of a free block (not in a list any more) behind as a free block of
// its own. Returns where the rest begins.
std::uint64_t HeapCore::split_front(std::uint64_t at, std::uint64_t bytes, std::size_t alignment) {
  const std::uint64_t payload = (at + header_bytes + alignment - 1) / alignment * alignment;
  const std::uint64_t rest = payload - header_bytes;
  if (rest == at) return at;
  set(rest, bytes - (rest - at), BlockState::free);  // not yet seen by a walk
  header_at(rest).previous_bytes = rest - at;
  RUNRIG_KILLPOINT("heap.allocate.front_written");
  set(at, rest - at, BlockState::free);
  RUNRIG_KILLPOINT("heap.allocate.front_split");
  tell_next(rest, bytes - (rest - at));
  link(at, rest - at);
  return rest;
}

std::optional<HeapCore::Allocation> HeapCore::allocate(std::size_t bytes, std::size_t alignment) {
  if (!std::has_single_bit(alignment) || alignment > most_alignment) {
    throw std::invalid_argument("allocate: the alignment is not a power of two up to 4096");
  }
  if (bytes > capacity_bytes()) return std::nullopt;
  const std::uint64_t needed = block_bytes_for(bytes);
  const std::uint64_t worst = alignment > heap_unit ? needed + alignment - heap_unit : needed;
  const auto lock = locked();
  const std::uint64_t dirty_end = header().touched;  // before the splits, which write headers outside the payload only
  std::uint64_t at = find(worst);
  if (at == 0) return std::nullopt;
  unlink(at, block_at(at).bytes);
  RUNRIG_KILLPOINT("heap.allocate.unlinked");
  at = split_front(at, block_at(at).bytes, alignment);
  const std::uint64_t have = block_at(at).bytes;
  if (have > needed) {
    const std::uint64_t rest = at + needed;
    set(rest, have - needed, BlockState::free);  // not yet seen by a walk
    header_at(rest).previous_bytes = needed;
    tell_next(rest, have - needed);
    link(rest, have - needed);
    RUNRIG_KILLPOINT("heap.allocate.rest_written");
  }
  const std::uint64_t serial = header().next_serial++;
  header_at(at).serial.store(serial, std::memory_order_relaxed);  // published by set()
  header_at(at).payload.store(bytes, std::memory_order_relaxed);
  // Release, both times: not for other readers, who have the lock, but against reordering by the compiler around
  // what a kill may cut.
  header().touched = std::max(header().touched, at + needed);
  header().in_flight.store(at, std::memory_order_release);
  RUNRIG_KILLPOINT("heap.allocate.announced");
  set(at, needed, BlockState::used);
  RUNRIG_KILLPOINT("heap.allocate.taken");
  header().in_flight.store(0, std::memory_order_release);
  // Fresh pages are zero already; filling them again would double the cost of a large block.
  const std::uint64_t payload = at + header_bytes;
  if (dirty_end > payload) std::memset(segment_.data() + payload, 0, std::min(dirty_end, at + needed) - payload);
  return Allocation{payload, serial};
}

void HeapCore::free(const BlockHandle& block) {
  const auto lock = locked();
  if (!in_use(block)) {
    throw std::logic_error("free the heap block at byte " + std::to_string(block.offset) +
                           ": not in use (freed twice, or of another heap)");
  }
  const std::uint64_t at = block.offset - header_bytes;
  const std::uint64_t bytes = block_at(at).bytes;
  header().in_flight.store(at, std::memory_order_release);  // as in allocate()
  RUNRIG_KILLPOINT("heap.free.announced");
  set(at, bytes, BlockState::free);
  RUNRIG_KILLPOINT("heap.free.freed");
  merge_and_link(at);
  header().in_flight.store(0, std::memory_order_release);
}

// Joins a free block that is in no list with free neighbours, and lists the result.
void HeapCore::merge_and_link(std::uint64_t at) {
  std::uint64_t bytes = block_at(at).bytes;
  if (const std::uint64_t next = at + bytes; next < end_) {
    if (const Block block = block_at(next); block.state == BlockState::free) {
      unlink(next, block.bytes);
      RUNRIG_KILLPOINT("heap.free.next_unlinked");
      bytes += block.bytes;
      set(at, bytes, BlockState::free);
      RUNRIG_KILLPOINT("heap.free.next_merged");
    }
  }
  if (at > first_) {
    const std::uint64_t previous = at - header_at(at).previous_bytes;
    const Block block = block_at(previous);
    if (block.bytes != at - previous) corrupt("two neighbours disagree about their border", at);
    if (block.state == BlockState::free) {
      unlink(previous, block.bytes);
      bytes += block.bytes;
      at = previous;
      RUNRIG_KILLPOINT("heap.free.previous_unlinked");
      set(at, bytes, BlockState::free);
      RUNRIG_KILLPOINT("heap.free.previous_merged");
    }
  }
  tell_next(at, bytes);
  RUNRIG_KILLPOINT("heap.free.told");
  link(at, bytes);
  RUNRIG_KILLPOINT("heap.free.linked");
}

bool HeapCore::in_use(const BlockHandle& block) const noexcept {
  if (block.offset < header_bytes || !is_place(block.offset - header_bytes)) return false;
  const auto& header = *reinterpret_cast<const BlockHeader*>(segment_.data() + block.offset - header_bytes);
  // Acquire: pairs with set(): the serial and the payload are those of the use that the word tells of.
  const std::uint64_t word = header.word.load(std::memory_order_acquire);
  const std::uint64_t bytes = word & ~state_bits;
  return static_cast<BlockState>(word & state_bits) == BlockState::used && bytes >= heap_unit &&
         bytes <= end_ - (block.offset - header_bytes) && block.bytes <= bytes - header_bytes &&
         header.serial.load(std::memory_order_relaxed) == block.serial &&
         header.payload.load(std::memory_order_relaxed) == block.bytes;
}

// Makes all that is derived anew, and frees what was in flight. Each step leaves the truth such that a repairer killed
// there is followed by another that starts again.
void HeapCore::rebuild() {
  header().bins.fill(0);
  // Relaxed: the lock's recovery has ordered what the dead process wrote.
  const std::uint64_t in_flight = header().in_flight.load(std::memory_order_relaxed);
  std::uint64_t previous = 0;
  Block before{0, BlockState::used};
  for (std::uint64_t at = first_; at < end_;) {
    Block block = block_at(at);
    const std::uint64_t next = at + block.bytes;
    if (at == in_flight && block.state == BlockState::used) {
      block.state = BlockState::free;
      set(at, block.bytes, BlockState::free);
      RUNRIG_KILLPOINT("heap.repair.freed");
    }
    if (before.state == BlockState::free && block.state == BlockState::free) {
      before.bytes += block.bytes;
      set(previous, before.bytes, BlockState::free);
      RUNRIG_KILLPOINT("heap.repair.merged");
    } else {
      if (before.state == BlockState::free) link(previous, before.bytes);
      header_at(at).previous_bytes = before.bytes;
      previous = at;
      before = block;
    }
    at = next;
  }
  if (before.state == BlockState::free) link(previous, before.bytes);
  RUNRIG_KILLPOINT("heap.repair.linked");
  ++header().repairs;
  header().in_flight.store(0, std::memory_order_release);  // as in allocate()
}

std::size_t HeapCore::check_lists() const {
  std::size_t listed = 0;
  for (std::size_t bin = 0; bin < heap_bins; ++bin) {
    std::uint64_t previous = 0;
    for (std::uint64_t at = header().bins[bin]; at != 0; at = header_at(at).serial.load(std::memory_order_relaxed)) {
      const Block block = block_at(at);
      if (block.state != BlockState::free || bin_of(block.bytes) != bin) corrupt("a block is in the wrong list", at);
      if (header_at(at).payload.load(std::memory_order_relaxed) != previous) corrupt("a list is not linked back", at);
      if (++listed > (end_ - first_) / heap_unit) corrupt("a list has no end", at);
      previous = at;
    }
  }
  return listed;
}

HeapReport HeapCore::check() {
  const auto lock = locked();
  HeapReport report;
  report.repairs = header().repairs;
  Block before{0, BlockState::used};
  for (std::uint64_t at = first_; at < end_; at += before.bytes) {
    const Block block = block_at(at);
    if (header_at(at).previous_bytes != before.bytes) corrupt("two neighbours disagree about their border", at);
    if (block.state == BlockState::free && before.state == BlockState::free)
      corrupt("two free blocks are neighbours", at);
    (block.state == BlockState::free ? report.free_blocks : report.used_blocks) += 1;
    (block.state == BlockState::free ? report.free_bytes : report.used_bytes) += block.bytes;
    before = block;
  }
  if (check_lists() != report.free_blocks) corrupt("not every free block is in a list", 0);
  if (header().in_flight.load(std::memory_order_relaxed) != 0) corrupt("an operation is unfinished", 0);
  return report;
}

}  // namespace runrig::detail
