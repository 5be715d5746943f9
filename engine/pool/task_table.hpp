#pragma once

#include <sys/types.h>

#include <array>
#include <atomic>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>

#include "control.hpp"

/// How tasks (single calls, as opposed to the slices of a launch) get to the workers and their results back.
///
/// The *parent* puts a task into a free slot of a table and its number at the end of a queue. A *worker* takes the next
/// number and claims that slot, by the same change of one word as a slice. It leaves the result in the slot, or, if
/// that is too small, in a region of its own; makes the slot final; and notes its number in its own list of finished
/// tasks, which the parent reads. The *template* does the last step for workers that died in between, and decides what
/// becomes of a task that was running in one.
///
/// A slot is used again and again; its *generation* is one more each time, and every word that names a slot carries
/// it. So whatever a process that slept for long, or died, has left behind about an earlier task is told from the one
/// that is there now.
namespace runrig::detail {

/// Tasks that are in the hands of the workers, or ready for them, at a time. Further ones wait in the parent.
inline constexpr std::uint32_t task_slots = 1024;
inline constexpr std::size_t inline_argument_bytes = 256;
inline constexpr std::size_t inline_result_bytes = 256;
inline constexpr int most_retries = most_kills - 1;

/// What the result of a final task is.
enum class AnswerKind : std::uint32_t {
  value,      // a pickle
  exception,  // what encode_exception() wrote
  death,      // a FailureRecord and the text behind it
};

struct alignas(cache_line) TaskSlot {
  // A SliceWord: generation, state, attempts, pid of the worker. The owner of the rest is who the word says: pending,
  // the parent, until the number is in the queue; running, that worker; final, the parent.
  std::atomic<std::uint64_t> word;
  // Where the slot stands in the fresh queue. Relaxed: the template reads it after the word, which carries it.
  std::atomic<std::uint32_t> place;
  std::uint32_t unused;

  // The answer. Written by the worker, or the template in its place, before the word is final.
  AnswerKind answer_kind;
  std::uint32_t answer_worker;  // whose region
  std::uint64_t answer_bytes;
  std::uint64_t answer_place;  // in the region, if it is more than fits here

  // The call. Written by the parent before the number is in the queue.
  alignas(cache_line) std::uintptr_t invoke;
  std::uintptr_t function;
  const std::byte* call_bytes;  // `call` below, or a block of the arena: the closure, then the arguments
  std::uint64_t argument_bytes;
  std::uint32_t closure_bytes;
  std::int32_t retries;

  alignas(cache_line) std::array<std::byte, inline_argument_bytes> call;
  std::array<std::byte, inline_result_bytes> answer;
};
static_assert(sizeof(TaskSlot) == 2 * cache_line + inline_argument_bytes + inline_result_bytes);

/// Numbers of slots with their generations, as EpochWords, first in first out. One process appends, all take.
class TaskQueue {
 public:
  static constexpr std::uint32_t capacity = 2 * task_slots;

  /// False if it is full. The place of the new entry is tail() before.
  bool push(EpochWord entry) noexcept;
  [[nodiscard]] std::optional<EpochWord> pop() noexcept;
  [[nodiscard]] bool full() const noexcept {  // for who appends; pairs with pop() as push() does
    return tail() - head_.load(std::memory_order_acquire) >= capacity;
  }
  [[nodiscard]] std::uint32_t tail() const noexcept {
    return tail_.load(std::memory_order_relaxed);
  }  // for who appends
  [[nodiscard]] std::uint32_t head() const noexcept { return head_.load(std::memory_order_relaxed); }
  /// Sequentially consistent: see sleep_until_rung().
  [[nodiscard]] bool empty() const noexcept {
    return tail_.load(std::memory_order_seq_cst) == head_.load(std::memory_order_seq_cst);
  }
  /// With nobody else alive.
  void reset() noexcept;

 private:
  alignas(cache_line) std::atomic<std::uint32_t> tail_;
  alignas(cache_line) std::atomic<std::uint32_t> head_;
  alignas(cache_line) std::array<std::atomic<std::uint64_t>, capacity> entries_;
};

/// One worker's line for tasks; the counterpart of WorkerSlot. What the worker writes a successor goes on with.
struct alignas(cache_line) TaskLine {
  static constexpr std::uint32_t finished_capacity = 2 * task_slots;

  std::atomic<std::uint64_t> intent;         // EpochWord: slot + 1 that it claims, runs or finishes; 0 none
  std::atomic<std::uint32_t> finished_tail;  // entries that were ever appended to `finished`
  std::atomic<std::uint32_t> wants_room;     // it sleeps until the parent has taken results out of its region
  // The region is a ring. Places in it are counted on without end; modulo its size they are offsets. A record never
  // runs over the region's end. [region_head, region_tail) may hold records that the parent has not taken yet.
  std::atomic<std::uint64_t> region_tail;
  // The parent's, except where the worker begins again: see place_answer().
  alignas(cache_line) std::atomic<std::uint64_t> region_head;
  std::atomic<std::uint32_t> room;  // one more when there is more room; the worker sleeps on it
  // EpochWords. At most one for each task that the parent has not taken, and a few that are there twice.
  alignas(cache_line) std::array<std::atomic<std::uint64_t>, finished_capacity> finished;
};

/// The head of it all. All-zero bytes are its initial state.
struct TaskControl {
  TaskQueue fresh;  // by the parent
  TaskQueue again;  // by the template: to be run again, or perhaps lost by a worker that died with the number
  // How many tasks were finished ever; and at which count, or beyond, the parent wants to be woken. A count that is
  // lost with its worker is made good by the template, which wakes the parent after each death.
  alignas(cache_line) std::atomic<std::uint32_t> finished;
  std::atomic<std::uint32_t> parent_sleeps;  // 0 no, 1 until `wake_at`
  std::atomic<std::uint32_t> wake_at;
  // A bit for each worker that sleeps, or is about to. Whoever clears a bit wakes that worker.
  alignas(cache_line) std::array<std::atomic<std::uint64_t>, most_workers / 64> idle;
};

// --- workers

struct TaskClaim {
  std::uint32_t slot = 0;
  std::uint32_t generation = 0;
  int attempt = 0;
};
/// Makes the calling worker the one that runs the next task; none if none is left.
[[nodiscard]] std::optional<TaskClaim> claim_task(const ControlView& view, TaskLine& line, pid_t pid) noexcept;

/// Puts the answer where the parent finds it: `finish_task` is the next step. Waits for room if the region is full of
/// answers that the parent has not taken yet; false if `stopping` became true meanwhile. `bytes` is at most
/// region_bytes.
[[nodiscard]] bool place_answer(const ControlView& view, int worker, TaskSlot& slot, AnswerKind kind,
                                std::span<const std::byte> bytes) noexcept;

/// Makes the claimed task final, and wakes the parent if it waits for that.
void finish_task(const ControlView& view, int worker, TaskClaim claimed, SliceState state, pid_t pid) noexcept;

[[nodiscard]] inline bool tasks_waiting(const TaskControl& control) noexcept {
  return !control.again.empty() || !control.fresh.empty();
}

/// Sleeps until the bell has another number than `seen`, unless there are view.tasks.
void sleep_until_rung(const ControlView& view, int worker, std::uint32_t seen) noexcept;

/// Wakes one worker that sleeps, if any does.
void ring_one(const ControlView& view) noexcept;

// --- the template, for the dead; or the parent when the template is dead

/// A task that a dead worker left running.
struct TaskOrphan {
  std::uint32_t slot;
  std::uint32_t generation;
  int attempts;
};
/// Notes what the dead worker finished but did not note, and returns what it left running.
[[nodiscard]] std::optional<TaskOrphan> settle_dead_task(const ControlView& view, int worker, pid_t pid) noexcept;
/// To be run again by another.
void make_task_pending(const ControlView& view, TaskOrphan orphan) noexcept;
/// Final. Noted as if by the dead worker.
void make_task_lost(const ControlView& view, int worker, TaskOrphan orphan, pid_t pid, const FailureRecord& details,
                    std::string_view text) noexcept;

/// Offers tasks again which a dead worker may have taken out of a queue without claiming them.
class LostTaskFinder {
 public:
  /// True if there were any.
  bool offer_again(const ControlView& view) noexcept;

 private:
  // The last entry in the `again` queue for each slot, and its place.
  struct Offer {
    std::uint32_t generation = 0;
    std::uint32_t place = 0;
  };
  std::array<Offer, task_slots> offers_{};
};

}  // namespace runrig::detail
