#include "task_worker.hpp"

#include <cxxabi.h>
#include <unistd.h>

#include <chrono>
#include <string>

#include "../process/foreign_code.hpp"
#include "pause_cpu.hpp"
#include "runrig/engine/call.hpp"
#include "runrig/engine/machine.hpp"
#include "runrig/sync/killpoint.hpp"
#include "task_errors.hpp"
#include "task_table.hpp"

namespace runrig::detail {
namespace {

// As long as a parent takes to send the next task when it got the last result; see TaskBooks::spin().
constexpr std::chrono::microseconds spin_time(20);
constexpr std::size_t most_kept_bytes = std::size_t{1} << 20;

// Calls; `answer` becomes the pickle of the result, or the account of what was thrown.
AnswerKind call(const TaskSlot& slot, ForeignCode* foreign, std::vector<std::byte>& answer) {
  const std::span<const std::byte> closure(slot.call_bytes, slot.closure_bytes);
  const std::span<const std::byte> arguments(slot.call_bytes + slot.closure_bytes, slot.argument_bytes);
  try {
    if (foreign == nullptr) {
      reinterpret_cast<Invoke>(slot.invoke)({closure, slot.function, arguments}, answer);
    } else {
      const auto& trampoline = static_cast<const Trampoline&>(foreign->entry(slot.invoke, CodeKind::call));
      trampoline.invoke({closure, foreign->function(slot.function), arguments}, answer);
    }
    return AnswerKind::value;
  } catch (abi::__forced_unwind&) {
    throw;  // pthread_exit: must not be stopped; the process ends, and that is how the task is booked
  } catch (...) {
    answer.clear();
    encode_current_exception(answer);
    return AnswerKind::exception;
  }
}

}  // namespace

bool run_one_task(WorkerState& state) {
  const ControlView& view = state.view;
  const pid_t pid = state.slot().pid.load(std::memory_order_relaxed);  // our own
  const auto claimed = claim_task(view, view.tasks.lines[state.index], pid);
  if (!claimed) return false;
  TaskSlot& slot = view.tasks.slots[claimed->slot];
  static std::vector<std::byte> answer;  // never destroyed, as this process leaves by _exit; its memory is used again
  answer.clear();
  AnswerKind kind = call(slot, state.foreign, answer);
  RUNRIG_KILLPOINT("pool.task.called");
  if (answer.size() > view.tasks.region_bytes) {
    const std::string text = "its result has " + std::to_string(answer.size()) + " bytes; at most " +
                             std::to_string(view.tasks.region_bytes) + " are possible";
    answer = {};
    encode_error_text(answer, text);
    kind = AnswerKind::exception;
  }
  if (!place_answer(view, state.index, slot, kind, answer)) return false;
  const SliceState end = kind == AnswerKind::value ? SliceState::done : SliceState::failed;
  finish_task(view, state.index, *claimed, end, pid);
  if (answer.capacity() > most_kept_bytes) answer = {};
  if (state.tasks_left > 0 && --state.tasks_left == 0) state.leaving = true;
  return true;
}

void wait_for_work(WorkerState& state, std::uint32_t seen) noexcept {
  const std::atomic<std::uint32_t>& bell = state.view.control->bell;
  static SpinHabit habit;
  if (state.spins && habit.worth_it()) {
    const auto end = Clock::now() + spin_time;
    do {
      for (int i = 0; i < 32; ++i) {
        // Relaxed: who sees a change looks again with the right order.
        if (tasks_waiting(*state.view.tasks.control) || bell.load(std::memory_order_relaxed) != seen) {
          habit.note(true);
          return;
        }
        pause_cpu();
      }
    } while (Clock::now() < end);
    habit.note(false);
  }
  sleep_until_rung(state.view, state.index, seen);
}

}  // namespace runrig::detail
