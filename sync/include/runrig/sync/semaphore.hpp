#pragma once

#include <atomic>
#include <chrono>
#include <cstdint>
#include <type_traits>

#include "runrig/sync/address_free.hpp"
#include "runrig/sync/clock.hpp"

namespace runrig {
namespace detail {

/// The machinery that Semaphore and BoundedSemaphore share: a count, and beside it in the same word the flag "there may
/// be sleepers". Each change is one compare-exchange, so a kill leaves the state before or after it; what it can cut
/// off is the wake-up, and therefore no sleep is longer than 50 ms.
class TokenCount {
 public:
  constexpr explicit TokenCount(std::uint32_t tokens) noexcept : word_(tokens) {}

  /// Takes a token, or waits for one until `deadline`; false then.
  [[nodiscard]] bool take(Deadline deadline) noexcept;
  /// False, and nothing is changed, if the count would be above `limit`.
  [[nodiscard]] bool give(std::uint32_t tokens, std::uint32_t limit) noexcept;
  [[nodiscard]] std::uint32_t count() const noexcept;

 private:
  std::atomic<std::uint32_t> word_;
};

/// Throws std::invalid_argument unless 0 <= `value` <= 2^31 - 1.
constexpr std::uint32_t checked_tokens(std::int64_t value);
[[noreturn]] void throw_bad_token_count(std::int64_t value);

}  // namespace detail

/// A count of tokens that processes and threads take and give: Python's multiprocessing.Semaphore.
///
/// Lies in memory shared between processes, at any address; all-zero bytes are a semaphore of value 0. 4 bytes, no
/// destructor to run, neither copied nor moved. A C++ Lockable as well, as Python's is a context manager:
/// `const std::lock_guard guard(semaphore)`.
///
/// **It has no owner.** Whoever likes may release, also who never acquired: that is what makes it a signal between
/// processes, and why *a token that a process held when it died is lost*. Where that must not be, use
/// RobustSemaphore. What a death does leave is a semaphore that works: a process killed while it waits takes no token
/// and no wake-up with it (others may be woken up to 50 ms later), one killed while it releases has done so or not.
///
/// **Waiting** spins for a microsecond or two, then sleeps. Waiters are not queued. Timeouts run on the monotonic
/// clock; zero, negative and NaN mean "do not wait", one too long to add up means for ever. What was written before
/// release() is seen by whoever acquires that token.
class Semaphore {
 public:
  /// The largest value: 2^31 - 1, as Python's.
  static constexpr std::int64_t max_value = 0x7fffffff;

  /// Throws std::invalid_argument if `value` is negative or above max_value.
  constexpr explicit Semaphore(std::int64_t value = 1) : tokens_(detail::checked_tokens(value)) {}
  Semaphore(const Semaphore&) = delete;
  Semaphore& operator=(const Semaphore&) = delete;

  /// Takes a token; waits for one if there is none. Returns true, as Python's does.
  bool acquire() noexcept { return acquire_before(Deadline()); }
  /// False if there was no token within `timeout`; acquire(0s) is Python's acquire(block=False).
  template <class Rep, class Period>
  [[nodiscard]] bool acquire(std::chrono::duration<Rep, Period> timeout) {
    return acquire_before(Deadline::after(timeout));
  }
  [[nodiscard]] bool try_acquire() noexcept { return acquire_before(Deadline::at(Clock::time_point::min())); }
  [[nodiscard]] bool acquire_before(Deadline deadline) noexcept { return tokens_.take(deadline); }

  /// Gives `tokens`, and wakes as many who wait. Throws std::invalid_argument if `tokens` is not positive,
  /// std::logic_error if the value would be above max_value.
  void release(std::int64_t tokens = 1);

  /// How many tokens there are. Out of date when you read it.
  [[nodiscard]] std::int64_t get_value() const noexcept { return tokens_.count(); }

  void lock() noexcept { acquire(); }
  [[nodiscard]] bool try_lock() noexcept { return try_acquire(); }
  void unlock() { release(); }

 private:
  detail::TokenCount tokens_;
};

/// A semaphore whose value never rises above where it began: Python's multiprocessing.BoundedSemaphore, for what there
/// is a fixed number of. As Semaphore, also in what a death loses; 8 bytes; all-zero bytes have no tokens and take
/// none.
class BoundedSemaphore {
 public:
  static constexpr std::int64_t max_value = Semaphore::max_value;

  constexpr explicit BoundedSemaphore(std::int64_t value = 1)
      : tokens_(detail::checked_tokens(value)), bound_(detail::checked_tokens(value)) {}
  BoundedSemaphore(const BoundedSemaphore&) = delete;
  BoundedSemaphore& operator=(const BoundedSemaphore&) = delete;

  bool acquire() noexcept { return acquire_before(Deadline()); }
  template <class Rep, class Period>
  [[nodiscard]] bool acquire(std::chrono::duration<Rep, Period> timeout) {
    return acquire_before(Deadline::after(timeout));
  }
  [[nodiscard]] bool try_acquire() noexcept { return acquire_before(Deadline::at(Clock::time_point::min())); }
  [[nodiscard]] bool acquire_before(Deadline deadline) noexcept { return tokens_.take(deadline); }

  /// Throws std::logic_error, and changes nothing, if more would then have been released than acquired;
  /// std::invalid_argument if `tokens` is not positive.
  void release(std::int64_t tokens = 1);

  [[nodiscard]] std::int64_t get_value() const noexcept { return tokens_.count(); }
  /// What it began with.
  [[nodiscard]] std::int64_t bound() const noexcept { return bound_; }

  void lock() noexcept { acquire(); }
  [[nodiscard]] bool try_lock() noexcept { return try_acquire(); }
  void unlock() { release(); }

 private:
  detail::TokenCount tokens_;
  std::uint32_t bound_;  // never changed
};

constexpr std::uint32_t detail::checked_tokens(std::int64_t value) {
  if (value < 0 || value > Semaphore::max_value) throw_bad_token_count(value);
  return static_cast<std::uint32_t>(value);
}

template <>
inline constexpr bool is_address_free<Semaphore> = true;
template <>
inline constexpr bool is_address_free<BoundedSemaphore> = true;

static_assert(std::is_standard_layout_v<Semaphore> && sizeof(Semaphore) == 4 &&
                  std::is_standard_layout_v<BoundedSemaphore> && sizeof(BoundedSemaphore) == 8,
              "separately built processes share them");
static_assert(std::is_trivially_destructible_v<Semaphore> && std::is_trivially_destructible_v<BoundedSemaphore>,
              "the memory may go without notice");

}  // namespace runrig
