#pragma once

#include <atomic>
#include <cstdint>
#include <type_traits>

#include "runrig/sync/clock.hpp"
#include "runrig/sync/domain_table.hpp"
#include "runrig/sync/participant.hpp"

namespace runrig::detail {

/// The machinery that Lock and RLock share: one 64-bit word that says whether the lock is taken *and by whom*.
///
/// Because owner and state change in one atomic step, a process can be killed at any instruction and what it leaves
/// is always one of these states, each of which somebody else can go on from:
///
///     free        the word is 0
///     held        mark of the holder                  if it is dead: whoever looks makes this orphaned
///     orphaned    mark of the dead holder             recover() makes this recovering, by one compare-exchange
///     recovering  mark of who repairs the data        if it is dead: orphaned again; commit: held; else poisoned
///     poisoned    final
///
/// What a kill can cut off is only the wake-up that follows a change (see owner_word.cpp), so no sleep lasts longer
/// than 50 ms: after that the sleeper looks at the word and at the holder's liveness again. A killed waiter leaves
/// nothing but the flag "there may be sleepers", whose price is one idle wake-up.
///
/// All-zero memory is a free lock. Address-free: 24 bytes without pointers, which may be mapped anywhere.
class OwnerWord {
 public:
  constexpr OwnerWord() noexcept = default;
  OwnerWord(const OwnerWord&) = delete;
  OwnerWord& operator=(const OwnerWord&) = delete;

  /// What `me` writes into the word: its mark and the index of its domain in this lock's table.
  [[nodiscard]] std::uint64_t key_of(const Identity& me) noexcept { return domains_.key_of(me); }

  enum class Attempt { taken, mine_already, busy };
  /// One compare-exchange, no waiting, no looking at the holder.
  [[nodiscard]] Attempt attempt(std::uint64_t key) noexcept;
  /// Takes it or waits until `deadline`; false then. Throws OwnerDied, Poisoned.
  [[nodiscard]] bool take(const Identity& me, std::uint64_t key, Deadline deadline);

  /// Frees it if `key` holds it and nobody sleeps; else nothing is changed.
  [[nodiscard]] bool release_quickly(std::uint64_t key) noexcept;
  enum class Releaser { anybody, owner_only };
  /// Frees it and wakes a sleeper. Throws std::logic_error (not locked; not the owner), OwnerDied, Poisoned.
  void release(const Identity& me, std::uint64_t key, Releaser releaser);

  /// True if `key` is now to repair; false if there is nothing to repair. Waits while another repairs.
  /// Throws Poisoned; std::logic_error if the calling thread is repairing already (only where `me` is a thread).
  [[nodiscard]] bool recover(const Identity& me, std::uint64_t key, int& dead_holder);
  /// Ends the repair by `key`: held by it, or poisoned. False if `key` was not repairing.
  bool commit(std::uint64_t key) noexcept;
  bool poison(std::uint64_t key) noexcept;

  /// Id of whoever holds or repairs it, dead or not; 0 if nobody does.
  [[nodiscard]] int holder() const noexcept;
  [[nodiscard]] bool held_by(std::uint64_t key) const noexcept;
  [[nodiscard]] bool poisoned() const noexcept;
  /// Looks at the holder's liveness: true if take() would throw, because it died and nobody repairs, or it is poisoned.
  [[nodiscard]] bool abandoned(ParticipantKind kind) noexcept;

  /// How often the owner took it beyond the first time; only RLock uses it, only its owner changes it.
  /// Relaxed on both sides: the word's acquire and release order it between owners.
  [[nodiscard]] std::uint32_t depth() const noexcept { return depth_.load(std::memory_order_relaxed); }
  void set_depth(std::uint32_t depth) noexcept { depth_.store(depth, std::memory_order_relaxed); }

 private:
  bool orphan_if_dead(std::uint64_t word, ParticipantKind kind) noexcept;
  void sleep(std::uint64_t word, Deadline until) noexcept;
  void wake_one() noexcept;
  void wake_all() noexcept;

  std::atomic<std::uint64_t> word_{0};
  DomainTable domains_;  // of those who took this lock
  std::atomic<std::uint32_t> depth_{0};
};
static_assert(std::is_standard_layout_v<OwnerWord> && std::is_trivially_destructible_v<OwnerWord> &&
                  sizeof(OwnerWord) == 24 && alignof(OwnerWord) == 8,
              "separately built processes share it");
static_assert(std::atomic<std::uint64_t>::is_always_lock_free, "a locking atomic locks per process");

}  // namespace runrig::detail
