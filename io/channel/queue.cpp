#include "runrig/channel/queue.hpp"

#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <bit>
#include <stdexcept>
#include <string>

#include "queue_core.hpp"
#include "runrig/shm/anonymous_memory.hpp"
#include "runrig/sync/error.hpp"
#include "runrig/sync/killpoint.hpp"
#include "runrig/sync/waiting.hpp"

namespace runrig::detail {
namespace {

// So much is laid out and mapped, and none of it there until it is used: more than all the messages that memory holds,
// since blocks of one size are not used for another.
constexpr std::uint64_t most_segment_bytes = std::uint64_t{1} << 40;
constexpr std::uint64_t least_segment_bytes = std::uint64_t{64} << 20;

std::uint64_t segment_bytes_wanted() noexcept {
  const long pages = ::sysconf(_SC_PHYS_PAGES);
  const long page = ::sysconf(_SC_PAGESIZE);
  const std::uint64_t memory = pages > 0 && page > 0
                                   ? static_cast<std::uint64_t>(pages) * static_cast<std::uint64_t>(page)
                                   : least_segment_bytes;
  return std::bit_ceil(std::clamp(8 * memory, least_segment_bytes, most_segment_bytes));
}

// Smaller where limits of the address space (ulimit -v) or of files (ulimit -f) leave no room for that.
AnonymousMemory make_memory() {
  for (std::uint64_t bytes = segment_bytes_wanted();; bytes /= 2) {
    try {
      return AnonymousMemory::create("runrig-queue", bytes, Reserve::lazily);
    } catch (const Error& error) {
      if (bytes <= least_segment_bytes ||
          (error.code() != std::errc::not_enough_memory && error.code() != std::errc::file_too_large)) {
        throw;
      }
    }
  }
}

// Waiting for a change of a count. Spins for a moment, then sleeps, with a look at least every 50 ms: a kill may have
// cut off the wake-up.
class CountWait {
 public:
  CountWait(CountWord& word, Deadline deadline) noexcept : word_(word), deadline_(deadline) {}

  /// Until `enough(word)` is at least 1, and while it spins anyway, until it is `preferred`; false at the deadline.
  /// `look` is called now and then.
  template <class Enough, class Look>
  [[nodiscard]] bool until(const Enough& enough, std::uint64_t preferred, const Look& look) {
    for (;;) {
      // Acquire: pairs with the release of who counts, so that what is looked at next is what was counted.
      std::uint64_t word = word_.load(std::memory_order_acquire);
      const std::uint64_t there = enough(word);
      if (there >= preferred) return true;
      // After the word: a message that is there is not left for a timeout.
      if (deadline_.passed()) return there > 0;
      if (pauses_.pause()) continue;
      if (there > 0) return true;
      if (++rounds_ < most_rounds) {
        pauses_ = Pauses();
        continue;
      }
      // Relaxed: the futex call compares the word again in the kernel. One step with the comparison of the count:
      // whoever counts next sees the flag.
      if ((word & somebody_sleeps) == 0 &&
          !word_.compare_exchange_weak(word, word | somebody_sleeps, std::memory_order_relaxed)) {
        continue;
      }
      sleep(word | somebody_sleeps);
      if (next_look_.passed()) {
        look();
        next_look_ = Deadline::after(later_look);
      }
    }
  }

 private:
  void sleep(std::uint64_t word) {
    // Not sooner: a timer that ends soon has to be set in hardware, and taken back when the message comes.
    if (!next_look_.when()) next_look_ = Deadline::after(later_look);
    RUNRIG_KILLPOINT("queue.waiting");
    futex_wait(futex_of(word_), static_cast<std::uint32_t>(word), deadline_.sooner(next_look_));
    RUNRIG_KILLPOINT("queue.woken");
  }

  // Some ten microseconds in all: what it costs to sleep and to be woken on another processor.
  static constexpr int most_rounds = 4;

  CountWord& word_;
  Deadline deadline_;
  Pauses pauses_;
  int rounds_ = 0;
  Deadline next_look_;  // never, until it sleeps
};

// Where this thread looks first for an empty hand: threads that start at different places rarely meet.
std::uint32_t& hand_hint() noexcept {
  static std::atomic<std::uint32_t> next{0};
  // Relaxed: any number will do. Processes differ by their ids.
  thread_local constinit std::uint32_t hint = get_hands;
  if (hint == get_hands) [[unlikely]]
    hint = (static_cast<std::uint32_t>(::getpid()) * 7 + next.fetch_add(1, std::memory_order_relaxed)) % get_hands;
  return hint;
}

}  // namespace

struct SharedQueue::State {
  AnonymousMemory memory;
  QueueCore core;

  State(AnonymousMemory given, QueueKind kind) : memory(std::move(given)), core(memory, kind) {}
};

SharedQueue::SharedQueue(std::unique_ptr<State> state) : state_(std::move(state)) {}
SharedQueue::~SharedQueue() = default;

std::shared_ptr<SharedQueue> SharedQueue::create(std::int64_t maxsize, QueueKind kind) {
  AnonymousMemory memory = make_memory();
  const auto bound = static_cast<std::uint64_t>(std::max<std::int64_t>(maxsize, 0));
  QueueCore::format(memory, QueueCore::layout(memory.size_bytes()), bound, kind);
  return std::shared_ptr<SharedQueue>(new SharedQueue(std::make_unique<State>(std::move(memory), kind)));
}

std::shared_ptr<SharedQueue> SharedQueue::attach(const QueueHandle& handle, QueueKind kind) {
  return std::shared_ptr<SharedQueue>(
      new SharedQueue(std::make_unique<State>(AnonymousMemory::attach(handle.segment), kind)));
}

void SharedQueue::throw_closed() { throw std::logic_error("use a queue: it is closed in this process"); }
QueueHandle SharedQueue::handle() const { return {state_->memory.handle()}; }

// Putting
// --------------------------------------------------------------------------------------------------------------

QueueRoom::QueueRoom(SharedQueue& queue, std::size_t bytes, Deadline deadline) : queue_(queue) {
  queue.check_open();
  QueueCore& core = queue.state_->core;
  const std::uint64_t key = core.own_key();
  for (int tries = 0; (hand_ = core.claim_putting_hand(key)) == nullptr; ++tries) {
    // As many long messages are being written as there are hands, or their writers are dead.
    core.sweep();
    if (tries == 0) continue;
    if (deadline.passed()) return;
    ::usleep(1000);
  }
  try {
    const auto block = core.blocks().allocate(bytes, hand_->block);
    RUNRIG_KILLPOINT("queue.put.reserved");
    bytes_ = block.bytes.first(bytes);
  } catch (...) {
    core.leave_putting_hand(*hand_, true);  // there is no block to give back
    throw;
  }
}

QueueRoom::~QueueRoom() {
  if (hand_ != nullptr) queue_.state_->core.leave_putting_hand(*hand_, was_put_);
}

bool SharedQueue::put(std::span<const std::byte> message, Deadline deadline) {
  if (message.size() <= queue_inline_bytes) return add(message, nullptr, deadline);
  QueueRoom room(*this, message.size(), deadline);
  if (!room) return false;
  std::copy(message.begin(), message.end(), room.bytes_.begin());
  return put(room, message.size(), deadline);
}

bool SharedQueue::put(QueueRoom& room, std::size_t bytes, Deadline deadline) {
  RUNRIG_KILLPOINT("queue.put.encoded");
  room.was_put_ = add(room.bytes_.first(bytes), &room, deadline);
  return room.was_put_;
}

bool SharedQueue::add(std::span<const std::byte> message, QueueRoom* room, Deadline deadline) {
  check_open();
  QueueCore& core = state_->core;
  QueueHeader& header = core.header();
  // The count's line, which the other end may have read last, is asked for while the lock is taken.
  prefetch_to_write(&header.put_count);
  for (;;) {
    {
      auto lock = core.lock_put(deadline);
      if (!lock) return false;
      RUNRIG_KILLPOINT("queue.put.locked");
      if (core.has_place()) {
        const bool wake = core.add(message, room != nullptr ? room->hand_ : nullptr, message.size());
        lock.unlock();
        RUNRIG_KILLPOINT("queue.put.unlocked");
        if (wake) QueueCore::wake_one(header.put_count);
        if (core.sweep_is_due()) [[unlikely]]
          core.sweep();
        return true;
      }
    }
    const auto places = [&](std::uint64_t word) {
      const std::uint64_t there = core.put_count() - count_in(word);
      return there < core.maxsize() ? core.maxsize() - there : 0;
    };
    // A full queue is filled up several places at a time: else both ends pull at the same lines for each message.
    const std::uint64_t several = std::clamp<std::uint64_t>(core.maxsize() / 4, 1, 64);
    if (!CountWait(header.got_count, deadline).until(places, several, [&] { look_for_the_dead(); })) return false;
  }
}

// Getting
// --------------------------------------------------------------------------------------------------------------

bool SharedQueue::take(QueueMessage& message, Deadline deadline) {
  check_open();
  QueueCore& core = state_->core;
  QueueHeader& header = core.header();
  const std::uint64_t key = core.own_key();
  for (;;) {
    QueueCore::Taken taken;
    QueueCore::Take what{};
    {
      const auto lock = core.lock_get(deadline);
      if (!lock) return false;
      RUNRIG_KILLPOINT("queue.get.locked");
      what = core.take(key, hand_hint(), message.room_, taken);
    }
    if (what == QueueCore::Take::taken) {
      RUNRIG_KILLPOINT("queue.get.unlocked");
      message.queue_ = this;
      message.hand_ = taken.hand;
      message.bytes_ = taken.bytes;
      if (taken.wake_producers) QueueCore::wake_one(header.got_count);
      if (core.sweep_is_due()) [[unlikely]]
        core.sweep();
      return true;
    }
    if (what == QueueCore::Take::no_hand) {
      if (deadline.passed()) return false;
      core.sweep();
      ::usleep(100);
      continue;
    }
    const auto messages = [&](std::uint64_t word) { return count_in(word) == core.got_count() ? 0U : 1U; };
    if (!CountWait(header.put_count, deadline).until(messages, 1, [&] { look_for_the_dead(); })) return false;
  }
}

QueueMessage::~QueueMessage() {
  if (hand_ != nullptr) queue_->state_->core.finish(*hand_);
}

// The rest
// -------------------------------------------------------------------------------------------------------------

void SharedQueue::look_for_the_dead() {
  QueueCore& core = state_->core;
  if (core.sweep_is_due()) core.sweep();
}

std::uint64_t SharedQueue::size() const {
  check_open();
  const std::uint64_t got = state_->core.got_count();  // first: it never overtakes the other
  return state_->core.put_count() - got;
}

std::int64_t SharedQueue::maxsize() const noexcept { return static_cast<std::int64_t>(state_->core.maxsize()); }

std::uint64_t SharedQueue::lost() {
  state_->core.sweep();
  return state_->core.header().lost_count.load(std::memory_order_relaxed);  // relaxed: a number for people
}

void SharedQueue::task_done() {
  check_open();
  QueueCore& core = state_->core;
  CountWord& done = core.header().done_count;
  std::uint64_t word = done.load(std::memory_order_relaxed);  // relaxed: compared again below
  do {
    if (count_in(word) + core.header().lost_count.load(std::memory_order_relaxed) >= core.put_count()) {
      throw std::logic_error("task_done() was called more often than there were messages in the queue");
    }
    // Release: pairs with the acquire of who joins: what was done before is seen.
  } while (!done.compare_exchange_weak(word, word + one_message, std::memory_order_release, std::memory_order_relaxed));
  RUNRIG_KILLPOINT("queue.done.counted");
  if ((word & somebody_sleeps) != 0) QueueCore::wake_all(done);
}

bool SharedQueue::join(Deadline deadline) {
  check_open();
  QueueCore& core = state_->core;
  QueueHeader& header = core.header();
  const auto all_done = [&](std::uint64_t word) {
    // Relaxed: the word's acquire is what counts; a loss not yet seen is seen by the next look.
    return count_in(word) + header.lost_count.load(std::memory_order_relaxed) >= core.put_count() ? 1U : 0U;
  };
  // Always: a consumer that died after it had unlocked is found by nobody else.
  return CountWait(header.done_count, deadline).until(all_done, 1, [&] { core.sweep(); });
}

}  // namespace runrig::detail
