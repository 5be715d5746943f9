#include "task_booking.hpp"

#include <csignal>

#include <string>

#include "../process/failure_text.hpp"
#include "runrig/sync/killpoint.hpp"

namespace runrig::detail {
namespace {

void book_orphan(const ControlView& view, int worker, pid_t pid, const TaskOrphan& orphan, const ExitStatus& status,
                 const std::function<bool()>& out_of_memory) {
  const TaskSlot& slot = view.tasks.slots[orphan.slot];
  if (orphan.attempts <= slot.retries) {
    make_task_pending(view, orphan);
    RUNRIG_KILLPOINT("pool.template.task_pending");
    view.tasks.lines[worker].intent.store(0, std::memory_order_relaxed);
    return;
  }
  FailureRecord details{};
  details.pid = static_cast<std::int32_t>(pid);
  details.signal = status.signal;
  details.exit_code = status.exit_code;
  const bool memory = status.signal == SIGKILL && out_of_memory();
  details.out_of_memory = memory ? 1 : 0;
  std::string text = describe_end(status, memory);
  if (orphan.attempts > 1) text += ", as did those of " + std::to_string(orphan.attempts - 1) + " attempts before";
  make_task_lost(view, worker, orphan, pid, details, text);
}

}  // namespace

std::string describe_end(const ExitStatus& status, bool out_of_memory) {
  if (!status.known) return "ended, how is not known";
  if (status.signal == 0) return "left with exit code " + std::to_string(status.exit_code);
  std::string text = "was killed by " + signal_name(status.signal);
  if (out_of_memory) text += ", likely because memory ran out";
  return text;
}

void book_dead_worker_tasks(const ControlView& view, int worker, pid_t pid, const ExitStatus& status,
                            const std::function<bool()>& out_of_memory, LostTaskFinder& finder) {
  if (const auto orphan = settle_dead_task(view, worker, pid)) {
    book_orphan(view, worker, pid, *orphan, status, out_of_memory);
  }
  RUNRIG_KILLPOINT("pool.template.task_booked");
  (void)finder.offer_again(view);
  // All of them: a bell that was meant for the dead one may have been for a task that is still there.
  if (tasks_waiting(*view.tasks.control)) ring(*view.control);
  report_progress(*view.control);
}

}  // namespace runrig::detail
