#pragma once

#include <atomic>
#include <chrono>
#include <cstdint>
#include <type_traits>

#include "runrig/sync/address_free.hpp"
#include "runrig/sync/clock.hpp"
#include "runrig/sync/domain_table.hpp"

namespace runrig {

/// A semaphore whose tokens come back when their holder dies. Not in Python: what its Semaphore is mostly used for, a
/// limit on how many processes do something at a time, made to survive deaths.
///
/// Lies in memory shared between processes, at any address; 1 KiB, no destructor to run, neither copied nor moved;
/// all-zero bytes have no tokens and take none. A C++ Lockable, as Semaphore.
///
/// **Whose a token is.** Each token belongs to the *process* that acquired it, whichever of its threads did and does
/// release it. So a release by a process that holds none is a mistake, and the value never rises above where it
/// began. A forked child does not hold its parent's tokens.
///
/// **When a holder dies** (killed, ended, a zombie, or replaced by exec) its tokens are free again: whoever waits takes
/// them back in 100 ms at the latest, whoever comes and finds none looks at once. Nobody is told: what the tokens
/// guard must not need a repair, else use Lock. A holder that is stopped is not dead. Tokens held in another PID
/// namespace come back only when a process of that namespace looks.
class RobustSemaphore {
 public:
  /// The largest value; the table of holders has room for so many.
  static constexpr int max_value = 124;

  /// Throws std::invalid_argument unless 0 <= `value` <= max_value.
  constexpr explicit RobustSemaphore(int value = 1) : tokens_(checked(value)) {}
  RobustSemaphore(const RobustSemaphore&) = delete;
  RobustSemaphore& operator=(const RobustSemaphore&) = delete;

  /// As Semaphore's.
  bool acquire() noexcept { return acquire_before(Deadline()); }
  template <class Rep, class Period>
  [[nodiscard]] bool acquire(std::chrono::duration<Rep, Period> timeout) {
    return acquire_before(Deadline::after(timeout));
  }
  /// A death since somebody last looked, up to 10 ms ago, may be missed this time.
  [[nodiscard]] bool try_acquire() noexcept { return acquire_before(Deadline::at(Clock::time_point::min())); }
  [[nodiscard]] bool acquire_before(Deadline deadline) noexcept;

  /// Gives a token of this process back. Throws std::logic_error if it holds none.
  void release();

  /// How many tokens are free; those of the dead are, once somebody has looked.
  [[nodiscard]] int get_value() const noexcept;
  /// What it began with.
  [[nodiscard]] int bound() const noexcept { return tokens_; }
  /// How many tokens this process holds.
  [[nodiscard]] int held_by_this_process() noexcept;

  void lock() noexcept { acquire(); }
  [[nodiscard]] bool try_lock() noexcept { return try_acquire(); }
  void unlock() { release(); }

 private:
  static constexpr std::int32_t checked(int value) {
    if (value < 0 || value > max_value) throw_bad_value(value);
    return value;
  }
  [[noreturn]] static void throw_bad_value(int value);
  bool take_free(std::uint64_t key) noexcept;
  bool free_what_the_dead_hold() noexcept;
  bool look_for_the_dead() noexcept;
  void give(int count) noexcept;

  std::int32_t tokens_;  // never changed
  // Bit 0: there may be sleepers. Above: one more for each token given back. What sleepers wait on.
  std::atomic<std::uint32_t> given_{0};
  std::atomic<std::int64_t> looked_at_{0};  // when somebody last found all holders alive; ns of the monotonic clock
  detail::DomainTable domains_;
  [[maybe_unused]] std::uint32_t unused_ = 0;
  // The first `tokens_` are the tokens: 0, or the key of the process that holds it.
  std::atomic<std::uint64_t> holders_[max_value]{};
};

template <>
inline constexpr bool is_address_free<RobustSemaphore> = true;

static_assert(std::is_standard_layout_v<RobustSemaphore> && sizeof(RobustSemaphore) == 1024,
              "separately built processes share it");
static_assert(std::is_trivially_destructible_v<RobustSemaphore>, "the memory may go without notice");

}  // namespace runrig
