#pragma once

#include <algorithm>
#include <atomic>
#include <bit>
#include <chrono>
#include <cstdint>

#include "runrig/sync/clock.hpp"
#include "runrig/sync/futex.hpp"
#include "runrig/sync/participant.hpp"

/// What all that waits in shared memory has in common: the primitives of this room, and structures of the rooms above.
namespace runrig::detail {

/// A kill can cut off the wake-up that follows a change, and nobody is told of a death. So no sleep is longer than
/// this: then the sleeper looks by itself. The first look comes soon, for who arrives after the death; each sleep after
/// it is twice as long, because a look at a participant's liveness costs 10 µs. So a death is found in no more time
/// than the wait has lasted already: a few milliseconds where what is waited for takes that long.
inline constexpr std::chrono::milliseconds first_look{1};
inline constexpr std::chrono::milliseconds later_look{50};
/// Who only tries, in a loop perhaps, must not read /proc each time.
inline constexpr std::chrono::milliseconds look_again{10};

/// What a processor does best while it spins.
inline void pause_processor() noexcept {
#if defined(__x86_64__) || defined(__i386__)
  __builtin_ia32_pause();
#elif defined(__aarch64__)
  asm volatile("yield");
#endif
}

/// Asks for a cache line that will be written soon, so that nobody else has it then. Any address.
inline void prefetch_to_write(const void* address) noexcept {
#if defined(__x86_64__)
  // By name: for processors at large the builtin becomes a prefetch to read, and the line, shared then, has to be asked
  // for once more when it is written. Those that do not know the instruction do nothing.
  asm volatile("prefetchw %0" : : "m"(*static_cast<const char*>(address)));
#else
  __builtin_prefetch(address, 1);
#endif
}

/// Before the first sleep: pauses of 40 to 140 cycles, doubled from look to look at the word, about as long in all as
/// a sleep and a wake-up cost at least. Few looks leave the cache line to the holder, who is all the faster.
class Pauses {
 public:
  /// Pauses; false, at once, when it is time to sleep instead.
  bool pause() noexcept {
    if (next_ > longest) return false;
    for (int times = next_; times > 0; --times) pause_processor();
    next_ *= 2;
    return true;
  }

 private:
  static constexpr int longest = 64;
  int next_ = 4;
};

/// When a sleeper's next look is due. By the clock, not by how a sleep ended: a flood of signals must not put the look
/// off for ever.
class Looks {
 public:
  [[nodiscard]] Deadline next() const noexcept { return next_; }
  /// True if a look is due; the next one is then a later one.
  [[nodiscard]] bool due() {
    if (!next_.passed()) return false;
    sleep_ = std::min(2 * sleep_, later_look);
    next_ = Deadline::after(sleep_);
    return true;
  }

 private:
  std::chrono::milliseconds sleep_ = first_look;
  Deadline next_ = Deadline::after(first_look);
};

// A sleeper waits on the half of its word that has the flags. If it went to another value and back meanwhile, it is
// right to sleep.
static_assert(std::endian::native == std::endian::little, "the futex is the low half of the word");
inline const std::atomic<std::uint32_t>& futex_of(const std::atomic<std::uint64_t>& word) noexcept {
  return reinterpret_cast<const std::atomic<std::uint32_t>&>(word);  // only its address is used, by the kernel
}

/// After a change to `word`, which made it `changed`, with the flag `sleepers` up: wakes at most `count`, and takes the
/// flag down if there are no more.
inline void wake_sleepers(std::atomic<std::uint32_t>& word, int count, std::uint32_t changed,
                          std::uint32_t sleepers) noexcept {
  if (futex_wake(word, count) >= count) return;
  // Relaxed: the flag says nothing about other memory.
  if (word.compare_exchange_strong(changed, changed & ~sleepers, std::memory_order_relaxed)) {
    // Whoever fell asleep since the first wake-up did so by a flag that is gone now. Who is on the way to sleep
    // compares the word, and raises it again.
    futex_wake_all(word);
  }
}

// The identities as fast paths want them: from memory, without a call, unless nobody asked before (or a fork came
// between, which empties the page).
inline Identity process_now() noexcept {
  const Self& self = *self_page.load(std::memory_order_acquire);  // pairs with the page's publication
  // Acquire: pairs with the release that published the mark; the domain was stored before.
  const std::uint64_t mark = self.mark.load(std::memory_order_acquire);
  if (mark == 0) [[unlikely]]
    return this_process_identity();
  return {mark, self.domain.load(std::memory_order_relaxed), ParticipantKind::process};
}

inline Identity thread_now() noexcept {
  const Identity process = process_now();
  const ThreadSelf& self = thread_self;
  if (self.process_mark != process.mark) [[unlikely]]
    return this_thread_identity();
  return {self.mark, process.domain, ParticipantKind::thread};
}

}  // namespace runrig::detail
