#include "runrig/sync/lock.hpp"

#include <limits>
#include <stdexcept>
#include <string>

namespace runrig {
namespace {

using detail::OwnerWord;

// The identities as the fast paths want them: from memory, without a call, unless nobody asked before (or a fork
// came between, which empties the page).
Identity process_now() noexcept {
  const detail::Self& self = *detail::self_page.load(std::memory_order_acquire);  // pairs with the page's publication
  // Acquire: pairs with the release that published the mark; the domain was stored before.
  const std::uint64_t mark = self.mark.load(std::memory_order_acquire);
  if (mark == 0) [[unlikely]]
    return this_process_identity();
  return {mark, self.domain.load(std::memory_order_relaxed), ParticipantKind::process};
}

Identity thread_now() noexcept {
  const Identity process = process_now();
  const detail::ThreadSelf& self = detail::thread_self;
  if (self.process_mark != process.mark) [[unlikely]]
    return this_thread_identity();
  return {self.mark, process.domain, ParticipantKind::thread};
}

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
