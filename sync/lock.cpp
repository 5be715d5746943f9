#include "runrig/sync/lock.hpp"

#include <limits>
#include <stdexcept>
#include <string>

#include "runrig/sync/waiting.hpp"

namespace runrig {
namespace {

using detail::OwnerWord;
using detail::process_now;
using detail::thread_now;

}  // namespace

Recovery::Recovery(OwnerWord& word, std::uint64_t key, const Identity& owner, int dead_holder) noexcept
    : word_(&word), key_(key), owner_(owner), process_(process_now().mark), dead_holder_(dead_holder) {}

Recovery::~Recovery() {
  // Not in a forked child: there the parent is still repairing.
  if (word_ != nullptr && process_now().mark == process_) word_->poison(key_);
}

void Recovery::commit() {
  const Identity me = owner_.kind == ParticipantKind::thread ? thread_now() : process_now();
  if (word_ == nullptr || me != owner_ || !word_->commit(key_)) {
    throw std::logic_error("commit a recovery: not by who began it, or not any more");
  }
  word_ = nullptr;
}

void Lock::lock() {
  const Identity me = process_now();
  const std::uint64_t key = word_.key_of(me);
  if (word_.attempt(key) == OwnerWord::Attempt::taken) return;
  static_cast<void>(word_.take(me, key, Deadline()));
}

bool Lock::lock_before(Deadline deadline) {
  const Identity me = process_now();
  const std::uint64_t key = word_.key_of(me);
  return word_.attempt(key) == OwnerWord::Attempt::taken || word_.take(me, key, deadline);
}

bool Lock::try_lock() { return lock_before(Deadline::at(Clock::time_point::min())); }

void Lock::unlock() {
  const Identity me = process_now();
  const std::uint64_t key = word_.key_of(me);
  if (!word_.release_quickly(key)) word_.release(me, key, OwnerWord::Releaser::anybody);
}

std::optional<Recovery> Lock::recover() {
  const Identity me = process_now();
  const std::uint64_t key = word_.key_of(me);
  int dead_holder = 0;
  if (!word_.recover(me, key, dead_holder)) return std::nullopt;
  return Recovery(word_, key, me, dead_holder);
}

bool Lock::held_by_this_process() noexcept { return word_.held_by(word_.key_of(process_now())); }

void Lock::throw_timeout() const { throw TimeoutError("lock", "held by process " + std::to_string(holder())); }

void RLock::lock() { static_cast<void>(lock_before(Deadline())); }

bool RLock::lock_before(Deadline deadline) {
  const Identity me = thread_now();
  const std::uint64_t key = word_.key_of(me);
  switch (word_.attempt(key)) {
    case OwnerWord::Attempt::taken:
      return true;
    case OwnerWord::Attempt::busy:
      return word_.take(me, key, deadline);
    case OwnerWord::Attempt::mine_already:
      break;
  }
  if (word_.depth() == std::numeric_limits<std::uint32_t>::max()) {
    throw std::logic_error("lock: an RLock was taken 2^32 times by one thread");
  }
  word_.set_depth(word_.depth() + 1);
  return true;
}

bool RLock::try_lock() { return lock_before(Deadline::at(Clock::time_point::min())); }

void RLock::unlock() {
  const Identity me = thread_now();
  const std::uint64_t key = word_.key_of(me);
  if (word_.depth() != 0 && word_.held_by(key)) {
    word_.set_depth(word_.depth() - 1);
  } else if (!word_.release_quickly(key)) {
    word_.release(me, key, OwnerWord::Releaser::owner_only);
  }
}

std::uint32_t RLock::unlock_fully() {
  const std::uint32_t depth = word_.depth();
  // Killed after it: nothing lost, for recover() begins with this depth, too.
  word_.set_depth(0);
  unlock();
  return depth;
}

void RLock::lock_again(std::uint32_t depth) {
  lock();
  word_.set_depth(depth);
}

std::optional<Recovery> RLock::recover() {
  const Identity me = thread_now();
  const std::uint64_t key = word_.key_of(me);
  int dead_holder = 0;
  if (!word_.recover(me, key, dead_holder)) return std::nullopt;
  return Recovery(word_, key, me, dead_holder);
}

bool RLock::held_by_this_thread() noexcept { return word_.held_by(word_.key_of(thread_now())); }

void RLock::throw_timeout() const { throw TimeoutError("lock", "held by thread " + std::to_string(holder())); }

}  // namespace runrig
