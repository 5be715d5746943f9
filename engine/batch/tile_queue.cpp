#include "tile_queue.hpp"

#include <chrono>

#include "runrig/sync/killpoint.hpp"

namespace runrig::batch {
namespace {

// What a wake-up that was lost with its sender costs.
constexpr std::chrono::milliseconds longest_sleep(50);

}  // namespace

bool TileQueue::is_made(std::uint32_t i) const noexcept {
  // Acquire: pairs with tell_made(); who sees it sees the tile.
  return std::atomic_ref<std::uint32_t>(tiles_[i].made).load(std::memory_order_acquire) != 0;
}

bool TileQueue::await_room(SliceContext& context, std::uint32_t i) noexcept {
  if (slots_ == 0) return true;
  for (;;) {
    // Acquire: pairs with tell_placed(); the writer has done with the memory.
    const std::uint32_t placed = placed_.load(std::memory_order_acquire);
    if (i < slots_ || i - slots_ < placed) return true;
    if (context.cancelled()) return false;
    context.heartbeat();  // waiting is no stall
    (void)futex_wait(placed_, placed, Deadline::after(longest_sleep));
  }
}

void TileQueue::tell_made(std::uint32_t i) noexcept {
  if (slots_ == 0) return;
  // Release: pairs with is_made().
  std::atomic_ref<std::uint32_t>(tiles_[i].made).store(1, std::memory_order_release);
  RUNRIG_KILLPOINT("batch.queue.told");
  // Release, so that who wakes by the number finds the tile. A death in between costs the writer a moment.
  made_.fetch_add(1, std::memory_order_release);
  futex_wake_all(made_);
}

bool TileQueue::await_made(SliceContext& context, std::uint32_t i) noexcept {
  for (;;) {
    // Acquire: pairs with tell_made(). Read first, so that a tile told in between ends the wait at once.
    const std::uint32_t seen = made_.load(std::memory_order_acquire);
    if (is_made(i)) return true;
    if (context.cancelled()) return false;
    context.heartbeat();
    (void)futex_wait(made_, seen, Deadline::after(longest_sleep));
  }
}

void TileQueue::tell_placed(std::uint32_t i) noexcept {
  // Release: pairs with await_room().
  placed_.store(i + 1, std::memory_order_release);
  futex_wake_all(placed_);
}

}  // namespace runrig::batch
