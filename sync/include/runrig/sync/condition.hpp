#pragma once

#include <atomic>
#include <chrono>
#include <cstdint>
#include <mutex>
#include <optional>
#include <type_traits>
#include <utility>

#include "runrig/sync/address_free.hpp"
#include "runrig/sync/clock.hpp"
#include "runrig/sync/domain_table.hpp"
#include "runrig/sync/lock.hpp"

namespace runrig {
namespace detail {
class Looks;
}

/// What processes and threads wait at for a change of what a lock guards, and are notified of it: a condition without a
/// lock of its own, in the vocabulary of std::condition_variable_any. For several conditions of one lock; where there
/// is one, Condition is simpler.
///
///     struct Mailbox { Lock lock; ConditionVariable filled, emptied; ... };
///     std::unique_lock guard(box.lock);
///     box.filled.wait_for(guard, [&] { return box.full; });
///     box.full = false;
///     box.emptied.notify();
///
/// Lies in memory shared between processes, at any address; all-zero bytes are one at which nobody waits. 1.5 KiB, no
/// destructor to run, neither copied nor moved. Any number may wait; all who wait at the same time use the same lock.
///
/// **Who is woken.** notify(n) wakes the n that have waited longest, exactly, as long as not more than `waiter_slots`
/// wait at the same time; those beyond are all woken by each notify() and must look again, which predicates do anyway.
/// The caller of notify() should hold the lock: else a waiter that has looked and not yet begun to wait misses it.
///
/// **When somebody dies.** Each waiter is known by name, so a killed one takes no wake-up with it: if it had not been
/// woken it is passed over, at once when its process is gone, and if it had been, or is a zombie, another gets its
/// wake-up within 100 ms. If whoever holds *the lock* dies, all who wait get OwnerDied within 100 ms, since the
/// notification that they wait for may have died with it. Who then repairs the data should notify_all()
/// (Condition::recover() does). Who dies after unlocking and before notify() is not noticed: wait_for() therefore looks
/// at its predicate once a second at least, and a plain wait() should have a timeout.
class ConditionVariable {
 public:
  /// How many can wait at a time and be told apart.
  static constexpr int waiter_slots = 64;

  constexpr ConditionVariable() noexcept = default;
  ConditionVariable(const ConditionVariable&) = delete;
  ConditionVariable& operator=(const ConditionVariable&) = delete;

  /// Unlocks, waits until notified, and locks again; true then. False if that did not come within `timeout` (and false
  /// only after the lock was had again, which may take longer). An RLock is unlocked however often it was taken, and
  /// taken as often again. `guard` must own its lock, else std::logic_error.
  /// Throws OwnerDied, Poisoned as lock() does: then the lock is *not* held, and `guard` does not own it any more.
  template <class L>
  bool wait(std::unique_lock<L>& guard) {
    return wait_before(guard, Deadline());
  }
  template <class L, class Rep, class Period>
  bool wait(std::unique_lock<L>& guard, std::chrono::duration<Rep, Period> timeout) {
    return wait_before(guard, Deadline::after(timeout));
  }
  template <class L>
  bool wait_before(std::unique_lock<L>& guard, Deadline deadline) {
    Wait wait{deadline};
    return wait_guarded(guard, wait);
  }

  /// Waits until predicate(), called with the lock held, is true, or until `timeout`. Returns its last answer.
  template <class L, class Predicate, class Rep = std::int64_t, class Period = std::nano>
  bool wait_for(std::unique_lock<L>& guard, Predicate predicate, std::chrono::duration<Rep, Period> timeout = forever) {
    return until(std::move(predicate), Deadline::after(timeout), [&](Wait& wait) { wait_guarded(guard, wait); });
  }

  /// Wakes `count` of those who wait, or all if there are fewer. Throws std::invalid_argument if `count` is negative.
  void notify(int count = 1);
  void notify_all() noexcept;

  /// How many of the `waiter_slots` are waiting and not yet woken; those killed meanwhile count. For tests and people.
  [[nodiscard]] int waiting() const noexcept;

 private:
  template <class L>
  friend class Condition;

  // One call of wait, or a part of it.
  struct Wait {
    Deadline deadline;
    std::uint64_t ticket = 0;  // place in the queue; 0: not given yet
    std::uint32_t taken = 0;   // how often an RLock was, beyond the first time
  };
  // One who waits. Fixed by `who`, which changes in single steps; the rest is written by whoever may, beforehand.
  struct Slot {
    std::atomic<std::uint64_t> who;     // 0, or key of a thread and phase
    std::atomic<std::uint64_t> ticket;  // order of arrival
    std::atomic<std::uint64_t> before;  // once notified: who else may have been meant, by ticket
  };
  struct Waiter {
    std::uint64_t key;
    int slot;                     // -1: none
    std::uint32_t overflow_seen;  // if there was none
  };

  static constexpr std::chrono::milliseconds look_at_predicate{500};
  template <class Predicate, class WaitPart>
  static bool until(Predicate predicate, Deadline deadline, WaitPart wait_part) {
    Wait wait;
    for (;;) {
      if (predicate()) return true;
      if (deadline.passed()) return false;
      wait.deadline = deadline.sooner(Deadline::after(look_at_predicate));
      wait_part(wait);
    }
  }
  template <class L>
  bool wait_guarded(std::unique_lock<L>& guard, Wait& wait);
  /// Throws std::logic_error if the lock was not held: then nothing happened. What else it throws: it is not held.
  template <class L>
  bool wait_on(L& lock, Wait& wait);

  enum class SleepEnd { notified, timeout, look };
  SleepEnd sleep(Waiter& me, Deadline deadline, detail::Looks& looks);

  Waiter enter(std::uint64_t ticket) noexcept;
  int claim(std::uint64_t key) noexcept;
  [[nodiscard]] bool notified(const Waiter& me) const noexcept;
  bool cancel(Waiter& me) noexcept;
  void leave(const Waiter& me) noexcept;
  bool wake_oldest(std::uint64_t before) noexcept;
  void wake_overflow() noexcept;
  void settle_dead(Slot& slot, std::uint64_t word, std::uint64_t key) noexcept;
  void settle_all_dead(std::uint64_t key) noexcept;
  void pass_on_from_the_dead(std::uint64_t key) noexcept;

  std::atomic<std::uint64_t> next_ticket_{1};
  std::atomic<std::uint32_t> overflow_{0};   // bit 0: somebody waits without a slot; above: notifications for those
  std::atomic<std::int32_t> slots_used_{0};  // no slot from here on was ever used
  detail::DomainTable domains_;
  std::uint32_t unused_ = 0;
  Slot slots_[waiter_slots]{};
};

/// A lock and the condition of what it guards: Python's multiprocessing.Condition, with an RLock of its own unless it
/// is a Condition<Lock>. As the lock and the ConditionVariable that it is made of; all-zero bytes are a Condition.
///
///     const std::lock_guard guard(condition);
///     condition.wait_for([&] { return !queue.empty(); });
///
/// **When wait() throws** OwnerDied or Poisoned, the lock is not held any more. What the thread has still to unlock,
/// such as the guard above, is expected: these calls of unlock() do nothing. To go on inside the guard instead, call
/// recover() and commit, or lock(): then the guard's unlock() counts again.
template <class L = RLock>
class Condition {
 public:
  constexpr Condition() noexcept = default;
  Condition(const Condition&) = delete;
  Condition& operator=(const Condition&) = delete;

  /// The lock's, see there.
  void lock() {
    lock_.lock();
    regained();
  }
  [[nodiscard]] bool try_lock() { return lock_before(Deadline::at(Clock::time_point::min())); }
  template <class Rep, class Period>
  [[nodiscard]] bool try_lock_for(std::chrono::duration<Rep, Period> timeout) {
    return lock_before(Deadline::after(timeout));
  }
  [[nodiscard]] bool lock_before(Deadline deadline) {
    const bool taken = lock_.lock_before(deadline);
    if (taken) regained();
    return taken;
  }
  void unlock() {
    if (!forgiven()) lock_.unlock();
  }
  template <class Rep = std::int64_t, class Period = std::nano>
  [[nodiscard]] bool acquire(std::chrono::duration<Rep, Period> timeout = forever) {
    return try_lock_for(timeout);
  }
  void release() { unlock(); }
  /// As the lock's, and wakes all who wait, because the dead may have owed them that; they wait for the outcome.
  [[nodiscard]] std::optional<Recovery> recover() {
    std::optional<Recovery> recovery = lock_.recover();
    if (recovery) {
      variable_.notify_all();
      regained();
    }
    return recovery;
  }
  /// For its holder() and the like. A recover() here does not wake those who wait.
  [[nodiscard]] L& get_lock() noexcept { return lock_; }

  /// Releases the lock, waits until notified, and takes the lock again; true then. False if that did not come within
  /// `timeout`. Throws std::logic_error if the lock is not held, OwnerDied and Poisoned as lock() does (see above).
  template <class Rep = std::int64_t, class Period = std::nano>
  bool wait(std::chrono::duration<Rep, Period> timeout = forever) {
    return wait_before(Deadline::after(timeout));
  }
  bool wait_before(Deadline deadline) {
    ConditionVariable::Wait wait{deadline};
    return wait_part(wait);
  }
  /// Waits until predicate(), called with the lock held, is true, or until `timeout`. Returns its last answer.
  template <class Predicate, class Rep = std::int64_t, class Period = std::nano>
  bool wait_for(Predicate predicate, std::chrono::duration<Rep, Period> timeout = forever) {
    return ConditionVariable::until(std::move(predicate), Deadline::after(timeout),
                                    [this](ConditionVariable::Wait& wait) { wait_part(wait); });
  }

  /// Wake `count` of those who wait (the longest-waiting first; all if there are fewer), or all. They go on when the
  /// lock is released. Throw std::logic_error if the lock is not held, std::invalid_argument if `count` is negative.
  void notify(int count = 1);
  void notify_all();

  [[nodiscard]] int waiting() const noexcept { return variable_.waiting(); }

 private:
  bool wait_part(ConditionVariable::Wait& wait);
  /// The calling thread has the lock again, or may have, after a wait() that threw.
  void regained() noexcept;
  /// True if an unlock() is one of those that a wait() that threw left over, and the lock is not held.
  [[nodiscard]] bool forgiven() noexcept;

  L lock_;
  ConditionVariable variable_;
};

Condition()->Condition<RLock>;

extern template class Condition<Lock>;
extern template class Condition<RLock>;
extern template bool ConditionVariable::wait_guarded(std::unique_lock<Lock>&, Wait&);
extern template bool ConditionVariable::wait_guarded(std::unique_lock<RLock>&, Wait&);

template <>
inline constexpr bool is_address_free<ConditionVariable> = true;
template <class L>
inline constexpr bool is_address_free<Condition<L>> = is_address_free<L>;

static_assert(std::is_standard_layout_v<ConditionVariable> && sizeof(ConditionVariable) == 1568,
              "separately built processes share it");
static_assert(std::is_trivially_destructible_v<Condition<Lock>> && std::is_trivially_destructible_v<Condition<RLock>>,
              "the memory may go without notice");

}  // namespace runrig
