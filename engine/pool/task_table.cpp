#include "task_table.hpp"

#include <linux/futex.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>
#include <bit>
#include <chrono>
#include <climits>
#include <cstring>

#include "runrig/sync/killpoint.hpp"

namespace runrig::detail {
namespace {

constexpr std::chrono::milliseconds look_for_end(50);

// Workers sleep on one bell, and a bit says which of them to wake. With more than 32 of them some share a bit, and may
// be woken for nothing.
std::uint32_t bell_bit(int worker) noexcept { return 1U << (static_cast<unsigned>(worker) % 32); }

std::uint64_t record_bytes(std::uint64_t answer_bytes) noexcept {
  return (answer_bytes + cache_line - 1) / cache_line * cache_line;
}

void append_finished(TaskLine& line, EpochWord entry) noexcept {
  // Relaxed: one appends at a time, this worker or whoever books for it when it is dead.
  const std::uint32_t tail = line.finished_tail.load(std::memory_order_relaxed);
  line.finished[tail % TaskLine::finished_capacity].store(entry.pack(), std::memory_order_relaxed);
  RUNRIG_KILLPOINT("pool.task.noting");
  // Release: pairs with the parent's acquire, who then sees the final word, the answer and all that the task wrote.
  line.finished_tail.store(tail + 1, std::memory_order_release);
}

// After a task was noted.
void count_finished_task(const ControlView& view) noexcept {
  TaskControl& control = *view.tasks.control;
  // Sequentially consistent, all of it, as in TaskBooks::may_sleep(): either the parent sees the new count before it
  // sleeps, or we see that it is going to.
  const std::uint32_t count = control.finished.fetch_add(1, std::memory_order_seq_cst) + 1;
  RUNRIG_KILLPOINT("pool.task.counted");
  if (control.parent_sleeps.load(std::memory_order_seq_cst) == 0) return;
  if (static_cast<std::int32_t>(count - control.wake_at.load(std::memory_order_seq_cst)) < 0) return;
  if (control.parent_sleeps.exchange(0, std::memory_order_seq_cst) != 0) report_progress(*view.control);
}

}  // namespace

bool TaskQueue::push(EpochWord entry) noexcept {
  const std::uint32_t tail = tail_.load(std::memory_order_relaxed);  // one process appends
  // Acquire: pairs with pop(); who took the entry that we write over has read it.
  if (tail - head_.load(std::memory_order_acquire) >= capacity) return false;
  entries_[tail % capacity].store(entry.pack(), std::memory_order_relaxed);
  // As a release it pairs with pop(). Sequentially consistent for ring_one(), which follows: either it sees a worker
  // going to sleep, or that worker sees this entry.
  tail_.store(tail + 1, std::memory_order_seq_cst);
  return true;
}

std::optional<EpochWord> TaskQueue::pop() noexcept {
  std::uint32_t head = head_.load(std::memory_order_relaxed);
  for (;;) {
    if (head == tail_.load(std::memory_order_acquire)) return std::nullopt;
    const std::uint64_t entry = entries_[head % capacity].load(std::memory_order_relaxed);
    // Release: the entry was read before. Acquire for the next turn, if another was faster.
    if (head_.compare_exchange_weak(head, head + 1, std::memory_order_acq_rel, std::memory_order_acquire)) {
      return EpochWord::unpack(entry);
    }
  }
}

void TaskQueue::reset() noexcept {
  head_.store(0, std::memory_order_relaxed);  // the fork of new workers publishes it
  tail_.store(0, std::memory_order_relaxed);
}

std::optional<TaskClaim> claim_task(const ControlView& view, TaskLine& line, pid_t pid) noexcept {
  for (;;) {
    auto entry = view.tasks.control->again.pop();
    if (!entry) entry = view.tasks.control->fresh.pop();
    if (!entry) return std::nullopt;
    RUNRIG_KILLPOINT("pool.task.taken");
    const std::uint32_t number = entry->number;
    if (number >= task_slots) continue;
    // Before the claim, so that the template knows where to look should this process die. Relaxed: it looks then only.
    line.intent.store(EpochWord{entry->epoch, number + 1}.pack(), std::memory_order_relaxed);
    RUNRIG_KILLPOINT("pool.task.intended");
    if (const int attempt = try_claim(view.tasks.slots[number].word, entry->epoch, pid); attempt > 0) {
      RUNRIG_KILLPOINT("pool.task.claimed");
      return TaskClaim{number, entry->epoch, attempt};
    }
  }
}

bool place_answer(const ControlView& view, int worker, TaskSlot& slot, AnswerKind kind,
                  std::span<const std::byte> bytes) noexcept {
  slot.answer_kind = kind;
  slot.answer_bytes = bytes.size();
  slot.answer_worker = static_cast<std::uint32_t>(worker);
  if (bytes.size() <= inline_result_bytes) {
    std::memcpy(slot.answer.data(), bytes.data(), bytes.size());
    return true;
  }
  TaskLine& line = view.tasks.lines[worker];
  const std::uint64_t size = view.tasks.region_bytes;
  const std::uint64_t needed = record_bytes(bytes.size());
  for (;;) {
    const std::uint32_t room = line.room.load(std::memory_order_seq_cst);  // before the head: no change of it is missed
    // Acquire: pairs with the parent, who has read what lay before the head.
    const std::uint64_t head = line.region_head.load(std::memory_order_acquire);
    // A predecessor may have died between moving the head and the tail.
    std::uint64_t tail = std::max(line.region_tail.load(std::memory_order_relaxed), head);
    if (tail == head && tail % size != 0) {
      // Nothing is left in it: begin again at its start, where the pages are warm. The parent leaves an empty region
      // alone. The head goes first: a tail without it would look like a record.
      tail = (tail / size + 1) * size;
      line.region_head.store(tail, std::memory_order_relaxed);
      RUNRIG_KILLPOINT("pool.task.region_restarted");
      line.region_tail.store(tail, std::memory_order_relaxed);
      continue;
    }
    std::uint64_t place = tail;
    if (place % size + needed > size) place = (place / size + 1) * size;
    if (place + needed - head <= size) {
      std::memcpy(view.tasks.region(slot.answer_worker) + place % size, bytes.data(), bytes.size());
      RUNRIG_KILLPOINT("pool.task.answer_written");
      slot.answer_place = place;
      return true;
    }
    // Sequentially consistent, as in TaskBooks::take_answer(): either the parent sees this, or we see its new number.
    line.wants_room.store(1, std::memory_order_seq_cst);
    if (line.room.load(std::memory_order_seq_cst) != room) continue;
    report_progress(*view.control);
    (void)futex_wait(line.room, room, Deadline::after(look_for_end));
    if (view.control->stopping.load(std::memory_order_relaxed) != 0) return false;
  }
}

void finish_task(const ControlView& view, int worker, TaskClaim claimed, SliceState state, pid_t pid) noexcept {
  TaskLine& line = view.tasks.lines[worker];
  TaskSlot& slot = view.tasks.slots[claimed.slot];
  const std::uint64_t end = slot.answer_place + record_bytes(slot.answer_bytes);
  const bool in_region = slot.answer_bytes > inline_result_bytes;
  RUNRIG_KILLPOINT("pool.task.answered");
  // Release: pairs with whoever reads the answer after it has seen the final word (the template books by it).
  slot.word.store(SliceWord{claimed.generation, state, claimed.attempt, pid}.pack(), std::memory_order_release);
  RUNRIG_KILLPOINT("pool.task.final");
  // Not before: what lies behind the tail is nobody's, if we die.
  if (in_region) line.region_tail.store(end, std::memory_order_relaxed);
  append_finished(line, {claimed.generation, claimed.slot});
  RUNRIG_KILLPOINT("pool.task.noted");
  count_finished_task(view);
  line.intent.store(0, std::memory_order_relaxed);  // if it stays, the template finds the task final and notes it again
}

void sleep_until_rung(const ControlView& view, int worker, std::uint32_t seen) noexcept {
  auto& idle = view.tasks.control->idle[static_cast<std::size_t>(worker) / 64];
  const std::uint64_t bit = std::uint64_t{1} << (static_cast<unsigned>(worker) % 64);
  // Sequentially consistent: pairs with TaskQueue::push() and ring_one().
  idle.fetch_or(bit, std::memory_order_seq_cst);
  RUNRIG_KILLPOINT("pool.task.idle");
  if (!tasks_waiting(*view.tasks.control)) {
    // The bell may have rung for this worker after `seen` was read; then this returns at once.
    (void)::syscall(SYS_futex, &view.control->bell, FUTEX_WAIT_BITSET, seen, nullptr, nullptr, bell_bit(worker));
  }
  idle.fetch_and(~bit, std::memory_order_relaxed);  // whoever finds it set meanwhile wakes nobody: we are awake
}

void ring_one(const ControlView& view) noexcept {
  const std::size_t words = (static_cast<std::size_t>(view.control->workers) + 63) / 64;
  for (std::size_t i = 0; i < words; ++i) {
    auto& idle = view.tasks.control->idle[i];
    std::uint64_t found = idle.load(std::memory_order_seq_cst);
    while (found != 0) {
      const std::uint64_t bit = found & (~found + 1);
      const std::uint64_t before = idle.fetch_and(~bit, std::memory_order_seq_cst);
      if ((before & bit) == 0) {
        found = before;
        continue;
      }
      const int worker = static_cast<int>(i * 64) + std::countr_zero(bit);
      // Release: as in ring(). The number changes, so a worker that is on its way to sleep looks again.
      view.control->bell.fetch_add(1, std::memory_order_release);
      (void)::syscall(SYS_futex, &view.control->bell, FUTEX_WAKE_BITSET, INT_MAX, nullptr, nullptr, bell_bit(worker));
      return;
    }
  }
}

std::optional<TaskOrphan> settle_dead_task(const ControlView& view, int worker, pid_t pid) noexcept {
  TaskLine& line = view.tasks.lines[worker];
  view.tasks.control->idle[static_cast<std::size_t>(worker) / 64].fetch_and(
      ~(std::uint64_t{1} << (static_cast<unsigned>(worker) % 64)), std::memory_order_relaxed);
  // Relaxed on the dead one's own words: the kernel's notice of its death came after all its stores.
  const EpochWord intent = EpochWord::unpack(line.intent.load(std::memory_order_relaxed));
  if (intent.number == 0 || intent.number > task_slots) return std::nullopt;
  TaskSlot& slot = view.tasks.slots[intent.number - 1];
  const SliceWord word = SliceWord::unpack(slot.word.load(std::memory_order_acquire));  // pairs with finish_task()
  std::optional<TaskOrphan> orphan;
  if (word.epoch == intent.epoch && word.pid == pid) {
    if (word.state == SliceState::running) {
      orphan = TaskOrphan{intent.number - 1, intent.epoch, word.attempts};
    } else if (is_final(word.state)) {
      if (slot.answer_bytes > inline_result_bytes) {
        const std::uint64_t end = slot.answer_place + record_bytes(slot.answer_bytes);
        line.region_tail.store(std::max(line.region_tail.load(std::memory_order_relaxed), end),
                               std::memory_order_relaxed);
      }
      append_finished(line, {intent.epoch, intent.number - 1});  // perhaps the second time, which does no harm
      count_finished_task(view);
    }
  }
  if (!orphan) line.intent.store(0, std::memory_order_relaxed);  // else it stays until the orphan is seen to
  return orphan;
}

void make_task_pending(const ControlView& view, TaskOrphan orphan) noexcept {
  // Release: pairs with the acquire of the next claim.
  view.tasks.slots[orphan.slot].word.store(SliceWord{orphan.generation, SliceState::pending, orphan.attempts, 0}.pack(),
                                           std::memory_order_release);
}

void make_task_lost(const ControlView& view, int worker, TaskOrphan orphan, pid_t pid, const FailureRecord& details,
                    std::string_view text) noexcept {
  TaskSlot& slot = view.tasks.slots[orphan.slot];
  FailureRecord record = details;
  record.text_bytes = static_cast<std::uint32_t>(std::min(text.size(), inline_result_bytes - sizeof record));
  std::memcpy(slot.answer.data(), &record, sizeof record);
  std::memcpy(slot.answer.data() + sizeof record, text.data(), record.text_bytes);
  slot.answer_kind = AnswerKind::death;
  slot.answer_bytes = sizeof record + record.text_bytes;
  slot.answer_worker = static_cast<std::uint32_t>(worker);
  finish_task(view, worker, {orphan.slot, orphan.generation, orphan.attempts}, SliceState::lost, pid);
}

bool LostTaskFinder::offer_again(const ControlView& view) noexcept {
  TaskQueue& again = view.tasks.control->again;
  bool any = false;
  for (std::uint32_t number = 0; number < task_slots; ++number) {
    TaskSlot& slot = view.tasks.slots[number];
    const SliceWord word =
        SliceWord::unpack(slot.word.load(std::memory_order_acquire));  // pairs with the parent's store
    if (word.epoch == 0 || word.state != SliceState::pending) continue;
    // Places are compared by difference, as they wrap.
    const std::uint32_t place = slot.place.load(std::memory_order_relaxed);
    if (static_cast<std::int32_t>(place - view.tasks.control->fresh.head()) >= 0) continue;  // still to be taken
    Offer& offer = offers_[number];
    const bool still_there =
        offer.generation == word.epoch && static_cast<std::int32_t>(offer.place - again.head()) >= 0;
    if (still_there) continue;
    // A living worker may be about to claim it: then this offer comes to nothing.
    offer = {word.epoch, again.tail()};
    any = again.push({word.epoch, number}) || any;
  }
  return any;
}

}  // namespace runrig::detail
