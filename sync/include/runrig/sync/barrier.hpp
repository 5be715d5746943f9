#pragma once

#include <atomic>
#include <chrono>
#include <concepts>
#include <cstdint>
#include <mutex>
#include <type_traits>
#include <utility>

#include "runrig/sync/address_free.hpp"
#include "runrig/sync/clock.hpp"
#include "runrig/sync/domain_table.hpp"
#include "runrig/sync/error.hpp"
#include "runrig/sync/lock.hpp"

namespace runrig {

/// Where a fixed number of processes or threads wait for each other: Python's multiprocessing.Barrier.
///
/// Lies in memory shared between processes, at any address; 2 KiB, no destructor to run, neither copied nor moved.
/// All-zero bytes are a barrier of no parties, at which nobody can wait.
///
/// **A round** ends well when as many wait as there are parties: then all go on, and the next round begins. It ends
/// badly when a party dies, waits longer than its timeout, or calls abort() or reset(), or when the action throws: then
/// all who wait, and (but for reset()) all who come, get BrokenBarrier, whose text says which it was, until reset().
///
/// **When a party dies** (a party is a thread, and dies with its process or alone) that is waiting, the others know
/// within 100 ms. Of a party that has not come yet nobody can know, unless it has enrolled: an enrolled party that dies
/// breaks the barrier for those who wait and who come. A party that is stopped is not dead. The barrier's own structure
/// survives a kill at any instruction of any call.
///
/// **The action** is given to wait() by each party, because a function cannot lie in shared memory; the last party to
/// arrive runs its own, once, while the others wait. Timeouts do not count while it runs.
///
/// Timeouts run on the monotonic clock; zero, negative and NaN mean "do not wait": then only the last party does not
/// break the barrier. What a party wrote before wait() all see after it.
class Barrier {
 public:
  /// The table of those who wait has room for so many.
  static constexpr int max_parties = 240;

  /// `timeout` is for each wait() that names none. Throws std::invalid_argument unless 1 <= `parties` <= max_parties.
  constexpr explicit Barrier(int parties) : parties_(checked(parties)) {}
  template <class Rep, class Period>
  Barrier(int parties, std::chrono::duration<Rep, Period> timeout)
      : parties_(checked(parties)), timeout_ns_(nanoseconds_of(timeout)) {}
  Barrier(const Barrier&) = delete;
  Barrier& operator=(const Barrier&) = delete;

  /// Waits until all parties do. Returns 0 to parties() - 1, to each party of a round another: the order in which they
  /// came. Throws BrokenBarrier.
  int wait() { return wait_before(default_deadline()); }
  template <class Rep, class Period>
  int wait(std::chrono::duration<Rep, Period> timeout) {
    return wait_before(Deadline::after(timeout));
  }
  int wait_before(Deadline deadline);
  /// The same; the last to come calls action() before all are released. If that throws, the barrier breaks, and the
  /// exception comes out of here.
  template <std::invocable Action>
  int wait(Action&& action) {
    return wait_before(default_deadline(), std::forward<Action>(action));
  }
  template <std::invocable Action, class Rep, class Period>
  int wait(Action&& action, std::chrono::duration<Rep, Period> timeout) {
    return wait_before(Deadline::after(timeout), std::forward<Action>(action));
  }
  template <std::invocable Action>
  int wait_before(Deadline deadline, Action&& action) {
    const Arrival arrival = arrive(WithAction::yes);
    if (!arrival.last) {
      await(arrival, deadline);
      return arrival.index;
    }
    try {
      std::forward<Action>(action)();
    } catch (...) {
      action_threw(arrival);
      throw;
    }
    action_done(arrival);
    return arrival.index;
  }

  /// Makes it empty and whole again. Who waits gets BrokenBarrier.
  void reset();
  /// Breaks it, for all who wait and who come, until reset().
  void abort();
  [[nodiscard]] bool broken() const noexcept;

  [[nodiscard]] int parties() const noexcept { return parties_; }
  /// How many wait in the present round; 0 when it is broken. Out of date when you read it.
  [[nodiscard]] int n_waiting() const noexcept;

  /// Makes the calling thread known as a party, so that its death is noticed also while it does not wait here; until
  /// withdraw(), or reset() after its death. A thread that ends without withdraw() has died, however it ended. Throws
  /// std::logic_error if it is enrolled, Error resource_unavailable_try_again if there is no room.
  void enroll();
  /// Throws std::logic_error if the calling thread is not enrolled.
  void withdraw();

 private:
  enum class WithAction { no, yes };
  /// Why it is broken. Lies in shared memory.
  enum class Cause : std::uint32_t { none, death, timeout, abort, reset, action };
  struct Arrival {
    std::uint64_t key;
    int slot;
    int index;
    bool last;
  };
  using Guard = std::unique_lock<Lock>;

  static constexpr std::int32_t checked(int parties) {
    if (parties < 1 || parties > max_parties) throw_bad_parties(parties);
    return parties;
  }
  template <class Rep, class Period>
  static std::int64_t nanoseconds_of(std::chrono::duration<Rep, Period> timeout) {
    return Deadline::after(timeout).remaining().count();
  }
  [[noreturn]] static void throw_bad_parties(int parties);
  [[nodiscard]] Deadline default_deadline() const { return Deadline::after(std::chrono::nanoseconds(timeout_ns_)); }

  Arrival arrive(WithAction with_action);
  void await(const Arrival& me, Deadline deadline);
  void action_done(const Arrival& me);
  void action_threw(const Arrival& me);
  [[noreturn]] void throw_broken() const;

  [[nodiscard]] Guard take();
  void finish_for_the_dead(int dead);
  [[nodiscard]] std::uint32_t phase() const noexcept;
  void enter_phase(std::uint32_t phase) noexcept;
  int find_slot(std::uint64_t key) const noexcept;
  void use_slot(int slot, std::uint64_t word) noexcept;
  int count_waiting() const noexcept;
  void tell_all(std::uint64_t outcome) noexcept;
  void vacate(int slot, std::uint64_t word) noexcept;
  void release_all() noexcept;
  void empty() noexcept;
  void break_all(Cause cause, int who) noexcept;
  void look_for_the_dead();

  // The rules for guard_ and the rest are in barrier.cpp.
  Lock guard_;
  std::atomic<std::uint32_t> state_{0};  // phase, and how often it changed
  std::int32_t parties_;                 // never changed, as the next
  std::int64_t timeout_ns_ = forever.count();
  std::atomic<std::int64_t> looked_at_{0};  // when somebody last looked for the dead; ns of the monotonic clock
  std::atomic<std::uint32_t> cause_{0};
  std::atomic<std::int32_t> culprit_{0};     // id of the thread or process concerned
  std::atomic<std::int32_t> slots_used_{0};  // no slot from here on was ever used
  detail::DomainTable domains_;
  std::atomic<std::uint64_t> slots_[max_parties]{};  // one for each who waits or is enrolled
};

template <>
inline constexpr bool is_address_free<Barrier> = true;

static_assert(std::is_standard_layout_v<Barrier> && sizeof(Barrier) == 1992, "separately built processes share it");
static_assert(std::is_trivially_destructible_v<Barrier>, "the memory may go without notice");

}  // namespace runrig
