#pragma once

#include <sys/types.h>

#include <functional>

#include "../process/child.hpp"
#include "task_table.hpp"

namespace runrig::detail {

/// What the template does about the tasks of a worker that died: notes what it finished, has what it was running begun
/// again where that is allowed, or makes it lost, and offers again what it may have taken without claiming it. Then
/// wakes who has to do with it. `out_of_memory` is asked where the answer matters.
void book_dead_worker_tasks(const ControlView& view, int worker, pid_t pid, const ExitStatus& status,
                            const std::function<bool()>& out_of_memory, LostTaskFinder& finder);

/// How a process ended, as a clause: "was killed by SIGSEGV".
[[nodiscard]] std::string describe_end(const ExitStatus& status, bool out_of_memory);

}  // namespace runrig::detail
