#pragma once

#include <chrono>
#include <mutex>
#include <optional>
#include <utility>

#include "runrig/sync/address_free.hpp"
#include "runrig/sync/clock.hpp"
#include "runrig/sync/error.hpp"
#include "runrig/sync/owner_word.hpp"

namespace runrig {

/// The right to repair what a dead holder left, made by recover(). While it lives nobody else has the lock, and
/// whoever wants it waits.
///
///     if (auto recovery = lock.recover()) {
///       repair(data);        // may throw: then the lock is poisoned
///       recovery->commit();  // from here on the caller holds the lock, as if lock() had returned
///       lock.unlock();
///     }
///
/// Destroyed without commit() it poisons the lock: Poisoned for all, waiting or to come, for ever. If its process
/// (RLock: its thread) dies first, the lock is as it was before, for the next to recover. The copy that a forked
/// child inherits does nothing. Must not outlive the lock.
class [[nodiscard]] Recovery {
 public:
  Recovery(Recovery&& other) noexcept
      : word_(std::exchange(other.word_, nullptr)),
        key_(other.key_),
        owner_(other.owner_),
        process_(other.process_),
        dead_holder_(other.dead_holder_) {}
  Recovery(const Recovery&) = delete;
  Recovery& operator=(const Recovery&) = delete;
  Recovery& operator=(Recovery&&) = delete;
  ~Recovery();

  /// The data is whole again: the caller now holds the lock, once. Throws std::logic_error if committed before, in
  /// a forked child, or (RLock) in another thread.
  void commit();

  /// Process (RLock: thread) id of the holder that died.
  [[nodiscard]] int dead_holder() const noexcept { return dead_holder_; }

 private:
  friend class Lock;
  friend class RLock;
  Recovery(detail::OwnerWord& word, std::uint64_t key, const Identity& owner, int dead_holder) noexcept;

  detail::OwnerWord* word_;  // null once committed or moved from
  std::uint64_t key_;
  Identity owner_;         // who may commit: a process (Lock) or a thread (RLock)
  std::uint64_t process_;  // mark of the process in which the end of this object means something
  int dead_holder_;
};

/// Mutual exclusion between processes and threads: Python's multiprocessing.Lock, made to survive deaths.
///
/// Lies in memory shared between processes, at any address, different in each; all-zero bytes are an unlocked Lock.
/// 24 bytes, no destructor to run, neither copied nor moved. A C++ Lockable: std::lock_guard, std::unique_lock and
/// std::scoped_lock work.
///
/// **Whose it is.** A Lock belongs to the process that took it, not to the thread: it stays locked when the thread
/// ends, and any thread of any process may unlock it. Not recursive. A child made by fork does not hold what its
/// parent holds: its lock() waits for the parent. (A lock_guard on the stack at a fork is inherited and must not
/// be unwound in the child, for that would unlock for the parent; children leave by _exit.)
///
/// **When the holder dies** (killed, ended, a zombie, or replaced by exec) everybody who waits or comes gets
/// OwnerDied and does not hold the lock, until one of them repairs the data: see recover(). They learn it in 100 ms
/// at the latest. A holder that is stopped (SIGSTOP, a debugger, the freezer) is not dead: lock() waits for it.
///
/// **Waiting** spins for a microsecond or two, then sleeps. Waiters are not queued: whoever comes when the lock is free
/// gets it. A waiter killed just after it was woken delays the others by 50 ms at most. Timeouts run on the monotonic
/// clock; zero, negative and NaN mean "do not wait", one too long to add up means for ever.
///
/// **Namespaces.** Processes of several PID namespaces may share a Lock, but cannot see each other die: between them
/// only timeouts help. A death within one namespace is noticed there.
///
/// Memory must stay mapped while one uses the Lock, not while one holds it: unmapping a Lock that this process holds
/// leaves it locked until the process maps it again and unlocks, or ends (then OwnerDied).
/// Anybody who may write the memory can break the lock: it serves processes that cooperate.
class Lock {
 public:
  constexpr Lock() noexcept = default;
  Lock(const Lock&) = delete;
  Lock& operator=(const Lock&) = delete;

  /// Throws OwnerDied (its holder died: recover() first), Poisoned.
  void lock();
  /// False if it is held. Throws as lock(); a death since the calling thread last looked, up to 10 ms ago, may be
  /// missed this time.
  [[nodiscard]] bool try_lock();
  /// False if it is still held when `timeout` has passed. Throws as lock().
  template <class Rep, class Period>
  [[nodiscard]] bool try_lock_for(std::chrono::duration<Rep, Period> timeout) {
    return lock_before(Deadline::after(timeout));
  }
  /// Only for the monotonic clock: setting the time of day must not prolong a wait.
  [[nodiscard]] bool try_lock_until(Clock::time_point when) { return lock_before(Deadline::at(when)); }
  /// As the two above. A deadline that never passes waits for ever.
  [[nodiscard]] bool lock_before(Deadline deadline);
  /// As lock(), but throws TimeoutError after `timeout`, naming the process that holds it.
  template <class Rep, class Period>
  void lock_within(std::chrono::duration<Rep, Period> timeout) {
    if (!lock_before(Deadline::after(timeout))) throw_timeout();
  }

  /// Throws std::logic_error if it is not locked or being repaired; OwnerDied if its holder died, Poisoned: all
  /// leave it as it was. By the process that holds it, none of these happens.
  void unlock();

  /// Python's names: acquire() waits, acquire(0s) tries.
  template <class Rep = std::int64_t, class Period = std::nano>
  [[nodiscard]] bool acquire(std::chrono::duration<Rep, Period> timeout = forever) {
    return try_lock_for(timeout);
  }
  void release() { unlock(); }

  /// After OwnerDied: the right to repair, for one of all who ask. The others wait for the outcome. Empty if
  /// there is nothing to repair, or no more: lock() again. Throws Poisoned.
  /// See lock_repairing() for the whole dance in one call.
  [[nodiscard]] std::optional<Recovery> recover();

  /// Pid of the process that holds it or repairs it (dead or alive, as numbered in its own namespace); 0 if none.
  /// Out of date when you read it, of course.
  [[nodiscard]] int holder() const noexcept { return word_.holder(); }
  [[nodiscard]] bool held_by_this_process() noexcept;
  [[nodiscard]] bool poisoned() const noexcept { return word_.poisoned(); }
  /// True if lock() would throw: the holder died and nobody repairs, or it is poisoned. Looks at the holder (10 µs).
  [[nodiscard]] bool abandoned() noexcept { return word_.abandoned(ParticipantKind::process); }

 private:
  [[noreturn]] void throw_timeout() const;
  detail::OwnerWord word_;
};

/// The recursive lock: Python's multiprocessing.RLock. As Lock, except that it belongs to the *thread* that took it:
///
/// - that thread may take it again (up to 2^32 times) and must unlock it as often;
/// - unlock() by any other thread or process is a std::logic_error and changes nothing;
/// - the end of the thread is the death of the holder, also when its process lives on.
class RLock {
 public:
  constexpr RLock() noexcept = default;
  RLock(const RLock&) = delete;
  RLock& operator=(const RLock&) = delete;

  /// Throws OwnerDied, Poisoned; std::logic_error in the thread that is repairing it.
  void lock();
  [[nodiscard]] bool try_lock();
  template <class Rep, class Period>
  [[nodiscard]] bool try_lock_for(std::chrono::duration<Rep, Period> timeout) {
    return lock_before(Deadline::after(timeout));
  }
  [[nodiscard]] bool try_lock_until(Clock::time_point when) { return lock_before(Deadline::at(when)); }
  [[nodiscard]] bool lock_before(Deadline deadline);
  template <class Rep, class Period>
  void lock_within(std::chrono::duration<Rep, Period> timeout) {
    if (!lock_before(Deadline::after(timeout))) throw_timeout();
  }

  /// Throws std::logic_error if the calling thread does not hold it, OwnerDied, Poisoned: all leave it as it was.
  void unlock();

  template <class Rep = std::int64_t, class Period = std::nano>
  [[nodiscard]] bool acquire(std::chrono::duration<Rep, Period> timeout = forever) {
    return try_lock_for(timeout);
  }
  void release() { unlock(); }

  /// As Lock::recover(). commit() leaves it held once, however often the dead had taken it.
  [[nodiscard]] std::optional<Recovery> recover();

  /// Kernel id of the *thread* that holds it or repairs it (the pid, if it is a process's first thread); 0 if none.
  [[nodiscard]] int holder() const noexcept { return word_.holder(); }
  [[nodiscard]] bool held_by_this_thread() noexcept;
  [[nodiscard]] bool poisoned() const noexcept { return word_.poisoned(); }
  [[nodiscard]] bool abandoned() noexcept { return word_.abandoned(ParticipantKind::thread); }

 private:
  friend class ConditionVariable;
  [[noreturn]] void throw_timeout() const;
  /// Unlocks it, however often the calling thread, which holds it, has taken it; what lock_again() makes good.
  [[nodiscard]] std::uint32_t unlock_fully();
  void lock_again(std::uint32_t depth);

  detail::OwnerWord word_;
};

template <>
inline constexpr bool is_address_free<Lock> = true;
template <>
inline constexpr bool is_address_free<RLock> = true;

static_assert(std::is_standard_layout_v<Lock> && sizeof(Lock) == 24 && std::is_standard_layout_v<RLock> &&
                  sizeof(RLock) == 24,
              "separately built processes share them");
static_assert(std::is_trivially_destructible_v<Lock> && std::is_trivially_destructible_v<RLock>,
              "the memory may go without notice");

/// Takes `lock` (Lock or RLock), whatever became of its last holder: if that died, one of all who want the lock calls
/// `repair()` first, which makes the data whole. If repair() throws, the lock is poisoned and the exception comes
/// out of here. Returns with the lock held. Throws Poisoned.
template <class AnyLock, class Repair>
[[nodiscard]] std::unique_lock<AnyLock> lock_repairing(AnyLock& lock, Repair&& repair) {
  for (;;) {
    try {
      lock.lock();
      break;
    } catch (const OwnerDied&) {
      if (auto recovery = lock.recover()) {
        std::forward<Repair>(repair)();
        recovery->commit();
        break;
      }  // else another one has repaired it meanwhile
    }
  }
  return std::unique_lock<AnyLock>(lock, std::adopt_lock);
}

}  // namespace runrig
