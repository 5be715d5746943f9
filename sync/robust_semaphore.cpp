#include "runrig/sync/robust_semaphore.hpp"

#include <algorithm>
#include <chrono>
#include <optional>
#include <stdexcept>
#include <string>

#include "runrig/sync/futex.hpp"
#include "runrig/sync/killpoint.hpp"
#include "runrig/sync/waiting.hpp"

// Each token is one word that is either free or names its holder, and there is no count beside it that could disagree
// after a kill. Step by step:
//
//   take    after the compare-exchange (robust_semaphore.taken) the token names us: dead, it is taken back.
//   sleep   (robust_semaphore.waiting, robust_semaphore.woken) nothing of ours is there but perhaps the flag.
//   give    after the store and before the wake-up (robust_semaphore.released): free; sleepers look within 50 ms.
//   look    (robust_semaphore.returned) a token of the dead is free, the next may not be yet: the next look.

namespace runrig {
namespace {

constexpr std::uint32_t sleepers = 1;
constexpr std::uint32_t one_more_given = 2;

}  // namespace

void RobustSemaphore::throw_bad_value(int value) {
  throw std::invalid_argument("make a robust semaphore: its value " + std::to_string(value) + " must be from 0 to " +
                              std::to_string(max_value));
}

bool RobustSemaphore::take_free(std::uint64_t key) noexcept {
  for (std::int32_t i = 0; i < tokens_; ++i) {
    // Sequentially consistent, here and in give() and acquire_before(): who gives frees the token and then looks for
    // the sleepers' flag, who takes raises the flag and then looks for a token; one of the two must see the other.
    std::uint64_t holder = holders_[i].load(std::memory_order_seq_cst);
    // Acquire: pairs with the release of who gave it, or found its holder dead.
    if (holder == 0 && holders_[i].compare_exchange_strong(holder, key, std::memory_order_acquire)) {
      RUNRIG_KILLPOINT("robust_semaphore.taken");
      return true;
    }
  }
  return false;
}

bool RobustSemaphore::acquire_before(Deadline deadline) noexcept {
  const std::uint64_t key = domains_.key_of(detail::process_now());
  detail::Pauses pauses;
  std::optional<detail::Looks> looks;
  for (;;) {
    std::uint32_t given = given_.load(std::memory_order_seq_cst);  // before the search: what is given later changes it
    if (take_free(key)) return true;
    if (deadline.passed()) {
      if (look_for_the_dead()) continue;
      return false;
    }
    if (pauses.pause()) continue;
    if ((given & sleepers) == 0) {  // then search once more
      given_.compare_exchange_strong(given, given | sleepers, std::memory_order_seq_cst);
      continue;
    }
    if (!looks) looks.emplace();
    RUNRIG_KILLPOINT("robust_semaphore.waiting");
    futex_wait(given_, given, deadline.sooner(looks->next()));
    RUNRIG_KILLPOINT("robust_semaphore.woken");
    if (looks->due()) free_what_the_dead_hold();
  }
}

void RobustSemaphore::release() {
  const std::uint64_t key = domains_.key_of(detail::process_now());
  for (std::int32_t i = 0; i < tokens_; ++i) {
    std::uint64_t holder = key;
    // Sequentially consistent: see take_free(); it is a release as well, which pairs with the acquire there.
    if (holders_[i].load(std::memory_order_relaxed) == key &&
        holders_[i].compare_exchange_strong(holder, 0, std::memory_order_seq_cst)) {
      give(1);
      return;
    }
  }
  throw std::logic_error("release a robust semaphore: this process holds none of its tokens");
}

// After `count` tokens were made free.
void RobustSemaphore::give(int count) noexcept {
  RUNRIG_KILLPOINT("robust_semaphore.released");
  if ((given_.load(std::memory_order_seq_cst) & sleepers) == 0) return;
  // Release: who sees the change before it searches sees the tokens, too.
  const std::uint32_t ours = given_.fetch_add(one_more_given, std::memory_order_release) + one_more_given;
  detail::wake_sleepers(given_, count, ours, sleepers);
}

// For those who only try: not more often than every 10 ms.
bool RobustSemaphore::look_for_the_dead() noexcept {
  const auto now = std::chrono::nanoseconds(Clock::now().time_since_epoch()).count();
  // Relaxed, here and where it is stored: only spares a look.
  if (now - looked_at_.load(std::memory_order_relaxed) < std::chrono::nanoseconds(detail::look_again).count()) {
    return false;
  }
  return free_what_the_dead_hold();
}

// True if there were any.
bool RobustSemaphore::free_what_the_dead_hold() noexcept {
  int freed = 0;
  std::uint64_t alive = 0;  // whom we asked last: a holder of several tokens mostly took them in a row
  for (std::int32_t i = 0; i < tokens_; ++i) {
    std::uint64_t holder = holders_[i].load(std::memory_order_relaxed);  // relaxed: compared again below
    if (holder == 0 || holder == alive) continue;
    if (liveness(domains_.identity_in(holder, ParticipantKind::process)) != Liveness::dead) {
      alive = holder;
      continue;
    }
    // Acquire and release: what is seen of the writes of the dead is passed on to whoever takes it. That it still holds
    // the token, and not a living one, is what the exchange compares: the dead acquire nothing.
    if (holders_[i].compare_exchange_strong(holder, 0, std::memory_order_seq_cst)) {
      RUNRIG_KILLPOINT("robust_semaphore.returned");
      ++freed;
    }
  }
  if (freed == 0) {
    looked_at_.store(std::chrono::nanoseconds(Clock::now().time_since_epoch()).count(), std::memory_order_relaxed);
  } else {
    give(freed);
  }
  return freed != 0;
}

int RobustSemaphore::get_value() const noexcept {
  // Relaxed: a hint.
  return static_cast<int>(std::count_if(holders_, holders_ + tokens_, [](const std::atomic<std::uint64_t>& each) {
    return each.load(std::memory_order_relaxed) == 0;
  }));
}

int RobustSemaphore::held_by_this_process() noexcept {
  const std::uint64_t key = domains_.key_of(detail::process_now());
  // Relaxed: of other threads' tokens it is a hint, and the caller's own it knows.
  return static_cast<int>(std::count_if(holders_, holders_ + tokens_, [&](const std::atomic<std::uint64_t>& each) {
    return each.load(std::memory_order_relaxed) == key;
  }));
}

}  // namespace runrig
