#include "runrig/sync/event.hpp"

#include "runrig/sync/futex.hpp"
#include "runrig/sync/killpoint.hpp"
#include "runrig/sync/waiting.hpp"

// What a kill leaves: the word changes by single compare-exchanges. Killed between setting it and the wake-up
// (event.set), the sleepers look by themselves within 50 ms. Killed asleep (event.waiting, event.woken): the flag,
// whose price is one idle wake-up.

namespace runrig {
namespace {

constexpr std::uint32_t is_set_bit = 1;
constexpr std::uint32_t sleepers = 2;
constexpr std::uint32_t one_more_set = 4;
constexpr std::uint32_t times_set(std::uint32_t word) { return word / one_more_set; }

}  // namespace

bool Event::is_set() const noexcept {
  return (word_.load(std::memory_order_acquire) & is_set_bit) != 0;  // pairs with the release in set()
}

void Event::set() noexcept {
  std::uint32_t word = word_.load(std::memory_order_relaxed);  // relaxed: compared again below
  std::uint32_t next = 0;
  do {
    // Also when it is set already a read-modify-write, and so a release: who waits sees what was written before any
    // of the calls of set() that came before.
    next = (word & is_set_bit) != 0 ? word : ((word & ~sleepers) + one_more_set) | is_set_bit;
    // Release: pairs with the acquires in is_set() and wait_before().
  } while (!word_.compare_exchange_weak(word, next, std::memory_order_release, std::memory_order_relaxed));
  RUNRIG_KILLPOINT("event.set");
  if (next != word && (word & sleepers) != 0) futex_wake_all(word_);
}

void Event::clear() noexcept {
  word_.fetch_and(~is_set_bit, std::memory_order_relaxed);  // relaxed: announces nothing
  RUNRIG_KILLPOINT("event.cleared");
}

bool Event::wait_before(Deadline deadline) const noexcept {
  // Acquire, here and below: pairs with the release in set().
  std::uint32_t word = word_.load(std::memory_order_acquire);
  const std::uint32_t times_at_first = times_set(word);
  detail::Pauses pauses;
  for (;; word = word_.load(std::memory_order_acquire)) {
    // Unequal, not greater: the count may wrap.
    if ((word & is_set_bit) != 0 || times_set(word) != times_at_first) return true;
    if (deadline.passed()) return false;
    if (pauses.pause()) continue;
    // Relaxed: the futex call compares the word again in the kernel.
    if ((word & sleepers) == 0 && !word_.compare_exchange_weak(word, word | sleepers, std::memory_order_relaxed)) {
      continue;
    }
    RUNRIG_KILLPOINT("event.waiting");
    futex_wait(word_, word | sleepers, deadline.sooner(Deadline::after(detail::later_look)));
    RUNRIG_KILLPOINT("event.woken");
  }
}

}  // namespace runrig
