#include "runrig/shm/heap.hpp"

#include <algorithm>
#include <atomic>
#include <map>
#include <mutex>
#include <stdexcept>
#include <string>
#include <vector>

#include "heap_segment.hpp"
#include "runrig/sync/error.hpp"
#include "runrig/sync/fork_hooks.hpp"

namespace runrig {
namespace {

using detail::HeapSegment;

constexpr std::size_t first_heap_bytes = std::size_t{256} << 10;
constexpr std::size_t largest_heap_bytes = std::size_t{4} << 20;
constexpr std::size_t own_memory_bytes = std::size_t{64} << 10;  // requests from here on get a memfd of their own

// What this process has mapped. Under the mutex nothing is mapped, unmapped or waited for: those may take other locks
// of this room, which are held over forks as well, and before this one. Never destroyed: blocks may be freed by
// destructors that run after ours would.
struct ProcessHeaps {
  std::mutex mutex;
  std::map<SegmentId, std::weak_ptr<HeapSegment>> mapped;
  std::vector<Heap> own;         // for small requests; the newest last
  std::uint64_t generation = 0;  // of the process that `own` belongs to

  [[nodiscard]] std::shared_ptr<HeapSegment> find(SegmentId id) {
    const std::lock_guard guard(mutex);
    const auto known = mapped.find(id);
    return known == mapped.end() ? nullptr : known->second.lock();
  }
  // Returns the one that is known already, if there is one.
  std::shared_ptr<HeapSegment> remember(const std::shared_ptr<HeapSegment>& segment) {
    const std::lock_guard guard(mutex);
    std::erase_if(mapped, [](const auto& each) { return each.second.expired(); });
    auto& known = mapped[segment->memory().id()];
    auto other = known.lock();
    if (!other) known = segment;
    return other ? other : segment;
  }
};

// Relaxed everywhere: it changes only in a child that has no other thread yet.
std::atomic<std::uint64_t> generation{0};

ProcessHeaps& process_heaps();
void before_fork() { process_heaps().mutex.lock(); }  // so that no child finds it held by a thread that it lacks
void after_fork_in_parent() { process_heaps().mutex.unlock(); }
void after_fork_in_child() {
  generation.fetch_add(1, std::memory_order_relaxed);
  process_heaps().mutex.unlock();
}

ProcessHeaps& process_heaps() {
  static ProcessHeaps& heaps = *new ProcessHeaps;
  return heaps;
}

// At load, so that no fork comes before; and before those of fork_hooks.cpp, see there.
[[gnu::constructor(200)]] void register_hooks() {
  detail::add_fork_hooks(before_fork, after_fork_in_parent, after_fork_in_child);
}

void check_belongs(const BlockHandle& block, const HeapSegment& segment) {
  if (block.segment.id != segment.memory().id()) {
    throw std::logic_error("use a heap block with another heap than its own");
  }
}

}  // namespace

namespace detail {

std::uint64_t fork_generation() noexcept { return generation.load(std::memory_order_relaxed); }

std::pair<Heap, BlockHandle> allocate_in_process(std::size_t bytes, std::size_t alignment) {
  if (bytes >= own_memory_bytes) {
    Heap heap = Heap::create(bytes);
    const BlockHandle block = heap.allocate(bytes, alignment);
    return {std::move(heap), block};
  }
  std::vector<Heap> candidates;
  std::vector<Heap> inherited;  // over a fork: what this process allocated there would stay when it is killed
  {
    ProcessHeaps& heaps = process_heaps();
    const std::lock_guard guard(heaps.mutex);
    if (std::exchange(heaps.generation, fork_generation()) != fork_generation()) inherited.swap(heaps.own);
    candidates = heaps.own;
  }
  for (auto heap = candidates.rbegin(); heap != candidates.rend(); ++heap) {
    if (const auto block = heap->try_allocate(bytes, alignment)) return {*heap, *block};
  }
  Heap heap =
      Heap::create(std::min(first_heap_bytes << std::min<std::size_t>(candidates.size(), 4), largest_heap_bytes));
  const BlockHandle block = heap.allocate(bytes, alignment);
  ProcessHeaps& heaps = process_heaps();
  const std::lock_guard guard(heaps.mutex);
  heaps.own.push_back(heap);
  return {std::move(heap), block};
}

}  // namespace detail

Heap Heap::create(std::size_t capacity_bytes) {
  const auto segment_bytes = detail::HeapCore::segment_bytes(capacity_bytes);
  if (!segment_bytes) throw Error(std::errc::not_enough_memory, "make a heap of bytes", std::to_string(capacity_bytes));
  auto memory = AnonymousMemory::create("runrig-heap", *segment_bytes);
  detail::HeapCore::format(memory.writable_bytes());
  return Heap(process_heaps().remember(std::make_shared<HeapSegment>(std::move(memory))));
}

Heap Heap::attach(const SegmentHandle& segment) {
  ProcessHeaps& heaps = process_heaps();
  if (auto known = heaps.find(segment.id)) return Heap(std::move(known));
  const auto mapped = std::make_shared<HeapSegment>(AnonymousMemory::attach(segment));
  // Another thread may have been faster; then ours is unmapped again, after the mutex.
  return Heap(heaps.remember(mapped));
}

std::optional<BlockHandle> Heap::try_allocate(std::size_t bytes, std::size_t alignment) {
  const auto block = segment_->core().allocate(bytes, alignment);
  if (!block) return std::nullopt;
  return BlockHandle{handle(), block->offset, bytes, block->serial};
}

BlockHandle Heap::allocate(std::size_t bytes, std::size_t alignment) {
  if (const auto block = try_allocate(bytes, alignment)) return *block;
  throw Error(std::errc::not_enough_memory, "allocate " + std::to_string(bytes) + " bytes in a heap of",
              std::to_string(capacity_bytes()));
}

void Heap::free(const BlockHandle& block) {
  check_belongs(block, *segment_);
  segment_->core().free(block);
}

std::span<std::byte> Heap::bytes(const BlockHandle& block) const {
  check_belongs(block, *segment_);
  if (!segment_->core().in_use(block)) {
    throw std::logic_error("use the heap block at byte " + std::to_string(block.offset) + ": it was freed");
  }
  return segment_->bytes().subspan(block.offset, block.bytes);
}

SegmentHandle Heap::handle() const { return segment_->memory().handle(); }
std::size_t Heap::capacity_bytes() const noexcept { return segment_->core().capacity_bytes(); }
HeapReport Heap::check() const { return segment_->core().check(); }

// A block as one process holds it; all its SharedBlock copies there share this.
struct SharedBlock::State {
  Heap heap;
  BlockHandle block;
  // Relaxed: whoever calls release() tells the others itself, if they shall know.
  std::atomic<bool> owned;
  std::uint64_t generation = detail::fork_generation();

  State(Heap where, const BlockHandle& which, bool ours) : heap(std::move(where)), block(which), owned(ours) {}
  State(const State&) = delete;
  State& operator=(const State&) = delete;
  ~State() {
    if (!is_owned()) return;
    try {
      heap.free(block);
    } catch (const std::exception&) {
      // Only if somebody overwrote the heap, or freed the block by its handle. The memory goes with the heap's last
      // user.
    }
  }
  // A forked child inherits the object, not the ownership.
  [[nodiscard]] bool is_owned() const noexcept {
    return owned.load(std::memory_order_relaxed) && generation == detail::fork_generation();
  }
};

SharedBlock SharedBlock::allocate(std::size_t bytes, std::size_t alignment) {
  auto [heap, block] = detail::allocate_in_process(bytes, alignment);
  auto state = std::make_shared<State>(std::move(heap), block, true);
  const auto memory = state->heap.bytes(block);
  return SharedBlock(std::move(state), memory);
}

SharedBlock SharedBlock::attach(const BlockHandle& handle) {
  auto state = std::make_shared<State>(Heap::attach(handle.segment), handle, false);
  const auto memory = state->heap.bytes(handle);
  return SharedBlock(std::move(state), memory);
}

BlockHandle SharedBlock::handle() const {
  if (!state_) throw std::logic_error("handle(): this SharedBlock holds no block");
  BlockHandle handle = state_->block;
  handle.segment = state_->heap.handle();  // through this process: who made the block may be gone
  return handle;
}

bool SharedBlock::owned() const noexcept { return state_ && state_->is_owned(); }

void SharedBlock::release() noexcept {
  if (state_) state_->owned.store(false, std::memory_order_relaxed);
}

}  // namespace runrig
