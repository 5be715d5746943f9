#include "runrig/sync/semaphore.hpp"

#include <algorithm>
#include <climits>
#include <stdexcept>
#include <string>

#include "runrig/sync/futex.hpp"
#include "runrig/sync/killpoint.hpp"
#include "runrig/sync/waiting.hpp"

// What a kill leaves, step by step:
//
//   take    after the compare-exchange (semaphore.taken) the token is gone, with its holder.
//   sleep   (semaphore.waiting, semaphore.woken) nothing of ours is in the word but perhaps the flag. If we die having
//           been woken for a token, it is still there, and the others look when their 50 ms are over.
//   give    after the compare-exchange and before the wake-up (semaphore.released): the same.

namespace runrig {
namespace detail {
namespace {

constexpr std::uint32_t sleepers = std::uint32_t{1} << 31;
constexpr std::uint32_t count_bits = ~sleepers;

void check_release(std::int64_t tokens) {
  if (tokens < 1) {
    throw std::invalid_argument("release a semaphore: " + std::to_string(tokens) + " tokens; it must be one or more");
  }
}

}  // namespace

void throw_bad_token_count(std::int64_t value) {
  throw std::invalid_argument("make a semaphore: its value " + std::to_string(value) + " must be from 0 to " +
                              std::to_string(Semaphore::max_value));
}

bool TokenCount::take(Deadline deadline) noexcept {
  Pauses pauses;
  for (;;) {
    // Relaxed: what counts is the compare-exchange that follows.
    std::uint32_t word = word_.load(std::memory_order_relaxed);
    if ((word & count_bits) != 0) {
      // Acquire: pairs with the release in give(): what was done before a token was given is seen by its taker. The
      // takers between them carry it on, for a read-modify-write continues a release sequence.
      if (word_.compare_exchange_weak(word, word - 1, std::memory_order_acquire, std::memory_order_relaxed)) {
        RUNRIG_KILLPOINT("semaphore.taken");
        return true;
      }
      continue;
    }
    // Before the deadline is looked at there was a look at the count: a wake-up is not thrown away by a timeout.
    if (deadline.passed()) return false;
    if (pauses.pause()) continue;
    // Relaxed: the futex call compares the word again in the kernel.
    if (word == 0 && !word_.compare_exchange_weak(word, sleepers, std::memory_order_relaxed)) continue;
    RUNRIG_KILLPOINT("semaphore.waiting");
    futex_wait(word_, sleepers, deadline.sooner(Deadline::after(later_look)));
    RUNRIG_KILLPOINT("semaphore.woken");
  }
}

bool TokenCount::give(std::uint32_t tokens, std::uint32_t limit) noexcept {
  std::uint32_t word = word_.load(std::memory_order_relaxed);  // relaxed: compared again below
  do {
    if (tokens > limit || (word & count_bits) > limit - tokens) return false;
    // Release: pairs with the acquire in take().
  } while (!word_.compare_exchange_weak(word, word + tokens, std::memory_order_release, std::memory_order_relaxed));
  RUNRIG_KILLPOINT("semaphore.released");
  if ((word & sleepers) == 0) return true;
  wake_sleepers(word_, static_cast<int>(std::min<std::uint32_t>(tokens, INT_MAX)), word + tokens, sleepers);
  return true;
}

std::uint32_t TokenCount::count() const noexcept {
  return word_.load(std::memory_order_relaxed) & count_bits;  // relaxed: a hint
}

}  // namespace detail

void Semaphore::release(std::int64_t tokens) {
  detail::check_release(tokens);
  if (tokens > max_value || !tokens_.give(static_cast<std::uint32_t>(tokens), static_cast<std::uint32_t>(max_value))) {
    throw std::logic_error("release a semaphore: its value would be above " + std::to_string(max_value));
  }
}

void BoundedSemaphore::release(std::int64_t tokens) {
  detail::check_release(tokens);
  if (tokens > max_value || !tokens_.give(static_cast<std::uint32_t>(tokens), bound_)) {
    throw std::logic_error("release a bounded semaphore: released more often than acquired; it began with " +
                           std::to_string(bound_));
  }
}

}  // namespace runrig
