#include "runrig/sync/condition.hpp"

#include <algorithm>
#include <stdexcept>
#include <string>
#include <vector>

#include "runrig/sync/error.hpp"
#include "runrig/sync/futex.hpp"
#include "runrig/sync/killpoint.hpp"
#include "runrig/sync/waiting.hpp"

// Each waiter has a slot whose word says in one who it is and what became of it, and sleeps on that word:
//
//     free          0
//     claimed       key of the waiter     it writes its ticket; seen by nobody else
//     waiting       key of the waiter     notify(): notified, by one compare-exchange; timeout: free
//     notified      key of the waiter     it locks again and then leaves: free; if it died: another gets it
//     notified_all  key of the waiter     the same, but everybody has one: if it died, free
//
// What a kill leaves, step by step. Of a waiter:
//
//   condition.claimed, .entered    the lock is held: OwnerDied for the others. The slot is passed over.
//   .waiting, .woken               passed over by notify(), or it passes on what it had got: see settle_dead().
//   .relocking                     the same: the slot is free only when the lock is had again.
//   .left                          the lock is held.
//
// Of a notifier: before the exchange (condition.choosing) nothing happened; after it and before the wake-up
// (condition.notified) the waiter looks within 50 ms. In Condition both are deaths of the holder, and OwnerDied.
// Of whoever settles for a dead one: condition.inherited, .passed_on; its own slot then passes on once more, so that at
// worst one waiter too many looks.

namespace runrig {
namespace {

constexpr std::uint64_t phase_bits = std::uint64_t{3} << 23;
constexpr std::uint64_t waiting_phase = std::uint64_t{1} << 23;
constexpr std::uint64_t notified_phase = std::uint64_t{2} << 23;
constexpr std::uint64_t notified_all_phase = std::uint64_t{3} << 23;
static_assert((phase_bits & detail::DomainTable::key_bits) == 0);

constexpr std::uint64_t phase_of(std::uint64_t word) { return word & phase_bits; }
constexpr std::uint64_t key_in(std::uint64_t word) { return word & detail::DomainTable::key_bits; }

constexpr std::uint32_t overflow_waits = 1;
constexpr std::uint32_t one_more_overflow = 2;

bool is_held(Lock& lock) noexcept { return lock.held_by_this_process(); }
bool is_held(RLock& lock) noexcept { return lock.held_by_this_thread(); }

template <class L>
void check_held(L& lock, const char* attempted) {
  if (!is_held(lock)) throw std::logic_error(std::string(attempted) + " a condition: acquire its lock first");
}

// The calls of unlock() that a thread still owes to a condition whose wait() threw and left the lock to others.
struct Owed {
  const void* condition;
  std::uint64_t unlocks;
  bool regained;  // the thread has, or may have, the lock again
};
constinit thread_local std::size_t owed_count = 0;  // so that the usual case is one look at a number
thread_local std::vector<Owed> owed;

std::vector<Owed>::iterator find_owed(const void* condition) noexcept {
  return std::find_if(owed.begin(), owed.end(), [&](const Owed& each) { return each.condition == condition; });
}

}  // namespace

// The waiter
// -----------------------------------------------------------------------------------------------------------

int ConditionVariable::claim(std::uint64_t key) noexcept {
  for (int i = 0; i < waiter_slots; ++i) {
    std::uint64_t word = slots_[i].who.load(std::memory_order_relaxed);  // relaxed: compared again below
    // Acquire: pairs with the release of whoever left the slot; its last notifier is done with it.
    if (word != 0 || !slots_[i].who.compare_exchange_strong(word, key, std::memory_order_acquire)) continue;
    // Relaxed, here and where it is read: the lock that is held now orders it before any notifier.
    std::int32_t used = slots_used_.load(std::memory_order_relaxed);
    while (used <= i && !slots_used_.compare_exchange_weak(used, i + 1, std::memory_order_relaxed)) {
    }
    return i;
  }
  return -1;
}

ConditionVariable::Waiter ConditionVariable::enter(std::uint64_t ticket) noexcept {
  Waiter me{domains_.key_of(detail::thread_now()), -1, 0};
  me.slot = claim(me.key);
  if (me.slot < 0) {
    settle_all_dead(me.key);
    me.slot = claim(me.key);
  }
  if (me.slot < 0) {
    // Relaxed: the lock that is held now orders it before any notifier.
    me.overflow_seen = overflow_.fetch_or(overflow_waits, std::memory_order_relaxed) | overflow_waits;
    return me;
  }
  Slot& mine = slots_[me.slot];
  mine.ticket.store(ticket, std::memory_order_relaxed);  // published by the next store
  RUNRIG_KILLPOINT("condition.claimed");
  // Release: pairs with the acquire in wake_oldest().
  mine.who.store(me.key | waiting_phase, std::memory_order_release);
  RUNRIG_KILLPOINT("condition.entered");
  return me;
}

bool ConditionVariable::notified(const Waiter& me) const noexcept {
  // Relaxed, both: what the notifier wrote comes with the lock.
  if (me.slot >= 0) return phase_of(slots_[me.slot].who.load(std::memory_order_relaxed)) != waiting_phase;
  return overflow_.load(std::memory_order_relaxed) / one_more_overflow != me.overflow_seen / one_more_overflow;
}

// Stops waiting; false if it was notified before.
bool ConditionVariable::cancel(Waiter& me) noexcept {
  if (me.slot < 0) return !notified(me);
  std::uint64_t word = me.key | waiting_phase;
  // Release: pairs with the acquire in claim().
  if (!slots_[me.slot].who.compare_exchange_strong(word, 0, std::memory_order_release, std::memory_order_relaxed)) {
    return false;
  }
  me.slot = -1;
  return true;
}

void ConditionVariable::leave(const Waiter& me) noexcept {
  if (me.slot >= 0) slots_[me.slot].who.store(0, std::memory_order_release);  // pairs with the acquire in claim()
  RUNRIG_KILLPOINT("condition.left");
}

// Until notified; until the deadline, when it does not wait any more; or until a look is due.
ConditionVariable::SleepEnd ConditionVariable::sleep(Waiter& me, Deadline deadline, detail::Looks& looks) {
  for (;;) {
    if (notified(me)) {
      RUNRIG_KILLPOINT("condition.relocking");
      return SleepEnd::notified;
    }
    if (deadline.passed()) {
      pass_on_from_the_dead(me.key);  // perhaps to us
      return cancel(me) ? SleepEnd::timeout : SleepEnd::notified;
    }
    const Deadline until = deadline.sooner(looks.next());
    RUNRIG_KILLPOINT("condition.waiting");
    if (me.slot >= 0) {
      futex_wait(detail::futex_of(slots_[me.slot].who), static_cast<std::uint32_t>(me.key | waiting_phase), until);
    } else {
      futex_wait(overflow_, me.overflow_seen, until);
    }
    RUNRIG_KILLPOINT("condition.woken");
    if (looks.due()) return SleepEnd::look;
  }
}

template <class L>
bool ConditionVariable::wait_on(L& lock, Wait& wait) {
  check_held(lock, "wait at");
  // Relaxed: only the number must be unique; the order is that in which the lock was held.
  if (wait.ticket == 0) wait.ticket = next_ticket_.fetch_add(1, std::memory_order_relaxed);
  struct Stay {
    ConditionVariable& variable;
    Waiter me;
    ~Stay() { variable.leave(me); }  // however the lock was had again, or not
  } stay{*this, enter(wait.ticket)};
  Waiter& me = stay.me;
  if constexpr (std::is_same_v<L, RLock>) {
    wait.taken = lock.unlock_fully();
  } else {
    lock.unlock();
  }
  bool woken = true;
  for (detail::Looks looks;;) {
    const SleepEnd end = sleep(me, wait.deadline, looks);
    woken = end != SleepEnd::timeout;
    if (end != SleepEnd::look) break;
    pass_on_from_the_dead(me.key);
    // To lock then throws; or somebody repaired it meanwhile, and a notification may be lost: a reason to look, too.
    if (lock.abandoned() && cancel(me)) break;
  }
  if constexpr (std::is_same_v<L, RLock>) {
    lock.lock_again(wait.taken);
  } else {
    lock.lock();
  }
  return woken;
}

template <class L>
bool ConditionVariable::wait_guarded(std::unique_lock<L>& guard, Wait& wait) {
  if (!guard.owns_lock()) throw std::logic_error("wait at a condition: the guard does not own its lock");
  try {
    return wait_on(*guard.mutex(), wait);
  } catch (const Error&) {
    guard.release();  // does not unlock
    throw;
  }
}

// The notifier
// ---------------------------------------------------------------------------------------------------------

// Notifies the living waiter with the lowest ticket, of those below `before`. False if there is none.
bool ConditionVariable::wake_oldest(std::uint64_t before) noexcept {
  for (;;) {
    const int used = slots_used_.load(std::memory_order_relaxed);
    Slot* oldest = nullptr;
    std::uint64_t lowest = before, found = 0;
    for (Slot* each = slots_; each != slots_ + used; ++each) {
      const std::uint64_t word = each->who.load(std::memory_order_acquire);  // pairs with the release in enter()
      if (phase_of(word) != waiting_phase) continue;
      const std::uint64_t ticket = each->ticket.load(std::memory_order_relaxed);  // published by `who`
      if (ticket >= lowest) continue;
      oldest = each;
      lowest = ticket;
      found = word;
    }
    if (oldest == nullptr) return false;
    // Of several notifiers at once the last to write wins: all of them mean now. Published by the exchange.
    oldest->before.store(before, std::memory_order_relaxed);
    RUNRIG_KILLPOINT("condition.choosing");
    // Release: pairs with the acquire in pass_on_from_the_dead().
    if (!oldest->who.compare_exchange_strong(found, key_in(found) | notified_phase, std::memory_order_release,
                                             std::memory_order_relaxed)) {
      continue;  // it left, or another was quicker
    }
    RUNRIG_KILLPOINT("condition.notified");
    if (futex_wake(detail::futex_of(oldest->who), 1) == 1) return true;
    // It was not asleep: on its way into or out of the sleep, as is usual where two take turns, or dead. What a zombie
    // got those who sleep pass on at their next look; to look closer here would cost each such turn a read of /proc.
    if (!is_gone(domains_.identity_in(found, ParticipantKind::thread))) return true;
    // Release: pairs with the acquire in claim(). If it fails, another has settled it, and passed it on.
    found = key_in(found) | notified_phase;
    if (!oldest->who.compare_exchange_strong(found, 0, std::memory_order_release, std::memory_order_relaxed)) {
      return true;
    }
  }
}

void ConditionVariable::wake_overflow() noexcept {
  std::uint32_t word = overflow_.load(std::memory_order_relaxed);
  do {
    if ((word & overflow_waits) == 0) return;
    // Relaxed: what the notifier wrote comes with the lock.
  } while (
      !overflow_.compare_exchange_weak(word, (word & ~overflow_waits) + one_more_overflow, std::memory_order_relaxed));
  RUNRIG_KILLPOINT("condition.overflow_notified");
  futex_wake_all(overflow_);
}

void ConditionVariable::notify(int count) {
  if (count < 0) throw std::invalid_argument("notify a condition: " + std::to_string(count) + " waiters");
  // Relaxed: the lock orders the tickets of those who wait before this.
  const std::uint64_t before = next_ticket_.load(std::memory_order_relaxed);
  for (int woken = 0; woken < count && wake_oldest(before); ++woken) {
  }
  if (count > 0) wake_overflow();
}

void ConditionVariable::notify_all() noexcept {
  const int used = slots_used_.load(std::memory_order_relaxed);
  for (Slot* each = slots_; each != slots_ + used; ++each) {
    std::uint64_t word = each->who.load(std::memory_order_relaxed);  // relaxed: compared again below
    // Relaxed: what the notifier wrote comes with the lock.
    if (phase_of(word) != waiting_phase ||
        !each->who.compare_exchange_strong(word, key_in(word) | notified_all_phase, std::memory_order_relaxed)) {
      continue;
    }
    RUNRIG_KILLPOINT("condition.all_notified");
    futex_wake(detail::futex_of(each->who), 1);
  }
  wake_overflow();
}

// For the dead
// -----------------------------------------------------------------------------------------------------------

// `word` is that of a slot whose waiter is dead. What it was notified of is passed on: `key`, the caller, takes
// the notification over, so that one of those who look does it, gives it to another, and frees the slot.
void ConditionVariable::settle_dead(Slot& slot, std::uint64_t word, std::uint64_t key) noexcept {
  if (phase_of(word) != notified_phase) {
    slot.who.compare_exchange_strong(word, 0, std::memory_order_release, std::memory_order_relaxed);
    return;
  }
  // Relaxed: `before` is read by whoever read `word` with acquire.
  if (!slot.who.compare_exchange_strong(word, key | notified_phase, std::memory_order_relaxed)) return;
  RUNRIG_KILLPOINT("condition.inherited");
  wake_oldest(slot.before.load(std::memory_order_relaxed));
  RUNRIG_KILLPOINT("condition.passed_on");
  slot.who.store(0, std::memory_order_release);  // pairs with the acquire in claim()
}

void ConditionVariable::pass_on_from_the_dead(std::uint64_t key) noexcept {
  const int used = slots_used_.load(std::memory_order_relaxed);
  for (Slot* each = slots_; each != slots_ + used; ++each) {
    const std::uint64_t word = each->who.load(std::memory_order_acquire);  // pairs with the release in wake_oldest()
    if (phase_of(word) == notified_phase && key_in(word) != key &&
        liveness(domains_.identity_in(word, ParticipantKind::thread)) == Liveness::dead) {
      settle_dead(*each, word, key);
    }
  }
}

void ConditionVariable::settle_all_dead(std::uint64_t key) noexcept {
  for (Slot& each : slots_) {
    const std::uint64_t word = each.who.load(std::memory_order_acquire);  // as above
    if (word != 0 && liveness(domains_.identity_in(word, ParticipantKind::thread)) == Liveness::dead) {
      settle_dead(each, word, key);
    }
  }
}

int ConditionVariable::waiting() const noexcept {
  return static_cast<int>(std::count_if(std::begin(slots_), std::end(slots_), [](const Slot& each) {
    return phase_of(each.who.load(std::memory_order_relaxed)) == waiting_phase;  // relaxed: a hint
  }));
}

// Condition
// ------------------------------------------------------------------------------------------------------------

template <class L>
bool Condition<L>::wait_part(ConditionVariable::Wait& wait) {
  try {
    return variable_.wait_on(lock_, wait);
  } catch (const Error&) {
    if (const auto again = find_owed(this); again != owed.end()) {
      // It had the lock again, once for all that was owed before, and now lost it again.
      again->unlocks += wait.taken;
      again->regained = false;
    } else {
      owed.push_back({this, std::uint64_t{wait.taken} + 1, false});
      owed_count = owed.size();
    }
    throw;
  }
}

template <class L>
void Condition<L>::regained() noexcept {
  if (owed_count == 0) return;
  if (const auto found = find_owed(this); found != owed.end()) found->regained = true;
}

template <class L>
bool Condition<L>::forgiven() noexcept {
  if (owed_count == 0) return false;
  const auto found = find_owed(this);
  if (found == owed.end()) return false;
  if (--found->unlocks > 0) return true;  // not the outermost yet, which is the one that unlocks, if any
  const bool regained = found->regained && is_held(lock_);  // a recovery may have ended without a commit
  owed.erase(found);
  owed_count = owed.size();
  return !regained;
}

template <class L>
void Condition<L>::notify(int count) {
  check_held(lock_, "notify");
  variable_.notify(count);
}

template <class L>
void Condition<L>::notify_all() {
  check_held(lock_, "notify");
  variable_.notify_all();
}

template class Condition<Lock>;
template class Condition<RLock>;
template bool ConditionVariable::wait_guarded(std::unique_lock<Lock>&, Wait&);
template bool ConditionVariable::wait_guarded(std::unique_lock<RLock>&, Wait&);

}  // namespace runrig
