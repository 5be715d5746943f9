#include "task_books.hpp"

#include <sys/mman.h>

#include <algorithm>
#include <cstring>
#include <optional>
#include <stdexcept>
#include <utility>

#include "../process/failure_text.hpp"
#include "../process/own_threads.hpp"
#include "pause_cpu.hpp"
#include "pool_state.hpp"
#include "runrig/engine/machine.hpp"
#include "runrig/sync/error.hpp"
#include "task_errors.hpp"

namespace runrig::detail {
namespace {

using std::chrono::microseconds;
using std::chrono::milliseconds;

constexpr milliseconds liveness_check(100);
// Longer than two processors take to hand over a small task and its result, and less than a sleep and a wake cost.
constexpr microseconds spin_time(20);
// Calls in slots, beyond what keeps the workers busy: memory of the arena.
constexpr std::size_t most_started_bytes = std::size_t{64} << 20;
constexpr std::uint64_t page_bytes = 4096;
// What a region keeps of pages that were read; see release_answer().
constexpr std::uint64_t kept_region_bytes = 1 << 20;

}  // namespace

TaskBooks::TaskBooks(PoolState& pool)
    : pool_(pool),
      view_(pool.view),
      spinning_tasks_(static_cast<std::size_t>(std::max(usable_cpu_count() - 1, 0))),
      slots_(task_slots),
      finished_heads_(static_cast<std::size_t>(pool.view.control->workers)),
      released_(static_cast<std::size_t>(pool.view.control->workers)) {
  free_.reserve(task_slots);
  for (std::uint32_t number = task_slots; number-- > 0;) free_.push_back(number);
}

int TaskBooks::workers() const noexcept { return view_.control->workers; }

void TaskBooks::notify() noexcept { report_progress(*view_.control); }

std::shared_ptr<void> TaskBooks::keep_alive() { return pool_.shared_from_this(); }

std::shared_ptr<void> TaskBooks::admit() {
  const std::lock_guard guard(mutex());
  pool_.check_takes_tasks("submit a map", false);
  ++admitted_;
  return {nullptr, [keep = pool_.shared_from_this()](void* /*nothing*/) {
            const std::lock_guard guard_of_end(keep->tasks.mutex());
            --keep->tasks.admitted_;
          }};
}

// --- submitting

std::int32_t TaskBooks::checked_retries(std::optional<int> wanted) const {
  const int retries = wanted.value_or(pool_.options.retries);
  if (retries < 0 || retries > most_retries) {
    throw std::logic_error("submit a task: it is to be retried " + std::to_string(retries) + " times; 0 to " +
                           std::to_string(most_retries) + " are possible");
  }
  return retries;
}

void TaskBooks::check_call(const TaskCall& call) {
  // Found once: a module that is unloaded takes its futures' types with it, so nobody calls with its code again.
  if (call.trampoline != checked_trampoline_) {
    trampoline_name_ =
        pool_.name_for_workers(*call.trampoline, reinterpret_cast<std::uintptr_t>(call.trampoline->invoke));
    checked_trampoline_ = call.trampoline;
  }
  if (call.function != 0 && call.function != checked_function_) pool_.check_function(call.function);
  checked_function_ = call.function;
  pool_.check_captures(
      {"submit a task: its callable's", "capture numbers by value, and pass everything else as arguments"},
      call.closure);
}

bool TaskBooks::can_start(std::size_t call_bytes) const noexcept {
  if (free_.empty() || view_.tasks.control->fresh.full()) return false;
  const bool keeps_busy = started_ < 2 * static_cast<std::size_t>(workers());
  return keeps_busy || started_bytes_ + call_bytes <= most_started_bytes;
}

void TaskBooks::submit(const TaskCall& call, Receiver& receiver, std::shared_ptr<void> keep, std::uint64_t index) {
  Garbage garbage;  // destroyed after the mutex is free
  const std::lock_guard guard(mutex());
  pool_.check_takes_tasks("submit a task", call.admitted);
  check_call(call);
  Outgoing task{trampoline_name_, call.function,   call.closure, call.arguments, checked_retries(call.retries),
                &receiver,        std::move(keep), index,        ++tickets_};
  const std::size_t bytes = call.closure.size() + call.arguments.size();
  if (free_.empty()) drain(garbage);
  if (waiting_.empty() && can_start(bytes)) return start(std::move(task));
  Waiting waiting{std::move(task), {}};
  waiting.bytes.reserve(bytes);
  waiting.bytes.insert(waiting.bytes.end(), call.closure.begin(), call.closure.end());
  waiting.bytes.insert(waiting.bytes.end(), call.arguments.begin(), call.arguments.end());
  waiting_.push_back(std::move(waiting));
}

void TaskBooks::start(Outgoing&& task) {
  const std::uint32_t number = free_.back();
  Started& started = slots_[number];
  TaskSlot& slot = view_.tasks.slots[number];
  const std::size_t bytes = task.closure.size() + task.arguments.size();
  std::byte* to = slot.call.data();
  if (bytes > inline_argument_bytes) {
    started.block = pool_.options.arena->allocate(bytes);  // throws; nothing is changed yet
    to = started.block.data();
  }
  free_.pop_back();
  started.receiver = task.receiver;
  started.keep = std::move(task.keep);
  started.index = task.index;
  started.ticket = task.ticket;
  if (++started.generation == 0) ++started.generation;  // 0 is a slot that was never used
  started.call_bytes = bytes;
  slot.invoke = task.invoke;
  slot.function = task.function;
  slot.call_bytes = to;
  slot.closure_bytes = static_cast<std::uint32_t>(task.closure.size());
  slot.argument_bytes = task.arguments.size();
  slot.retries = task.retries;
  std::copy(task.closure.begin(), task.closure.end(), to);
  std::copy(task.arguments.begin(), task.arguments.end(), to + task.closure.size());
  TaskQueue& fresh = view_.tasks.control->fresh;
  slot.place.store(fresh.tail(), std::memory_order_relaxed);
  // Release: pairs with the claim, for all of the above.
  slot.word.store(SliceWord{started.generation, SliceState::pending, 0, 0}.pack(), std::memory_order_release);
  (void)fresh.push({started.generation, number});  // not full: see can_start()
  ++started_;
  started_bytes_ += bytes;
  ring_one(view_);
}

void TaskBooks::start_waiting(Garbage& garbage) noexcept {
  while (!waiting_.empty() && can_start(waiting_.front().bytes.size())) {
    Waiting next = std::move(waiting_.front());
    waiting_.pop_front();
    const std::size_t closure_bytes = next.task.closure.size();
    next.task.closure = std::span(next.bytes).first(closure_bytes);
    next.task.arguments = std::span(next.bytes).subspan(closure_bytes);
    Started failed{next.task.receiver, next.task.keep, next.task.index, next.task.ticket, 0, 0, {}};
    try {
      start(std::move(next.task));
    } catch (...) {
      deliver(failed, {std::current_exception(), {}}, garbage);
    }
  }
}

void TaskBooks::forget(const Receiver& receiver) noexcept {
  const std::lock_guard guard(mutex());
  if (started_ == 0 && waiting_.empty()) return;
  for (Started& each : slots_) {
    if (each.receiver == &receiver) each.receiver = nullptr;
  }
  for (Waiting& each : waiting_) {
    if (each.task.receiver == &receiver) each.task.receiver = nullptr;
  }
}

// --- taking answers

std::size_t TaskBooks::drain(Garbage& garbage) noexcept {
  const std::size_t before = started_;
  for (std::size_t worker = 0; worker < finished_heads_.size(); ++worker) {
    TaskLine& line = view_.tasks.lines[worker];
    std::uint32_t& head = finished_heads_[worker];
    // Acquire: pairs with append_finished(), for the words and answers of these tasks.
    const std::uint32_t tail = line.finished_tail.load(std::memory_order_acquire);
    for (; head != tail; ++head) {
      take(EpochWord::unpack(line.finished[head % TaskLine::finished_capacity].load(std::memory_order_relaxed)),
           garbage);
    }
  }
  const std::size_t taken = before - started_;
  if (taken > 0) {
    pool_.template_restarts = 0;  // work gets done
    if (sleepers_ > 0) notify();  // what we took may be what they wait for
  }
  if (!waiting_.empty()) start_waiting(garbage);
  return taken;
}

void TaskBooks::take(EpochWord entry, Garbage& garbage) noexcept {
  // Checked like any input: a worker with a stray pointer may have written anything there. Also, an entry may be there
  // twice, see settle_dead_task().
  if (entry.number >= task_slots) return;
  const Started& task = slots_[entry.number];
  if (task.ticket == 0 || task.generation != entry.epoch) return;
  const SliceWord word = SliceWord::unpack(view_.tasks.slots[entry.number].word.load(std::memory_order_acquire));
  if (word.epoch != task.generation || !is_final(word.state)) return;
  take_answer(entry.number, word, garbage);
}

void TaskBooks::take_answer(std::uint32_t number, SliceWord word, Garbage& garbage) noexcept {
  const TaskSlot& slot = view_.tasks.slots[number];
  Started& task = slots_[number];
  if (task.receiver != nullptr) deliver(task, read_answer(slot, word, task), garbage);
  release_answer(slot);
  free_slot(number, garbage);
}

TaskAnswer TaskBooks::read_answer(const TaskSlot& slot, SliceWord word, const Started& task) noexcept {
  std::span<const std::byte> bytes(slot.answer.data(), std::min<std::size_t>(slot.answer_bytes, inline_result_bytes));
  try {
    if (slot.answer_bytes > inline_result_bytes) {
      const std::uint64_t offset = slot.answer_place % view_.tasks.region_bytes;
      if (slot.answer_worker >= finished_heads_.size() || slot.answer_bytes > view_.tasks.region_bytes - offset) {
        throw FormatError("take the result of", "task " + std::to_string(task.ticket), "it lies outside its memory");
      }
      bytes = {view_.tasks.region(slot.answer_worker) + offset, slot.answer_bytes};
    }
    switch (slot.answer_kind) {
      case AnswerKind::value:
        return {nullptr, bytes};
      case AnswerKind::exception:
        return {task_exception(bytes, pool_.method, slot.answer_worker, word.pid), {}};
      case AnswerKind::death:
        break;
    }
    FailureRecord record;
    std::memcpy(&record, bytes.data(), std::min(sizeof record, bytes.size()));
    bytes = bytes.subspan(std::min(sizeof record, bytes.size()));
    const std::string how = valid_utf8({reinterpret_cast<const char*>(bytes.data()), bytes.size()});
    return {lost(task, record.pid, record.signal, "its worker " + std::to_string(record.pid) + " " + how), {}};
  } catch (...) {
    return {std::current_exception(), {}};
  }
}

// Gives a region's room back, and of a region that is never empty, or held something large, the pages as well.
void TaskBooks::release_answer(const TaskSlot& slot) noexcept {
  if (slot.answer_bytes <= inline_result_bytes || slot.answer_worker >= finished_heads_.size()) return;
  const std::uint64_t size = view_.tasks.region_bytes;
  const std::uint64_t begin = slot.answer_place;
  const std::uint64_t end = begin + (slot.answer_bytes + cache_line - 1) / cache_line * cache_line;
  if (begin % size + (end - begin) > size) return;
  std::uint64_t& released = released_[slot.answer_worker];
  if (released > begin || released / size != begin / size) released = begin / page_bytes * page_bytes;
  if (end - released > kept_region_bytes) {
    const std::uint64_t whole_end = end / page_bytes * page_bytes;
    ::madvise(view_.tasks.region(slot.answer_worker) + released % size, whole_end - released, MADV_REMOVE);
    released = whole_end;
  }
  TaskLine& line = view_.tasks.lines[slot.answer_worker];
  // Release: pairs with place_answer(); we have read what lies before.
  line.region_head.store(end, std::memory_order_release);
  if (line.wants_room.load(std::memory_order_seq_cst) != 0) {  // see place_answer()
    line.wants_room.store(0, std::memory_order_relaxed);
    line.room.fetch_add(1, std::memory_order_seq_cst);
    futex_wake_all(line.room);
  }
}

void TaskBooks::deliver(Started& task, const TaskAnswer& answer, Garbage& garbage) noexcept {
  if (task.receiver != nullptr) task.receiver->deliver(task.index, answer);
  task.receiver = nullptr;
  // The last owner destroys the result, and perhaps, with it, this pool.
  if (task.keep && task.keep.use_count() == 1) garbage.push_back(std::move(task.keep));
  task.keep.reset();
}

void TaskBooks::free_slot(std::uint32_t number, Garbage& garbage) noexcept {
  Started& task = slots_[number];
  if (task.keep && task.keep.use_count() == 1) garbage.push_back(std::move(task.keep));
  task.keep.reset();
  task.receiver = nullptr;
  task.ticket = 0;
  if (task.block) task.block.reset();
  started_bytes_ -= task.call_bytes;
  --started_;
  free_.push_back(number);
}

std::exception_ptr TaskBooks::lost(const Started& task, pid_t pid, int signal, const std::string& how) const {
  return std::make_exception_ptr(
      WorkerLost(pid, signal, "task " + std::to_string(task.ticket) + " on pool '" + pool_.options.name + "': " + how));
}

void TaskBooks::end_task(std::uint32_t number, std::exception_ptr error, Garbage& garbage) noexcept {
  deliver(slots_[number], {std::move(error), {}}, garbage);
  free_slot(number, garbage);
}

// --- when the processes are gone

void TaskBooks::reset_protocol() noexcept {
  TaskControl& control = *view_.tasks.control;
  control.fresh.reset();
  control.again.reset();
  for (auto& idle : control.idle) idle.store(0, std::memory_order_relaxed);  // all of it: published by the next fork
  for (std::size_t worker = 0; worker < finished_heads_.size(); ++worker) {
    TaskLine& line = view_.tasks.lines[worker];
    line.intent.store(0, std::memory_order_relaxed);
    line.finished_tail.store(0, std::memory_order_relaxed);
    line.wants_room.store(0, std::memory_order_relaxed);
    line.region_head.store(0, std::memory_order_relaxed);
    line.region_tail.store(0, std::memory_order_relaxed);
    finished_heads_[worker] = 0;
    released_[worker] = 0;
  }
}

void TaskBooks::recover(const std::string& why, Garbage& garbage) noexcept {
  drain(garbage);
  std::vector<std::uint32_t> left;
  for (std::uint32_t number = 0; number < task_slots; ++number) {
    if (slots_[number].ticket == 0) continue;
    TaskSlot& slot = view_.tasks.slots[number];
    const SliceWord word = SliceWord::unpack(slot.word.load(std::memory_order_acquire));
    if (is_final(word.state)) {
      take_answer(number, word, garbage);  // final, but not noted
    } else if (word.state == SliceState::running && word.attempts > slot.retries) {
      end_task(number, lost(slots_[number], word.pid, 0, "its worker died: " + why), garbage);
    } else {
      left.push_back(number);
    }
  }
  reset_protocol();
  std::sort(left.begin(), left.end(),
            [this](std::uint32_t a, std::uint32_t b) { return slots_[a].ticket < slots_[b].ticket; });
  TaskQueue& fresh = view_.tasks.control->fresh;
  for (const std::uint32_t number : left) {
    TaskSlot& slot = view_.tasks.slots[number];
    const SliceWord word = SliceWord::unpack(slot.word.load(std::memory_order_relaxed));
    slot.place.store(fresh.tail(), std::memory_order_relaxed);
    slot.word.store(SliceWord{word.epoch, SliceState::pending, word.attempts, 0}.pack(), std::memory_order_release);
    (void)fresh.push({word.epoch, number});
  }
  start_waiting(garbage);
}

void TaskBooks::fail_all(const std::string& why, Garbage& garbage) noexcept {
  std::deque<Waiting> waiting;
  waiting.swap(waiting_);  // or drain() would start them
  drain(garbage);
  for (std::uint32_t number = 0; number < task_slots; ++number) {
    if (slots_[number].ticket == 0) continue;
    const SliceWord word = SliceWord::unpack(view_.tasks.slots[number].word.load(std::memory_order_acquire));
    if (is_final(word.state)) {
      take_answer(number, word, garbage);
    } else {
      end_task(number, lost(slots_[number], word.pid, 0, "was not run to its end: " + why), garbage);
    }
  }
  for (Waiting& each : waiting) {
    Started task{each.task.receiver, std::move(each.task.keep), each.task.index, each.task.ticket, 0, 0, {}};
    deliver(task, {lost(task, 0, 0, "was not begun: " + why), {}}, garbage);
  }
  reset_protocol();
  notify();
}

// --- waiting

bool TaskBooks::wait(const Awaited& awaited, Deadline deadline) {
  const Control& control = *view_.control;
  const TaskControl& tasks = *view_.tasks.control;
  std::optional<bool> spun;  // in the turn before; whether it saw something
  bool looked = false;       // whether the template lives
  for (;;) {
    // Acquire: pairs with report_progress(). Read first, so that a report in between ends the wait at once.
    const std::uint32_t seen = control.progress.load(std::memory_order_acquire);
    const std::uint32_t counted = tasks.finished.load(std::memory_order_seq_cst);  // before the answers are looked at
    std::size_t missing = 0;
    bool spins = false;
    bool sleeps = false;
    {
      Garbage garbage;
      const std::lock_guard guard(mutex());
      pool_.check_usable_here("wait for a result");
      (void)drain(garbage);
      pool_.end_if_done_or_broken(garbage);
      if (spun) spin_habit_.note(*spun);
      if (awaited.satisfied()) return true;  // the lock goes first
      missing = awaited.missing();
      if (deadline.passed()) {
        // Who only asks, now and then, is to learn of the template's death as well.
        if (looked || missing == 0) return false;
        looked = true;
        pool_.look_after_template(garbage);
        continue;
      }
      // Once: who spun for nothing goes to sleep.
      spins = spun.value_or(true) && missing > 0 && started_ <= spinning_tasks_ && spin_habit_.worth_it();
      spun.reset();
      if (!spins && may_sleep(counted, missing)) {
        sleeps = true;
        ++sleepers_;
      }
    }
    if (spins) spun = spin(seen, counted);
    if (!sleeps) continue;
    // The template wakes us for all but its own death, so this wait is cut to look for that. Who waits for nothing that
    // the processes do is left alone.
    const Deadline look = missing > 0 ? Deadline::after(liveness_check) : Deadline();
    FutexWait end{};
    {
      const OutsideGate outside;
      end = futex_wait(control.progress, seen, deadline.sooner(look));
    }
    Garbage garbage;
    const std::lock_guard guard(mutex());
    if (--sleepers_ == 0) view_.tasks.control->parent_sleeps.store(0, std::memory_order_relaxed);
    if (end == FutexWait::timed_out && missing > 0) pool_.look_after_template(garbage);
  }
}

// Says when to be woken. False if that is now.
bool TaskBooks::may_sleep(std::uint32_t counted, std::size_t missing) noexcept {
  if (missing == 0) return true;
  TaskControl& control = *view_.tasks.control;
  const auto wanted = counted + static_cast<std::uint32_t>(std::min<std::size_t>(missing, 1U << 30));
  // Another thread may want to be woken sooner. (If a worker is about to wake it just now, it wakes us as well.)
  const bool others = control.parent_sleeps.load(std::memory_order_relaxed) != 0;
  const std::uint32_t former = control.wake_at.load(std::memory_order_relaxed);
  const bool sooner = others && static_cast<std::int32_t>(former - wanted) < 0;
  // Sequentially consistent: pairs with count_finished_task().
  control.wake_at.store(sooner ? former : wanted, std::memory_order_seq_cst);
  control.parent_sleeps.store(1, std::memory_order_seq_cst);
  return static_cast<std::int32_t>(control.finished.load(std::memory_order_seq_cst) - wanted) < 0;
}

// Looks for a change without sleeping, for a little while; true if there was one.
bool TaskBooks::spin(std::uint32_t seen, std::uint32_t counted) const noexcept {
  const auto end = Clock::now() + spin_time;
  do {
    for (int i = 0; i < 32; ++i) {
      // Relaxed: whoever sees a change looks again with the right order.
      if (view_.tasks.control->finished.load(std::memory_order_relaxed) != counted ||
          view_.control->progress.load(std::memory_order_relaxed) != seen) {
        return true;
      }
      pause_cpu();
    }
  } while (Clock::now() < end);
  return false;
}

std::vector<std::byte>& encoding_buffer() noexcept {
  constexpr std::size_t most_kept = 1 << 20;
  thread_local std::vector<std::byte> buffer;
  if (buffer.capacity() > most_kept) buffer = {};
  buffer.clear();
  return buffer;
}

}  // namespace runrig::detail
