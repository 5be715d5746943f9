#include "runrig/sync/barrier.hpp"

#include <algorithm>
#include <optional>
#include <stdexcept>
#include <string>

#include "runrig/sync/futex.hpp"
#include "runrig/sync/killpoint.hpp"
#include "runrig/sync/waiting.hpp"

// The truth is in the slots, one word for each who waits or is enrolled, and in the phase; nothing is counted beside
// them that could disagree after a kill. All is changed with guard_ held, except that a waiter gives its own slot back.
// A change of many slots is announced by a phase of its own first, so that whoever gets guard_ from the dead can finish
// it:
//
//     filling     parties arrive
//     acting      all have arrived, the last runs the action, without guard_
//     releasing   each who waits is told so; then filling
//     breaking    each who waits is told so; then broken
//     broken      until reset()
//     resetting   each who waits is told that it broke; then filling
//
// Sleepers sleep on state_, which changes with every step, and read the outcome of their round in their own slot, so
// that they need not be quick: the next round may have begun. What a kill leaves, step by step:
//
//   arrive    barrier.entered: our slot says that we wait, and we are dead: the next look breaks the barrier.
//             barrier.arrived (guard_ free), barrier.waiting, barrier.woken: the same.
//   last      barrier.acting: the same. barrier.releasing, .told: who gets guard_ finishes, as we had decided.
//             barrier.released (guard_ held, nobody woken): the sleepers look within 50 ms.
//   break     barrier.breaking, .told, .broken; reset: barrier.resetting, .told, .released: likewise.
//   leave     barrier.leaving: our slot says released or broken, which concerns nobody; used again when slots are rare.

namespace runrig {
namespace {

// In the slots, beside the key.
constexpr std::uint64_t enrolled = std::uint64_t{1} << 22;
constexpr std::uint64_t role_bits = std::uint64_t{3} << 23;
constexpr std::uint64_t idle = 0;  // only enrolled
constexpr std::uint64_t waiting = std::uint64_t{1} << 23;
constexpr std::uint64_t released = std::uint64_t{2} << 23;
constexpr std::uint64_t refused = std::uint64_t{3} << 23;  // told that it broke
static_assert(((enrolled | role_bits) & detail::DomainTable::key_bits) == 0);
using detail::id_in;
constexpr std::uint64_t role_of(std::uint64_t word) { return word & role_bits; }
constexpr std::uint64_t key_in(std::uint64_t word) { return word & detail::DomainTable::key_bits; }
constexpr std::uint64_t with_role(std::uint64_t word, std::uint64_t role) { return (word & ~role_bits) | role; }

// In state_.
enum Phase : std::uint32_t { filling, acting, releasing, breaking, broken_phase, resetting };
constexpr std::uint32_t phase_bits = 7;
constexpr std::uint32_t one_more_change = 8;

// With many parties a look costs milliseconds, so they share it.
constexpr std::chrono::milliseconds between_looks{25};

}  // namespace

void Barrier::throw_bad_parties(int parties) {
  throw std::invalid_argument("make a barrier: " + std::to_string(parties) + " parties; it can have 1 to " +
                              std::to_string(max_parties));
}

// The structure, guard_ held unless said otherwise
// ---------------------------------------------------------------------

Barrier::Guard Barrier::take() {
  for (;;) {
    try {
      return Guard(guard_);
    } catch (const OwnerDied&) {
      if (auto recovery = guard_.recover()) {
        finish_for_the_dead(recovery->dead_holder());
        recovery->commit();
        return Guard(guard_, std::adopt_lock);
      }
    }
  }
}

// May itself be cut off at any step, and then is done again.
void Barrier::finish_for_the_dead(int dead) {
  switch (phase()) {
    case filling:
      // If the dead was the last to arrive, it has not come to say so.
      if (parties_ > 0 && count_waiting() >= parties_) break_all(Cause::death, dead);
      break;
    case releasing:
      release_all();
      break;
    case breaking:
      // Relaxed: written before the phase, which was read with acquire, or by ourselves.
      break_all(static_cast<Cause>(cause_.load(std::memory_order_relaxed)), culprit_.load(std::memory_order_relaxed));
      break;
    case resetting:
      empty();
      break;
    default:  // acting: the slot of its party is looked at as all others; broken: all is done
      break;
  }
  futex_wake_all(state_);
}

// Also without guard_.
std::uint32_t Barrier::phase() const noexcept {
  return state_.load(std::memory_order_acquire) & phase_bits;  // pairs with the release in enter_phase()
}

void Barrier::enter_phase(std::uint32_t phase) noexcept {
  const std::uint32_t state = state_.load(std::memory_order_relaxed);  // relaxed: only we write it
  // Release: pairs with phase(); cause_ before it.
  state_.store((((state & ~phase_bits) + one_more_change) | phase), std::memory_order_release);
}

// The slot in which the thread is enrolled, or waits; -1 if there is none. Also without guard_, by the thread itself.
int Barrier::find_slot(std::uint64_t key) const noexcept {
  const int used = slots_used_.load(std::memory_order_relaxed);
  for (int i = 0; i < used; ++i) {
    // Relaxed: the thread wrote it itself.
    if (key_in(slots_[i].load(std::memory_order_relaxed)) == key) return i;
  }
  return -1;
}

void Barrier::use_slot(int slot, std::uint64_t word) noexcept {
  if (slot >= slots_used_.load(std::memory_order_relaxed)) slots_used_.store(slot + 1, std::memory_order_relaxed);
  // Relaxed: published by guard_; who looks without it takes what it finds as a hint.
  slots_[slot].store(word, std::memory_order_relaxed);
}

// Also without guard_, as a hint.
int Barrier::count_waiting() const noexcept {
  const int used = slots_used_.load(std::memory_order_relaxed);
  return static_cast<int>(std::count_if(slots_, slots_ + used, [](const std::atomic<std::uint64_t>& each) {
    return role_of(each.load(std::memory_order_relaxed)) == waiting;  // relaxed: published by guard_
  }));
}

void Barrier::tell_all(std::uint64_t outcome) noexcept {
  const int used = slots_used_.load(std::memory_order_relaxed);
  for (std::atomic<std::uint64_t>* each = slots_; each != slots_ + used; ++each) {
    const std::uint64_t word = each->load(std::memory_order_relaxed);  // relaxed: with `waiting` only we change it
    // Release: pairs with the acquire in await(): what the parties wrote before they came, which guard_ gave us, and
    // what the action wrote.
    if (role_of(word) == waiting) each->store(with_role(word, outcome), std::memory_order_release);
    RUNRIG_KILLPOINT("barrier.told");
  }
}

void Barrier::release_all() noexcept {
  enter_phase(releasing);
  RUNRIG_KILLPOINT("barrier.releasing");
  tell_all(released);
  enter_phase(filling);
  RUNRIG_KILLPOINT("barrier.released");
}

void Barrier::break_all(Cause cause, int who) noexcept {
  // Relaxed: published by the phase.
  cause_.store(static_cast<std::uint32_t>(cause), std::memory_order_relaxed);
  culprit_.store(who, std::memory_order_relaxed);
  enter_phase(breaking);
  RUNRIG_KILLPOINT("barrier.breaking");
  tell_all(refused);
  enter_phase(broken_phase);
  RUNRIG_KILLPOINT("barrier.broken");
}

void Barrier::empty() noexcept {
  enter_phase(resetting);
  RUNRIG_KILLPOINT("barrier.resetting");
  tell_all(refused);
  const int used = slots_used_.load(std::memory_order_relaxed);
  for (std::atomic<std::uint64_t>* each = slots_; each != slots_ + used; ++each) {
    const std::uint64_t word = each->load(std::memory_order_relaxed);  // relaxed, and the store: as in use_slot()
    if (word != 0 && liveness(domains_.identity_in(word, ParticipantKind::thread)) == Liveness::dead) {
      each->store(0, std::memory_order_relaxed);
    }
  }
  enter_phase(filling);
  RUNRIG_KILLPOINT("barrier.released");
}

void Barrier::throw_broken() const {
  // Relaxed: published by what told us that it is broken.
  const std::string who = std::to_string(culprit_.load(std::memory_order_relaxed));
  switch (static_cast<Cause>(cause_.load(std::memory_order_relaxed))) {
    case Cause::death:
      throw BrokenBarrier("party " + who + " died");
    case Cause::timeout:
      throw BrokenBarrier("party " + who + " waited longer than its timeout");
    case Cause::abort:
      throw BrokenBarrier("aborted by " + who);
    case Cause::reset:
      throw BrokenBarrier("reset by " + who);
    case Cause::action:
      throw BrokenBarrier("the action of party " + who + " threw");
    case Cause::none:
      break;
  }
  throw BrokenBarrier("it is not known why");
}

// The parties
// ----------------------------------------------------------------------------------------------------------

int Barrier::wait_before(Deadline deadline) {
  const Arrival arrival = arrive(WithAction::no);
  if (!arrival.last) await(arrival, deadline);
  return arrival.index;
}

Barrier::Arrival Barrier::arrive(WithAction with_action) {
  if (parties_ < 1) throw std::logic_error("wait at a barrier: it has no parties; make it in place, with a number");
  const std::uint64_t key = domains_.key_of(detail::thread_now());
  for (;;) {
    Guard guard = take();
    if (phase() == broken_phase) throw_broken();
    int slot = -1;
    const std::uint32_t state = state_.load(std::memory_order_relaxed);  // relaxed: guard_ is held
    if (phase() == filling) {
      slot = find_slot(key);
      if (slot < 0) slot = find_slot(0);
      const int used = slots_used_.load(std::memory_order_relaxed);
      if (slot < 0 && used < max_parties) slot = used;
    }
    if (slot >= 0) {
      const int index = count_waiting();
      const std::uint64_t mine = slots_[slot].load(std::memory_order_relaxed);
      use_slot(slot, with_role(mine == 0 ? key : mine, waiting));
      RUNRIG_KILLPOINT("barrier.entered");
      const Arrival arrival{key, slot, index, index + 1 == parties_};
      if (arrival.last && with_action == WithAction::yes) {
        enter_phase(acting);
        RUNRIG_KILLPOINT("barrier.acting");
      } else if (arrival.last) {
        release_all();
        guard.unlock();
        futex_wake_all(state_);
        vacate(slot, slots_[slot].load(std::memory_order_relaxed));
      } else {
        guard.unlock();
        RUNRIG_KILLPOINT("barrier.arrived");
      }
      return arrival;
    }
    // An action is running, or all slots are those of parties that were released and have not gone yet.
    guard.unlock();
    RUNRIG_KILLPOINT("barrier.queueing");
    futex_wait(state_, state, Deadline::after(detail::first_look));
    look_for_the_dead();
  }
}

void Barrier::await(const Arrival& me, Deadline deadline) {
  detail::Pauses pauses;
  std::optional<detail::Looks> looks;
  for (;;) {
    // Before the slot: what is told later changes it. Relaxed: the futex call compares it again.
    const std::uint32_t state = state_.load(std::memory_order_relaxed);
    const std::uint64_t word = slots_[me.slot].load(std::memory_order_acquire);  // pairs with the release in tell_all()
    if (role_of(word) != waiting) {
      RUNRIG_KILLPOINT("barrier.leaving");
      vacate(me.slot, word);
      if (role_of(word) == released) return;
      throw_broken();
    }
    if (deadline.passed()) {
      const Guard guard = take();
      if (role_of(slots_[me.slot].load(std::memory_order_relaxed)) != waiting) continue;
      if (phase() == filling) {
        break_all(Cause::timeout, id_in(me.key));
        futex_wake_all(state_);
      } else {
        deadline = Deadline();  // all have come: what is left is the action's time
      }
      continue;
    }
    if (pauses.pause()) continue;
    if (!looks) looks.emplace();
    RUNRIG_KILLPOINT("barrier.waiting");
    futex_wait(state_, state, deadline.sooner(looks->next()));
    RUNRIG_KILLPOINT("barrier.woken");
    if (looks->due()) look_for_the_dead();
  }
}

// Without guard_: once a waiter is told, only it changes its slot.
void Barrier::vacate(int slot, std::uint64_t word) noexcept {
  // Relaxed: an empty slot says nothing about other memory.
  slots_[slot].store((word & enrolled) != 0 ? with_role(word, idle) : 0, std::memory_order_relaxed);
}

void Barrier::action_done(const Arrival& me) {
  Guard guard = take();
  const std::uint64_t word = slots_[me.slot].load(std::memory_order_relaxed);
  if (role_of(word) == waiting) {  // so the phase is still `acting`, and the round ours
    release_all();
    guard.unlock();
    futex_wake_all(state_);
    vacate(me.slot, with_role(word, released));
    return;
  }
  vacate(me.slot, word);
  throw_broken();
}

void Barrier::action_threw(const Arrival& me) {
  Guard guard = take();
  const std::uint64_t word = slots_[me.slot].load(std::memory_order_relaxed);
  if (role_of(word) == waiting) {
    break_all(Cause::action, id_in(me.key));
    guard.unlock();
    futex_wake_all(state_);
  }
  vacate(me.slot, with_role(word, refused));
}

// Everybody else
// -------------------------------------------------------------------------------------------------------

void Barrier::look_for_the_dead() {
  const auto now = std::chrono::nanoseconds(Clock::now().time_since_epoch()).count();
  std::int64_t last = looked_at_.load(std::memory_order_relaxed);  // relaxed: only says who looks
  if (now - last < std::chrono::nanoseconds(between_looks).count() ||
      !looked_at_.compare_exchange_strong(last, now, std::memory_order_relaxed)) {
    return;
  }
  // Who died with guard_ may have left something to finish.
  if (guard_.abandoned()) take().unlock();
  // Without guard_: a look takes 10 µs for each. What was found is compared again with it.
  const int used = slots_used_.load(std::memory_order_relaxed);
  for (std::atomic<std::uint64_t>* each = slots_; each != slots_ + used; ++each) {
    std::uint64_t word = each->load(std::memory_order_relaxed);
    if (word == 0 || liveness(domains_.identity_in(word, ParticipantKind::thread)) != Liveness::dead) continue;
    const Guard guard = take();
    // The dead change nothing, so it is the same slot still unless somebody was quicker.
    if (each->load(std::memory_order_relaxed) != word) continue;
    const bool was_wanted = role_of(word) == waiting || (word & enrolled) != 0;
    if (was_wanted && (phase() == filling || phase() == acting)) {
      break_all(Cause::death, id_in(word));
      RUNRIG_KILLPOINT("barrier.death_told");
      futex_wake_all(state_);
    }
    each->store(0, std::memory_order_relaxed);
  }
}

void Barrier::reset() {
  const auto me = detail::thread_now();
  {
    const Guard guard = take();
    if (count_waiting() > 0) {  // else leave it for those who have not read yet why it broke
      // Relaxed: published by the phase.
      cause_.store(static_cast<std::uint32_t>(Cause::reset), std::memory_order_relaxed);
      culprit_.store(me.id(), std::memory_order_relaxed);
    }
    empty();
  }
  futex_wake_all(state_);
}

void Barrier::abort() {
  const auto me = detail::thread_now();
  {
    const Guard guard = take();
    break_all(Cause::abort, me.id());
  }
  futex_wake_all(state_);
}

bool Barrier::broken() const noexcept {
  const std::uint32_t now = phase();
  return now == breaking || now == broken_phase;
}

int Barrier::n_waiting() const noexcept { return broken() ? 0 : count_waiting(); }

void Barrier::enroll() {
  const std::uint64_t key = domains_.key_of(detail::thread_now());
  const Guard guard = take();
  if (find_slot(key) >= 0) throw std::logic_error("enroll at a barrier: this thread is enrolled already");
  int slot = find_slot(0);
  if (slot < 0) slot = slots_used_.load(std::memory_order_relaxed);
  if (slot >= max_parties) throw Error(std::errc::resource_unavailable_try_again, "enroll at", "barrier");
  use_slot(slot, key | enrolled);
  RUNRIG_KILLPOINT("barrier.enrolled");
}

void Barrier::withdraw() {
  const std::uint64_t key = domains_.key_of(detail::thread_now());
  const Guard guard = take();
  const int slot = find_slot(key);
  if (slot < 0) throw std::logic_error("withdraw from a barrier: this thread is not enrolled");
  slots_[slot].store(0, std::memory_order_relaxed);  // relaxed: published by guard_
  RUNRIG_KILLPOINT("barrier.withdrawn");
}

}  // namespace runrig
