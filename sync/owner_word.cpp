#include "runrig/sync/owner_word.hpp"

#include <chrono>
#include <optional>
#include <stdexcept>
#include <string>

#include "runrig/sync/error.hpp"
#include "runrig/sync/killpoint.hpp"
#include "runrig/sync/waiting.hpp"

// Why a kill at any instruction is survived, step by step; tests kill a process at each point named here.
//
//   take     before the compare-exchange the word does not know us; after it (lock.taken) it names us as the holder.
//   sleep    (lock.waiting, lock.woken) we are in the word as the flag `sleepers` only. Too many flags cost an idle
//            wake-up. If we die having been woken, the lock is free or its next holder's, and whoever else sleeps
//            looks by itself when its 50 ms are over.
//   release  before the compare-exchange (lock.releasing) we are the dead holder: the data is whole, but nobody can
//            know, so it is OwnerDied. After it and before the wake-up (lock.released): free, as under `sleep`.
//   orphan   (lock.orphaned) sleepers not woken by us look by themselves.
//   recover  after the compare-exchange (recovery.taken) the word names us as the repairer: dead, orphaned again.
//            Before commit or poison (recovery.ending) likewise; after it (recovery.ended) the outcome stands.
//
// So the word is the only truth, every transition is one compare-exchange from a state that was read, and wake-ups
// are an optimisation of the 50 ms look. `depth_` is written by the holder alone and set anew by whoever recovers.

namespace runrig::detail {
namespace {

// The three bits that a key leaves free.
constexpr std::uint64_t sleepers = std::uint64_t{1} << 22;
constexpr int phase_shift = 23;
constexpr std::uint64_t phase_bits = std::uint64_t{3} << phase_shift;
constexpr std::uint64_t key_bits = DomainTable::key_bits;
static_assert((key_bits & (sleepers | phase_bits)) == 0 && (key_bits | sleepers | phase_bits) == ~std::uint64_t{0});

constexpr std::uint64_t held = 0;
constexpr std::uint64_t orphaned = std::uint64_t{1} << phase_shift;
constexpr std::uint64_t recovering = std::uint64_t{2} << phase_shift;
constexpr std::uint64_t poisoned_phase = std::uint64_t{3} << phase_shift;

constexpr std::uint64_t phase_of(std::uint64_t word) { return word & phase_bits; }
constexpr std::uint64_t key_in(std::uint64_t word) { return word & key_bits; }

std::string holder_name(std::uint64_t word, ParticipantKind kind) {
  return (kind == ParticipantKind::thread ? "held by thread " : "held by process ") + std::to_string(id_in(word));
}

// Throws for the states in which nobody can take the lock.
void check_takeable(std::uint64_t word, ParticipantKind kind) {
  if (phase_of(word) == poisoned_phase) throw Poisoned(holder_name(word, kind));
  if (phase_of(word) == orphaned) throw OwnerDied(holder_name(word, kind));
}

// Whom this thread last found alive, and when.
struct Seen {
  std::uint64_t key = 0;
  Clock::time_point when;
};
constinit thread_local Seen last_seen{};

}  // namespace

OwnerWord::Attempt OwnerWord::attempt(std::uint64_t key) noexcept {
  std::uint64_t expected = 0;
  // Acquire: pairs with the release in release(): what the last holder wrote is seen by the next.
  if (word_.compare_exchange_strong(expected, key, std::memory_order_acquire, std::memory_order_relaxed)) {
    RUNRIG_KILLPOINT("lock.taken");
    return Attempt::taken;
  }
  return phase_of(expected) == held && key_in(expected) == key ? Attempt::mine_already : Attempt::busy;
}

bool OwnerWord::take(const Identity& me, std::uint64_t key, Deadline deadline) {
  Pauses pauses;
  std::uint64_t flag = 0;  // once we slept there may be others: keep the flag up for them
  std::optional<Looks> looks;
  for (;;) {
    // Relaxed: what counts is the compare-exchange that follows.
    std::uint64_t word = word_.load(std::memory_order_relaxed);
    if (word == 0) {
      // Acquire: as in attempt().
      if (word_.compare_exchange_weak(word, key | flag, std::memory_order_acquire, std::memory_order_relaxed)) {
        RUNRIG_KILLPOINT("lock.taken");
        return true;
      }
      continue;
    }
    check_takeable(word, me.kind);
    if (me.kind == ParticipantKind::thread && phase_of(word) == recovering && key_in(word) == key) {
      throw std::logic_error("lock: this thread is repairing the lock; commit() makes it the holder");
    }
    const bool give_up = deadline.passed();
    if (!give_up && pauses.pause()) continue;
    // The flag goes up before a sleep. Also when we leave after one: we may have used up the wake-up meant for
    // another sleeper, while somebody took the lock without the flag.
    if ((!give_up || flag != 0) && (word & sleepers) == 0) {
      // Relaxed: the futex call compares the word again in the kernel.
      if (!word_.compare_exchange_weak(word, word | sleepers, std::memory_order_relaxed)) continue;
      word |= sleepers;
    }
    if (give_up) {
      const bool seen = last_seen.key == key_in(word) && Clock::now() - last_seen.when < look_again;
      if (!seen && orphan_if_dead(word, me.kind)) continue;
      return false;
    }
    if (!looks) looks.emplace();
    flag = sleepers;
    RUNRIG_KILLPOINT("lock.waiting");
    sleep(word, deadline.sooner(looks->next()));
    RUNRIG_KILLPOINT("lock.woken");
    if (looks->due()) orphan_if_dead(word, me.kind);
  }
}

bool OwnerWord::release_quickly(std::uint64_t key) noexcept {
  RUNRIG_KILLPOINT("lock.releasing");
  // Release: pairs with the acquire of whoever takes it next.
  if (!word_.compare_exchange_strong(key, 0, std::memory_order_release, std::memory_order_relaxed)) return false;
  RUNRIG_KILLPOINT("lock.released");
  return true;
}

void OwnerWord::release(const Identity& me, std::uint64_t key, Releaser releaser) {
  std::uint64_t word = word_.load(std::memory_order_relaxed);  // relaxed: compared again below
  for (;;) {
    if (word == 0) throw std::logic_error("unlock: the lock is not locked");
    check_takeable(word, me.kind);
    if (phase_of(word) == recovering)
      throw std::logic_error("unlock: the lock is being repaired; commit() comes first");
    if (key_in(word) != key) {
      if (releaser == Releaser::owner_only) throw std::logic_error("unlock: the lock is " + holder_name(word, me.kind));
      if (orphan_if_dead(word, me.kind)) {
        word = word_.load(std::memory_order_relaxed);  // relaxed: as above
        continue;
      }
    }
    // Release: pairs with the acquire of whoever takes it next.
    if (word_.compare_exchange_weak(word, 0, std::memory_order_release, std::memory_order_relaxed)) break;
  }
  RUNRIG_KILLPOINT("lock.released");
  if ((word & sleepers) != 0) wake_one();
}

// Makes a lock whose holder or repairer died orphaned, and tells all who sleep. True if the word has changed.
bool OwnerWord::orphan_if_dead(std::uint64_t word, ParticipantKind kind) noexcept {
  if (phase_of(word) != held && phase_of(word) != recovering) return true;
  if (liveness(domains_.identity_in(word, kind)) != Liveness::dead) {
    last_seen = {key_in(word), Clock::now()};
    return false;
  }
  const std::uint64_t dead = word & ~sleepers;
  for (;;) {
    // Acquire and release: the dead cannot publish any more, so what is seen of its writes after looking it up in
    // the kernel is passed on to whoever recovers.
    if (word_.compare_exchange_weak(word, key_in(word) | orphaned, std::memory_order_acq_rel,
                                    std::memory_order_relaxed)) {
      RUNRIG_KILLPOINT("lock.orphaned");
      wake_all();
      return true;
    }
    if ((word & ~sleepers) != dead) return true;  // somebody else was first
  }
}

bool OwnerWord::recover(const Identity& me, std::uint64_t key, int& dead_holder) {
  for (;;) {
    std::uint64_t word = word_.load(std::memory_order_relaxed);  // relaxed: compared again below
    if (word == 0) return false;
    if (phase_of(word) == poisoned_phase) throw Poisoned(holder_name(word, me.kind));
    if (phase_of(word) == held) {
      if (!orphan_if_dead(word, me.kind)) return false;
    } else if (phase_of(word) == orphaned) {
      // Acquire: pairs with the release in orphan_if_dead().
      if (word_.compare_exchange_weak(word, key | recovering | (word & sleepers), std::memory_order_acquire,
                                      std::memory_order_relaxed)) {
        RUNRIG_KILLPOINT("recovery.taken");
        set_depth(0);
        dead_holder = id_in(word);
        return true;
      }
    } else {  // another is repairing
      if (me.kind == ParticipantKind::thread && key_in(word) == key) {
        throw std::logic_error("recover: this thread is repairing the lock already");
      }
      // Relaxed: as in take().
      if ((word & sleepers) == 0 && !word_.compare_exchange_weak(word, word | sleepers, std::memory_order_relaxed)) {
        continue;
      }
      const auto deadline = Deadline::after(later_look);
      RUNRIG_KILLPOINT("recovery.waiting");
      sleep(word | sleepers, deadline);
      if (deadline.passed()) orphan_if_dead(word | sleepers, me.kind);
    }
  }
}

bool OwnerWord::commit(std::uint64_t key) noexcept {
  RUNRIG_KILLPOINT("recovery.ending");
  std::uint64_t word = word_.load(std::memory_order_relaxed);  // relaxed: compared again below
  do {
    if (phase_of(word) != recovering || key_in(word) != key) return false;
    // Relaxed: the lock is not passed on, only its state changes; the repair is published by unlock().
  } while (!word_.compare_exchange_weak(word, word & ~phase_bits, std::memory_order_relaxed));
  RUNRIG_KILLPOINT("recovery.ended");
  // All: those in recover() are told that there is nothing left to repair; the flag stays up for those in take().
  if ((word & sleepers) != 0) wake_all();
  return true;
}

bool OwnerWord::poison(std::uint64_t key) noexcept {
  RUNRIG_KILLPOINT("recovery.ending");
  std::uint64_t word = word_.load(std::memory_order_relaxed);  // relaxed: compared again below
  do {
    if (phase_of(word) != recovering || key_in(word) != key) return false;
    // Release: whoever is told Poisoned may look at what the repair left, for a report.
  } while (
      !word_.compare_exchange_weak(word, key | poisoned_phase, std::memory_order_release, std::memory_order_relaxed));
  RUNRIG_KILLPOINT("recovery.ended");
  wake_all();
  return true;
}

int OwnerWord::holder() const noexcept {
  return id_in(word_.load(std::memory_order_relaxed));  // relaxed: a hint for people
}

bool OwnerWord::held_by(std::uint64_t key) const noexcept {
  // Relaxed: if it is the caller's, the caller wrote it.
  const std::uint64_t word = word_.load(std::memory_order_relaxed);
  return phase_of(word) == held && key_in(word) == key;
}

bool OwnerWord::poisoned() const noexcept {
  // Acquire: pairs with the release in poison().
  return phase_of(word_.load(std::memory_order_acquire)) == poisoned_phase;
}

bool OwnerWord::abandoned(ParticipantKind kind) noexcept {
  // Relaxed, both: whoever acts on the answer goes through take() or recover().
  if (const std::uint64_t word = word_.load(std::memory_order_relaxed); word != 0) orphan_if_dead(word, kind);
  const std::uint64_t phase = phase_of(word_.load(std::memory_order_relaxed));
  return phase == orphaned || phase == poisoned_phase;
}

void OwnerWord::sleep(std::uint64_t word, Deadline until) noexcept {
  futex_wait(futex_of(word_), static_cast<std::uint32_t>(word), until);
}

// The memory may be unmapped by another thread once the word is free: the kernel then finds no futex, and nothing
// is written.
void OwnerWord::wake_one() noexcept { futex_wake(futex_of(word_), 1); }
void OwnerWord::wake_all() noexcept { futex_wake_all(futex_of(word_)); }

}  // namespace runrig::detail
